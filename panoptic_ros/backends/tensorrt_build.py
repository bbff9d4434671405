"""ONNX -> TensorRT plan, as a strongly typed network: the precision is the one in the graph, for 10.12 and later and for 11.

Written from the Python API documentation of TensorRT 10 and 11 and the bindings' source of 11.1; not yet run on a GPU, see
docs/engines.md.
"""

import json
import logging
import re
import threading
import time
from collections import Counter
from pathlib import Path

import tensorrt as trt

from panoptic_ros.backends import plan_cache
from panoptic_ros.core import EngineOptions, PanopticError
from panoptic_ros.manifest import Manifest

OLDEST = (10, 12)
REPORT_EVERY_S = 5.0

_TYPES = {"fp32": ("Float", "FP32"), "fp16": ("Half", "FP16"), "int8": ("Int8", "INT8")}
"""What the engine inspector calls each precision: the type alone in TensorRT 11, or in the words of a format in 10."""

_log = logging.getLogger(__name__)


class Log(trt.ILogger):
    """TensorRT's messages in our log; the last error is kept, because the API only returns None."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.last_error = ""

    def log(self, severity: "trt.ILogger.Severity", message: str) -> None:
        if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
            self.last_error = message
            _log.error("%s", message)


class Progress(trt.IProgressMonitor):
    """A line in the log every few seconds. Called from several threads of the builder."""

    def __init__(self) -> None:
        trt.IProgressMonitor.__init__(self)
        self._lock = threading.Lock()
        self._steps: dict[str, int] = {}
        self._started = self._told = time.monotonic()

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        with self._lock:
            self._steps[phase_name] = num_steps

    def step_complete(self, phase_name: str, step: int) -> bool:
        """Returns whether to go on."""
        with self._lock:
            now = time.monotonic()
            if now - self._told >= REPORT_EVERY_S:
                self._told = now
                _log.info(
                    "building for %d s: %s, step %d of %d", now - self._started, phase_name, step, self._steps.get(phase_name, 0)
                )
        return True

    def phase_finish(self, phase_name: str) -> None:
        with self._lock:
            self._steps.pop(phase_name, None)


def check_version() -> None:
    """Raises PanopticError for a TensorRT that is too old to build these graphs as they are."""
    version = tuple(int(part) for part in trt.__version__.split(".")[:2])
    if version < OLDEST:
        raise PanopticError(f"TensorRT {trt.__version__} is too old: {OLDEST[0]}.{OLDEST[1]} or later, or 11, is needed")


def build(model: Manifest, options: EngineOptions, log: Log, timings: Path | None, network_only: bool = False) -> bytes:
    """The plan of `model.onnx` at `model.size`, or of its part up to the network's output. timings: file of TensorRT's timing
    cache, which is read and written. Raises PanopticError with what TensorRT said."""
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(model.onnx.read_bytes()):
        errors = [str(parser.get_error(index)) for index in range(parser.num_errors)]
        raise PanopticError(f"TensorRT {trt.__version__} cannot read {model.onnx}: {'; '.join(errors) or log.last_error}")
    if network_only:
        _cut(network, model)
    network.get_input(0).shape = (1, *model.size, 3)  # static: no profile, and all shapes are known to the builder
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.tensorrt_workspace_mib << 20)
    config.builder_optimization_level = options.tensorrt_level
    if timings:
        _take_timings(config, plan_cache.read(timings, _log.info) or b"")
    config.clear_flag(trt.BuilderFlag.TF32)  # on by default; it would round the decoder's log Phi to 10 bits
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # or the inspector knows no precision
    progress = Progress()  # must outlive the build
    config.progress_monitor = progress
    _log.info("building %s %s at %dx%d; this takes minutes, once", model.model, model.precision, *model.size)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise PanopticError(f"TensorRT {trt.__version__} cannot build {model.onnx}: {log.last_error or 'it gave no reason'}")
    if timings:
        plan_cache.write(timings, bytes(config.get_timing_cache().serialize()))
    return bytes(plan)


def _take_timings(config: "trt.IBuilderConfig", known: bytes) -> None:
    """What was timed before is not timed again, unless TensorRT finds that it does not belong to this GPU and version."""
    cache = config.create_timing_cache(known)
    if cache is None or not config.set_timing_cache(cache, False):
        config.set_timing_cache(config.create_timing_cache(b""), False)


def _cut(network: "trt.INetworkDefinition", model: Manifest) -> None:
    """Leave the network's output as the only output; the builder drops what nobody reads then."""
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    tensors = [layer.get_output(index) for layer in layers for index in range(layer.num_outputs)]
    wanted = [tensor for tensor in tensors if tensor.name.partition("/")[0] == model.network_output]
    if not wanted:
        raise PanopticError(f"{model.onnx} has no tensor {model.network_output!r}, its manifest's network_output")
    for output in [network.get_output(index) for index in range(network.num_outputs)]:
        network.unmark_output(output)
    for tensor in wanted:
        network.mark_output(tensor)


def layer_precisions(engine: "trt.ICudaEngine") -> Counter[str]:
    """How many layers write fp32, fp16 and int8, as the engine inspector says."""
    inspector = engine.create_engine_inspector()
    return count_precisions(inspector.get_engine_information(trt.LayerInformationFormat.JSON))


def count_precisions(information: str) -> Counter[str]:
    """information: the inspector's JSON. A tensor's type is in `Format/Datatype` in TensorRT 10; 11 splits that in two."""
    found: Counter[str] = Counter()
    for layer in json.loads(information)["Layers"]:
        outputs = layer["Outputs"] if isinstance(layer, dict) else []  # only names, where the plan was built without details
        for output in outputs[:1]:
            said = next((output[key] for key in ("Datatype", "DataType", "Format/Datatype") if key in output), "")
            words = set(re.findall(r"\w+", said))
            found.update(name for name, names in _TYPES.items() if words & set(names))
    return found


def check_precision(found: Counter[str], precision: str, where: str) -> None:
    """Raises PanopticError if not one layer has the precision that was asked for."""
    if not found[precision]:
        have = ", ".join(f"{count} {name}" for name, count in found.items()) or "of no known precision"
        raise PanopticError(f"{where} was asked for in {precision}, but its layers are {have}")
