"""The inspection of drawn data sets: counts by hand, each kind of fault, and the contact sheet."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from panoptic_ros import coco
from tests.data import tiny_dataset
from training import inspect
from training.data import fabricate
from training.data.faults import Census, boxes_of, census
from training.data.picture import sheet


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tiny_dataset.write(tmp_path / "tiny")


def look(root: Path, *arguments: str) -> tuple[int, dict]:
    status = inspect.main([f"{root}:train", "--out", str(root / "out"), *arguments])
    return status, json.loads((root / "out" / "report.json").read_text())


def test_a_drawn_data_set_has_no_faults_and_these_counts(root: Path, capsys: pytest.CaptureFixture) -> None:
    """A frame has 64 x 96 pixels: void 8 x 8, sky the rest of 24 rows less what cars hide, a crowd 10 x 20."""
    status, report = look(root)
    counts = {c["name"]: (c["images"], c["segments"], c["crowds"], c["pixels"]) for c in report["classes"]}
    assert status == 0 and (report["images"], report["void_pixels"], report["faults"]) == (4, 4 * 64, {})
    cars = 24 * (16 + 12)
    assert counts["car"] == (4, 8, 0, 4 * cars) and counts["person"] == (4, 4, 4, 4 * 200)
    assert counts["sky"] == (4, 4, 0, 4 * (24 * 96 - 64 - 4 * 28))
    assert sum(c[3] for c in counts.values()) + 4 * 64 == 4 * 64 * 96
    assert "no faults" in capsys.readouterr().out


def test_the_sheet_shows_the_targets(root: Path) -> None:
    look(root, "--samples", "3")
    page = cv2.imread(str(root / "out" / "samples.png"))
    assert page.shape == (2 * 364, 2 * 484, 3)
    tiles = [page[top : top + 320, left : left + 480] for top, left in ((0, 0), (0, 484), (364, 0), (364, 484))]
    assert [bool(tile.any()) for tile in tiles] == [True, True, True, False]


def test_the_sheet_shows_what_a_recipe_makes_of_it(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text("model: m\nmethod: hle\nstages: [{size: [64, 96]}, {size: [32, 96]}]\n")
    assert look(root, "--recipe", str(file), "--samples", "4")[0] == 0
    page = cv2.imread(str(root / "out" / "samples.png"))
    assert page.shape == (2 * 364, 2 * 484, 3) and page[300, 200].any() and not page[364 + 200, 200].any()


def first(change: Callable[[dict], object]) -> Callable[[Path], None]:
    """Edit the first segment of the first annotation, the road below row 24."""
    return lambda root: tiny_dataset.edit(root, lambda content: change(content["annotations"][0]["segments_info"][0]))


def edit(change: Callable[[dict], object]) -> Callable[[Path], None]:
    return lambda root: tiny_dataset.edit(root, change)


def replace(path: str, content: bytes | None) -> Callable[[Path], object]:
    return lambda root: (root / path).write_bytes(content) if content else (root / path).unlink()


FAULTS = {
    "missing image": (replace("train/1.png", None), "missing file", "train/1.png"),
    "missing ids": (replace("panoptic_train/1.png", None), "missing file", "panoptic_train/1.png"),
    "broken image": (replace("train/1.png", b"x"), "broken file", "train/1.png"),
    "broken ids": (replace("panoptic_train/1.png", b"x"), "broken file", "panoptic_train/1.png"),
    "absent id": (edit(lambda c: c["annotations"][2]["segments_info"].pop(1)), "ids absent from the JSON", "2.png: [2]"),
    "empty id": (first(lambda s: s.update(id=77)), "ids without pixels", "0.png: [77]"),
    "area": (first(lambda s: s.update(area=5)), "wrong area", "the JSON says 5"),
    "overlap": (first(lambda s: s.update(area=6000)), "overlap", "add up to"),
    "box": (first(lambda s: s.update(bbox=[0, 0, 9, 9])), "wrong box", "is in [0, 24, 96, 40], the JSON says [0, 0, 9, 9]"),
    "twice": (edit(lambda c: c["annotations"][0]["segments_info"].append(c["annotations"][0]["segments_info"][0])),
              "id listed twice", "0.png: 1"),
    "category": (first(lambda s: s.update(category_id=99)), "unknown category", "99, 1 times"),
    "no image": (edit(lambda c: c["images"].pop(0)), "annotation without image", "0.png is of image 10"),
    "no annotation": (edit(lambda c: c["annotations"].pop(0)), "image without annotation", "0.png"),
    "double category": (edit(lambda c: c["categories"].append(c["categories"][0])), "category listed twice", "7"),
    "size": (lambda root: coco.write_ids(root / "panoptic_train" / "3.png", tiny_dataset.ids_of(3)[:60]),
             "image and ids differ in size", "3.png is (60, 96), its image (64, 96)"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_found_and_told(name: str, root: Path) -> None:
    spoil, kind, text = FAULTS[name]
    assert census(root, "train").faults == {}
    spoil(root)
    found = census(root, "train").faults
    assert any(text in line for line in found[kind]), found


def test_faults_are_printed_with_a_status(root: Path, capsys: pytest.CaptureFixture) -> None:
    first(lambda s: s.update(area=5))(root)
    assert look(root)[0] == 1
    assert "wrong area: 1\n  0.png: 1 has " in capsys.readouterr().out


def test_what_cannot_be_read_at_all_is_one_line(root: Path, capsys: pytest.CaptureFixture) -> None:
    assert inspect.main([f"{root}:val"]) == 2
    assert "has no split 'val': splits are train" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["cityscapes", "bdd100k"])
def test_segments_without_a_json_are_counted(name: str, tmp_path: Path) -> None:
    found: Census = census(fabricate.write(name, tmp_path, ["val"], size=(48, 96)), "val")
    assert found.images == 2 and found.faults == {} and found.void == 2 * 12 * 16
    assert sum(count.segments for count in found.classes.values()) >= 2 * 19
    assert sum(count.pixels for count in found.classes.values()) == 2 * 48 * 96 - found.void


def test_boxes_by_hand() -> None:
    index = np.array([[0, 0, 1, 1], [0, 2, 2, 1], [0, 0, 0, 0]])
    assert boxes_of(index, 3) == [(0, 0, 4, 3), (2, 0, 2, 2), (1, 1, 2, 1)]


def test_tiles_of_any_shape_fit() -> None:
    page = sheet([np.full((10, 40, 3), 9, np.uint8), np.full((40, 10, 3), 9, np.uint8)], 2, (20, 30))
    assert page.shape == (24, 68, 3) and [int((page[:, part] > 0).any(2).sum()) for part in np.s_[:34, 34:]] == [8 * 30, 20 * 5]
