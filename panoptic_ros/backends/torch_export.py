"""torch.export's program of a model, compiled by AOTInductor on this machine: for a GPU without TensorRT. The only runtime file
that imports torch. On a GPU one CUDA graph replays the whole of it."""

import io
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.export.passes import move_to_device_pass

from panoptic_ros import variant
from panoptic_ros.answer import finish_of, outputs_of
from panoptic_ros.backends import plan_cache
from panoptic_ros.core import Engine, EngineOptions, PanopticError, Slots
from panoptic_ros.manifest import Manifest

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
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False  # fp32 is what was asked for
    try:
        return TorchExportEngine(variant.load(manifest, "pt2"), device, options)
    except torch.cuda.OutOfMemoryError as error:
        raise PanopticError("the GPU is out of memory: a smaller --size, or end what else runs on it") from error


class TorchExportEngine:
    """See `core.Engine`."""

    def __init__(self, manifest: Manifest, device: str, options: EngineOptions) -> None:
        self.size = manifest.size
        self._manifest, self._device, self._options = manifest, device, options
        self._finish = finish_of(manifest)
        self._whole = self._open(network_only=False)
        self._network: Run | None = None
        self.description = {
            "backend": "torch_export",
            "version": torch.__version__,
            "device": f"{device} ({_name(device)})",
            "precision": "fp32",
            "threads": str(torch.get_num_threads()) if device == "cpu" else "-",
        }

    @torch.no_grad()
    def run(self, image: np.ndarray) -> Slots:
        outputs = [output.numpy() for output in self._whole(_tensor(image))]
        for output in outputs:
            output.flags.writeable = False
        return self._finish(*outputs)

    @torch.no_grad()
    def run_network_only(self, image: np.ndarray) -> None:
        if self._network is None:
            self._network = self._open(network_only=True)
        self._network(_tensor(image))

    def _open(self, network_only: bool) -> Run:
        """The compiled program, from the cache or made now."""
        model, device = self._manifest, self._device
        depends_on = {
            "program": model.sha256, "size": model.size, "torch": torch.__version__, "device": device, "name": _name(device),
            "architecture": torch.cuda.get_device_capability() if device == "cuda" else "", "network_only": network_only,
        }  # fmt: skip
        file = plan_cache.plan_file(self._options.cache or plan_cache.default_folder(), f"{model.model}-torch", depends_on)
        package = plan_cache.cached(file, lambda: build(model, device, network_only), _log.info)
        compiled: Run = torch._inductor.aoti_load_package(io.BytesIO(package))
        return Replayed(compiled, model.size) if device == "cuda" else compiled


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


class _Part(nn.Module):
    """The first outputs of a program, or those after them; the compiler drops what they do not need."""

    def __init__(self, program: nn.Module, outputs: int, network_only: bool) -> None:
        super().__init__()
        self.program = program
        self.chosen = slice(outputs, None) if network_only else slice(outputs)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.program(image)[self.chosen]


def build(manifest: Manifest, device: str, network_only: bool) -> bytes:
    """The package of AOTInductor for `manifest.size`. manifest: whose file is the pt2, a program that returns the outputs of
    the engine and then the network's."""
    _log.info("compiling %s for %s at %dx%d with AOTInductor; this takes minutes, once", manifest.model, device, *manifest.size)
    program = move_to_device_pass(torch.export.load(manifest.onnx), device)
    image = torch.zeros((1, *manifest.size, 3), dtype=torch.uint8, device=device)
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        part = _Part(program.module(), len(outputs_of(finish_of(manifest))), network_only)
        fixed = torch.export.export(part, (image,))  # at one size everything is known to the compiler
        made = torch._inductor.aoti_compile_and_package(fixed, package_path=str(Path(folder) / "model.pt2"))
        return Path(made).read_bytes()


def _name(device: str) -> str:
    """Of the GPU, or of what the CPU can do: code that was compiled for another is of no use."""
    return torch.cuda.get_device_name() if device == "cuda" else torch.backends.cpu.get_cpu_capability()


def _tensor(image: np.ndarray) -> torch.Tensor:
    """Without a copy; torch warns of read-only memory, which it only reads."""
    return torch.from_numpy(image if image.flags.writeable else image.copy())
