"""INT8 in OpenVINO: what is never negative has all 256 levels, what may be negative stays as the file says."""

from itertools import islice
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from panoptic_ros import images, manifest
from panoptic_ros.core import PanopticError
from panoptic_ros.engine import open_engine
from panoptic_ros.sources import STREET_CLIP

ov = pytest.importorskip("openvino")

from openvino import opset13  # noqa: E402

from panoptic_ros.backends import openvino as backend  # noqa: E402
from panoptic_ros.backends.openvino_int8 import use_unsigned  # noqa: E402

X = np.random.default_rng(0).uniform(-4, 6, (1, 2, 8, 8)).astype(np.float32)
STEP = 0.1
MOST = 127 * STEP
NODES = {
    "relu": [("Relu", ["x"], {})],
    "clip": [("Clip", ["x", "zero", "most"], {})],
    "maximum": [("Max", ["x", "zero"], {})],
    "minimum of two": [("Relu", ["x"], {}, "a"), ("Relu", ["x"], {}, "b"), ("Min", ["a", "b"], {})],
    "sum of two": [("Relu", ["x"], {}, "a"), ("Clip", ["x", "zero", "most"], {}, "b"), ("Add", ["a", "b"], {})],
    "mean": [("Relu", ["x"], {}, "a"), ("ReduceMean", ["a", "last"], {})],
    "quantised before": [
        ("Relu", ["x"], {}, "a"),
        ("QuantizeLinear", ["a", "step", "point"], {}, "b"),
        ("DequantizeLinear", ["b", "step", "point"], {}, "c"),
        ("Add", ["a", "c"], {}),
    ],
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
    "padded": [("Relu", ["x"], {}, "a"), ("Pad", ["a", "one on each side", "minus"], {})],
    "swish": [("HardSwish", ["x"], {})],
    "upsampled by a cubic": [("Relu", ["x"], {}, "a"), ("Resize", ["a", "", "twice"], {"mode": "cubic"})],
}


OTHERS = {
    "another step": {"step back": np.float32(2 * STEP)},
    "another zero point": {"point back": np.int8(10)},
    "unsigned already": {"point": np.uint8(0), "point back": np.uint8(0)},
}


def _model(nodes: list[tuple], **other: np.generic) -> "ov.Model":
    """x (1,2,8,8) float -> nodes -> quantised and back, and what was quantised. other: constants that are to differ."""
    ramp = np.linspace(0.01, 3, 64, dtype=np.float32).reshape(1, 1, 8, 8)
    constants = {
        "zero": np.float32(0), "minus": np.float32(-5), "most": np.float32(MOST), "coordinates": ramp, "signed": ramp - 1,
        "twice": np.float32([1, 1, 2, 2]), "step": np.float32(STEP), "point": np.int8(0), "last": np.int64([3]),
        "step back": np.float32(STEP), "point back": np.int8(0), "one on each side": np.int64([0, 0, 1, 1, 0, 0, 1, 1]),
    } | other  # fmt: skip
    made = [helper.make_node(node[0], node[1], [node[3] if len(node) > 3 else "raw"], **node[2]) for node in nodes]
    made.append(helper.make_node("QuantizeLinear", ["raw", "step", "point"], ["levels"]))
    made.append(helper.make_node("DequantizeLinear", ["levels", "step back", "point back"], ["y"]))
    graph = helper.make_graph(
        made, "quantised", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 8, 8])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("y", "raw")],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return backend.CORE.read_model(model.SerializeToString())


def _errors(model: "ov.Model") -> np.ndarray:
    """How far each value is from what was quantised."""
    found = backend.CORE.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([X])
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


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_what_is_quantised_otherwise_stays_as_it_is(other: dict[str, np.generic]) -> None:
    before, model = _errors(_model(NODES["relu"], **other)), _model(NODES["relu"], **other)
    use_unsigned(model)
    assert (_errors(model) == before).all()


def test_all_that_read_a_tensor_get_its_levels() -> None:
    model = _model(NODES["relu"])
    (result,) = (result for result in model.get_results() if "y" in result.input_value(0).get_names())
    back = result.input_value(0)
    model.add_results([opset13.result(opset13.multiply(back, opset13.constant(np.float32(factor)))) for factor in (2, 3)])
    use_unsigned(model)
    found = backend.CORE.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([X])
    exact, twice, thrice = found[1], found[2] / 2, found[3] / 3
    for levels in (found[0], twice, thrice):
        assert np.abs(levels - exact).max() <= 1.001 * MOST / 255 / 2


def test_a_bundled_network_has_every_quantised_convolution_in_int8_and_less_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """`hle_mnv2`, whose last convolution alone is in floating point (`--float-last 1`), on eight frames."""
    model = manifest.load("hle_mnv2")
    frames = [frame[np.newaxis] for frame in islice(images.frames(STREET_CLIP), 0, 64, 8)]
    assert all(frame.shape[1:3] == model.size for frame in frames)
    exact = _network_outputs("fp32", frames)[1]
    description, unsigned = _network_outputs("int8", frames)
    assert description.endswith(", 1 f32")
    monkeypatch.setattr(backend, "use_unsigned", lambda model: None)
    description, symmetric = _network_outputs("int8", frames)
    assert not description.endswith(", 1 f32")
    assert np.abs(unsigned - exact).mean() < 0.65 * np.abs(symmetric - exact).mean()


def _network_outputs(precision: str, frames: list[np.ndarray]) -> tuple[str, np.ndarray]:
    """In which precisions its convolutions are, and what the network gives for each frame."""
    engine = open_engine(manifest.load("hle_mnv2"), "openvino", precision=precision)
    found = []
    for frame in frames:
        engine.run_network_only(frame)
        found.append(engine._network_request.get_output_tensor(0).data.copy())
    return engine.description["convolutions"], np.stack(found)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8", "int8+bf16"])
def test_what_was_compiled_once_is_found_again(tmp_path: Path, precision: str) -> None:
    cache = tmp_path / "cache"
    counts = []
    for _ in range(3):
        try:
            open_engine(manifest.load("hle_mnv2"), "openvino", precision=precision, cache=cache)
        except PanopticError as error:
            pytest.skip(str(error))  # a CPU without bf16
        counts.append(len(list(cache.iterdir())))
    assert counts[0] > 0 and counts == [counts[0]] * 3
