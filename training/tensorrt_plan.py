"""What `training.export_trt` does with TensorRT: build the plan, or say what is missing for it here."""

import importlib.util
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np

from panoptic_ros.backends import plan_cache
from panoptic_ros.core import EngineOptions, PanopticError
from panoptic_ros.engine import open_engine
from panoptic_ros.manifest import Manifest
from panoptic_ros.verify import verify_engine

WAYS = ("onnx", "torch_tensorrt")

_log = logging.getLogger(__name__)


def missing(via: str) -> str:
    """What keeps this machine from building a plan that way, as a part of a sentence; empty if nothing does."""
    wanted = {"tensorrt": "TensorRT (`pip install tensorrt`, or JetPack's)", "cuda": "cuda-python (`pip install cuda-python`)"}
    if via == "torch_tensorrt":
        wanted["torch_tensorrt"] = "Torch-TensorRT (`pip install torch-tensorrt`, 2.14 or later)"
    lacking = [name for module, name in wanted.items() if not importlib.util.find_spec(module)]
    if not any(Path("/dev").glob("nvidia*")) and not Path("/dev/nvhost-gpu").exists():  # the second is a Jetson's
        lacking.append("an NVIDIA GPU")
    return f"{', '.join(lacking)} {'is' if len(lacking) == 1 else 'are'} not here" if lacking else ""


def build(
    model: Manifest, original: Manifest, options: EngineOptions, images: list[np.ndarray], force: bool, keep_timings: bool,
    other_way: Callable[[], bytes] | None = None,
) -> str:  # fmt: skip
    """Build the plan that the robot will open, or find it in the cache, and say what its layers are and how well it agrees.

    model: in the precision of the plan. original: the same in FP32, which the plan must agree with on `images`, (1,h,w,3) uint8
    each; one that does not is not kept. other_way: makes the plan, in the place of the one from ONNX.
    """
    from panoptic_ros.backends import tensorrt

    file = tensorrt.plan_file(model, options)
    if other_way:
        plan_cache.cached(file, other_way, _log.info, force=True)
    else:
        tensorrt.plan(model, options, force=force, keep_timings=keep_timings)
    try:
        engine = open_engine(
            model, "tensorrt", precision=model.precision, tensorrt_level=options.tensorrt_level,
            tensorrt_workspace_mib=options.tensorrt_workspace_mib,
        )  # fmt: skip
        found = verify_engine(original, engine, model.precision, images)
    except PanopticError:
        file.unlink(missing_ok=True)
        raise
    return f"{', '.join(f'{key} {value}' for key, value in engine.description.items())}; {found}"
