"""The part of TensorRT's Python API that we call, by its documented names; ONNX Runtime does the arithmetic.

Source of the names: the bindings' source of TensorRT 11.1 (NVIDIA/TensorRT, python/src) and the API reference of 10.13; what a
method that is missing here would do on a GPU is unknown, so calling it fails.
"""

import ctypes
import json
from enum import IntEnum
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime

from tests.backends import fake_cuda

__version__ = "10.13.0"
kind_of_layers = "Half"
"""What the engine inspector says."""
builds = 0
config: "Config | None" = None
"""Of the last build."""

NetworkDefinitionCreationFlag = IntEnum("NetworkDefinitionCreationFlag", {"STRONGLY_TYPED": 1})
BuilderFlag = SimpleNamespace(TF32="tf32")
MemoryPoolType = SimpleNamespace(WORKSPACE="workspace")
ProfilingVerbosity = SimpleNamespace(DETAILED="detailed")
TensorIOMode = IntEnum("TensorIOMode", {"NONE": 0, "INPUT": 1, "OUTPUT": 2})
LayerInformationFormat = SimpleNamespace(JSON="json")


class ILogger:
    Severity = IntEnum("Severity", {"INTERNAL_ERROR": 0, "ERROR": 1, "WARNING": 2, "INFO": 3, "VERBOSE": 4})


class IProgressMonitor: ...


class Network:
    """A graph that was parsed; its outputs can be changed."""

    def __init__(self) -> None:
        self.model: onnx.ModelProto | None = None
        self.image = SimpleNamespace(name="image", shape=None)

    num_layers = property(lambda self: len(self.model.graph.node))
    num_outputs = property(lambda self: len(self.model.graph.output))

    def get_input(self, index: int) -> SimpleNamespace:
        return self.image

    def get_output(self, index: int) -> SimpleNamespace:
        return SimpleNamespace(name=self.model.graph.output[index].name)

    def get_layer(self, index: int) -> SimpleNamespace:
        names = self.model.graph.node[index].output
        return SimpleNamespace(num_outputs=len(names), get_output=lambda which: SimpleNamespace(name=names[which]))

    def unmark_output(self, tensor: SimpleNamespace) -> None:
        kept = [output for output in self.model.graph.output if output.name != tensor.name]
        del self.model.graph.output[:]
        self.model.graph.output.extend(kept)

    def mark_output(self, tensor: SimpleNamespace) -> None:
        self.model.graph.output.append(onnx.ValueInfoProto(name=tensor.name))


class Builder:
    def __init__(self, logger: ILogger) -> None:
        self._logger = logger

    def create_network(self, flags: int = 0) -> Network:
        assert flags == 1 << 1
        return Network()

    def create_builder_config(self) -> "Config":
        global config
        config = Config()
        return config

    def build_serialized_network(self, network: Network, config: "Config") -> bytes | None:
        global builds
        builds += 1
        assert config.profiling_verbosity == "detailed"
        assert config.cleared == ["tf32"], "TF32 is on unless it is cleared"
        config.progress_monitor.phase_start("Building", None, 2)
        assert config.progress_monitor.step_complete("Building", 0)
        config.progress_monitor.phase_finish("Building")
        if fake_cuda.room < 4096:
            self._logger.log(ILogger.Severity.ERROR, "Cuda Runtime (out of memory)")
            return None
        return json.dumps({"size": network.image.shape}).encode() + b"\n" + network.model.SerializeToString()


class Config:
    """IBuilderConfig: what is set is kept."""

    def __init__(self) -> None:
        self.progress_monitor = self.profiling_verbosity = None
        self.builder_optimization_level = 3
        self.cleared: list[str] = []
        self.limits: dict[str, int] = {}
        self.timings: TimingCache | None = None

    def clear_flag(self, flag: str) -> None:
        self.cleared.append(flag)

    def set_memory_pool_limit(self, pool: str, pool_size: int) -> None:
        self.limits[pool] = pool_size

    def create_timing_cache(self, serialized_timing_cache: bytes) -> "TimingCache | None":
        return None if serialized_timing_cache == b"junk" else TimingCache(serialized_timing_cache)

    def set_timing_cache(self, cache: "TimingCache", ignore_mismatch: bool) -> bool:
        if cache.known.startswith(b"of another GPU") and not ignore_mismatch:
            return False
        self.timings = cache
        return True

    def get_timing_cache(self) -> "TimingCache | None":
        return self.timings


class TimingCache:
    """known: what it was made of; a build adds to it."""

    def __init__(self, known: bytes) -> None:
        self.known = known

    def serialize(self) -> memoryview:
        return memoryview(self.known + b"timed;")


class OnnxParser:
    def __init__(self, network: Network, logger: ILogger) -> None:
        self._network, self.num_errors = network, 0

    def parse(self, model: bytes) -> bool:
        try:
            self._network.model = onnx.load_from_string(model)
        except Exception:
            self.num_errors = 1
            return False
        return True

    def get_error(self, index: int) -> str:
        return "In node -1 with name: and operator: (parse): INVALID_GRAPH"


class Runtime:
    def __init__(self, logger: ILogger) -> None:
        self._logger = logger

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> "Engine | None":
        if not serialized_engine.startswith(b"{"):
            self._logger.log(
                ILogger.Severity.ERROR, "Serialization assertion plan->header.magicTag == rt::kPLAN_MAGIC_TAG failed."
            )
            return None
        return Engine(serialized_engine)


class Engine:
    def __init__(self, plan: bytes) -> None:
        head, _, model = plan.partition(b"\n")
        self.image_shape = json.loads(head)["size"]
        self.session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        self.results = {o.name: a for o, a in zip(self.session.get_outputs(), self.compute(np.zeros(self.image_shape, np.uint8)))}

    num_io_tensors = property(lambda self: 1 + len(self.results))

    def get_tensor_name(self, index: int) -> str:
        return ["image", *self.results][index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name == "image" else TensorIOMode.OUTPUT

    def compute(self, image: np.ndarray) -> list[np.ndarray]:
        return self.session.run(None, {"image": image})

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.image_shape) if name == "image" else self.results[name].shape

    def get_tensor_dtype(self, name: str) -> np.dtype:
        return np.dtype(np.uint8) if name == "image" else self.results[name].dtype

    def create_engine_inspector(self) -> SimpleNamespace:
        layers = [{"Name": "conv", "Outputs": [{"Format/Datatype": kind_of_layers}]}, "a name"]
        return SimpleNamespace(get_engine_information=lambda format: json.dumps({"Layers": layers, "Bindings": []}))

    def create_execution_context(self) -> "Context":
        return Context(self)


class Context:
    def __init__(self, engine: Engine) -> None:
        self._engine, self._addresses = engine, {}

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        fake_cuda.enqueue(self._run)
        return True

    def _run(self) -> None:
        size = int(np.prod(self._engine.image_shape))
        image = np.frombuffer(ctypes.string_at(self._addresses["image"], size), np.uint8).reshape(self._engine.image_shape)
        for name, value in zip(self._engine.results, self._engine.compute(image)):
            data = np.ascontiguousarray(value).tobytes()
            ctypes.memmove(self._addresses[name], data, len(data))


def nptype(trt_type: np.dtype) -> type:
    return trt_type.type
