"""What `training.export_trt` does with TensorRT: build the plan, or say what is missing for it here."""

import importlib.util
from pathlib import Path

from panoptic_ros.core import EngineOptions
from panoptic_ros.engine import open_engine
from panoptic_ros.manifest import Manifest


def missing() -> str:
    """What keeps this machine from building a plan, as a part of a sentence; empty if nothing does."""
    wanted = {"tensorrt": "TensorRT (`pip install tensorrt`, or JetPack's)", "cuda": "cuda-python (`pip install cuda-python`)"}
    lacking = [name for module, name in wanted.items() if not importlib.util.find_spec(module)]
    if not any(Path("/dev").glob("nvidia*")) and not Path("/dev/nvhost-gpu").exists():  # the second is a Jetson's
        lacking.append("an NVIDIA GPU")
    return f"{', '.join(lacking)} {'is' if len(lacking) == 1 else 'are'} not here" if lacking else ""


def build(model: Manifest, force: bool) -> str:
    """Build the plan that the robot will open, or find it in the cache, open it, and say what its layers are."""
    from panoptic_ros.backends import tensorrt

    tensorrt.plan(model, EngineOptions(precision=model.precision), force=force)
    engine = open_engine(model, "tensorrt", precision=model.precision)
    return ", ".join(f"{key} {value}" for key, value in engine.description.items())
