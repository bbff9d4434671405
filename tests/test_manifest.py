"""Models on disk: what is found, and what is refused with which words."""

import json
from pathlib import Path

import pytest
import tiny_engine

from panoptic_ros import manifest
from panoptic_ros.core import Label, PanopticError

ROAD = {"id": 7, "name": "road", "thing": False, "color": [1, 2, 3]}


def test_a_manifest_is_read_as_it_was_written(tiny_folder: Path) -> None:
    model = manifest.load(tiny_folder)
    assert (model.model, model.size, model.size_multiple, model.decode_stride) == ("tiny", (64, 96), 32, 4)
    assert (model.slots, model.embedding, model.network_output) == (5, 4, "network")
    assert model.onnx == tiny_folder / "model.onnx"
    assert model.labels[0] == Label(7, "road", False, (128, 64, 128))
    assert [label.thing for label in model.labels] == [False, False, True, True]


def test_another_size_keeps_everything_else(tiny: manifest.Manifest) -> None:
    larger = tiny.with_size(128, 256)
    assert (larger.size, larger.grid_size, larger.onnx) == ((128, 256), (32, 64), tiny.onnx)


@pytest.mark.parametrize(("height", "width"), [(0, 96), (64, 100), (-32, 96)])
def test_an_impossible_size_is_refused(tiny: manifest.Manifest, height: int, width: int) -> None:
    with pytest.raises(PanopticError, match=f"{height}x{width}.*multiples of 32"):
        tiny.with_size(height, width)


def test_models_are_found_by_name(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANOPTIC_ROS_ENGINES", str(tiny_folder.parent))
    assert manifest.load("tiny").onnx == tiny_folder / "model.onnx"


def test_the_first_folder_with_a_name_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_engine.write(tmp_path / "first" / "tiny", recipe="first")
    tiny_engine.write(tmp_path / "second" / "tiny", recipe="second")
    monkeypatch.setenv("PANOPTIC_ROS_ENGINES", f"{tmp_path / 'first'}:{tmp_path / 'second'}")
    assert manifest.load("tiny").recipe == "first"


def test_an_unknown_model_is_answered_with_the_known_ones(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANOPTIC_ROS_ENGINES", str(tiny_folder.parent))
    with pytest.raises(PanopticError, match="'tinny': models are .*tiny"):
        manifest.load("tinny")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "format 2; this version reads format 1"),
        ({"colour": 1}, "unknown key colour; the keys are format, model"),
        ({"slots": "5"}, "slots is '5'; expected a JSON value of type int"),
        ({"slots": True}, "slots is True"),
        ({"slots": 255}, r"slots is 255; expected 1\.\.254"),
        ({"decode_stride": 0}, "decode_stride is 0"),
        ({"decode_stride": 5}, "decode_stride 5 does not divide size_multiple 32"),
        ({"coarse_above": -1}, r"coarse_above is -1; expected 0\.\."),
        ({"decode_stride": 32, "coarse_above": 64}, "twice decode_stride 32 does not divide size_multiple 32"),
        ({"size": [64, 100]}, "size 64x100 is not possible"),
        ({"size": [64]}, "size 64 is not possible"),
        ({"labels": []}, "labels is empty"),
        ({"labels": [ROAD, ROAD]}, "label id 7 is out of range or used twice"),
        ({"labels": [ROAD | {"id": 0}]}, r"label id 0 .*1\.\.32767"),
        ({"labels": [ROAD | {"id": 32768}]}, "label id 32768"),
        ({"labels": [ROAD | {"color": [1, 2, 256]}]}, r"label road has color \[1, 2, 256\]"),
        ({"labels": [7]}, "is a int; expected an object with id, name"),
        ({"labels": [{"id": 7}]}, "missing key color, name, thing"),
        ({"onnx": "other.onnx"}, "cannot read the model file .*other.onnx: No such file"),
        ({"sha256": "0" * 64}, "altered or is incomplete: its sha256 is"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(PanopticError, match=message):
        manifest.load(tiny_engine.write(tmp_path / "tiny", **changes))


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    file = tiny_engine.write(tmp_path) / "manifest.json"
    content = json.loads(file.read_text())
    del content["license"]
    file.write_text(json.dumps(content))
    with pytest.raises(PanopticError, match="missing key license"):
        manifest.load(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[1]", "\ufeff\0"])
def test_a_file_that_is_no_manifest_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(PanopticError, match="manifest.json"):
        manifest.load(tmp_path)


def test_an_altered_model_file_is_refused(tmp_path: Path) -> None:
    folder = tiny_engine.write(tmp_path)
    with (folder / "model.onnx").open("ab") as file:
        file.write(b"x")
    with pytest.raises(PanopticError, match="altered or is incomplete"):
        manifest.load(folder)


@pytest.mark.parametrize("name", ["/dev/zero", "../tiny/model.onnx", "a\0b", ""])
def test_a_model_file_lies_beside_its_manifest(tmp_path: Path, name: str) -> None:
    with pytest.raises(PanopticError, match="onnx is .* expected the name of a file beside it|cannot read the model file"):
        manifest.load(tiny_engine.write(tmp_path / "tiny", onnx=name))


def test_a_manifest_of_nothing_but_brackets_is_refused(tmp_path: Path) -> None:
    (tiny_engine.write(tmp_path / "tiny") / "manifest.json").write_text("[" * 100_000 + "]" * 100_000)
    with pytest.raises(PanopticError, match="cannot read .*manifest.json: maximum recursion"):
        manifest.load(tmp_path / "tiny")


def test_a_name_that_is_too_long_is_unknown() -> None:
    with pytest.raises(PanopticError, match="unknown model 'xxx"):
        manifest.load("x" * 5000)


def test_an_input_is_not_larger_than_any_frame(tiny: manifest.Manifest) -> None:
    with pytest.raises(PanopticError, match="64x32000 is not possible: .* positive multiples of 32, up to 16384"):
        tiny.with_size(64, 32_000)
