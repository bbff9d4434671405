"""`training.export_trt` and `training.verify` as a user calls them, on the tiny engine and without torch."""

import json
from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest
import tiny_engine
from onnx import numpy_helper

from panoptic_ros import manifest, variant
from panoptic_ros import verify as verification
from panoptic_ros.verify import Limits
from tests.training.test_evaluate import write_dataset
from training import export_trt, tensorrt_plan, verify
from training.precision import compare


@pytest.fixture
def engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny model, findable by its name, and a data set for it."""
    monkeypatch.setattr(tensorrt_plan, "missing", lambda via: "a GPU is not here")
    monkeypatch.setenv("PANOPTIC_ROS_ENGINES", str(tmp_path / "engines"))
    tiny_engine.write(tmp_path / "engines" / "tiny")
    write_dataset(tmp_path / "data")
    return tmp_path / "engines"


def export(engines: Path, *arguments: str) -> int:
    data = str(engines.parent / "data")
    sources = f"--data {data}:val --calibration {data}:val --frames 2 --calibration-frames 3 --float-last 0".split()
    return export_trt.main(["--model", "tiny", "--engines", str(engines), *sources, *arguments])


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_precision_is_made_verified_and_found(engines: Path, capsys: pytest.CaptureFixture, precision: str) -> None:
    assert export(engines, "--precision", precision) == 0
    said = capsys.readouterr().out
    assert f"tiny {precision} on openvino" in said and f"tiny {precision} on onnxruntime" in said
    assert "100.00 % of the pixels agree" in said
    again = f"python -m training.export_trt --model tiny --precision {precision}"
    assert f"no TensorRT plan was built: a GPU is not here. On the robot run `{again}`" in said
    model = manifest.load("tiny")
    assert variant.load(model, precision).precision == precision
    note = json.loads(variant.note_file(model, precision).read_text())
    assert note["made"].endswith(
        f"3 frames of {engines.parent / 'data'}:val, --float-last 0" if precision == "int8" else onnx.__version__
    )


def test_what_is_up_to_date_is_left_alone_but_by_force(engines: Path, capsys: pytest.CaptureFixture) -> None:
    assert export(engines, "--precision", "fp16", "--onnx-only") == 0
    note = variant.note_file(manifest.load("tiny"), "fp16")
    written = note.stat().st_mtime_ns
    assert export(engines, "--precision", "fp16", "--onnx-only") == 0
    assert "is up to date (--force makes it again)" in capsys.readouterr().out
    assert note.stat().st_mtime_ns == written
    assert export(engines, "--precision", "fp16", "--onnx-only", "--force") == 0
    assert note.stat().st_mtime_ns > written


def test_an_altered_file_is_made_again(engines: Path) -> None:
    assert export(engines, "--precision", "fp16", "--onnx-only") == 0
    file = variant.load(manifest.load("tiny"), "fp16").onnx
    whole = file.read_bytes()
    file.write_bytes(whole[:50])
    assert export(engines, "--precision", "fp16", "--onnx-only") == 0
    assert file.read_bytes() == whole


def test_one_that_answers_otherwise_is_not_written(
    engines: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoilt(graph: onnx.ModelProto, *_: object) -> onnx.ModelProto:
        palette = next(weight for weight in graph.graph.initializer if weight.name == "bias")
        palette.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(palette)[::-1].copy(), "bias"))
        return graph

    monkeypatch.setattr(export_trt, "to_half", spoilt)
    assert export(engines, "--precision", "fp16") == 2
    assert "the limits are 99.0 % and 30 degrees" in capsys.readouterr().err
    assert sorted(file.name for file in (engines / "tiny").iterdir()) == ["manifest.json", "model.onnx"]


def test_a_robot_builds_fp32_from_what_it_has(engines: Path, capsys: pytest.CaptureFixture) -> None:
    assert export(engines) == 0
    said = capsys.readouterr().out
    assert f"there is no runs/tiny/last.pt: {engines / 'tiny' / 'model.onnx'} is taken as it is" in said
    assert "no TensorRT plan was built" in said
    assert "not in TensorRT's list of operators: Slice sampled: image is UINT8" in said


def test_a_model_that_is_nowhere_needs_its_checkpoint(engines: Path, capsys: pytest.CaptureFixture) -> None:
    assert export_trt.main(["--model", "other", "--engines", str(engines)]) == 2
    assert "error: cannot read the checkpoint runs/other/last.pt" in capsys.readouterr().err


def test_int8_without_frames_says_how_to_give_them(engines: Path, capsys: pytest.CaptureFixture) -> None:
    assert export_trt.main(["--model", "tiny", "--engines", str(engines), "--precision", "int8"]) == 2
    assert "error: int8 needs frames like the robot's, as --calibration names them: there is no" in capsys.readouterr().err


def test_settings_need_a_checkpoint(engines: Path, capsys: pytest.CaptureFixture) -> None:
    assert export(engines, "--precision", "fp16", "decoder.seed_threshold=0.5") == 2
    assert "settings decoder.seed_threshold=0.5 need a checkpoint: give --checkpoint FILE" in capsys.readouterr().err


def test_a_machine_without_tensorrt_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt_plan.importlib.util, "find_spec", lambda name: name == "cuda")
    assert tensorrt_plan.missing("onnx").startswith("TensorRT (`pip install tensorrt`, or JetPack's)")
    monkeypatch.setattr(tensorrt_plan.importlib.util, "find_spec", lambda name: name != "torch_tensorrt")
    assert "TensorRT" not in tensorrt_plan.missing("onnx")
    assert tensorrt_plan.missing("torch_tensorrt").startswith("Torch-TensorRT (`pip install torch-tensorrt`, 2.14 or later)")


def test_torch_tensorrt_builds_fp32(engines: Path, capsys: pytest.CaptureFixture) -> None:
    assert export(engines, "--via", "torch_tensorrt", "--precision", "int8") == 2
    assert "error: --via torch_tensorrt builds what the checkpoint is, fp32; int8 is built --via onnx" in capsys.readouterr().err
    assert export(engines, "--via", "torch_tensorrt", "--size", "32x64") == 0
    again = "python -m training.export_trt --model tiny --precision fp32 --size 32x64 --via torch_tensorrt"
    assert f"a GPU is not here. On the robot run `{again}`\n" in capsys.readouterr().out


def test_verify_compares_pixels_and_pq(engines: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["tiny", "--backend", "onnxruntime", "--data", f"{engines.parent / 'data'}:val", "--frames", "2"]
    assert verify.main(command) == 0
    said = capsys.readouterr().out
    assert "100.00 % of the pixels agree, 100.00 % in the worst image" in said
    assert "PQ lost 0.00; limit 0.1\nwithin its limits" in said
    monkeypatch.setitem(verification.LIMITS, "fp32", Limits(1.01, 1.0, 0.1))
    assert verify.main(command) == 1
    assert "NOT within its limits" in capsys.readouterr().out


def test_verify_without_data_takes_the_bundled_clip(engines: Path, capsys: pytest.CaptureFixture) -> None:
    assert verify.main(["tiny", "--backend", "onnxruntime", "--frames", "2"]) == 0
    said = capsys.readouterr().out
    assert "limits: 99.9 %, 1 degrees; 2 frames\nwithin its limits" in said and "PQ lost" not in said
    assert verify.main(["tiny", "--precision", "int8"]) == 2
    assert "error: model tiny has no int8 file" in capsys.readouterr().err


def test_verify_finds_a_network_that_fp16_cannot_hold(engines: Path, capsys: pytest.CaptureFixture) -> None:
    """The products of the tiny engine reach 2 * 3 * 255 * 255, far beyond FP16: bright pixels go to any slot."""
    assert verify.main(["tiny", "--precision", "fp16", "--frames", "2"]) == 1
    said = capsys.readouterr().out
    assert "precision fp16, emulated" in said and "NOT within its limits" in said


def test_precisions_side_by_side(engines: Path, capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    assert compare.main(["--model", "tiny", "--frames", "2", "--json", str(tmp_path / "report.json")]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert {"openvino fp32", "onnxruntime fp32"} <= set(report["rows"])
    assert report["rows"]["onnxruntime fp32"]["pixels"] == 1.0
    assert report["refused"]["onnxruntime int8"].startswith("model tiny has no int8 file")
    assert 0 < report["rows"]["openvino fp32"]["network_ms"]["p50"] <= report["rows"]["openvino fp32"]["network_ms"]["p99"]
    assert "onnxruntime int8: model tiny has no int8 file" in capsys.readouterr().out


def test_every_candidate_sees_the_images_in_turn() -> None:
    seen: dict[str, list[int]] = {name: [] for name in ("a", "a network", "b", "b network")}
    engines = {
        name: SimpleNamespace(run=seen[name].append, run_network_only=seen[f"{name} network"].append) for name in ("a", "b")
    }
    found = compare.measure(engines, [10, 11, 12], 5)
    assert all(numbers == [10, 11, 12] * 5 for numbers in seen.values())  # 10 rounds of warming up
    assert {name: set(parts) for name, parts in found.items()} == {name: {"engine", "network"} for name in ("a", "b")}
    assert all(0 <= p50 <= p99 for parts in found.values() for p50, p99 in parts.values())
