"""`panoptic_ros segment`: files in; overlays and COCO panoptic files out."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny_engine

from panoptic_ros import coco
from panoptic_ros.__main__ import main

ROAD_ID, SKY_ID, CAR_ID, PERSON_ID = 7 << 16, 23 << 16, 26 << 16 | 1, 24 << 16 | 2


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images of the same scene, a broken one between them, and a file that is no image."""
    images = tmp_path / "images"
    images.mkdir()
    for name in ("a.png", "c.png"):
        cv2.imwrite(str(images / name), tiny_engine.scene()[..., ::-1])
    (images / "b.png").write_bytes((images / "a.png").read_bytes()[:50])
    (images / "notes.txt").write_text("not an image")
    return images


def segment(tiny_folder: Path, out: Path, *arguments: object) -> int:
    return main(["segment", *map(str, arguments), "--model", str(tiny_folder), "--out", str(out)])


def test_a_folder_is_segmented_and_its_broken_image_reported(
    tiny_folder: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert segment(tiny_folder, tmp_path / "out", folder) == 1
    output = capsys.readouterr()
    assert output.err.splitlines() == [
        f"skipped: {folder / 'b.png'} is truncated: it ends after 50 bytes, in the middle of the image"
    ]
    assert "a.png: 1 road, 1 sky, 1 person, 1 car" in output.out
    assert "2 of 3 images segmented" in output.out


def test_the_panoptic_files_describe_the_image(tiny_folder: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert segment(tiny_folder, out, folder / "a.png") == 0
    content = coco.read_json(out / "panoptic.json")
    assert content["images"] == [{"id": 1, "file_name": str(folder / "a.png"), "height": 64, "width": 96}]
    assert [category["id"] for category in content["categories"]] == [7, 23, 24, 26]
    (annotation,) = content["annotations"]
    assert (annotation["image_id"], annotation["file_name"]) == (1, "a.png")
    ids = coco.read_ids(out / "panoptic" / "a.png")
    assert (ids[40, 20], ids[30, 66], ids[0, 0], ids[60, 0]) == (CAR_ID, PERSON_ID, SKY_ID, ROAD_ID)
    listed = [{key: value for key, value in info.items() if key != "score"} for info in annotation["segments_info"]]
    expected = coco.segments_info(ids, {ROAD_ID: 7, SKY_ID: 23, CAR_ID: 26, PERSON_ID: 24})
    assert sorted(listed, key=lambda info: info["id"]) == expected


def test_the_overlay_is_the_image_tinted(tiny_folder: Path, folder: Path, tmp_path: Path) -> None:
    segment(tiny_folder, tmp_path / "out", folder / "a.png")
    drawn = cv2.imread(str(tmp_path / "out" / "overlay" / "a.png"))[..., ::-1]
    assert drawn.shape == (64, 96, 3)
    assert drawn[60, 2].tolist() == list(tiny_engine.ROAD)  # a road of exactly the road's colour
    assert drawn[40, 25].tolist() != list(tiny_engine.RED_CAR)


def test_a_sequence_is_tracked(tiny_folder: Path, tmp_path: Path) -> None:
    for number in range(4):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.roll(tiny_engine.scene(), 4 * number, axis=1)[..., ::-1])
    assert segment(tiny_folder, tmp_path / "out", tmp_path, "--track") == 0
    annotations = json.loads((tmp_path / "out" / "panoptic.json").read_text())["annotations"]
    cars = [next(info for info in a["segments_info"] if info["category_id"] == 26) for a in annotations]
    assert [car.get("track") for car in cars][-2:] == [1, 1]
    assert [car["id"] for car in cars][-2:] == [CAR_ID, CAR_ID]


def test_images_of_one_name_are_all_kept(tiny_folder: Path, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "a.png").write_bytes((folder / "a.png").read_bytes())
    assert segment(tiny_folder, tmp_path / "out", folder / "a.png", tmp_path / "more") == 0
    assert sorted(file.name for file in (tmp_path / "out" / "panoptic").iterdir()) == ["a.png", "a~2.png"]


def test_the_engine_size_can_be_chosen(tiny_folder: Path, folder: Path, tmp_path: Path) -> None:
    assert segment(tiny_folder, tmp_path / "out", folder / "a.png", "--size", "128x192", "--backend", "onnxruntime") == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "100x192"], "size 100x192 is not possible: height and width are positive multiples of 32"),
        (["--backend", "caffe"], "unknown backend 'caffe': backends are auto, openvino"),
        (["--rate", "0"], "rate 0.0 is not possible"),
    ],
)
def test_impossible_choices_are_one_line(
    tiny_folder: Path, folder: Path, tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert segment(tiny_folder, tmp_path / "out", folder, *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


def test_a_folder_that_cannot_be_written_is_named(
    tiny_folder: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("a file")
    assert segment(tiny_folder, tmp_path / "out", folder) == 2
    assert capsys.readouterr().err.startswith(f"error: cannot write into {tmp_path / 'out'}: ")


@pytest.mark.shared_data
def test_real_photos_of_any_size(tiny_folder: Path, shared_data: Path, tmp_path: Path) -> None:
    photos = shared_data / "coco_panoptic_sample" / "input_images"
    assert segment(tiny_folder, tmp_path / "out", photos) == 0
    content = coco.read_json(tmp_path / "out" / "panoptic.json")
    for image, annotation in zip(content["images"], content["annotations"]):
        ids = coco.read_ids(tmp_path / "out" / "panoptic" / annotation["file_name"])
        assert ids.shape == (image["height"], image["width"])
        assert sum(info["area"] for info in annotation["segments_info"]) == np.count_nonzero(ids)
