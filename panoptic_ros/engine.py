"""Opening a model with one of the backends, whichever is installed."""

import importlib
import importlib.util

import numpy as np

from panoptic_ros.answer import finish_of, outputs_of
from panoptic_ros.core import Engine, PanopticError, Slots
from panoptic_ros.manifest import Manifest
from panoptic_ros.preprocess import GREY

BACKENDS = ("openvino", "onnxruntime")
"""In the order in which `auto` takes them; each is the name of its module, of its SDK's module and of its SDK's package."""

MAX_THREADS = 1024


def open_engine(
    manifest: Manifest, backend: str = "auto", device: str = "auto", precision: str = "fp32", threads: int = 0
) -> Engine:
    """The engine of a model, compiled for `manifest.size`, checked against the manifest and warmed up by one grey image.

    device, precision: as the backend names them, `auto` and `fp32` work everywhere. threads: 0 leaves it to the backend.
    Raises PanopticError for a name that is unknown or not installed, or if the model is no engine as the manifest describes it.
    """
    if not 0 <= threads <= MAX_THREADS:
        raise PanopticError(f"threads={threads} is out of range: 0 (the backend decides) to {MAX_THREADS}")
    name = _installed(backend)
    module = importlib.import_module(f"panoptic_ros.backends.{name}")
    try:
        engine: Engine = module.open_backend(manifest, device, precision, threads)
        slots = engine.run(np.full((1, *manifest.size, 3), GREY, np.uint8))
    except PanopticError:
        raise
    except Exception as error:  # each SDK has its own kinds; what they say is all there is
        names = ", ".join(outputs_of(finish_of(manifest)))
        raise PanopticError(f"{name} cannot run {manifest.onnx} as image -> {names}: {_reason(error)}") from error
    _check_slots(slots, manifest)
    return engine


def _installed(backend: str) -> str:
    """The backend to take. Raises PanopticError if it is unknown or its SDK is missing."""
    if backend not in ("auto", *BACKENDS):
        raise PanopticError(f"unknown backend {backend!r}: backends are auto, {', '.join(BACKENDS)}")
    wanted = BACKENDS if backend == "auto" else (backend,)
    for name in wanted:
        if importlib.util.find_spec(name):
            return name
    raise PanopticError(f"{' or '.join(wanted)} is not installed: run `pip install {wanted[0]}`")


def _check_slots(slots: Slots, manifest: Manifest) -> None:
    """Raises PanopticError unless the first result is what the manifest announces."""
    count = manifest.slots
    expected = {
        "ids": (np.uint8, manifest.grid_size),
        "category": (np.int32, (count,)),
        "score": (np.float32, (count,)),
        "embedding": (np.float32, (count, manifest.embedding)),
    }
    for name, (dtype, shape) in expected.items():
        output = getattr(slots, name)
        if (output.dtype, output.shape) != (dtype, shape):
            raise PanopticError(
                f"{manifest.onnx}: output {name} is {output.dtype} {output.shape}; its manifest says {np.dtype(dtype)} {shape}"
            )
    filled = np.unique(slots.ids[slots.ids > 0])
    labels = {label.id for label in manifest.labels}
    unknown = [int(k) for k in filled if k > count or int(slots.category[k - 1]) not in labels]
    if unknown:
        raise PanopticError(
            f"{manifest.onnx}: ids {unknown} have no slot or no label; its manifest has {count} slots, labels {sorted(labels)}"
        )


def _reason(error: Exception) -> str:
    """What an SDK's error says, in one line, without the source lines it starts with."""
    lines = (line.strip() for line in str(error).splitlines())
    said = [line for line in lines if line and not line.startswith("Exception from")]
    return " ".join(said)[:300] or type(error).__name__
