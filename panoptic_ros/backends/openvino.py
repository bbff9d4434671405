"""OpenVINO: the default on CPUs."""

from collections import Counter

import numpy as np
import openvino as ov
from openvino import opset13
from openvino.utils import replace_output_update_name

from panoptic_ros.answer import finish_of, outputs_of
from panoptic_ros.backends import plan_cache
from panoptic_ros.backends.openvino_int8 import use_unsigned
from panoptic_ros.core import Engine, EngineOptions, PanopticError, Slots
from panoptic_ros.manifest import Manifest

_TYPES = {"fp32": ov.Type.f32, "bf16": ov.Type.bf16, "fp16": ov.Type.f16}
"""Of what is floating point in the network; in an int8 file most convolutions are not."""

_PRECISIONS = (*_TYPES, "int8", "int8+bf16")

CORE = ov.Core()
"""The only one of the process, and never closed: each gives the thread that uses it first another stack for signal handlers, and
when several are closed in the order they were opened, leaves that thread one whose memory is unmapped. The next signal with a
handler, Ctrl-C or the end of a child, is then a segmentation fault (OpenVINO 2026.4)."""


def open_backend(manifest: Manifest, options: EngineOptions) -> Engine:
    """device: `auto` (the CPU) or one that OpenVINO lists; precision: fp32, or where the device has it bf16, fp16, int8, or
    int8+bf16, which is an int8 file with its other layers in bf16."""
    device = "CPU" if options.device == "auto" else options.device.upper()
    if device not in CORE.available_devices:
        choices = ", ".join(found.lower() for found in CORE.available_devices)
        raise PanopticError(f"OpenVINO has no device {options.device!r}: devices are auto, {choices}")
    has = CORE.get_property(device, "OPTIMIZATION_CAPABILITIES")
    able = [precision for precision in _PRECISIONS if all(part.upper() in has for part in precision.split("+"))]
    if options.precision not in able:
        raise PanopticError(
            f"precision {options.precision!r} is not possible on OpenVINO's {device}: it computes in {', '.join(able)}"
        )
    config: dict[str, object] = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1"}
    if options.threads:
        config["INFERENCE_NUM_THREADS"] = options.threads
    if options.pin and device == "CPU":
        config["ENABLE_CPU_PINNING"] = True
    if options.cache:  # OpenVINO checks what lies there against the graph, the device and its own version, not who wrote it
        plan_cache.private_folder(options.cache)
        config["CACHE_DIR"] = str(options.cache)
    return OpenVinoEngine(manifest, device, config, options.precision)


class OpenVinoEngine:
    """See `core.Engine`. One infer request, fed and read without copies where OpenVINO can.

    At half precision the graph is compiled in two parts, because the decoder must not be rounded and OpenVINO has one precision
    for a whole graph. The decoder reads the network's output where it lies.
    """

    def __init__(self, manifest: Manifest, device: str, config: dict[str, object], precision: str) -> None:
        self.size = manifest.size
        self._manifest, self._device = manifest, device
        self._finish = finish_of(manifest)
        # The precision is always said: left out, OpenVINO takes bf16 on the CPUs that have it.
        self._exact = config | {"INFERENCE_PRECISION_HINT": ov.Type.f32}
        floats = _TYPES.get(precision.rpartition("+")[2], ov.Type.f32)
        self._config = config | {"INFERENCE_PRECISION_HINT": floats}
        self._network_request: ov.InferRequest | None = None
        self._decoder_request: ov.InferRequest | None = None
        if floats != ov.Type.f32:
            compiled = self._open_in_two()
        else:
            compiled = CORE.compile_model(self._read(), device, self._config)
            self._request = compiled.create_infer_request()
        self.description = {
            "backend": "openvino",
            "version": ov.__version__.split("-")[0],
            "device": f"{device} ({CORE.get_property(device, 'FULL_DEVICE_NAME')})",
            "precision": f"fp16 file in {precision}" if manifest.precision == "fp16" != precision else precision,
            "convolutions": _convolutions(compiled),
            "threads": str(compiled.get_property("INFERENCE_NUM_THREADS")) if device == "CPU" else "-",
        }

    def run(self, image: np.ndarray) -> Slots:
        if self._decoder_request is None:
            request = self._request
        else:
            request = self._decoder_request
            _infer(self._network_request, image)
        _infer(request, image)
        return self._finish(*(_view(request.get_tensor(name)) for name in outputs_of(self._finish)))

    def run_network_only(self, image: np.ndarray) -> None:
        if self._network_request is None:
            network = CORE.compile_model(self._network(), self._device, self._config)
            self._network_request = network.create_infer_request()
        _infer(self._network_request, image)

    def _open_in_two(self) -> ov.CompiledModel:
        """Two requests, the second fed with the outputs of the first; the network is returned."""
        network = CORE.compile_model(self._network(), self._device, self._config)
        self._network_request = network.create_infer_request()
        decoder = CORE.compile_model(self._decoder(), self._device, self._exact)
        self._decoder_request = decoder.create_infer_request()
        for index in range(len(network.outputs)):
            self._decoder_request.set_input_tensor(index, self._network_request.get_output_tensor(index))
        return network

    def _read(self) -> ov.Model:
        model = CORE.read_model(self._manifest.onnx)
        model.reshape({"image": [1, *self.size, 3]})
        _drop_idle_resizing(model)
        if self._manifest.precision == "int8":
            use_unsigned(model)
        return model

    def _network(self) -> ov.Model:
        """The graph up to the network's output."""
        model = self._read()
        return ov.Model(self._cut(model), model.get_parameters())

    def _decoder(self) -> ov.Model:
        """The graph after it. Its last input is the image again, for its shape, and for what does not go through the cut."""
        model = self._read()
        parts = self._cut(model)
        # named, because names are part of what OpenVINO's cache goes by, and those that it makes up differ each time
        inputs = [opset13.parameter(part.get_shape(), ov.Type.f32, name=f"part{number}") for number, part in enumerate(parts)]
        for part, replacement in zip(parts, inputs):
            for target in part.get_target_inputs():
                target.replace_source_output(replacement.output(0))
        return ov.Model(model.get_results(), [*inputs, *model.get_parameters()])

    def _cut(self, model: ov.Model) -> list[ov.Output]:
        """The tensors between network and decoder, in the order of their names."""
        wanted = self._manifest.network_output
        found = {
            name: output
            for operation in model.get_ordered_ops()
            for output in operation.outputs()
            for name in output.get_names()
            if name.partition("/")[0] == wanted
        }
        if not found:
            raise PanopticError(f"{self._manifest.onnx} has no tensor {wanted!r}, its manifest's network_output")
        return [found[name] for name in sorted(found)]


def _drop_idle_resizing(model: ov.Model) -> None:
    """Resizing to the size that is there already, as to a grid that depends on the input's height, takes OpenVINO its time."""
    for operation in model.get_ops():
        if operation.get_type_name() == "Interpolate" and operation.get_input_shape(0) == operation.get_output_shape(0):
            replace_output_update_name(operation.output(0), operation.input_value(0))


def _convolutions(compiled: ov.CompiledModel) -> str:
    """How many of them the device really computes in which precision, such as `72 u8, 5 f32`."""
    layers = (operation.get_rt_info() for operation in compiled.get_runtime_model().get_ops())
    found = Counter(layer["runtimePrecision"].astype(str) for layer in layers if "Convolution" in layer["layerType"].astype(str))
    return ", ".join(f"{count} {precision}" for precision, count in found.most_common()) or "none"


def _infer(request: ov.InferRequest, image: np.ndarray) -> None:
    shared = image.flags.writeable  # OpenVINO shares no read-only memory: such an image, a view of a message, is copied
    request.set_tensor("image", ov.Tensor(image, shared_memory=shared))
    request.infer()


def _view(tensor: ov.Tensor) -> np.ndarray:
    view = tensor.data
    view.flags.writeable = False
    return view
