"""INT8 in OpenVINO: what is never negative has all 256 levels, what may be negative stays as the file says."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from panoptic_ros import images, manifest
from panoptic_ros.engine import open_engine
from panoptic_ros.sources import STREET_CLIP

ov = pytest.importorskip("openvino")

from panoptic_ros.backends import openvino as backend  # noqa: E402
from panoptic_ros.backends.openvino_int8 import use_unsigned  # noqa: E402

STEP = 0.1
MOST = 127 * STEP
NODES = {
    "relu": [("Relu", ["x"], {})],
    "clip": [("Clip", ["x", "zero", "most"], {})],
    "maximum": [("Max", ["x", "zero"], {})],
    "minimum of two": [("Relu", ["x"], {}, "a"), ("Relu", ["x"], {}, "b"), ("Min", ["a", "b"], {})],
    "sum of two": [("Relu", ["x"], {}, "a"), ("Sigmoid", ["x"], {}, "b"), ("Add", ["a", "b"], {})],
    "beside coordinates": [("Relu", ["x"], {}, "a"), ("Concat", ["a", "coordinates"], {"axis": 1})],
    "pooled": [("Relu", ["x"], {}, "a"), ("MaxPool", ["a"], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]})],
    "upsampled": [("Relu", ["x"], {}, "a"), ("Resize", ["a", "", "twice"], {"mode": "linear"})],
}
SIGNED = {
    "itself": [("Identity", ["x"], {})],
    "clip": [("Clip", ["x", "minus", "most"], {})],
    "maximum": [("Max", ["x", "minus"], {})],
    "minimum": [("Relu", ["x"], {}, "a"), ("Min", ["a", "x"], {})],
    "sum": [("Relu", ["x"], {}, "a"), ("Add", ["a", "x"], {})],
    "difference": [("Relu", ["x"], {}, "a"), ("Sub", ["a", "most"], {})],
    "beside a signed constant": [("Relu", ["x"], {}, "a"), ("Concat", ["a", "signed"], {"axis": 1})],
    "upsampled by a cubic": [("Relu", ["x"], {}, "a"), ("Resize", ["a", "", "twice"], {"mode": "cubic"})],
}


def _model(nodes: list[tuple]) -> "ov.Model":
    """x (1,2,8,8) float -> nodes -> quantised and back."""
    ramp = np.linspace(0.01, 3, 64, dtype=np.float32).reshape(1, 1, 8, 8)
    constants = {
        "zero": np.float32(0), "minus": np.float32(-5), "most": np.float32(MOST), "coordinates": ramp, "signed": ramp - 1,
        "twice": np.float32([1, 1, 2, 2]), "step": np.float32(STEP), "point": np.int8(0),
    }  # fmt: skip
    made = [helper.make_node(node[0], node[1], [node[3] if len(node) > 3 else "raw"], **node[2]) for node in nodes]
    made.append(helper.make_node("QuantizeLinear", ["raw", "step", "point"], ["levels"]))
    made.append(helper.make_node("DequantizeLinear", ["levels", "step", "point"], ["y"]))
    graph = helper.make_graph(
        made, "quantised", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 8, 8])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("y", "raw")],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return backend.CORE.read_model(model.SerializeToString())


def _errors(model: "ov.Model") -> np.ndarray:
    """How far each value is from what was quantised."""
    x = np.random.default_rng(0).uniform(-4, 6, (1, 2, 8, 8)).astype(np.float32)
    found = backend.CORE.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([x])
    return np.abs(found[0] - found[1])


@pytest.mark.parametrize("nodes", NODES.values(), ids=NODES)
def test_what_is_never_negative_has_256_levels(nodes: list[tuple]) -> None:
    before, model = _errors(_model(nodes)), _model(nodes)
    use_unsigned(model)
    after = _errors(model)
    assert before.max() > 1.5 * MOST / 255 / 2, "the file has as many levels already"
    assert after.max() <= 1.001 * MOST / 255 / 2


@pytest.mark.parametrize("nodes", SIGNED.values(), ids=SIGNED)
def test_what_may_be_negative_stays_as_it_is(nodes: list[tuple]) -> None:
    before, model = _errors(_model(nodes)), _model(nodes)
    use_unsigned(model)
    assert (_errors(model) == before).all()


def test_a_bundled_network_has_every_quantised_convolution_in_int8_and_half_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    model = manifest.load("hle_mnv2")
    image = next(images.frames(STREET_CLIP))[np.newaxis]
    assert image.shape[1:3] == model.size
    exact = _network_output(model, "fp32", image)
    found = _network_output(model, "int8", image)
    kept_in_float = 1  # the last convolution: `--float-last 1`
    description = open_engine(model, "openvino", precision="int8").description["convolutions"]
    assert description.endswith(f", {kept_in_float} f32")
    monkeypatch.setattr(backend, "use_unsigned", lambda model: None)
    symmetric = _network_output(model, "int8", image)
    assert np.abs(found - exact).mean() < 0.6 * np.abs(symmetric - exact).mean()


def _network_output(model: manifest.Manifest, precision: str, image: np.ndarray) -> np.ndarray:
    engine = open_engine(model, "openvino", precision=precision)
    engine.run_network_only(image)
    return engine._network_request.get_output_tensor(0).data.copy()
