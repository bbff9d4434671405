"""torch.export's program of a model, compiled by AOTInductor on this machine: for a GPU without TensorRT. The only runtime file
that imports torch. On a GPU one CUDA graph replays the whole of it."""

import io
import logging
import tempfile
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from torch.export.passes import move_to_device_pass

from panoptic_ros import variant
from panoptic_ros.backends import plan_cache
from panoptic_ros.core import Engine, EngineOptions, PanopticError, Slots
from panoptic_ros.manifest import Manifest

_OUTPUTS = tuple(field.name for field in fields(Slots))
_log = logging.getLogger(__name__)

Run = Callable[[torch.Tensor], tuple[torch.Tensor, ...]]


def open_backend(manifest: Manifest, options: EngineOptions) -> Engine:
    """device: `cpu`, `cuda`, or `auto`, the GPU where there is one; precision: fp32. It is compiled if need be, in minutes."""
    choices = {"device": ("auto", "cpu", "cuda"), "precision": ("fp32",)}
    for name, legal in choices.items():
        value = getattr(options, name)
        if value not in legal:
            raise PanopticError(f"torch_export has no {name} {value!r}: choices are {', '.join(legal)}")
    device = options.device if options.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise PanopticError(f"torch {torch.__version__} finds no GPU")
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        return TorchExportEngine(variant.load(manifest, "pt2"), device, options)
    except torch.cuda.OutOfMemoryError as error:
        raise PanopticError("the GPU is out of memory: a smaller --size, or end what else runs on it") from error


class TorchExportEngine:
    """See `core.Engine`."""

    def __init__(self, manifest: Manifest, device: str, options: EngineOptions) -> None:
        self.size = manifest.size
        name = torch.cuda.get_device_name() if device == "cuda" else torch.backends.cpu.get_cpu_capability()
        depends_on = {
            "program": manifest.sha256, "size": manifest.size, "torch": torch.__version__, "device": device, "name": name,
            "architecture": torch.cuda.get_device_capability() if device == "cuda" else "",
        }  # fmt: skip
        file = plan_cache.plan_file(options.cache or plan_cache.default_folder(), f"{manifest.model}-torch", depends_on)
        package = plan_cache.cached(file, lambda: build(manifest, device), _log.info)
        compiled: Run = torch._inductor.aoti_load_package(io.BytesIO(package))
        self._run = Replayed(compiled, manifest.size) if device == "cuda" else compiled
        self.description = {
            "backend": "torch_export",
            "version": torch.__version__,
            "device": f"{device} ({name})",
            "precision": "fp32",
            "threads": str(torch.get_num_threads()) if device == "cpu" else "-",
        }

    @torch.no_grad()
    def run(self, image: np.ndarray) -> Slots:
        outputs = [output.numpy() for output in self._run(_tensor(image))]
        for output in outputs:
            output.flags.writeable = False
        return Slots(*outputs)

    def run_network_only(self, image: np.ndarray) -> None:
        raise PanopticError("torch_export runs the whole graph only: the network alone would be another program")


class Replayed:
    """A program on the GPU as one CUDA graph: copies in and out included, the results in pinned memory."""

    def __init__(self, run: Run, size: tuple[int, int]) -> None:
        self._image = torch.zeros((1, *size, 3), dtype=torch.uint8, device="cuda")
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            outputs = run(self._image)  # what is allocated once must not be allocated while capturing
        stream.synchronize()
        self._results = tuple(torch.empty(output.shape, dtype=output.dtype, pin_memory=True) for output in outputs)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, stream=stream):
            for result, output in zip(self._results, run(self._image)):
                result.copy_(output, non_blocking=True)

    def __call__(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        self._image.copy_(image)
        self._graph.replay()
        torch.cuda.synchronize()
        return self._results


def build(manifest: Manifest, device: str) -> bytes:
    """The package of AOTInductor for `manifest.size`. manifest: whose file is the pt2."""
    _log.info("compiling %s for %s at %dx%d with AOTInductor; this takes minutes, once", manifest.model, device, *manifest.size)
    program = move_to_device_pass(torch.export.load(manifest.onnx), device)
    image = torch.zeros((1, *manifest.size, 3), dtype=torch.uint8, device=device)
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        fixed = torch.export.export(program.module(), (image,))  # at one size everything is known to the compiler
        made = torch._inductor.aoti_compile_and_package(fixed, package_path=str(Path(folder) / "model.pt2"))
        return Path(made).read_bytes()


def _tensor(image: np.ndarray) -> torch.Tensor:
    """Without a copy; torch warns of read-only memory, which it only reads."""
    return torch.from_numpy(image if image.flags.writeable else image.copy())
