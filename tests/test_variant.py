"""A model's file of another precision is taken only with a note that vouches for it and for what it was made from."""

import json
from pathlib import Path

import pytest
import tiny_engine

from panoptic_ros import manifest, variant
from panoptic_ros.core import PanopticError
from panoptic_ros.manifest import Manifest


@pytest.fixture
def model(tmp_path: Path) -> Manifest:
    return manifest.load(tiny_engine.write(tmp_path / "tiny"))


def test_what_was_saved_is_loaded(model: Manifest) -> None:
    file = variant.save(model, "int8", b"an int8 graph", "by hand")
    found = variant.load(model, "int8")
    assert (found.onnx, found.precision) == (file, "int8")
    assert found.sha256 == "e98a85768d0bb13a9de6ff0dc443bc4fc68847fa123f9a461f4232139a3b186d"  # sha256sum
    assert variant.load(found, "int8") is found
    assert {path.name for path in file.parent.iterdir()} == {
        "manifest.json", "model.onnx", "model.int8.onnx", "model.int8.json"
    }  # fmt: skip


def test_a_missing_file_is_answered_with_how_to_make_it(model: Manifest) -> None:
    with pytest.raises(
        PanopticError, match="tiny has no fp16 file: .*run `python -m training.export_trt --precision fp16 --model tiny`"
    ):
        variant.load(model, "fp16")


def test_a_truncated_or_altered_file_is_refused(model: Manifest) -> None:
    file = variant.save(model, "fp16", b"an fp16 graph", "by hand")
    for content in (b"an fp16", b"an fp16 grape", b""):
        file.write_bytes(content)
        with pytest.raises(PanopticError, match="model.fp16.onnx was altered or is incomplete"):
            variant.load(model, "fp16")
    file.unlink()
    with pytest.raises(PanopticError, match="cannot read the model file .*model.fp16.onnx"):
        variant.load(model, "fp16")


def test_a_variant_of_another_network_is_refused(model: Manifest) -> None:
    variant.save(model, "int8", b"an int8 graph", "by hand")
    trained_anew = manifest.load(tiny_engine.write(model.onnx.parent, b"other weights"))
    with pytest.raises(PanopticError, match="model.int8.onnx was made from another model.onnx than the one beside it; run"):
        variant.load(trained_anew, "int8")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"precision": "fp16"}, "is of fp16, format 1; expected int8, 1"),
        ({"format": 2}, "is of int8, format 2; expected int8, 1"),
        ({"onnx": "../other/model.onnx"}, "expected the name of a file beside it"),
        ({"sha256": 5}, "sha256 is 5; expected a JSON value of type str"),
        ({"more": 1}, "unknown key more"),
    ],
)
def test_a_note_that_contradicts_itself_is_refused(model: Manifest, changes: dict, message: str) -> None:
    variant.save(model, "int8", b"an int8 graph", "by hand")
    note = variant.note_file(model, "int8")
    note.write_text(json.dumps(json.loads(note.read_text()) | changes))
    with pytest.raises(PanopticError, match=message):
        variant.load(model, "int8")


def test_a_note_cut_short_is_refused(model: Manifest) -> None:
    variant.save(model, "int8", b"an int8 graph", "by hand")
    note = variant.note_file(model, "int8")
    note.write_text(note.read_text()[:40])
    with pytest.raises(PanopticError, match="cannot read .*model.int8.json"):
        variant.load(model, "int8")


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    file = tmp_path / "model.int8.onnx"
    file.write_bytes(b"before")
    monkeypatch.setattr(variant.os, "fsync", full)
    with pytest.raises(PanopticError, match=r"cannot write .*model.int8.onnx \(5 bytes\): No space left on device"):
        variant.write_atomically(file, b"after")
    assert file.read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["model.int8.onnx"]
