"""Training samples of a drawn data set: what they hold, what changes them and what is refused."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from panoptic_ros import coco
from panoptic_ros.core import Label, PanopticError
from tests.data import tiny_dataset
from training.data.faults import census
from training.data.frames import read_frames
from training.data.panoptic import (
    PanopticDataset,
    augment,
    colours,
    extent,
    nearest,
    padded,
    read_sample,
    stages_with_start,
    thing_centre,
    window,
)
from training.data.regions import indexed
from training.recipe import DataSettings, Recipe, Stage

LABELS = tuple(Label(c["id"], c["name"], bool(c["isthing"]), (0, 0, 0)) for c in tiny_dataset.CATEGORIES)
WHOLE = Stage(size=(64, 96), steps=3, batch=2, crop=(1.0, 1.0))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tiny_dataset.write(tmp_path / "tiny")


def samples(root: Path, stage: Stage = WHOLE, first: int = 0, seed: int = 0, cache: bool = False) -> PanopticDataset:
    recipe = Recipe("tiny", "tiny", "hle", DataSettings(str(root), cache=cache), [stage], seed=seed, settings=None)
    return PanopticDataset(recipe, stage, first, 2)


def equal(one: tuple[np.ndarray, ...], other: tuple[np.ndarray, ...]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_sample_by_hand(root: Path) -> None:
    labels, items = read_frames(root, "train")
    assert [label.name for label in labels] == ["road", "sky", "person", "car"]
    image, semantic, instance = read_sample(items[0], LABELS)
    assert image.shape == (64, 96, 3) and tuple(image[60, 50]) == tiny_dataset.COLORS[1]  # RGB
    assert [semantic[y, x] for y, x in ((0, 0), (60, 50), (10, 50), (35, 80), (30, 12), (30, 30))] == [-1, 0, 1, 2, 3, 3]
    assert sorted(np.unique(instance)) == [-1, 0, 1]
    np.testing.assert_array_equal(instance >= 0, np.isin(tiny_dataset.ids_of(0), [70000, 500]))
    assert instance[30, 12] != instance[30, 30]


@pytest.mark.parametrize("ids", [[[5, 5, 2], [2, 2, 9]], [[3]], [[7, 7], [7, 7]], [[1, 2], [1, 2]]])
def test_maps_of_ids_are_indexed(ids: list[list[int]]) -> None:
    values, index = indexed(np.array(ids))
    assert values.tolist() == sorted({value for row in ids for value in row})
    assert values[index].tolist() == ids


def test_crowds_have_a_class_and_no_instance(root: Path) -> None:
    _, semantic, instance = read_sample(read_frames(root, "train")[1][0], LABELS)
    crowd = tiny_dataset.ids_of(0) == 3
    assert (semantic[crowd] == 2).all() and (instance[crowd] == -1).all()


def test_a_training_sample_has_the_stage_s_size_and_the_grid_of_the_loss(root: Path) -> None:
    image, semantic, instance = samples(root, Stage(size=(32, 64), steps=2, batch=2))[3]
    assert (image.shape, image.dtype) == ((3, 32, 64), np.uint8)
    assert (semantic.shape, semantic.dtype) == (instance.shape, instance.dtype) == ((16, 32), np.int64)
    assert all(part.flags.c_contiguous for part in (image, semantic, instance))


@pytest.mark.parametrize("cache", [False, True])
def test_the_same_number_is_the_same_sample_whenever_asked_for(root: Path, cache: bool) -> None:
    stage = Stage(size=(32, 64), steps=4, batch=2)
    data = samples(root, stage, cache=cache)
    first = [data[i] for i in range(8)]
    again = samples(root, stage, cache=cache)
    assert all(equal(again[i], first[i]) for i in (7, 0, 3, 3))
    later = samples(root, stage, first=5)
    assert equal(later[0], first[5])


def test_other_numbers_and_seeds_are_other_samples(root: Path) -> None:
    stage = Stage(size=(32, 64), steps=4, batch=2)
    data = samples(root, stage)
    assert not any(equal(data[i], data[j]) for i in range(8) for j in range(i))
    assert not equal(data[0], samples(root, stage, seed=1)[0])


def test_an_epoch_has_every_image_once(root: Path) -> None:
    """The cars' left edge tells which of the four frames a sample is, flipped or not."""
    data = samples(root, Stage(size=(64, 96), steps=3, batch=4, crop=(1.0, 1.0)))
    for epoch in range(3):
        found = [int((data[4 * epoch + i][2] >= 0).argmax(1).max()) for i in range(4)]
        lefts = [min(left, 48 - 14 - left) for left in found]
        assert sorted(lefts) == [5, 7, 9, 11]


def test_flips_keep_image_and_targets_together(root: Path) -> None:
    """Green is car 70000 and yellow car 500, whatever the colours' change; both orders appear."""
    _, items = read_frames(root, "train")
    sample, sides = read_sample(items[1], LABELS), set()
    for number in range(8):
        image, semantic, instance = augment(sample, WHOLE, 2, np.random.default_rng(number))
        red, green, blue = image[:, ::2, ::2].astype(int)
        cars = (green > red + 20) & (green > blue + 20) | (np.minimum(red, green) > blue + 60)
        np.testing.assert_array_equal(cars, semantic == 3)
        first, second = ((instance == i).nonzero()[1].mean() for i in range(2))
        sides.add(bool(first < second))
    assert sides == {True, False}


@pytest.mark.parametrize("crop", [(1.0, 1.0), (0.3, 0.6)])
def test_windows_have_the_stage_s_aspect_and_lie_in_the_frame(crop: tuple[float, float]) -> None:
    stage, rng = Stage(size=(256, 512), crop=crop), np.random.default_rng(0)
    for size in ((480, 640), (100, 900), (720, 960)):
        largest = min(size[0], size[1] / 2)
        for _ in range(50):
            rows, columns = window(size, extent(size, stage, rng), None, rng)
            height, width = rows.stop - rows.start, columns.stop - columns.start
            assert 0 <= rows.start and rows.stop <= size[0] and 0 <= columns.start and columns.stop <= size[1]
            assert abs(width - 2 * height) <= 1
            assert crop[0] * largest - 1 <= height <= crop[1] * largest + 1


def test_a_scaled_window_has_the_scale_s_size() -> None:
    """Images of 32 x 64 pixels, two of them to one of the frame; and of a frame that is first halved, half of one."""
    rng = np.random.default_rng(0)
    assert extent((100, 200), Stage(size=(32, 64), scale=(2.0, 2.0)), rng) == (16, 32)
    assert extent((100, 200), Stage(size=(32, 64), scale=(1.0, 1.0), longest=100), rng) == (64, 128)
    assert extent((100, 200), Stage(size=(32, 64), scale=(1.0, 1.0), longest=400), rng) == (32, 64)
    sizes = {extent((100, 200), Stage(size=(32, 64), scale=(0.5, 2.0)), rng)[0] for _ in range(200)}
    assert 16 <= min(sizes) < 18 and 58 < max(sizes) <= 64


def test_the_shorter_side_is_resized() -> None:
    """Of frames 100 and 50 pixels high to 50, 75 or 100: 2 to 1 pixels of the frame for one of the image, and 1 to 0.5."""
    stage, rng = Stage(size=(64, 64), shorter=(50, 100, 25)), np.random.default_rng(0)
    assert {extent((100, 200), stage, rng) for _ in range(50)} == {(128, 128), (85, 85), (64, 64)}
    assert {extent((90, 50), stage, rng) for _ in range(50)} == {(64, 64), (43, 43), (32, 32)}


def test_what_lies_beyond_the_frame_is_void(root: Path) -> None:
    """Each pixel of the frame becomes one cell of the middle, or wherever the frame lies in the window."""
    sample = read_sample(read_frames(root, "train")[1][0], LABELS)
    stage, places = Stage(size=(128, 192), scale=(1.0, 1.0), flip=0, colours=False), set()
    for number in range(4):
        image, semantic, instance = augment(sample, stage, 1, np.random.default_rng(number))
        there = (image != np.array([124, 116, 104]).reshape(3, 1, 1)).any(0)
        rows, columns = np.nonzero(there)
        top, left = rows.min(), columns.min()
        part = np.s_[top : top + 64, left : left + 96]
        places.add((int(top), int(left)))
        assert there.sum() == 64 * 96 and (semantic[~there] == -1).all() and (instance[~there] == -1).all()
        assert equal((image[:, *part].transpose(1, 2, 0), semantic[part], instance[part]), sample)
    assert len(places) == 4


def test_a_frame_that_is_large_enough_is_not_padded(root: Path) -> None:
    sample = read_sample(read_frames(root, "train")[1][0], LABELS)
    assert padded(sample, (64, 96), np.random.default_rng(0)) is sample
    assert padded(sample, (64, 97), np.random.default_rng(0))[0].shape == (64, 97, 3)


def test_windows_around_things_hold_one(root: Path) -> None:
    """Windows of 8 x 12 pixels; without `around_things` most have none."""
    sample = read_sample(read_frames(root, "train")[1][0], LABELS)
    found = {}
    for probability in (0.0, 1.0):
        stage = Stage(size=(8, 12), scale=(1.0, 1.0), around_things=probability)
        drawn = [augment(sample, stage, 1, np.random.default_rng(number))[2] for number in range(40)]
        found[probability] = sum((instance >= 0).any() for instance in drawn)
        assert {shape for shape in (instance.shape for instance in drawn)} == {(8, 12)}
    assert found[1.0] == 40 and 5 < found[0.0] < 35


def test_things_are_found_by_their_middle() -> None:
    instance = np.full((9, 9), -1, np.int16)
    assert thing_centre(instance, np.random.default_rng(0)) is None
    instance[2:5, 6:9] = 3
    assert thing_centre(instance, np.random.default_rng(0)) == (3, 7)


def test_a_window_holds_its_centre_and_stays_in_the_frame() -> None:
    for number in range(50):
        rows, columns = window((20, 30), (8, 10), (1, 25), np.random.default_rng(number))
        assert 0 <= rows.start <= 1 < rows.stop and columns.start <= 25 < columns.stop <= 30


def test_colours_and_flips_can_be_left_out(root: Path) -> None:
    sample = read_sample(read_frames(root, "train")[1][0], LABELS)
    stage = Stage(size=(64, 96), crop=(1.0, 1.0), flip=0.0, colours=False)
    for number in range(8):
        assert np.array_equal(augment(sample, stage, 1, np.random.default_rng(number))[0].transpose(1, 2, 0), sample[0])


def test_cells_take_the_pixel_under_their_centre() -> None:
    rows, columns = nearest((8, 8), (slice(0, 8), slice(10, 14)), 2)
    assert rows.ravel().tolist() == [1, 3, 5, 7]
    assert columns.ravel().tolist() == [10, 11, 12, 13]


def test_colours_change_by_level_and_channel_alone() -> None:
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    changed = colours(gray, np.random.default_rng(0)).reshape(256, 3).astype(int)
    assert (np.diff(changed, axis=0) >= 0).all()
    assert not np.array_equal(changed[:, 0], np.arange(256))


def test_stages_are_numbered_through() -> None:
    recipe = Recipe("m", "m", "hle", stages=[Stage(steps=3, batch=4), Stage(steps=2, batch=5), Stage()], settings=None)
    assert [(step, sample) for _, step, sample in stages_with_start(recipe)] == [(0, 0), (3, 12), (5, 22)]


def test_missing_files_are_named(root: Path) -> None:
    (root / "train" / "2.png").unlink()
    (root / "panoptic_train" / "1.png").unlink()
    with pytest.raises(PanopticError, match=r"2 of its 8 files are missing: \S*panoptic_train/1.png, \S*train/2.png"):
        read_frames(root, "train")


def test_a_split_without_images_is_refused(root: Path) -> None:
    tiny_dataset.edit(root, lambda content: content["annotations"].clear())
    with pytest.raises(PanopticError, match="panoptic_train.json"):
        read_frames(root, "train")


def test_a_missing_split_is_named(root: Path) -> None:
    with pytest.raises(PanopticError, match="panoptic_test.json"):
        read_frames(root, "test")


def test_an_unknown_category_is_answered_with_the_known_ones(root: Path) -> None:
    tiny_dataset.edit(root, lambda content: content["annotations"][2]["segments_info"][0].update(category_id=99))
    with pytest.raises(PanopticError, match=r"2.png has categories \[99\]; the labels are .*7.*26"):
        read_frames(root, "train")


@pytest.mark.parametrize(("part", "key"), [("images", "file_name"), ("annotations", "segments_info"), ("categories", "isthing")])
def test_an_entry_that_lacks_a_key_is_refused(root: Path, part: str, key: str) -> None:
    tiny_dataset.edit(root, lambda content: content[part][0].pop(key))
    for read in (read_frames, census):
        with pytest.raises(PanopticError, match=f"panoptic_train.json: .* lacks '?{key}'?"):
            read(root, "train")


def test_an_annotation_of_a_missing_image_is_named(root: Path) -> None:
    tiny_dataset.edit(root, lambda content: content["images"].pop(1))
    with pytest.raises(PanopticError, match="1.png is of image 11, which is not in `images`"):
        read_frames(root, "train")


def test_ids_that_the_json_lacks_are_named(root: Path) -> None:
    tiny_dataset.edit(root, lambda content: [a["segments_info"].pop(0) for a in content["annotations"]])
    with pytest.raises(PanopticError, match=r"\d.png has segment ids \[1\] that its JSON lacks"):
        samples(root)[0]


def test_an_image_of_another_size_than_its_ids_is_named(root: Path) -> None:
    coco.write_ids(root / "panoptic_train" / "0.png", tiny_dataset.ids_of(0)[:32])
    with pytest.raises(PanopticError, match=r"0.png is \(32, 96\), its image 0.png \(64, 96\)"):
        read_sample(read_frames(root, "train")[1][0], LABELS)


@pytest.mark.parametrize("folder", ["train", "panoptic_train"])
@pytest.mark.parametrize("content", [b"", b"no image at all", b"half"])
def test_broken_files_are_named(root: Path, folder: str, content: bytes) -> None:
    file = root / folder / "0.png"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2] if content == b"half" else content)
    with pytest.raises(PanopticError, match=f"{folder}/0.png"):
        read_sample(read_frames(root, "train")[1][0], LABELS)


def test_ids_in_gray_are_refused(root: Path) -> None:
    cv2.imwrite(str(root / "panoptic_train" / "0.png"), tiny_dataset.ids_of(0).astype(np.uint8))
    with pytest.raises(PanopticError, match="a panoptic PNG is 8-bit RGB"):
        read_sample(read_frames(root, "train")[1][0], LABELS)


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("images", "id", [1]), ("images", "file_name", 3), ("images", "frame", "first"), ("images", "stamp_ns", 1 << 64),
        ("images", "sequence", ["a"]), ("annotations", "image_id", {}), ("annotations", "file_name", None),
        ("annotations", "segments_info", "none"), ("categories", "id", "7"), ("categories", "id", float("inf")),
        ("categories", "name", 5), ("categories", "color", 128), ("categories", "color", [[1]]),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_refused(root: Path, part: str, key: str, value: object) -> None:
    tiny_dataset.edit(root, lambda content: content[part][0].update({key: value}))
    with pytest.raises(PanopticError, match=rf"panoptic_train.json: {part}\[0\]: {key} is .*; expected a JSON value of type"):
        read_frames(root, "train")


@pytest.mark.parametrize(
    ("key", "value"), [("id", []), ("category_id", "7"), ("iscrowd", "no"), ("area", [1]), ("bbox", 4), ("score", {})]
)
def test_a_segment_with_a_value_of_another_type_is_refused(root: Path, key: str, value: object) -> None:
    tiny_dataset.edit(root, lambda content: content["annotations"][0]["segments_info"][0].update({key: value}))
    with pytest.raises(PanopticError, match=rf"segments_info of 0.png\[0\]: {key} is .*; expected a JSON value of type"):
        read_frames(root, "train")
