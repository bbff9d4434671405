"""The node on a camera: `ros2 launch panoptic_ros camera.launch.py model:=hle_mnv2 image:=/camera/image_raw`.

`source:=` adds a camera: a clip, a folder of images, a bag, a device such as /dev/video0, or `street`. An argument that is not
given leaves its parameter to `params_file`. The node runs in the active virtual environment, if there is one.
"""

import os
from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

PARAMETERS = {
    "model": "name of a model, or its folder",
    "cameras": "names of several, such as 'front rear'; {camera} in topics stands for each",
    "image": "topic of the images; /camera/image_raw unless params_file says otherwise",
    "backend": "auto, openvino, onnxruntime, tensorrt, torch_export",
    "device": "as the backend names it",
    "precision": "fp32, bf16, fp16, int8 or int8+bf16, what the device has",
    "verify": "compare the engine with the model's fp32 file on a CPU before it is used",
    "build_only": "open the engine, which builds what a GPU needs, and end",
    "depth": "topic of depth images registered to the image",
    "camera_info": "topic of the image's calibration; with depth gives the 3D outputs",
    "target_frame": "frame of the 3D outputs",
    "use_sim_time": "take the time from /clock",
    "autostart": "configure and activate by itself",
}
"""Launch arguments that set the parameter of the same name; config/panoptic.yaml has the defaults and all others."""

OTHERS = {
    "namespace": ("", "of the node and of the topics under panoptic/"),
    "params_file": (PathJoinSubstitution([FindPackageShare("panoptic_ros"), "config", "panoptic.yaml"]), "YAML of parameters"),
    "use_respawn": ("false", "start the node again when it ends"),
    "log_level": ("info", "debug, info, warn, error"),
    "source": ("", "a clip, a folder of images, a bag, a device such as /dev/video0, or street: published on the topic `image`"),
    "source_arguments": ("", "more for `python -m panoptic_ros camera`, such as '--rate 5'"),
    "python": (
        str(Path(os.environ["VIRTUAL_ENV"]) / "bin" / "python") if "VIRTUAL_ENV" in os.environ else "",
        "interpreter that has the engine SDK; empty takes the one that the package was built with",
    ),
}


def generate_launch_description() -> LaunchDescription:
    arguments = [DeclareLaunchArgument(name, default_value="", description=text) for name, text in PARAMETERS.items()]
    arguments += [
        DeclareLaunchArgument(name, default_value=default, description=text) for name, (default, text) in OTHERS.items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=_processes)])


def _processes(context: LaunchContext) -> list[ExecuteProcess]:
    said = {name: LaunchConfiguration(name).perform(context) for name in (*PARAMETERS, *OTHERS)}
    node = Node(
        package="panoptic_ros", executable="panoptic_node", name="panoptic", namespace=said["namespace"],
        parameters=[said["params_file"], {name: _value(said[name]) for name in PARAMETERS if said[name]}],
        arguments=["--ros-args", "--log-level", said["log_level"]], prefix=said["python"], output="screen",
        respawn=_value(said["use_respawn"]), respawn_delay=1.0,
    )  # fmt: skip
    if not said["source"]:
        return [node]
    pattern = said["image"] or "/camera/image_raw"
    if said["namespace"] and not pattern.startswith("/"):
        pattern = f"/{said['namespace'].strip('/')}/{pattern}"
    topics = [pattern.replace("{camera}", name) for name in said["cameras"].split() or [""]]
    return [node, *(_camera(said, topic) for topic in topics)]


def _camera(said: dict[str, str], topic: str) -> ExecuteProcess:
    return ExecuteProcess(
        cmd=[said["python"] or "python3", "-m", "panoptic_ros", "camera", said["source"], "--middleware", "ros",
             "--topic", topic, "--restamp", "--loop", *said["source_arguments"].split()],
        output="screen",
    )  # fmt: skip


def _value(text: str) -> bool | str:
    return {"true": True, "false": False}.get(text.lower(), text)
