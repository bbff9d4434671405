"""FP16 in the types of the graph, as strongly typed TensorRT networks need it: the network in half, all else in FP32.

onnxruntime.transformers.float16 does much of this, but it passes every tensor between two operators that it leaves alone through
FP16, and so would round the decoder's logarithms, which must not be.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

from panoptic_ros.core import PanopticError
from training.precision.network_part import cut_names, network_part

DELICATE = frozenset(
    {"BatchNormalization", "InstanceNormalization", "GroupNormalization", "LayerNormalization", "Softmax", "LogSoftmax", "Exp",
     "Log", "Pow", "Sqrt", "Reciprocal", "ReduceMean", "ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare"}
)  # fmt: skip
"""Operators of the network that stay in FP32: norms, sums and exponentials, whose inner values leave FP16's range."""

POINTWISE = frozenset(
    {"Add", "Sub", "Mul", "Div", "Neg", "Abs", "Relu", "Clip", "Concat", "Split", "Gather", "Slice", "Reshape", "Unsqueeze",
     "Squeeze", "Transpose", "Flatten"}
)  # fmt: skip
"""Operators that stay in FP32 where all that use them do: what goes from one delicate operator to the next, such as the squares
whose mean is the moment of a normalisation."""

LARGEST = float(np.finfo(np.float16).max)

TYPED_INPUTS = {"Resize": 1}
"""How many inputs have the type of the data, where not all do: the scales of Resize are FP32 always."""


def half_nodes(model: onnx.ModelProto, network_output: str) -> tuple[set[str], set[str]]:
    """The first outputs of the nodes that compute in FP16, and all tensors that are FP32 before the conversion."""
    part = network_part(model.graph, network_output)
    users: dict[str, list[str]] = {name: [] for node in part for name in node.output}
    exact, cuts = set(), set(cut_names(model.graph, network_output))
    for node in reversed(part):
        used_by = [user for name in node.output for user in users[name]]
        between = node.op_type in POINTWISE and used_by and exact.issuperset(used_by) and cuts.isdisjoint(node.output)
        if node.op_type in DELICATE or between:
            exact.add(node.output[0])
        for name in users.keys() & set(node.input):
            users[name].append(node.output[0])
    return {node.output[0] for node in part} - exact, _float_tensors(model)


def to_half(model: onnx.ModelProto, network_output: str) -> onnx.ModelProto:
    """A copy of `model` with the network in FP16 and a cast on each edge into and out of it. Raises PanopticError if a weight
    does not fit FP16."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    inside, floats = half_nodes(model, network_output)
    half = {name for node in graph.node if node.output[0] in inside for name in node.output if name in floats}
    converted = _Half(graph, floats, half)
    for node in graph.node:
        converted.rewire(node, node.output[0] in inside)
    for name in cut_names(model.graph, network_output):
        converted.keep_name(name)
    changed = [onnx.NodeProto.FromString(node.SerializeToString()) for node in converted.nodes]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(changed)
    _drop_unused(graph)
    onnx.checker.check_model(result)
    return result


class _Half:
    """The nodes of the new graph in their order, with the casts that were needed so far."""

    def __init__(self, graph: onnx.GraphProto, floats: set[str], half: set[str]) -> None:
        """floats: all FP32 tensors. half: those that become FP16."""
        self.nodes: list[onnx.NodeProto] = []
        self._graph, self._floats, self._half = graph, floats, half
        self._weights = {weight.name: weight for weight in graph.initializer}
        self._made: dict[tuple[str, bool], str] = {}

    def rewire(self, node: onnx.NodeProto, inside: bool) -> None:
        """Add a node, its FP32 inputs replaced by their FP16 twins if it is `inside`, its FP16 inputs by FP32 twins if not."""
        typed = TYPED_INPUTS.get(node.op_type, len(node.input)) if inside else len(node.input)
        for index, name in enumerate(node.input):
            wants_half = inside and index < typed
            if name in self._floats and wants_half != (name in self._half):
                node.input[index] = self._twin(name, wants_half)
        self.nodes.append(node)

    def keep_name(self, name: str) -> None:
        """A tensor that others ask for by name stays FP32 under it; where it became FP16, that is `<name>_half`."""
        if name not in self._half:
            return
        exact = self._twin(name, half=False)
        for node in self.nodes:
            for names in (node.input, node.output):
                for index, found in enumerate(names):
                    names[index] = {name: f"{name}_half", exact: name}.get(found, found)

    def _twin(self, name: str, half: bool) -> str:
        key = (name, half)
        if key not in self._made:
            self._made[key] = f"{name}_{'fp16' if half else 'fp32'}"
            if name in self._weights:
                self._graph.initializer.append(_half_weight(self._weights[name], self._made[key]))
            else:
                to = TensorProto.FLOAT16 if half else TensorProto.FLOAT
                self.nodes.append(helper.make_node("Cast", [name], [self._made[key]], f"cast_{self._made[key]}", to=to))
        return self._made[key]


def _float_tensors(model: onnx.ModelProto) -> set[str]:
    graph = shape_inference.infer_shapes(model, data_prop=False).graph
    typed = [*graph.value_info, *graph.output, *graph.input]
    found = {value.name for value in typed if value.type.tensor_type.elem_type == TensorProto.FLOAT}
    return found | {weight.name for weight in graph.initializer if weight.data_type == TensorProto.FLOAT}


def _half_weight(weight: onnx.TensorProto, name: str) -> onnx.TensorProto:
    values = numpy_helper.to_array(weight)
    largest = float(np.abs(values).max(initial=0))
    if not largest <= LARGEST:
        raise PanopticError(f"weight {weight.name} reaches {largest:g}, beyond FP16, whose largest number is {LARGEST:.0f}")
    return numpy_helper.from_array(values.astype(np.float16), name)


def _drop_unused(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    kept = [weight for weight in graph.initializer if weight.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
