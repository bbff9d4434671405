"""The engines themselves: the same answer from every SDK, and a clear refusal of what is no engine."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny_engine
from onnx import TensorProto, helper

from panoptic_ros import engine as engines
from panoptic_ros import manifest
from panoptic_ros.core import Engine, PanopticError
from panoptic_ros.engine import BACKENDS, open_engine
from panoptic_ros.manifest import Manifest

backends = pytest.mark.parametrize("backend", BACKENDS)


@pytest.fixture(autouse=True)
def installed(request: pytest.FixtureRequest) -> None:
    if "backend" in request.fixturenames:
        pytest.importorskip(request.getfixturevalue("backend"))


def test_a_drawing_is_decoded(engine: Engine) -> None:
    slots = engine.run(tiny_engine.scene()[np.newaxis])
    expected = np.full((16, 24), 1)
    expected[:8] = 2
    expected[8:12, 2:8] = 3
    expected[6:12, 16:18] = 5
    assert (slots.ids == expected).all()
    assert slots.category.tolist() == [7, 23, 26, 26, 24]
    assert slots.score == pytest.approx([160 / 384, 188 / 384, 24 / 384, 0, 12 / 384])
    assert slots.embedding.tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0]]


def test_outputs_are_read_only(engine: Engine) -> None:
    slots = engine.run(tiny_engine.scene()[np.newaxis])
    assert not any(getattr(slots, name).flags.writeable for name in ("ids", "category", "score", "embedding"))


def test_a_read_only_image_is_as_good_as_any(engine: Engine) -> None:
    image = tiny_engine.scene()[np.newaxis]
    expected = engine.run(image).ids.copy()
    image.flags.writeable = False
    engine.run_network_only(image)
    assert (engine.run(image).ids == expected).all()


def test_the_network_runs_alone_and_changes_nothing(engine: Engine) -> None:
    image = tiny_engine.scene()[np.newaxis]
    before = engine.run(image).ids.copy()
    assert engine.run_network_only(np.zeros_like(image)) is None
    assert (engine.run(image).ids == before).all()


def test_the_description_says_what_runs(engine: Engine) -> None:
    assert {"backend", "version", "device", "precision", "threads"} <= set(engine.description)
    assert engine.description["precision"] == "fp32"
    assert engine.description["device"].startswith("CPU")


def test_all_backends_agree(tiny: Manifest) -> None:
    opened = [open_engine(tiny.with_size(96, 160), backend) for backend in BACKENDS if pytest.importorskip(backend)]
    for seed in range(10):
        image = np.random.default_rng(seed).integers(0, 256, (1, 96, 160, 3)).astype(np.uint8)
        first, *others = (engine.run(image) for engine in opened)
        for other in others:
            assert (other.ids == first.ids).all()
            assert (other.category == first.category).all()
            assert other.score == pytest.approx(first.score)


@backends
def test_one_file_serves_every_size(tiny: Manifest, backend: str) -> None:
    for height, width in ((32, 32), (64, 160), (256, 512)):
        slots = open_engine(tiny.with_size(height, width), backend).run(np.zeros((1, height, width, 3), np.uint8))
        assert slots.ids.shape == (height // 4, width // 4)


def test_threads_are_obeyed(tiny: Manifest) -> None:
    for backend in BACKENDS:
        assert open_engine(tiny, backend, threads=1).description["threads"] == "1"


def test_pinned_threads_give_the_same_answer(tiny: Manifest) -> None:
    image, threads = tiny_engine.scene()[np.newaxis], len(os.sched_getaffinity(0))
    for backend in BACKENDS:
        assert open_engine(tiny, backend, threads=threads, pin=True).run(image).category.tolist() == [7, 23, 26, 26, 24]


def test_openvino_keeps_what_it_compiled(tiny: Manifest, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    image = tiny_engine.scene()[np.newaxis]
    first = open_engine(tiny, "openvino", cache=tmp_path).run(image).ids.copy()
    (blob,) = tmp_path.glob("*.blob")
    assert (open_engine(tiny, "openvino", cache=tmp_path).run(image).ids == first).all()
    blob.write_bytes(blob.read_bytes()[:100])  # a start that was killed, a full disk
    assert (open_engine(tiny, "openvino", cache=tmp_path).run(image).ids == first).all()


CLOSED_IN_ORDER = """
import signal, sys
from panoptic_ros import manifest
from panoptic_ros.engine import open_engine
signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
first, second = [open_engine(manifest.load(sys.argv[1]), "openvino") for _ in range(2)]
del first
del second
signal.raise_signal(signal.SIGUSR1)
"""


def test_signals_are_handled_after_openvino_engines_were_closed(tiny_folder: Path) -> None:
    pytest.importorskip("openvino")
    command = [sys.executable, "-c", CLOSED_IN_ORDER, str(tiny_folder)]
    assert subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout == "handled\n"


def test_openvino_trusts_no_cache_that_others_can_write_to(tiny: Manifest, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(PanopticError, match="can be written by others"):
        open_engine(tiny, "openvino", cache=tmp_path / "open")


@pytest.fixture
def half_engine(tiny: Manifest) -> Engine:
    """The tiny engine in bf16, where the CPU has it."""
    pytest.importorskip("openvino")
    try:
        return open_engine(tiny, "openvino", precision="bf16")
    except PanopticError as error:
        assert "it computes in fp32" in str(error)  # noqa: PT017
        pytest.skip("this CPU has no bf16")


def test_bf16_rounds_the_network_and_not_the_decoder(half_engine: Engine) -> None:
    """Its scores are shares of 384 cells, which bf16 with its 8 bits cannot hold."""
    slots = half_engine.run(tiny_engine.scene()[np.newaxis])
    assert half_engine.description["precision"] == "bf16"
    assert slots.score == pytest.approx([160 / 384, 188 / 384, 24 / 384, 0, 12 / 384], rel=1e-6)
    assert slots.category.tolist() == [7, 23, 26, 26, 24]


def test_the_network_alone_leaves_a_bf16_engine_intact(half_engine: Engine) -> None:
    image = tiny_engine.scene()[np.newaxis]
    before = half_engine.run(image).ids.copy()
    half_engine.run_network_only(np.zeros_like(image))
    assert (half_engine.run(image).ids == before).all()


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"backend": "tensorflow"}, "unknown backend 'tensorflow': backends are auto, openvino, onnxruntime, tensorrt"),
        ({"backend": "openvino", "device": "tpu"}, "no device 'tpu': devices are auto, cpu"),
        ({"backend": "onnxruntime", "device": "tpu"}, "no device 'tpu' here: choices are auto, cpu"),
        ({"backend": "openvino", "precision": "int4"}, "precision 'int4' is not possible .*fp32"),
        ({"backend": "onnxruntime", "precision": "bf16"}, "no precision 'bf16' here: choices are fp32, int8"),
        ({"threads": -1}, "threads=-1 is out of range: 0"),
        ({"threads": 1024, "pin": True}, "threads=1024 cannot be pinned: this process has"),
        ({"precision": "int8+bf16"}, "has no int8 file"),
        ({"precision": "int8"}, r"has no int8 file: .*model.int8.json does not exist; run .*--precision int8"),
    ],
)
def test_an_unknown_choice_is_answered_with_the_possible_ones(tiny: Manifest, choice: dict, message: str) -> None:
    with pytest.raises(PanopticError, match=message):
        open_engine(tiny, **choice)


def test_a_missing_sdk_is_answered_with_how_to_install_it(tiny: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PanopticError, match="onnxruntime is not installed: run `pip install onnxruntime`"):
        open_engine(tiny, "onnxruntime")
    with pytest.raises(PanopticError, match="openvino or onnxruntime is not installed: run `pip install openvino`"):
        open_engine(tiny)
    with pytest.raises(PanopticError, match="torch is not installed: run `pip install torch`"):
        open_engine(tiny, "torch_export")


def test_auto_takes_what_is_installed(tiny: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    found = engines.importlib.util.find_spec
    monkeypatch.setattr(engines.importlib.util, "find_spec", lambda name: name != "openvino" and found(name))
    assert open_engine(tiny).description["backend"] == "onnxruntime"


def without_output(name: str) -> onnx.ModelProto:
    model = tiny_engine.graph()
    kept = [output for output in model.graph.output if output.name != name]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    return model


def with_float_ids() -> onnx.ModelProto:
    model = tiny_engine.graph()
    cast = next(node for node in model.graph.node if node.output[0] == "ids")
    cast.attribute[0].i = TensorProto.FLOAT
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    return model


def with_fixed_size() -> onnx.ModelProto:
    model = tiny_engine.graph()
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("image", TensorProto.UINT8, [1, 32, 32, 3]))
    return model


TINY_BYTES = tiny_engine.graph().SerializeToString()


@backends
@pytest.mark.parametrize(
    ("model", "changes", "message"),
    [
        (b"", {}, "cannot run .*model.onnx as image -> ids, category, score, embedding"),
        (b"junk", {}, "cannot run"),
        (TINY_BYTES[: len(TINY_BYTES) // 2], {}, "cannot run"),
        (without_output("score"), {}, "cannot run .*score"),
        (with_float_ids(), {}, r"output ids is float32 \(16, 24\); its manifest says uint8 \(16, 24\)"),
        (None, {"slots": 6}, r"output category is int32 \(5,\); its manifest says int32 \(6,\)"),
        (None, {"embedding": 12}, r"output embedding is float32 \(5, 4\); its manifest says float32 \(5, 12\)"),
        (None, {"decode_stride": 8}, r"output ids is uint8 \(16, 24\); its manifest says uint8 \(8, 12\)"),
        (None, {"labels": tiny_engine.LABELS[1:]}, r"ids \[1\] have no slot or no label"),  # grey is road
    ],
)
def test_what_is_no_engine_is_refused(
    tmp_path: Path, backend: str, model: onnx.ModelProto | bytes | None, changes: dict, message: str
) -> None:
    described = manifest.load(tiny_engine.write(tmp_path, model, **changes))
    with pytest.raises(PanopticError, match=message):
        open_engine(described, backend)


def test_a_file_of_one_fixed_size_cannot_run_at_another(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(PanopticError, match="onnxruntime cannot run .*invalid dimensions"):
        open_engine(manifest.load(tiny_engine.write(tmp_path, with_fixed_size())), "onnxruntime")


@backends
def test_a_missing_network_output_is_named(tmp_path: Path, backend: str) -> None:
    engine = open_engine(manifest.load(tiny_engine.write(tmp_path, network_output="logits")), backend)
    with pytest.raises(PanopticError, match="no tensor 'logits', its manifest's network_output"):
        engine.run_network_only(np.zeros((1, 64, 96, 3), np.uint8))


def test_openvino_does_not_resize_to_the_size_that_is_there() -> None:
    ov = pytest.importorskip("openvino")
    from openvino import opset13

    from panoptic_ros.backends.openvino import _drop_idle_resizing

    x = opset13.parameter([1, 2, 8, 8], np.float32)
    positive = opset13.relu(x)
    same, twice = (
        opset13.interpolate(positive, np.int64([side, side]), "linear_onnx", "sizes", axes=np.int64([2, 3])) for side in (8, 16)
    )
    same.output(0).set_names({"same"})
    model = ov.Model([same, twice], [x])
    image = np.random.default_rng(0).random((1, 2, 8, 8), np.float32)
    before = [value.copy() for value in ov.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([image]).values()]
    _drop_idle_resizing(model)
    assert sum(operation.get_type_name() == "Interpolate" for operation in model.get_ops()) == 1
    assert model.output("same").get_index() == 0
    after = list(ov.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([image]).values())
    assert (after[0] == image).all() and np.allclose(before[0], image)
    assert after[1].shape == (1, 2, 16, 16) and (after[1] == before[1]).all()
