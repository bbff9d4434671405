"""Builds with pip and, as an ament_python package, with colcon. The runtime needs none of the extras but one engine SDK."""

from pathlib import Path

from setuptools import find_packages, setup

NAME = "panoptic_ros"
SHARE = Path("share") / NAME

OPENVINO = ["openvino>=2024.6,<2027"]
ONNXRUNTIME = ["onnxruntime>=1.18,<2"]
TENSORRT = ["tensorrt>=10.12,<12", "cuda-python>=12.6,<14"]
EXPORT = ["onnx>=1.17,<2", *ONNXRUNTIME]
DDS = ["cyclonedds>=11,<12"]
NUMBA = ["numba>=0.60,<0.70"]
BAGS = ["rosbags>=0.11,<0.12"]
TRAIN = ["torch>=2.6,<3", "onnx>=1.17,<2", "onnxscript>=0.5,<1", "omegaconf>=2.3,<3", "tqdm>=4.66,<5", "matplotlib>=3.8,<4",
         "mujoco>=3.2,<5", "pycocotools>=2.0.8,<3", "jinja2>=3.1,<4", "optuna>=4,<5",
         "tensorboard>=2.17,<3"]  # fmt: skip
TEST = ["pytest>=8,<9", "hypothesis>=6.100,<7", "setuptools>=64"]


def shared(folder: str, *patterns: str) -> list[tuple[str, list[str]]]:
    """The data files of a folder of the source tree, for the same place under `share/panoptic_ros`."""
    files = sorted(file for pattern in patterns for file in Path(folder).rglob(pattern))
    return [(str(SHARE / file.parent), [str(file)]) for file in files]


setup(
    name=NAME,
    version="0.1.0",
    description="Real-time panoptic segmentation with identities, with or without ROS 2",
    license="Apache-2.0",
    maintainer="panoptic_ros maintainers",
    maintainer_email="maintainers@panoptic-ros.org",
    python_requires=">=3.10",
    packages=find_packages(include=[f"{NAME}*", "training*"]),
    package_data={NAME: ["assets/*"], "training": ["recipes/*", "backbones/*", "metrics/*.html"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (str(SHARE), ["package.xml"]),
        *shared("engines", "*.json", "*.onnx", "*.md"),
        *shared("launch", "*.py"),
        *shared("config", "*.yaml", "*.xml"),
    ],
    install_requires=["numpy>=1.26,<3", "scipy>=1.11,<2", "opencv-python-headless>=4.8,<5"],
    extras_require={
        "openvino": OPENVINO,
        "onnxruntime": ONNXRUNTIME,
        "tensorrt": TENSORRT,
        "export": EXPORT,
        "dds": DDS,
        "bags": BAGS,
        "amwc": NUMBA,
        "train": [*TRAIN, *NUMBA],
        "test": [*TEST, *OPENVINO, *ONNXRUNTIME, *DDS, *BAGS, *NUMBA, *TRAIN],
    },
    entry_points={"console_scripts": [f"{NAME} = {NAME}.__main__:main", f"panoptic_node = {NAME}.middleware.ros:main"]},
    zip_safe=False,
)
