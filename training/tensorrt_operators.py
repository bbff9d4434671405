"""Can TensorRT take an exported graph? Each operator, its types and limits against the published list, without TensorRT.

Source: the ONNX parser's docs/operators.md (github.com/onnx/onnx-tensorrt) as of TensorRT 10.0 and 10.15; where they differ, the
stricter of the two. The ONNX opset guide of TensorRT 11 refers to the same list (opsets 9 to 25); its release notes up to 11.2
add operators and remove none. K of TopK: operator documentation of 11, at most 3840; the list says less than that.
"""

import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

OPSETS = range(9, 21)
"""Of TensorRT 10.0; later versions read later ones too."""

MAX_K = 3839

_FLOAT = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16})
_NUMBER = _FLOAT | {TensorProto.INT32, TensorProto.INT64}
_ANY = _NUMBER | {TensorProto.BOOL}

TYPES = (
    dict.fromkeys(
        ("AveragePool", "BatchNormalization", "Ceil", "Clip", "Conv", "ConvTranspose", "CumSum", "Elu", "Erf", "Exp", "Floor",
         "Gemm", "GlobalAveragePool", "GlobalMaxPool", "GroupNormalization", "HardSigmoid", "HardSwish", "InstanceNormalization",
         "LayerNormalization", "LeakyRelu", "Log", "LogSoftmax", "MatMul", "MaxPool", "Pow", "QuantizeLinear", "Reciprocal",
         "Resize", "Round", "Sigmoid", "Softmax", "Softplus", "Sqrt", "Tanh"),
        _FLOAT,
    )
    | dict.fromkeys(
        ("Abs", "Add", "ArgMax", "ArgMin", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Min",
         "Mod", "Mul", "Neg", "Pad", "Range", "ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum",
         "ReduceSumSquare", "Relu", "ScatterElements", "ScatterND", "Sign", "Sub", "Sum", "TopK"),
        _NUMBER,
    )
    | dict.fromkeys(
        ("Concat", "Constant", "ConstantOfShape", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity",
         "Reshape", "Shape", "Slice", "Split", "Squeeze", "Tile", "Transpose", "Trilu", "Unsqueeze", "Where"),
        _ANY,
    )
    | dict.fromkeys(("And", "Not", "Or", "Xor"), frozenset({TensorProto.BOOL}))
    | {"Cast": _ANY | {TensorProto.UINT8}, "DequantizeLinear": frozenset({TensorProto.INT8})}
)  # fmt: skip
"""Operator -> element types of its data."""

_RESIZE = {
    "mode": ("nearest", "linear"),
    "coordinate_transformation_mode": ("half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn", "asymmetric", "align_corners"),
    "nearest_mode": ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"),
    "keep_aspect_ratio_policy": ("stretch",),
    "antialias": (0,),
}


def problems(model: onnx.ModelProto) -> list[str]:
    """What in a graph TensorRT does not list, one sentence each; empty for a graph that it should take."""
    found = [f"opset {o.version} of {o.domain or 'ONNX'}" for o in model.opset_import if o.domain or o.version not in OPSETS]
    types, constants = _types(model), {weight.name: weight for weight in model.graph.initializer}
    ends = {value.name for value in (*model.graph.input, *model.graph.output)}
    for node in model.graph.node:
        where = f"{node.op_type} {node.name or node.output[0]}"
        if node.op_type not in TYPES:
            found.append(f"{where}: no such operator in the list")
            continue
        data = node.input[1:3] if node.op_type == "Where" else node.input[:1]
        for name in (*data, *(node.output if node.op_type == "Cast" else ())):
            kind = types.get(name)
            if kind is None:
                found.append(f"{where}: the type of {name} cannot be inferred")
            elif kind not in TYPES[node.op_type] or (kind == TensorProto.UINT8 and name not in ends):
                found.append(f"{where}: {name} is {TensorProto.DataType.Name(kind)}")
        found += [f"{where}: {limit}" for limit in _limits(node, constants)]
    return found


def _types(model: onnx.ModelProto) -> dict[str, int]:
    graph = shape_inference.infer_shapes(model).graph
    typed = {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.input, *graph.output)}
    return typed | {weight.name: weight.data_type for weight in graph.initializer}


def _limits(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> list[str]:
    """The restrictions of the list that an operator breaks."""
    given = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    if node.op_type == "TopK":
        k = constants.get(node.input[1])
        large = k is None or int(numpy_helper.to_array(k).item()) > MAX_K
        return [f"K must be a constant of at most {MAX_K}"] * large + ["sorted must be 1"] * (given.get("sorted", 1) != 1)
    if node.op_type.startswith("Reduce") or node.op_type in ("Slice", "Squeeze", "Unsqueeze"):
        axes = node.input[3 if node.op_type == "Slice" else 1 :][:1]
        return ["axes must be constants"] * any(name and name not in constants for name in axes)
    if node.op_type == "CumSum":
        return ["its axis must be a constant"] * (node.input[1] not in constants)
    if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        zero = constants.get(node.input[2]) if len(node.input) > 2 else None
        return ["the zero point must be 0"] * (zero is not None and bool(numpy_helper.to_array(zero).any()))
    if node.op_type in ("MaxPool", "AveragePool"):
        dilated = any(step != 1 for step in given.get("dilations", ()))
        return ["no indices as output"] * (len(node.output) > 1) + ["no dilations"] * dilated
    if node.op_type == "ScatterND":
        return ["no reduction"] * (given.get("reduction", b"none") != b"none")
    if node.op_type == "Resize":
        plain = {key: value.decode() if isinstance(value, bytes) else value for key, value in given.items()}
        return [f"{key} {plain[key]}" for key, legal in _RESIZE.items() if key in plain and plain[key] not in legal]
    return []
