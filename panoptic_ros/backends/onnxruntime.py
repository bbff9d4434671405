"""ONNX Runtime on the CPU."""

import os

import numpy as np
import onnxruntime as ort

from panoptic_ros.answer import finish_of, outputs_of
from panoptic_ros.core import Engine, EngineOptions, PanopticError, Slots
from panoptic_ros.manifest import Manifest


def open_backend(manifest: Manifest, options: EngineOptions) -> Engine:
    """device: `auto` or `cpu`; precision: fp32 or int8. It keeps nothing in a cache: it opens in a moment."""
    choices = {"device": ("auto", "cpu"), "precision": ("fp32", "int8")}
    for name, legal in choices.items():
        value = getattr(options, name)
        if value not in legal:
            raise PanopticError(f"ONNX Runtime has no {name} {value!r} here: choices are {', '.join(legal)}")
    return OnnxRuntimeEngine(manifest, options)


class OnnxRuntimeEngine:
    """See `core.Engine`."""

    def __init__(self, manifest: Manifest, options: EngineOptions) -> None:
        self.size = manifest.size
        self._manifest, self._options = manifest, options
        self._finish = finish_of(manifest)
        self._session = self._open(manifest.onnx.read_bytes())
        self._network_session: ort.InferenceSession | None = None
        self.description = {
            "backend": "onnxruntime",
            "version": ort.__version__,
            "device": "CPU",
            "precision": "fp16 file in fp32" if manifest.precision == "fp16" else manifest.precision,
            "threads": str(options.threads) if options.threads else "one per physical core",
        }

    def run(self, image: np.ndarray) -> Slots:
        outputs = self._session.run(outputs_of(self._finish), {"image": image})
        for output in outputs:
            output.flags.writeable = False
        return self._finish(*outputs)

    def run_network_only(self, image: np.ndarray) -> None:
        if self._network_session is None:
            self._network_session = self._open(_cut(self._manifest))
        self._network_session.run(None, {"image": image})

    def _open(self, model: bytes) -> ort.InferenceSession:
        options, threads = ort.SessionOptions(), self._options.threads
        options.intra_op_num_threads = threads
        if self._options.pin and threads > 1:  # the caller's is the first of the threads; with 0 they are pinned anyway
            cores = sorted(os.sched_getaffinity(0))[1:threads]
            options.add_session_config_entry("session.intra_op_thread_affinities", ";".join(str(core + 1) for core in cores))
        options.log_severity_level = 3  # errors; its warnings are about the graph, which no user can change
        for name, side in zip("hw", self.size):
            options.add_free_dimension_override_by_name(name, side)
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _cut(manifest: Manifest) -> bytes:
    """The graph up to the network's output; what comes after it is dropped when the session optimises the graph."""
    try:
        import onnx
    except ImportError as error:
        raise PanopticError("ONNX Runtime runs the network alone only with onnx installed: run `pip install onnx`") from error
    model = onnx.load(manifest.onnx)
    names = [name for node in model.graph.node for name in node.output if name.partition("/")[0] == manifest.network_output]
    if not names:
        raise PanopticError(f"{manifest.onnx} has no tensor {manifest.network_output!r}, its manifest's network_output")
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return model.SerializeToString()
