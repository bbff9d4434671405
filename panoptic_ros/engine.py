"""Opening a model with one of the backends, whichever is installed."""

import importlib
import importlib.util
import os
from pathlib import Path

import numpy as np

from panoptic_ros import variant
from panoptic_ros.answer import finish_of, outputs_of
from panoptic_ros.core import Engine, EngineOptions, PanopticError, Slots
from panoptic_ros.manifest import Manifest
from panoptic_ros.preprocess import GREY

BACKENDS = ("openvino", "onnxruntime")
"""In the order in which `auto` takes them; each is the name of its module, of its SDK's module and of its SDK's package."""

CHOSEN = {"tensorrt": "tensorrt", "torch_export": "torch"}
"""Backends that run only where they are asked for by name, with the package of their SDK."""

MAX_THREADS = 1024
MAX_TENSORRT_LEVEL = 5
MAX_TENSORRT_WORKSPACE_MIB = 1 << 20


def open_engine(
    manifest: Manifest, backend: str = "auto", device: str = "auto", precision: str = "fp32", threads: int = 0,
    pin: bool = False, cache: Path | None = None, tensorrt_level: int = 3, tensorrt_workspace_mib: int = 2048,
) -> Engine:  # fmt: skip
    """The engine of a model, compiled for `manifest.size`, checked against the manifest and warmed up by one grey image.

    The options are those of `core.EngineOptions`; fp16, int8 and int8+bf16 take the model's file of that precision.
    Raises PanopticError for a name that is unknown or not installed, or if the model is no engine as the manifest describes it.
    """
    if not 0 <= threads <= MAX_THREADS:
        raise PanopticError(f"threads={threads} is out of range: 0 (the backend decides) to {MAX_THREADS}")
    if not 0 <= tensorrt_level <= MAX_TENSORRT_LEVEL:
        raise PanopticError(f"tensorrt_level={tensorrt_level} is out of range: 0 (fastest to build) to {MAX_TENSORRT_LEVEL}")
    if not 1 <= tensorrt_workspace_mib <= MAX_TENSORRT_WORKSPACE_MIB:
        raise PanopticError(
            f"tensorrt_workspace_mib={tensorrt_workspace_mib} is out of range: 1 to {MAX_TENSORRT_WORKSPACE_MIB} MiB"
        )
    cores = len(os.sched_getaffinity(0))
    if pin and threads > cores:
        raise PanopticError(f"threads={threads} cannot be pinned: this process has {cores} cores")
    name = _installed(backend)
    options = EngineOptions(device, precision, threads, pin, cache, tensorrt_level, tensorrt_workspace_mib)
    file = precision.partition("+")[0]
    if file in variant.PRECISIONS:
        manifest = variant.load(manifest, file)
    module = importlib.import_module(f"panoptic_ros.backends.{name}")
    try:
        engine: Engine = module.open_backend(manifest, options)
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
    if backend not in ("auto", *BACKENDS, *CHOSEN):
        raise PanopticError(f"unknown backend {backend!r}: backends are auto, {', '.join((*BACKENDS, *CHOSEN))}")
    wanted = BACKENDS if backend == "auto" else (backend,)
    for name in wanted:
        if importlib.util.find_spec(CHOSEN.get(name, name)):
            return name
    packages = [CHOSEN.get(name, name) for name in wanted]
    raise PanopticError(f"{' or '.join(packages)} is not installed: run `pip install {packages[0]}`")


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
