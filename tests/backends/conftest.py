"""The TensorRT backend over the stand-ins."""

import importlib
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest
import tiny_engine

from panoptic_ros import manifest, variant
from panoptic_ros.manifest import Manifest
from tests.backends import fake_cuda, fake_tensorrt

BACKEND = "panoptic_ros.backends.tensorrt"


@pytest.fixture
def model(tmp_path: Path) -> Manifest:
    """The tiny engine with a file for each precision; its arithmetic needs no more."""
    found = manifest.load(tiny_engine.write(tmp_path / "tiny"))
    for precision in variant.PRECISIONS:
        variant.save(found, precision, found.onnx.read_bytes(), "by hand")
    return found


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModuleType]:
    """The backend's module over the stand-ins, with an empty cache."""
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt)
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", fake_cuda)
    monkeypatch.setenv("PANOPTIC_ROS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fake_tensorrt, "__spec__", ModuleSpec("tensorrt", None))  # what importlib.util.find_spec returns
    for name, value in (("builds", 0), ("kind_of_layers", "Half"), ("__version__", "10.13.0")):
        monkeypatch.setattr(fake_tensorrt, name, value)
    for name, value in (("launches", 0), ("room", 1 << 30)):
        monkeypatch.setattr(fake_cuda, name, value)
    names = (BACKEND, f"{BACKEND}_build")
    for name in names:
        sys.modules.pop(name, None)
    yield importlib.import_module(BACKEND)
    for name in names:
        sys.modules.pop(name, None)
