"""OpenVINO: the default on CPUs."""

import numpy as np
import openvino as ov

from panoptic_ros.answer import finish_of, outputs_of
from panoptic_ros.core import Engine, PanopticError, Slots
from panoptic_ros.manifest import Manifest

_PRECISIONS = {"fp32": ov.Type.f32, "bf16": ov.Type.bf16, "fp16": ov.Type.f16}


def open_backend(manifest: Manifest, device: str, precision: str, threads: int) -> Engine:
    """device: `auto` (the CPU) or one that OpenVINO lists; precision: fp32, or bf16 or fp16 where the device computes in it."""
    core = ov.Core()
    name = "CPU" if device == "auto" else device.upper()
    if name not in core.available_devices:
        choices = ", ".join(found.lower() for found in core.available_devices)
        raise PanopticError(f"OpenVINO has no device {device!r}: devices are auto, {choices}")
    able = [key for key in _PRECISIONS if key.upper() in core.get_property(name, "OPTIMIZATION_CAPABILITIES")]
    if precision not in able:
        raise PanopticError(f"precision {precision!r} is not possible on OpenVINO's {name}: it computes in {', '.join(able)}")
    # The precision is always said: left out, OpenVINO takes bf16 on the CPUs that have it.
    config = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1", "INFERENCE_PRECISION_HINT": _PRECISIONS[precision]}
    if threads:
        config["INFERENCE_NUM_THREADS"] = threads
    return OpenVinoEngine(core, manifest, name, config)


class OpenVinoEngine:
    """See `core.Engine`. One infer request, fed and read without copies where OpenVINO can."""

    def __init__(self, core: ov.Core, manifest: Manifest, device: str, config: dict[str, object]) -> None:
        self.size = manifest.size
        self._core, self._manifest, self._device, self._config = core, manifest, device, config
        self._finish = finish_of(manifest)
        compiled = core.compile_model(self._read(), device, config)
        self._request = compiled.create_infer_request()
        self._network_request: ov.InferRequest | None = None
        used = {kind: name for name, kind in _PRECISIONS.items()}
        self.description = {
            "backend": "openvino",
            "version": ov.__version__.split("-")[0],
            "device": f"{device} ({core.get_property(device, 'FULL_DEVICE_NAME')})",
            "precision": used[compiled.get_property("INFERENCE_PRECISION_HINT")],
            "threads": str(compiled.get_property("INFERENCE_NUM_THREADS")) if device == "CPU" else "-",
        }

    def run(self, image: np.ndarray) -> Slots:
        _infer(self._request, image)
        return self._finish(*(_view(self._request.get_tensor(name)) for name in outputs_of(self._finish)))

    def run_network_only(self, image: np.ndarray) -> None:
        if self._network_request is None:
            network = self._core.compile_model(self._cut(), self._device, self._config)
            self._network_request = network.create_infer_request()
        _infer(self._network_request, image)

    def _read(self) -> ov.Model:
        model = self._core.read_model(self._manifest.onnx)
        model.reshape({"image": [1, *self.size, 3]})
        return model

    def _cut(self) -> ov.Model:
        """The graph up to the network's output."""
        model, wanted = self._read(), self._manifest.network_output
        outputs = [output for operation in model.get_ordered_ops() for output in operation.outputs()]
        found = [output for output in outputs if any(name.partition("/")[0] == wanted for name in output.get_names())]
        if not found:
            raise PanopticError(f"{self._manifest.onnx} has no tensor {wanted!r}, its manifest's network_output")
        return ov.Model(found, model.get_parameters())


def _infer(request: ov.InferRequest, image: np.ndarray) -> None:
    shared = image.flags.writeable  # OpenVINO shares no read-only memory: such an image, a view of a message, is copied
    request.set_input_tensor(ov.Tensor(image, shared_memory=shared))
    request.infer()


def _view(tensor: ov.Tensor) -> np.ndarray:
    view = tensor.data
    view.flags.writeable = False
    return view
