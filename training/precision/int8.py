"""INT8 as explicit Q/DQ: scales in the graph, so that OpenVINO, ONNX Runtime and strongly typed TensorRT networks agree on them.

Symmetric throughout (TensorRT knows no zero points; OpenVINO gets by with finer steps, `panoptic_ros.backends.openvino_int8`),
weights per output channel, activations per tensor. Only the inputs and weights of convolutions are quantised: each SDK fuses the
activation and the rounding behind a convolution by itself.
"""

import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from panoptic_ros.core import PanopticError
from training.precision.network_part import network_part

FLOAT_LAST = 5
"""How many of the network's last convolutions stay in floating point: what they compute is read as directions and logarithms,
which INT8 changes most (`training.verify` shows it). For a model that does with fewer there is `float_last`."""


def to_int8(
    model: onnx.ModelProto, network_output: str, images: Iterable[np.ndarray], float_last: int = FLOAT_LAST
) -> onnx.ModelProto:
    """A copy of `model` whose network is quantised. images: (1,h,w,3) uint8, for the ranges of the activations: the mean over
    the images of each one's largest magnitude, which a single odd frame does not spoil. Raises PanopticError for a network that
    has no convolutions but those that stay in floating point."""
    source = onnx.ModelProto()
    source.CopyFrom(model)
    source.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")  # the exporter has folded what there is
    for index, node in enumerate(source.graph.node):
        node.name = node.name or f"node_{index}"  # quantize_static chooses by name
    convolutions = [node.name for node in network_part(source.graph, network_output) if node.op_type == "Conv"]
    if float_last < 0:
        raise PanopticError(f"{float_last} last convolutions in floating point: 0 or more")
    chosen = convolutions[: max(0, len(convolutions) - float_last)]
    if not chosen:  # an empty list would mean all of them to quantize_static
        raise PanopticError(
            f"the network has {len(convolutions)} convolutions; the last {float_last} stay in floating point, so that INT8 has "
            "nothing to do"
        )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "int8.onnx"
        quantize_static(
            source, file, _Reader(images), quant_format=QuantFormat.QDQ, op_types_to_quantize=["Conv"],
            nodes_to_quantize=chosen, per_channel=True, activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8, calibrate_method=CalibrationMethod.MinMax,
            extra_options={
                "ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False, "CalibMovingAverage": True,
                "OpTypesToExcludeOutputQuantization": ["Conv"],
            },
        )  # fmt: skip
        result = onnx.load(file)
    del result.metadata_props[:], result.graph.value_info[:]
    onnx.checker.check_model(result)
    return result


class _Reader(CalibrationDataReader):
    """The images in the form that onnxruntime.quantization asks for."""

    def __init__(self, images: Iterable[np.ndarray]) -> None:
        self._images = iter(images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self._images, None)
        return None if image is None else {"image": image}
