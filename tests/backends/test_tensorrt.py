"""The TensorRT backend without TensorRT: its flow, cache and errors on stand-ins; and, where a GPU is, the real thing."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import tiny_engine

from panoptic_ros import engine as engines
from panoptic_ros import manifest, variant
from panoptic_ros.core import PanopticError
from panoptic_ros.engine import open_engine
from panoptic_ros.manifest import Manifest
from tests.backends import fake_cuda, fake_tensorrt


@pytest.mark.usefixtures("backend")
def test_each_image_is_one_launch_of_the_captured_graph(model: Manifest) -> None:
    engine = open_engine(model, "tensorrt", precision="fp16")  # one grey image to warm up
    slots = engine.run(tiny_engine.scene()[np.newaxis])
    assert slots.score == pytest.approx([160 / 384, 188 / 384, 24 / 384, 0, 12 / 384])
    assert np.unique(slots.ids).tolist() == [1, 2, 3, 5]
    assert np.unique(engine.run(np.zeros((1, 64, 96, 3), np.uint8)).ids).tolist() == [0]
    assert fake_cuda.launches == 3
    assert not slots.ids.flags.writeable


@pytest.mark.usefixtures("backend")
def test_it_says_what_really_runs(model: Manifest) -> None:
    described = open_engine(model, "tensorrt", precision="fp16").description
    assert described == {
        "backend": "tensorrt", "version": "10.13.0", "device": "Fake Orin (sm_87)", "precision": "fp16", "layers": "1 fp16",
        "threads": "-",
    }  # fmt: skip


@pytest.mark.usefixtures("backend")
def test_fp16_that_became_fp32_is_an_error(model: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake_tensorrt, "kind_of_layers", "Row major linear FP32")
    with pytest.raises(PanopticError, match="model.fp16.onnx was asked for in fp16, but its layers are 1 fp32"):
        open_engine(model, "tensorrt", precision="fp16")
    assert open_engine(model, "tensorrt").description["layers"] == "1 fp32"


@pytest.mark.usefixtures("backend")
def test_the_plan_is_built_for_each_precision_size_and_version_once(model: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    open_engine(model, "tensorrt", precision="fp16")
    open_engine(model, "tensorrt", precision="fp16")
    assert fake_tensorrt.builds == 1
    open_engine(model.with_size(32, 32), "tensorrt", precision="fp16")
    assert fake_tensorrt.builds == 2
    monkeypatch.setattr(fake_tensorrt, "__version__", "11.1.0")
    open_engine(model, "tensorrt", precision="fp16")
    assert fake_tensorrt.builds == 3
    monkeypatch.setattr(fake_tensorrt, "kind_of_layers", "Int8")
    open_engine(model, "tensorrt", precision="int8")
    assert fake_tensorrt.builds == 4


def test_force_builds_again(backend: ModuleType, model: Manifest) -> None:
    options = engines.EngineOptions(precision="fp16")
    half = variant.load(model, "fp16")
    for force in (False, True, False):
        backend.plan(half, options, force=force)
    assert fake_tensorrt.builds == 2


@pytest.mark.usefixtures("backend")
def test_level_and_workspace_reach_the_builder_and_make_another_plan(model: Manifest) -> None:
    open_engine(model, "tensorrt", precision="fp16")
    assert (fake_tensorrt.config.builder_optimization_level, fake_tensorrt.config.limits) == (3, {"workspace": 2 << 30})
    for _ in range(2):
        open_engine(model, "tensorrt", precision="fp16", tensorrt_level=5)
    assert (fake_tensorrt.config.builder_optimization_level, fake_tensorrt.builds) == (5, 2)
    for _ in range(2):
        open_engine(model, "tensorrt", precision="fp16", tensorrt_workspace_mib=512)
    assert (fake_tensorrt.config.limits, fake_tensorrt.builds) == ({"workspace": 512 << 20}, 3)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"tensorrt_level": 6}, "tensorrt_level=6 is out of range: 0 .fastest to build. to 5"),
        ({"tensorrt_workspace_mib": 0}, "tensorrt_workspace_mib=0 is out of range: 1 to 1048576 MiB"),
    ],
)
def test_what_the_builder_cannot_be_given_is_refused(model: Manifest, choice: dict, message: str) -> None:
    with pytest.raises(PanopticError, match=message):
        open_engine(model, **choice)


def test_layers_are_timed_once(backend: ModuleType, model: Manifest) -> None:
    """A build starts from the timings of those before it, of any plan of this GPU and TensorRT."""
    options = engines.EngineOptions(precision="fp16")
    known = []
    for force, keep in ((False, True), (True, True), (True, False), (True, True)):
        backend.plan(variant.load(model, "fp16"), options, force=force, keep_timings=keep)
        known.append(fake_tensorrt.config.timings and fake_tensorrt.config.timings.known)
    assert known == [b"", b"timed;", None, b"timed;timed;"]


@pytest.mark.parametrize("kept", [b"junk", b"of another GPU"])
def test_timings_that_tensorrt_cannot_use_are_left_aside(backend: ModuleType, model: Manifest, kept: bytes) -> None:
    half, options = variant.load(model, "fp16"), engines.EngineOptions(precision="fp16")
    backend.plan(half, options)
    (file,) = backend.plan_file(half, options).parent.glob("timings-*.timings")
    backend.plan_cache.write(file, kept)
    backend.plan(half, options, force=True)
    assert fake_tensorrt.config.timings.known == b""
    assert backend.plan_cache.read(file, print) == b"timed;"


@pytest.mark.usefixtures("backend")
def test_a_foreign_plan_is_refused(model: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole, but made by something else."""
    monkeypatch.setattr(fake_tensorrt.Builder, "build_serialized_network", lambda *_: b"ftrt of another version")
    with pytest.raises(PanopticError, match="TensorRT 10.13.0 refuses the plan of .*plan->header.magicTag"):
        open_engine(model, "tensorrt")


@pytest.mark.usefixtures("backend")
def test_a_graph_that_tensorrt_cannot_read_is_refused(tmp_path: Path) -> None:
    broken = manifest.load(tiny_engine.write(tmp_path / "broken", b"junk"))
    with pytest.raises(PanopticError, match="TensorRT 10.13.0 cannot read .*model.onnx: In node -1 .*INVALID_GRAPH"):
        open_engine(broken, "tensorrt")


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(
    ("room", "message"),
    [(100, "cannot build .*Cuda Runtime .out of memory"), (8000, "the GPU is out of memory: a smaller --size")],
)
def test_a_full_gpu_is_said(model: Manifest, monkeypatch: pytest.MonkeyPatch, room: int, message: str) -> None:
    monkeypatch.setattr(fake_cuda, "room", room)
    with pytest.raises(PanopticError, match=message):
        open_engine(model, "tensorrt", precision="fp16")


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"device": "dla"}, "TensorRT has no device 'dla' here: choices are auto, cuda"),
        ({"precision": "bf16"}, "TensorRT has no precision 'bf16' here: choices are fp32, fp16, int8"),
    ],
)
def test_an_unknown_choice_is_answered_with_the_possible_ones(model: Manifest, choice: dict, message: str) -> None:
    with pytest.raises(PanopticError, match=message):
        open_engine(model, "tensorrt", **choice)


@pytest.mark.usefixtures("backend")
def test_a_tensorrt_without_these_networks_is_refused(model: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake_tensorrt, "__version__", "10.11.0")
    with pytest.raises(PanopticError, match="TensorRT 10.11.0 is too old: 10.12 or later, or 11, is needed"):
        open_engine(model, "tensorrt")


@pytest.mark.usefixtures("backend")
def test_the_network_alone_is_a_plan_of_its_own_and_changes_nothing(model: Manifest) -> None:
    engine, image = open_engine(model, "tensorrt", precision="fp16"), tiny_engine.scene()[np.newaxis]
    before = engine.run(image).ids.copy()
    assert engine.run_network_only(np.zeros_like(image)) is None
    assert fake_tensorrt.builds == 2
    engine.run_network_only(image)
    assert fake_tensorrt.builds == 2
    assert (engine.run(image).ids == before).all()


@pytest.mark.usefixtures("backend")
def test_a_missing_network_output_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake_tensorrt, "kind_of_layers", "Float")
    engine = open_engine(manifest.load(tiny_engine.write(tmp_path, network_output="logits")), "tensorrt")
    with pytest.raises(PanopticError, match="no tensor 'logits', its manifest's network_output"):
        engine.run_network_only(np.zeros((1, 64, 96, 3), np.uint8))


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([{"Outputs": [{"Format/Datatype": "Half"}]}], {"fp16": 1}),
        ([{"Outputs": [{"Format/Datatype": "Channel major FP16 format where channel % 8 == 0"}]}], {"fp16": 1}),
        ([{"Outputs": [{"Format": "Row major linear", "Datatype": "Int8"}]}, {"Outputs": [{"Datatype": "Float"}]}],
         {"int8": 1, "fp32": 1}),
        ([{"Outputs": [{"Datatype": "Int64"}]}, {"Outputs": []}, "only a name"], {}),
    ],
)  # fmt: skip
def test_precisions_are_counted_in_both_forms_of_the_inspector(backend: ModuleType, layers: list, expected: dict) -> None:
    assert backend.tensorrt_build.count_precisions(json.dumps({"Layers": layers})) == expected


def test_progress_is_logged_every_few_seconds(
    backend: ModuleType, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = iter([0.0, 1.0, 6.0, 7.0, 12.0])
    monkeypatch.setattr(backend.tensorrt_build.time, "monotonic", lambda: next(now))
    with caplog.at_level("INFO"):
        progress = backend.tensorrt_build.Progress()
        progress.phase_start("Tactics", None, 40)
        assert all(progress.step_complete("Tactics", step) for step in range(4))
    assert caplog.messages == ["building for 6 s: Tactics, step 1 of 40", "building for 12 s: Tactics, step 3 of 40"]


@pytest.mark.gpu
@pytest.mark.skipif(not importlib.util.find_spec("tensorrt"), reason="TensorRT is not installed")
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_real_gpu_answers_as_the_cpu(precision: str, tmp_path: Path) -> None:
    from panoptic_ros.verify import verify_engine

    model = manifest.load("hle_mnv2")
    engine = open_engine(model, "tensorrt", precision=precision, cache=tmp_path)
    rng = np.random.default_rng(0)
    image = np.repeat(np.repeat(rng.integers(0, 256, (1, 8, 16, 3), np.uint8), 32, 1), 32, 2)
    verify_engine(model, engine, precision, [image])
