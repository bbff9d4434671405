"""Every exported graph keeps to what TensorRT lists; and what it does not list is found."""

import numpy as np
import onnx
import pytest
import tiny_engine
from onnx import TensorProto, helper, numpy_helper

from panoptic_ros import manifest, variant
from training.precision.half import to_half
from training.tensorrt_operators import problems

BUNDLED = sorted(manifest.models())


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_model_is_within_the_list_in_every_precision(name: str) -> None:
    model = manifest.load(name)
    graph = onnx.load(model.onnx)
    assert problems(graph) == []
    assert problems(to_half(graph, model.network_output)) == []
    assert problems(onnx.load(variant.load(model, "int8").onnx)) == []


def one_node(op_type: str, inputs: dict[str, np.ndarray], *constants: str, **attributes: object) -> onnx.ModelProto:
    """A graph of one operator. inputs: by name; those in `constants` are initializers."""
    kinds = {name: helper.np_dtype_to_tensor_dtype(value.dtype) for name, value in inputs.items()}
    node = helper.make_node(op_type, list(inputs), ["y", "z"] if op_type == "TopK" else ["y"], "it", **attributes)
    values = [helper.make_tensor_value_info(name, kinds[name], inputs[name].shape) for name in inputs if name not in constants]
    weights = [numpy_helper.from_array(inputs[name], name) for name in constants]
    graph = helper.make_graph([node], "one", values, [onnx.ValueInfoProto(name="y")], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


X = np.zeros((1, 5000), np.float32)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (one_node("TopK", {"x": X, "k": np.array([100])}, "k"), []),
        (one_node("TopK", {"x": X, "k": np.array([3840])}, "k"), ["TopK it: K must be a constant of at most 3839"]),
        (one_node("TopK", {"x": X, "k": np.array([100])}), ["TopK it: K must be a constant of at most 3839"]),
        (one_node("TopK", {"x": X, "k": np.array([100])}, "k", sorted=0), ["TopK it: sorted must be 1"]),
        (one_node("Unique", {"x": X}), ["Unique it: no such operator in the list"]),
        (one_node("Sigmoid", {"x": X.astype(np.float64)}), ["Sigmoid it: x is DOUBLE"]),
        (one_node("Transpose", {"x": X.astype(np.uint8)}), ["Transpose it: x is UINT8"]),
        (one_node("Shape", {"x": X.astype(np.uint8)}), ["Shape it: x is UINT8"]),
        (one_node("Clip", {"x": X.astype(np.int32)}), ["Clip it: x is INT32"]),
        (one_node("ReduceSum", {"x": X, "axes": np.array([1])}), ["ReduceSum it: axes must be constants"]),
        (one_node("Squeeze", {"x": X, "axes": np.array([0])}), ["Squeeze it: axes must be constants"]),
        (one_node("QuantizeLinear", {"x": X, "s": np.float32(1), "z": np.uint8(9)}, "s", "z"),
         ["QuantizeLinear it: the zero point must be 0"]),
        (one_node("Resize", {"x": X[None, None], "r": X[0, :0], "s": np.ones(4, np.float32)}, "s", mode="cubic"),
         ["Resize it: mode cubic"]),
    ],
)  # fmt: skip
def test_what_is_not_listed_is_found(model: onnx.ModelProto, expected: list[str]) -> None:
    assert problems(model) == expected


def test_a_later_opset_and_another_domain_are_found() -> None:
    model = one_node("Sigmoid", {"x": X})
    del model.opset_import[:]
    model.opset_import.extend([helper.make_opsetid("", 24), helper.make_opsetid("com.microsoft", 1)])
    assert problems(model) == ["opset 24 of ONNX", "opset 1 of com.microsoft"]


def test_uint8_is_for_inputs_and_outputs_only() -> None:
    model = tiny_engine.graph()
    assert problems(model) == ["Slice sampled: image is UINT8", "Cast float: sampled is UINT8"]
    assert next(value for value in model.graph.output if value.name == "ids").type.tensor_type.elem_type == TensorProto.UINT8
