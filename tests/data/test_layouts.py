"""Data sets in the folders of the real ones: made up, and parts of real ones where they are."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from panoptic_ros.core import PanopticError
from training.data import bdd100k, cityscapes, fabricate
from training.data.faults import census
from training.data.frames import locate, read_frames, read_ids, read_pair
from training.data.layouts import panoptic_files, splits
from training.data.panoptic import read_sample
from training.metrics.panoptic_quality import Truth

SIZE = 48, 96
CASES = [(name, split) for name in fabricate.LAYOUTS for split in (("training",) if name == "vistas" else ("train", "val"))]


@pytest.mark.parametrize(("name", "split"), CASES)
def test_every_layout_is_found_by_its_folders(name: str, split: str, tmp_path: Path) -> None:
    """A frame of 4 x 6 cells: the first is void, the others are the labels from the second on, all of them as drawn."""
    root, labels = fabricate.write(name, tmp_path, [split], size=SIZE), fabricate.LAYOUTS[name].labels
    assert (locate(f"{tmp_path}:{split}"), splits(tmp_path)) == ((tmp_path, split), [split])
    found, frames = read_frames(root, split)
    assert found == labels and [frame.image.stem.split("_")[1] for frame in frames] == ["000000", "000001"]
    image, semantic, instance = read_sample(frames[0], found)
    cells = semantic[6::12, 8::16].ravel().tolist()
    assert image.shape == (*SIZE, 3) and cells == [-1, *(n % len(labels) for n in range(1, 24))]
    numbers = instance[6::12, 8::16].ravel()
    assert [number >= 0 for number in numbers] == [False, *(labels[n % len(labels)].thing for n in range(1, 24))]
    things = numbers[numbers >= 0]
    assert len(set(things.tolist())) == len(things)


@pytest.mark.parametrize("name", ["cityscapes", "bdd100k"])
def test_segments_that_ids_tell_by_themselves_can_be_listed(name: str, tmp_path: Path) -> None:
    _, frames = read_frames(fabricate.write(name, tmp_path, ["val"], size=SIZE), "val")
    _, ids = read_pair(frames[0].image, frames[0].ids)
    truth = dict(frames[0].truth.items())
    assert set(truth) == set(np.unique(ids).tolist()) - {0}
    assert len(frames[0].truth) == len(truth) > 10 and 12345678 not in frames[0].truth


@pytest.mark.parametrize(("value", "truth"), [
    (7, Truth(7)), (24, Truth(24, True)), (24003, Truth(24)), (33999, Truth(33)), (0, None), (3, None), (9, None), (29001, None),
])  # fmt: skip
def test_values_of_cityscapes(value: int, truth: Truth | None) -> None:
    """A road, a group of persons, a person, a bicycle; unlabelled, out of roi, parking and a caravan do not count."""
    assert cityscapes.truth_of(value) == truth


def test_a_cityscapes_file_by_hand(tmp_path: Path) -> None:
    file = tmp_path / f"a_000000_000019{cityscapes.IDS}"
    cv2.imwrite(str(file), np.array([[7, 24, 24003], [0, 9, 65535]], np.uint16))
    assert read_ids(file).tolist() == [[7, 24, 24003], [0, 0, 0]]


def test_a_bitmask_by_hand(tmp_path: Path) -> None:
    """RGBA: road 7; car 35 number 0x0203; the same as a crowd; a car to be ignored; a person, truncated; nothing; no class."""
    file = tmp_path / "bitmasks" / "a.png"
    file.parent.mkdir()
    rgba = [[7, 0, 0, 9], [35, 0, 2, 3], [35, 2, 2, 3], [35, 1, 2, 3], [31, 8, 0, 1], [0, 0, 0, 5], [41, 0, 0, 1]]
    cv2.imwrite(str(file), np.array([rgba], np.uint8)[..., [2, 1, 0, 3]])
    road, car, crowd, *others = read_ids(file)[0].tolist()
    assert (road, car, crowd) == (7 << 16, 35 << 16 | 0x203, 1 << 24 | 35 << 16 | 0x203)
    assert others == [0, 31 << 16 | 1, 0, 0]
    assert [bdd100k.truth_of(value) for value in (road, car, crowd)] == [Truth(7), Truth(35), Truth(35, True)]
    assert [label.name for label in bdd100k.LABELS if label.thing][:5] == ["person", "rider", "bicycle", "bus", "car"]


@pytest.mark.parametrize("name", ["cityscapes", "bdd100k"])
def test_a_missing_image_is_named(name: str, tmp_path: Path) -> None:
    root = fabricate.write(name, tmp_path, ["val"], size=SIZE)
    read_frames(root, "val")[1][1].image.unlink()
    with pytest.raises(PanopticError, match="1 of its 4 files are missing: .*madeup_000001_000019"):
        read_frames(root, "val")


@pytest.mark.parametrize("name", ["cityscapes", "bdd100k"])
@pytest.mark.parametrize("content", [b"broken", None])
def test_a_broken_file_is_named(name: str, content: bytes | None, tmp_path: Path) -> None:
    """None: an image, but of another kind."""
    _, frames = read_frames(fabricate.write(name, tmp_path, ["val"], size=SIZE), "val")
    frames[0].ids.write_bytes(content or cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes())
    with pytest.raises(PanopticError, match=frames[0].ids.name):
        read_ids(frames[0].ids)


def test_an_unknown_split_is_answered_with_those_there_are(tmp_path: Path) -> None:
    fabricate.write("cityscapes", tmp_path, ["train", "val"], size=SIZE)
    with pytest.raises(PanopticError, match="no split 'test': there is no panoptic_test.json .*its splits are train, val"):
        read_frames(tmp_path, "test")
    with pytest.raises(PanopticError, match="unknown layout 'ade'; there are panoptic, coco, cityscapes"):
        fabricate.write("ade", tmp_path, ["val"])


@pytest.mark.shared_data
def test_the_official_coco_sample_in_its_folders(shared_data: Path, tmp_path: Path) -> None:
    """Areas of the JSON are those of the pixels; classes and crowds as it says."""
    sample = shared_data / "coco_panoptic_sample"
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "panoptic_val2017").symlink_to(sample / "panoptic_examples")
    (tmp_path / "annotations" / "panoptic_val2017.json").symlink_to(sample / "panoptic_examples.json")
    (tmp_path / "val2017").symlink_to(sample / "input_images")
    labels, frames = read_frames(tmp_path, "val2017")
    assert (len(labels), sum(label.thing for label in labels), len(frames)) == (133, 80, 2)
    content = json.loads((sample / "panoptic_examples.json").read_text())
    for frame, annotation in zip(frames, content["annotations"], strict=True):
        _, semantic, instance = read_sample(frame, labels)
        for category in {segment["category_id"] for segment in annotation["segments_info"]}:
            area = sum(s["area"] for s in annotation["segments_info"] if s["category_id"] == category)
            assert (semantic == [label.id for label in labels].index(category)).sum() == area
        things = [s for s in annotation["segments_info"] if s["category_id"] <= 90 and not s["iscrowd"]]
        assert instance.max() + 1 == len(things) > 0


@pytest.mark.shared_data
def test_real_masks_as_bdd100k_bitmasks(shared_data: Path, tmp_path: Path) -> None:
    """Of a sequence with masks of another encoding (class * 1000 + track), written as bitmasks."""
    sequence = "b1c66a42-6f7d68ca"
    images, masks = tmp_path / "images" / "10k" / "val", tmp_path / "labels" / "pan_seg" / "bitmasks" / "val"
    category_of = np.array([0, 35, 31, 32, 40, 34, 39, 37, 33])
    for folder in (images, masks):
        folder.mkdir(parents=True)
    for file in sorted((shared_data / "bdd_mots" / "instances" / sequence).glob("*.png")):
        values = cv2.imread(str(file), cv2.IMREAD_UNCHANGED).astype(int)
        track = values % 1000
        channels = track >> 8, 0 * track, category_of[values // 1000], track & 255
        cv2.imwrite(str(masks / file.name), np.stack(channels, -1).astype(np.uint8))
        (images / f"{file.stem}.jpg").symlink_to(shared_data / "bdd_mots" / "images" / sequence / f"{file.stem}.jpg")
    labels, frames = read_frames(tmp_path, "val")
    samples = [read_sample(frame, labels) for frame in frames]
    assert len(frames) == 6 and {sample[0].shape for sample in samples} == {(720, 1280, 3)}
    assert sum(int(instance.max()) + 1 for *_, instance in samples) == 167  # meta.json


def test_cityscapes_ids_are_whole_numbers(tmp_path: Path) -> None:
    file = tmp_path / f"a{cityscapes.IDS}"
    file.write_bytes(cv2.imencode(".tiff", np.full((4, 4), 7.5, np.float32))[1].tobytes())
    with pytest.raises(PanopticError, match="is float32 .*; instance ids of Cityscapes are a grey PNG"):
        cityscapes.read_ids(file)


@pytest.mark.parametrize("name", ["x" * 300 + ".jpg", "a\0b.jpg", "", "/dev/zero"], ids=["long", "NUL", "empty", "device"])
@pytest.mark.parametrize("layout", ["panoptic", "coco", "vistas"])
def test_names_that_no_file_can_have_are_missing_files(layout: str, name: str, tmp_path: Path) -> None:
    split = "training" if layout == "vistas" else "train"
    root = fabricate.write(layout, tmp_path, [split], size=SIZE)
    file = panoptic_files(root, split).json
    content = json.loads(file.read_text())
    content["images"][0]["file_name"] = content["annotations"][1]["file_name"] = name
    file.write_text(json.dumps(content))
    with pytest.raises(PanopticError, match=f"{file.name}: 2 of its 4 files are missing: "):
        read_frames(root, split)
    faults = census(root, split).faults
    assert len(faults.get("missing file", [])) + len(faults.get("broken file", [])) == 2


def test_a_data_set_with_a_name_too_long_does_not_exist() -> None:
    with pytest.raises(PanopticError, match="there is no data set 'xxx"):
        locate("x" * 5000 + ":train")
    with pytest.raises(PanopticError, match="xxx is no folder of a data set"):
        read_frames(Path("x" * 5000), "train")
