"""TensorRT: plans built on this machine and replayed as one CUDA graph, with buffers of our own and no torch.

Written from the documentation of TensorRT 10 and 11 and of cuda-python; not yet run on a GPU, see docs/engines.md.
"""

import ctypes
import dataclasses
import importlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import tensorrt as trt

from panoptic_ros.answer import finish_of, outputs_of
from panoptic_ros.backends import plan_cache, tensorrt_build
from panoptic_ros.core import Engine, EngineOptions, PanopticError, Slots
from panoptic_ros.manifest import Manifest

_log = logging.getLogger(__name__)


def open_backend(manifest: Manifest, options: EngineOptions) -> Engine:
    """device: `auto` or `cuda`, the first GPU; precision: fp32, fp16 or int8, of the file. The plan is built if need be."""
    choices = {"device": ("auto", "cuda"), "precision": ("fp32", "fp16", "int8")}
    for name, legal in choices.items():
        value = getattr(options, name)
        if value not in legal:
            raise PanopticError(f"TensorRT has no {name} {value!r} here: choices are {', '.join(legal)}")
    tensorrt_build.check_version()
    return TensorRtEngine(manifest, options)


def plan(
    manifest: Manifest, options: EngineOptions, network_only: bool = False, force: bool = False, keep_timings: bool = True
) -> bytes:
    """The model's plan for this GPU and this TensorRT, from the cache or built now. force: build it even so. keep_timings: with
    how long layers took in earlier builds, which is kept beside the plans."""
    timings = _file(options, "timings", {}).with_suffix(".timings") if keep_timings else None

    def build() -> bytes:
        return tensorrt_build.build(manifest, options, tensorrt_build.Log(), timings, network_only)

    return plan_cache.cached(plan_file(manifest, options, network_only), build, _log.info, force)


def plan_file(manifest: Manifest, options: EngineOptions, network_only: bool = False) -> Path:
    """Where the plan is kept that depends on exactly these things, this GPU and this TensorRT."""
    depends_on = {
        "onnx": manifest.sha256, "precision": manifest.precision, "size": manifest.size, "level": options.tensorrt_level,
        "workspace_mib": options.tensorrt_workspace_mib, "network_only": network_only,
    }  # fmt: skip
    return _file(options, manifest.model, depends_on)


def _file(options: EngineOptions, name: str, depends_on: Mapping[str, object]) -> Path:
    cuda = Cuda()
    here = {"tensorrt": trt.__version__, "gpu": cuda.device_name(), "architecture": cuda.architecture()}
    return plan_cache.plan_file(options.cache or plan_cache.default_folder(), name, {**depends_on, **here})


class TensorRtEngine:
    """See `core.Engine`. Results lie in pinned memory and are valid until the next call."""

    def __init__(self, manifest: Manifest, options: EngineOptions) -> None:
        self.size = manifest.size
        self._manifest, self._options = manifest, options
        self._whole = Replayed(manifest, plan(manifest, options))
        self._network: Replayed | None = None
        self._finish = finish_of(manifest)
        self._results = [self._whole.results[name] for name in outputs_of(self._finish)]
        cuda = Cuda()
        self.description = {
            "backend": "tensorrt",
            "version": trt.__version__,
            "device": f"{cuda.device_name()} (sm_{cuda.architecture()})",
            "precision": manifest.precision,
            "layers": ", ".join(f"{count} {name}" for name, count in self._whole.precisions.most_common()),
            "threads": "-",
        }

    def run(self, image: np.ndarray) -> Slots:
        self._whole.run(image)
        slots = self._finish(*self._results)
        if slots.ids.dtype == np.uint8:
            return slots
        ids = slots.ids.astype(np.uint8)  # int32 in a plan of Torch-TensorRT, which has no other integer for it
        ids.flags.writeable = False
        return dataclasses.replace(slots, ids=ids)

    def run_network_only(self, image: np.ndarray) -> None:
        if self._network is None:
            self._network = Replayed(self._manifest, plan(self._manifest, self._options, network_only=True))
        self._network.run(image)


class Replayed:
    """A plan as one CUDA graph: the image in, the layers, the results out.

    results: by name, read-only, in pinned memory. precisions: how many layers have which.
    """

    def __init__(self, manifest: Manifest, serialized: bytes) -> None:
        self._cuda, self._log = Cuda(), tensorrt_build.Log()
        self._runtime = trt.Runtime(self._log)
        self._engine = self._runtime.deserialize_cuda_engine(serialized)
        if self._engine is None:
            raise PanopticError(f"TensorRT {trt.__version__} refuses the plan of {manifest.onnx}: {self._log.last_error}")
        self.precisions = tensorrt_build.layer_precisions(self._engine)
        tensorrt_build.check_precision(self.precisions, manifest.precision, str(manifest.onnx))
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise PanopticError(f"the GPU has no room for {manifest.onnx} at {manifest.size}: {self._log.last_error}")
        self._stream = self._cuda.call("cudaStreamCreate")
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        self._buffers = {name: self._buffer(name) for name in names}
        self._outputs = [name for name in names if self._engine.get_tensor_mode(name) == trt.TensorIOMode.OUTPUT]
        self._graph = self._capture()
        self.results = {name: self._buffers[name].view() for name in self._outputs}

    def run(self, image: np.ndarray) -> None:
        np.copyto(self._buffers["image"].host, image)
        self._cuda.call("cudaGraphLaunch", self._graph, self._stream)
        self._cuda.call("cudaStreamSynchronize", self._stream)

    def _buffer(self, name: str) -> "Buffer":
        shape = tuple(self._engine.get_tensor_shape(name))
        dtype = np.dtype(trt.nptype(self._engine.get_tensor_dtype(name)))
        buffer = Buffer(self._cuda, shape, dtype)
        self._context.set_tensor_address(name, buffer.device)
        return buffer

    def _capture(self) -> Any:
        """Copy in, run, copy out, as one CUDA graph. The first run outside of it lets TensorRT allocate what it still needs."""
        self._enqueue()
        self._cuda.call("cudaStreamSynchronize", self._stream)
        mode = self._cuda.runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._cuda.call("cudaStreamBeginCapture", self._stream, mode)
        self._enqueue()
        graph = self._cuda.call("cudaStreamEndCapture", self._stream)
        return self._cuda.call("cudaGraphInstantiate", graph, 0)

    def _enqueue(self) -> None:
        self._buffers["image"].to_device(self._stream)
        if not self._context.execute_async_v3(stream_handle=int(self._stream)):
            raise PanopticError(f"TensorRT could not run the engine: {self._log.last_error}")
        for name in self._outputs:
            self._buffers[name].to_host(self._stream)


class Buffer:
    """A tensor twice: in pinned memory of the host, as `host`, and on the GPU, at the address `device`. Lives as long as the
    process: an engine is opened once."""

    def __init__(self, cuda: "Cuda", shape: Sequence[int], dtype: np.dtype) -> None:
        self._cuda, self._bytes = cuda, int(np.prod(shape)) * dtype.itemsize
        self.device = int(cuda.call("cudaMalloc", self._bytes))
        self._address = int(cuda.call("cudaMallocHost", self._bytes))
        memory = (ctypes.c_ubyte * self._bytes).from_address(self._address)
        self.host = np.frombuffer(memory, dtype).reshape(shape)

    def view(self) -> np.ndarray:
        """The host's side, read-only."""
        view = self.host.view()
        view.flags.writeable = False
        return view

    def to_device(self, stream: Any) -> None:
        kind = self._cuda.runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._cuda.call("cudaMemcpyAsync", self.device, self._address, self._bytes, kind, stream)

    def to_host(self, stream: Any) -> None:
        kind = self._cuda.runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._cuda.call("cudaMemcpyAsync", self._address, self.device, self._bytes, kind, stream)


class Cuda:
    """The CUDA runtime through cuda-python, with errors as PanopticError."""

    def __init__(self) -> None:
        self.runtime = _runtime()

    def call(self, name: str, *arguments: Any) -> Any:
        """The result of a function of the runtime without its status; None if it has no other."""
        status, *results = getattr(self.runtime, name)(*arguments)
        if status != self.runtime.cudaError_t.cudaSuccess:
            if status == self.runtime.cudaError_t.cudaErrorMemoryAllocation:
                raise PanopticError("the GPU is out of memory: a smaller --size, or end what else runs on it")
            raise PanopticError(f"CUDA: {name} failed: {self.runtime.cudaGetErrorString(status)[1].decode()}")
        return results[0] if results else None

    def architecture(self) -> int:
        """The compute capability, such as 87."""
        kinds = self.runtime.cudaDeviceAttr
        device = self.call("cudaGetDevice")
        major = self.call("cudaDeviceGetAttribute", kinds.cudaDevAttrComputeCapabilityMajor, device)
        return 10 * major + self.call("cudaDeviceGetAttribute", kinds.cudaDevAttrComputeCapabilityMinor, device)

    def device_name(self) -> str:
        return self.call("cudaGetDeviceProperties", self.call("cudaGetDevice")).name.decode()


def _runtime() -> ModuleType:
    """cuda-python's runtime bindings: `cuda.bindings.runtime` from 12.6 on."""
    try:
        return importlib.import_module("cuda.bindings.runtime")
    except ImportError as error:
        raise PanopticError("the TensorRT backend needs cuda-python: run `pip install cuda-python`") from error
