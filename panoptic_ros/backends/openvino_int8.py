"""INT8 files made to fit OpenVINO, whose 8-bit activations may be unsigned.

The files are symmetric, because TensorRT knows nothing else: a tensor behind a ReLU, which is never negative, has 128 of the 256
levels. In OpenVINO it can have all of them, between the same limits, which halves its error. And a concatenation stays in
floating point there if one of its inputs is a constant in signed levels, such as the coordinates of a decoder step.
"""

import numpy as np
import openvino as ov
from openvino import opset13
from openvino.passes import ConstantFolding, Manager
from openvino.utils import replace_output_update_name

_DEQUANTIZED = ("Multiply", "Subtract", "Convert", "Convert", "FakeQuantize")
"""What OpenVINO reads QuantizeLinear and DequantizeLinear as, from the last operation to the first."""

_IF_FIRST_IS_NOT = ("Broadcast", "MaxPool", "ReduceMean")
_IF_NONE_IS = ("Add", "Concat", "Minimum")
_BETWEEN = ("nearest", "linear", "linear_onnx")
"""Modes of an Interpolate whose values lie between those of its input."""


def use_unsigned(model: ov.Model) -> None:
    """Quantise what is never negative with 256 levels from 0 to its largest value. model: its shapes are known."""
    folded = model.clone()  # the weights of `model` itself must not be folded: they would be FP32 afterwards
    passes = Manager()
    passes.register_pass(ConstantFolding())
    passes.run_passes(folded)
    known = {operation.get_friendly_name(): operation for operation in folded.get_ops()}
    found: dict[str, bool] = {}
    for operation in model.get_ordered_ops():
        quantize = _quantize(operation)
        if quantize and _symmetric(known[operation.get_friendly_name()]):
            value, _, most, *_ = known[quantize.get_friendly_name()].input_values()
            if _never_negative(value, found):
                unsigned = _unsigned(quantize.input_value(0), most.get_node().get_data())
                replace_output_update_name(operation.output(0), unsigned)


def _quantize(operation: ov.Node) -> ov.Node | None:
    """The FakeQuantize whose values `operation` gives back, if it does."""
    for kind in _DEQUANTIZED[:-1]:
        if operation.get_type_name() != kind:
            return None
        operation = operation.input_value(0).get_node()
    return operation if operation.get_type_name() == _DEQUANTIZED[-1] else None


def _symmetric(dequantized: ov.Node) -> bool:
    """8 bits with signs, around 0, and given back with the step that they were taken with."""
    shifted, quantize = dequantized.input_value(0).get_node(), _quantize(dequantized)
    step, point, most = (node.input_value(i).get_node() for node, i in ((dequantized, 1), (shifted, 1), (quantize, 2)))
    if any(node.get_type_name() != "Constant" for node in (step, point, most)) or quantize.get_attributes()["levels"] != 256:
        return False
    return not point.get_data().any() and np.allclose(127 * step.get_data(), most.get_data())


def _unsigned(value: ov.Output, most: np.ndarray) -> ov.Output:
    zero, top = opset13.constant(np.float32(0)), opset13.constant(np.float32(255))
    levels = opset13.convert(opset13.fake_quantize(value, zero, opset13.constant(most), zero, top, 256), "u8")
    return opset13.multiply(opset13.convert(levels, "f32"), opset13.constant(most / np.float32(255))).output(0)


def _never_negative(value: ov.Output, found: dict[str, bool]) -> bool:
    """found: what is known of other operations, by their names; it grows."""
    operation = value.get_node()
    kind, name = operation.get_type_name(), operation.get_friendly_name()
    if name not in found:
        inputs = operation.input_values()
        if kind == "Constant":
            found[name] = bool((operation.get_data() >= 0).all())
        elif kind == "Clamp":
            found[name] = operation.get_attributes()["min"] >= 0
        elif kind in _IF_FIRST_IS_NOT or kind == "Interpolate" and operation.get_attributes()["mode"] in _BETWEEN:
            found[name] = _never_negative(inputs[0], found)
        elif kind == "Maximum":
            found[name] = any(_never_negative(part, found) for part in inputs)
        elif kind in _IF_NONE_IS:
            found[name] = all(_never_negative(part, found) for part in inputs)
        elif quantize := _quantize(operation):
            found[name] = _never_negative(quantize.input_value(0), found)
        else:
            found[name] = kind == "Relu"
    return found[name]
