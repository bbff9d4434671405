"""The import rules of docs/architecture.md, read off the source and watched in a fresh process."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RUNTIME = sorted((ROOT / "panoptic_ros").rglob("*.py"))
TRAINING = sorted((ROOT / "training").rglob("*.py"))
METHODS = sorted(path.name for path in (ROOT / "training" / "methods").iterdir() if (path / "__init__.py").exists())


def imported(file: Path) -> set[str]:
    """Every module that a file names in an import, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: imports are absolute"
            names |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def importers(files: list[Path], *modules: str) -> set[str]:
    """The files that import one of the modules or what is in them."""
    return {
        str(file.relative_to(ROOT))
        for file in files
        if any(name == module or name.startswith(f"{module}.") for name in imported(file) for module in modules)
    }


def test_the_runtime_knows_neither_training_nor_torch() -> None:
    assert importers(RUNTIME, "training") == set()
    assert importers(RUNTIME, "torch") <= {"panoptic_ros/backends/torch_export.py"}


def test_each_sdk_is_imported_by_its_own_backend_only() -> None:
    for sdk in ("openvino", "onnxruntime", "tensorrt"):
        assert importers([file for file in RUNTIME if not file.match(f"panoptic_ros/backends/{sdk}*.py")], sdk) == set()


def test_each_middleware_is_imported_by_its_own_files_only() -> None:
    for middleware, modules in {"ros": ("rclpy", "cv_bridge", "tf2_ros"), "dds": ("cyclonedds",)}.items():
        others = [file for file in RUNTIME + TRAINING if not file.match(f"panoptic_ros/middleware/{middleware}*.py")]
        assert importers(others, *modules) == set()


def test_numba_is_imported_by_the_solvers_only() -> None:
    assert importers([file for file in RUNTIME + TRAINING if not file.match("panoptic_ros/solvers/*.py")], "numba") == set()


@pytest.mark.parametrize("method", METHODS)
def test_no_method_imports_another(method: str) -> None:
    others = [f"training.methods.{other}" for other in METHODS if other != method]
    assert importers(sorted((ROOT / "training" / "methods" / method).rglob("*.py")), *others) == set()


def test_init_files_are_empty() -> None:
    assert [file for file in RUNTIME + TRAINING if file.name == "__init__.py" and file.read_text()] == []


def test_a_precision_is_made_without_torch() -> None:
    """A robot has the bundled model.onnx, and need not have torch."""
    code = "import sys, training.export_trt; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert "training.precision.half" in loaded
    assert {"torch", "omegaconf", "tensorrt", "openvino"}.isdisjoint(loaded)


def test_the_pipeline_loads_only_what_it_needs() -> None:
    """A fresh process imports the pipeline and the dispatcher; heavy and optional packages must not come along."""
    code = "import sys, panoptic_ros.pipeline, panoptic_ros.engine, panoptic_ros.__main__; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert "panoptic_ros.tracker" in loaded
    assert {"torch", "training", "rclpy", "cyclonedds", "openvino", "onnxruntime", "onnx", "matplotlib", "numba"}.isdisjoint(
        loaded
    )


def test_every_file_has_its_place_in_the_layout() -> None:
    layout = (ROOT / "docs" / "architecture.md").read_text().partition("## Layout")[2]
    named = set(re.findall(r"[\w/]+\.py\b", layout))
    files = {file.name for file in RUNTIME + TRAINING if file.name != "__init__.py"}
    assert files - named == set()
    assert named - files == {"tiny_engine.py"}


def test_names_of_test_files_are_unique() -> None:
    """The pytest plugin of ROS's launch_testing imports every test file by its name alone."""
    names = [file.name for file in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
