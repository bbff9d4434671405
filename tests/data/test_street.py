"""The street data set: deterministic, consistent, readable, with every promised class."""

import functools
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pytest

from panoptic_ros import coco
from panoptic_ros.core import PanopticError

mujoco = pytest.importorskip("mujoco", reason="MuJoCo is not installed: street scenes cannot be rendered")

from training.data.street import dataset, labels  # noqa: E402
from training.data.street.generate import Frame, frames  # noqa: E402
from training.data.street.render import gl_context  # noqa: E402

SIZE = (96, 192)
PLAN = dataset.Plan("val", 1, 2, 10.0)


@pytest.fixture(scope="module", autouse=True)
def _egl() -> None:
    """Skip, and say why, on a machine without off-screen GL."""
    try:
        gl_context()
    except PanopticError as error:
        pytest.skip(str(error))


@functools.cache
def clip(seed: int) -> tuple[Frame, ...]:
    """Four frames of a scene, a second apart."""
    return tuple(frames(seed, 4, 1.0, SIZE))


def test_same_seed_same_frames() -> None:
    first, second = tuple(frames(3, 2, 5.0, (64, 128))), tuple(frames(3, 2, 5.0, (64, 128)))
    for a, b in zip(first, second, strict=True):
        assert np.array_equal(a.rgb, b.rgb) and np.array_equal(a.ids, b.ids) and np.array_equal(a.depth_m, b.depth_m)
    other = next(frames(4, 1, 5.0, (64, 128)))
    assert not np.array_equal(first[0].rgb, other.rgb)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a scene of two frames."""
    folder = tmp_path_factory.mktemp("street")
    dataset.render(folder, [PLAN], 0, (64, 128), True, 1)
    return folder


def test_same_seed_same_files(rendered: Path, tmp_path: Path) -> None:
    dataset.render(tmp_path, [PLAN], 0, (64, 128), True, 1)
    files = sorted(p.relative_to(rendered) for p in rendered.rglob("*") if p.is_file())
    assert len(files) == 2 * 3 + 2
    assert all((rendered / f).read_bytes() == (tmp_path / f).read_bytes() for f in files)


def test_every_class_is_there() -> None:
    seen = {c for seed in range(6) for frame in clip(seed) for c in frame.categories.values()}
    assert seen >= {label.id for label in labels.LABELS}


def test_ids_last_over_a_sequence() -> None:
    """A thing keeps its id, and the id its place: masks of one id in frames 0.1 s apart overlap or touch."""
    first, second = frames(1, 2, 10.0, SIZE)
    things = {k for k, c in first.categories.items() if c >= labels.PERSON and np.count_nonzero(first.ids == k) > 60}
    assert len(things) >= 3
    for thing in things & set(second.categories):
        assert np.any((first.ids == thing) & (second.ids == thing))
    assert len(things & set(second.categories)) >= 0.8 * len(things)


def test_an_object_leaves_and_returns() -> None:
    presence = np.array(
        [[k in f.categories for f in clip(s)] for s in range(6) for k in {i for f in clip(s) for i in f.categories if i >= 1000}]
    )
    gone = presence[:, 0] & ~(presence[:, 1] & presence[:, 2]) & presence[:, 3]
    assert gone.any()


def test_depth_agrees_with_ids() -> None:
    for frame in clip(0):
        assert np.all(frame.depth_m[frame.ids == labels.SKY] == 0)
        solid = (frame.ids != labels.SKY) & (frame.ids != labels.VOID)
        assert np.all(frame.depth_m[solid] > 0.29)
        road = np.argwhere(frame.ids == labels.ROAD)
        near, far = road[road[:, 0].argmax()], road[road[:, 0].argmin()]
        assert frame.depth_m[tuple(near)] < frame.depth_m[tuple(far)]


def test_small_segments_are_void() -> None:
    least = 48 * SIZE[0] * SIZE[1] / (256 * 512)
    for frame in clip(1):
        values, areas = np.unique(frame.ids[frame.ids > 0], return_counts=True)
        assert areas.min() >= least
        assert set(values.tolist()) == set(frame.categories)


def test_coco_round_trip(rendered: Path) -> None:
    content = coco.read_json(rendered / "panoptic_val.json")
    assert coco.labels_of(content) == labels.LABELS
    expected = list(frames(dataset.scene_seed(0, "val", 0), 2, 10.0, (64, 128)))
    for image, annotation, frame in zip(content["images"], content["annotations"], expected, strict=True):
        ids = coco.read_ids(rendered / "panoptic_val" / annotation["file_name"])
        assert np.array_equal(ids, frame.ids)
        assert annotation["image_id"] == image["id"] and (rendered / "val" / image["file_name"]).exists()
        assert {s["id"]: s["category_id"] for s in annotation["segments_info"]} == frame.categories
    assert [i["stamp_ns"] for i in content["images"]] == [1_700_000_000_000_000_000, 1_700_000_000_100_000_000]
    with pytest.raises(PanopticError, match="choose another --out"):
        dataset.render(rendered, [PLAN], 1, (64, 128), True, 1)


def test_a_crash_of_the_renderer_costs_no_finished_scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, rounds = dataset.Plan("val", 3, 1, 10.0), []

    def crash_after_one(jobs: list[dataset.Job], workers: int, bar: object) -> None:
        rounds.append([job.number for job in jobs])
        dataset.render_scene(jobs[0])
        raise BrokenProcessPool

    monkeypatch.setattr(dataset, "_render_all", crash_after_one)
    dataset.render(tmp_path, [plan], 0, (64, 128), False, 1)
    assert rounds == [[0, 1, 2], [1, 2], [2]]
    assert len(coco.read_json(tmp_path / "panoptic_val.json")["images"]) == 3


def test_a_renderer_that_only_crashes_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(jobs: list[dataset.Job], workers: int, bar: object) -> None:
        raise BrokenProcessPool

    monkeypatch.setattr(dataset, "_render_all", crash)
    with pytest.raises(PanopticError, match="die before any scene is done"):
        dataset.render(tmp_path, [dataset.Plan("val", 2, 1, 10.0)], 0, (64, 128), False, 1)


def test_splits_share_no_scene() -> None:
    seeds = [dataset.scene_seed(0, split, k) for split in dataset.SPLITS for k in (0, 1, dataset.SEED_STRIDE - 1)]
    assert len(set(seeds)) == len(seeds)
    with pytest.raises(PanopticError, match="at most"):
        dataset.scene_seed(0, "train", dataset.SEED_STRIDE)
