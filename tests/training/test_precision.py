"""Rounding a graph: what becomes FP16 or INT8, what must not, and that the answers stay."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny_engine
import torch
from onnx import TensorProto, helper, numpy_helper, shape_inference
from torch import nn

from panoptic_ros import manifest, variant
from panoptic_ros.core import PanopticError
from panoptic_ros.engine import open_engine
from panoptic_ros.verify import compare
from training.nets.fpn import GroupNorm
from training.onnx_export import OPSET
from training.precision import int8
from training.precision.emulate import emulated_engine, rounded
from training.precision.half import to_half
from training.precision.network_part import network_part


def element_types(model: onnx.ModelProto) -> dict[str, int]:
    graph = shape_inference.infer_shapes(model).graph
    typed = {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.input, *graph.output)}
    return typed | {weight.name: weight.data_type for weight in graph.initializer}


def layered(weight: float = 0.5) -> onnx.ModelProto:
    """Normalisation, two convolutions with a norm and a resize between them, the cut, and a decoder with a shared constant."""
    rng = np.random.default_rng(0)
    constants = {
        "mean": np.full((1, 3, 1, 1), 100, np.float32), "w1": np.full((4, 3, 1, 1), weight, np.float32),
        "w2": rng.normal(size=(2, 4, 1, 1)).astype(np.float32), "ones": np.ones(4, np.float32),
        "zeros": np.zeros(4, np.float32), "low": np.float32(0), "scales": np.array([1, 1, 2, 2], np.float32),
    }  # fmt: skip
    node = helper.make_node
    nodes = [
        node("Sub", ["image", "mean"], ["centred"], "normalise"),
        node("Conv", ["centred", "w1"], ["c1"], "conv1"),
        node("BatchNormalization", ["c1", "ones", "zeros", "zeros", "ones"], ["normed"], "norm"),
        node("Clip", ["normed", "low"], ["clipped"], "clip"),
        node("Resize", ["clipped", "", "scales"], ["larger"], "resize", mode="linear"),
        node("Conv", ["larger", "w2"], ["network"], "conv2"),
        node("Exp", ["network"], ["exponential"], "exp"),
        node("Clip", ["exponential", "low"], ["answer"], "clip_answer"),
    ]
    graph = helper.make_graph(
        nodes, "layered", [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 4, 4])],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, [1, 2, 8, 8])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def test_the_network_goes_from_the_first_convolution_to_the_cut() -> None:
    assert [node.name for node in network_part(layered().graph, "network")] == [
        "conv1", "norm", "clip", "resize", "conv2"
    ]  # fmt: skip
    with pytest.raises(PanopticError, match="the graph has no tensor 'logits', its manifest's network_output"):
        network_part(layered().graph, "logits")


def test_convolutions_become_half_and_norms_and_decoder_do_not() -> None:
    types = element_types(to_half(layered(), "network"))
    half = {name for name, kind in types.items() if kind == TensorProto.FLOAT16}
    assert half == {
        "centred_fp16", "w1_fp16", "c1", "normed_fp16", "low_fp16", "clipped", "larger", "w2_fp16", "network_half"
    }  # fmt: skip
    exact = {name for name, kind in types.items() if kind == TensorProto.FLOAT}
    assert {"image", "mean", "centred", "normed", "ones", "scales", "low", "network", "exponential", "answer"} <= exact


def test_fp32_weights_that_nobody_reads_any_more_are_gone() -> None:
    assert {weight.name for weight in to_half(layered(), "network").graph.initializer} & {"w1", "w2"} == set()


def test_the_original_is_left_alone() -> None:
    model = layered()
    before = model.SerializeToString()
    to_half(model, "network")
    assert model.SerializeToString() == before


def test_a_weight_beyond_fp16_is_refused() -> None:
    with pytest.raises(PanopticError, match="weight w1 reaches 70000, beyond FP16, whose largest number is 65504"):
        to_half(layered(weight=70000.0), "network")


def test_emulated_fp16_rounds_between_two_operators() -> None:
    """3 * 2047 is 6141, which FP16 holds as 6140; 6000 less is exact in both."""
    import onnxruntime

    model = chain(2)
    eye = np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)
    del model.graph.initializer[:]
    values = {"w0": 3 * eye, "w1": eye, "b1": np.full(3, -6000, np.float32)}
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in values.items())
    model.graph.node[1].input.append("b1")
    image = np.full((1, 3, 8, 8), 2047, np.float32)
    found = []
    for graph in (model, rounded(model, "network")):
        session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
        found.append(np.unique(session.run(["network"], {"image": image})[0]).tolist())
    assert found == [[141.0], [140.0]]


def test_emulated_fp16_normalises_what_has_squares_beyond_its_range(tmp_path: Path) -> None:
    """Group normalisation as it is exported, of numbers up to 3,000."""
    import onnxruntime

    torch.manual_seed(0)
    norm = GroupNorm(2, 16)
    module = nn.Sequential(nn.Conv2d(3, 16, 1), norm, nn.Conv2d(16, 4, 1)).eval()
    with torch.no_grad():
        module[0].weight.mul_(10)
        image = 300 * torch.randn(1, 3, 8, 8)
        assert module[0](image).abs().max() > 2000
        program = torch.onnx.export(
            module, (image,), dynamo=True, input_names=["image"], output_names=["network"], opset_version=OPSET, verbose=False
        )
        expected = module(image).numpy()
    session = onnxruntime.InferenceSession(
        rounded(program.model_proto, "network").SerializeToString(), providers=["CPUExecutionProvider"]
    )
    found = session.run(["network"], {"image": image.numpy()})[0]
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_emulated_fp16_leaves_norms_and_the_decoder_exact() -> None:
    graph = rounded(layered(1 + 2**-12), "network").graph
    weights = {weight.name: numpy_helper.to_array(weight) for weight in graph.initializer}
    assert np.unique(weights["w1"]).tolist() == [1.0]
    casts = [node.input[0] for node in graph.node if node.op_type == "Cast" and node.name.startswith("down_")]
    assert casts == ["c1_exact", "clipped_exact", "larger_exact", "network_exact"]


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [tiny_engine.scene()[np.newaxis], *(rng.integers(0, 256, (1, 64, 96, 3)).astype(np.uint8) for _ in range(3))]


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_rounded_engine_answers_as_before(tmp_path: Path, images: list[np.ndarray], precision: str) -> None:
    model = manifest.load(tiny_engine.write(tmp_path / "tiny"))
    graph = onnx.load(model.onnx)
    rounded = to_half(graph, "network") if precision == "fp16" else int8.to_int8(graph, "network", images, float_last=0)
    variant.save(model, precision, rounded.SerializeToString(), "a test")
    for backend in ("openvino", "onnxruntime"):
        pytest.importorskip(backend)
        engine = open_engine(variant.load(model, precision), backend, precision="fp32" if precision == "fp16" else precision)
        pixels, _ = compare(open_engine(model, backend).run(images[0]), engine.run(images[0]))
        assert pixels == 1.0
        assert engine.description["precision"] == {"fp16": "fp16 file in fp32", "int8": "int8"}[precision]
    emulated = emulated_engine(model)
    assert emulated.description["precision"] == "fp16, emulated"
    assert compare(open_engine(model).run(images[0]), emulated.run(images[0]))[0] == 1.0


def test_int8_has_scales_per_output_channel_and_no_zero_points(images: list[np.ndarray]) -> None:
    graph = int8.to_int8(tiny_engine.graph(), "network", images, float_last=0).graph
    constants = {weight.name: numpy_helper.to_array(weight) for weight in graph.initializer}
    scales = {node.name: constants[node.input[1]] for node in graph.node if node.op_type.endswith("izeLinear")}
    assert sorted(scale.size for scale in scales.values()) == [1, 1, 6]  # image in and out of INT8, six filters
    points = [constants[node.input[2]] for node in graph.node if node.op_type.endswith("izeLinear")]
    assert all(point.dtype == np.int8 and not point.any() for point in points)
    assert [node.op_type for node in graph.node if node.op_type == "ConvInteger" or node.domain] == []


def test_the_last_convolutions_stay_in_floating_point(images: list[np.ndarray]) -> None:
    with pytest.raises(PanopticError, match="has 1 convolutions; the last 5 stay in floating point"):
        int8.to_int8(tiny_engine.graph(), "network", images)
    with pytest.raises(PanopticError, match="the last 5 stay"):
        int8.to_int8(chain(4), "network", images)
    with pytest.raises(PanopticError, match="0 or more"):
        int8.to_int8(chain(4), "network", images, float_last=-1)
    rng = np.random.default_rng(0)
    found = int8.to_int8(chain(4), "network", [rng.random((1, 3, 8, 8), np.float32)], float_last=1)
    maker = {name: node.op_type for node in found.graph.node for name in node.output}
    inputs = [maker.get(node.input[0]) for node in found.graph.node if node.op_type == "Conv"]
    assert inputs == ["DequantizeLinear", "DequantizeLinear", "DequantizeLinear", "Conv"]


def chain(length: int) -> onnx.ModelProto:
    """Convolutions one after the other."""
    rng = np.random.default_rng(1)
    names = ["image", *(f"c{index}" for index in range(1, length)), "network"]
    nodes = [
        helper.make_node("Conv", [names[i], f"w{i}"], [names[i + 1]], f"conv{i}") for i in range(length)
    ]  # fmt: skip
    weights = [numpy_helper.from_array(rng.normal(size=(3, 3, 1, 1)).astype(np.float32), f"w{i}") for i in range(length)]
    shaped = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 8, 8]) for name in ("image", "network")]
    graph = helper.make_graph(nodes, "chain", shaped[:1], shaped[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
