"""Frames in, segments out, on a real engine: every number can be read off the drawing."""

from dataclasses import replace

import numpy as np
import pytest
import tiny_engine
from tiny_engine import BLUE_CAR, PERSON, RED_CAR, ROAD, SKY, scene

from panoptic_ros.core import Engine, Panoptic, PanopticError
from panoptic_ros.manifest import Manifest
from panoptic_ros.pipeline import STAGES, Pipeline, Thresholds
from panoptic_ros.tracker import Tracker

ROAD_ID, SKY_ID, CAR, PERSON_CLASS = 7 << 16, 23 << 16, 26, 24


@pytest.fixture
def pipeline(engine: Engine, tiny: Manifest) -> Pipeline:
    return Pipeline(engine, tiny)


@pytest.fixture
def tracked(engine: Engine, tiny: Manifest) -> Pipeline:
    return Pipeline(engine, tiny, Tracker(tiny.labels))


def rows(panoptic: Panoptic) -> list[tuple]:
    return [(s.id, s.category, s.area, s.box, s.track) for s in panoptic.segments]


def test_a_frame_becomes_segments(pipeline: Pipeline) -> None:
    panoptic = pipeline(scene(), 42)
    assert rows(panoptic) == [
        (ROAD_ID, 7, 32 * 96 - 384 - 128, (0, 32, 96, 64), None),
        (SKY_ID, 23, 32 * 96 - 64, (0, 0, 96, 32), None),
        (CAR << 16 | 1, CAR, 384, (8, 32, 32, 48), None),
        (PERSON_CLASS << 16 | 2, PERSON_CLASS, 192, (64, 24, 72, 48), None),
    ]
    assert panoptic.stamp_ns == 42
    assert panoptic.segments[2].score == pytest.approx(384 / (64 * 96))
    assert panoptic.segments[3].embedding.tolist() == [1, 0, 0, 0]


def test_every_pixel_has_the_id_of_its_segment(pipeline: Pipeline) -> None:
    expected = np.full((64, 96), ROAD_ID)
    expected[:32] = SKY_ID
    expected[32:48, 8:32] = CAR << 16 | 1
    expected[24:48, 64:72] = PERSON_CLASS << 16 | 2
    ids = pipeline(scene(), 0).ids
    assert ids.dtype == np.int32
    assert not ids.flags.writeable
    assert (ids == expected).all()


def test_black_is_void(pipeline: Pipeline) -> None:
    panoptic = pipeline(np.zeros((64, 96, 3), np.uint8), 0)
    assert panoptic.segments == ()
    assert not panoptic.ids.any()


def test_a_larger_frame_is_segmented_in_its_own_pixels(pipeline: Pipeline) -> None:
    panoptic = pipeline(scene().repeat(5, axis=0).repeat(5, axis=1), 0)
    assert panoptic.ids.shape == (320, 480)
    assert (panoptic.segments[2].area, panoptic.segments[2].box) == (384 * 25, (40, 160, 160, 240))


def test_a_slot_that_is_seen_only_in_the_padding_is_no_segment(pipeline: Pipeline) -> None:
    panoptic = pipeline(np.full((64, 32, 3), SKY, np.uint8), 0)  # the padding's grey is nearest to the road's colour
    assert rows(panoptic) == [(SKY_ID, 23, 64 * 32, (0, 0, 32, 64), None)]


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 3), (37, 91), (129, 193)])
def test_areas_and_boxes_are_those_of_the_painted_pixels(pipeline: Pipeline, size: tuple[int, int]) -> None:
    frame = np.random.default_rng(0).choice(np.array([ROAD, SKY, RED_CAR, BLUE_CAR, PERSON], np.uint8), size)
    panoptic = pipeline(frame, 0)
    assert panoptic.ids.shape == size
    assert {s.id for s in panoptic.segments} == set(panoptic.ids.ravel().tolist()) - {0}
    for segment in panoptic.segments:
        y, x = np.nonzero(panoptic.ids == segment.id)
        assert (segment.area, segment.box) == (len(y), (x.min(), y.min(), x.max() + 1, y.max() + 1))


def test_a_stream_may_change_its_size_midway(pipeline: Pipeline) -> None:
    shapes = [pipeline(np.full((h, w, 3), ROAD, np.uint8), 0).ids.shape for h, w in ((64, 96), (480, 640), (64, 96), (30, 500))]
    assert shapes == [(64, 96), (480, 640), (64, 96), (30, 500)]


def test_the_result_outlives_the_next_frame(pipeline: Pipeline) -> None:
    panoptic = pipeline(scene(), 0)
    ids, embedding = panoptic.ids.copy(), panoptic.segments[0].embedding.copy()
    pipeline(np.zeros((64, 96, 3), np.uint8), 1)
    assert (panoptic.ids == ids).all()
    assert (panoptic.segments[0].embedding == embedding).all()


def test_things_keep_their_pixel_value_once_tracked(tracked: Pipeline) -> None:
    frames = []
    for step in range(6):
        frame = np.full((64, 96, 3), ROAD, np.uint8)
        frame[32:48, 8 + 4 * step : 32 + 4 * step] = RED_CAR
        frames.append(tracked(frame, step * 100_000_000))
    cars = [frame.segments[1] for frame in frames]
    assert [car.track for car in cars[2:]] == [1] * 4
    assert [car.id for car in cars[2:]] == [CAR << 16 | 1] * 4
    assert [frame.ids[40, 30 + 4 * step] for step, frame in enumerate(frames)][2:] == [CAR << 16 | 1] * 4


def test_every_stage_is_timed(pipeline: Pipeline) -> None:
    pipeline(scene(), 0)
    assert set(pipeline.timings_ms) == {*STAGES, "total"}
    assert sum(pipeline.timings_ms[stage] for stage in STAGES) == pytest.approx(pipeline.timings_ms["total"])


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (np.zeros((64, 96), np.uint8), r"uint8 \(64, 96\); expected uint8 \(height, width, 3\)"),
        (np.zeros((64, 96, 4), np.uint8), "expected uint8"),
        (np.zeros((64, 96, 3), np.float32), "float32"),
        (np.zeros((0, 96, 3), np.uint8), "0x96 pixels"),
        (np.zeros((64, 0, 3), np.uint8), "64x0 pixels"),
        (np.zeros((16385, 1, 3), np.uint8), "16385x1 pixels; height and width are 1 to 16384"),
    ],
)
def test_what_is_no_frame_is_refused(pipeline: Pipeline, frame: np.ndarray, message: str) -> None:
    with pytest.raises(PanopticError, match=message):
        pipeline(frame, 0)


def test_a_refused_frame_leaves_the_pipeline_usable(tracked: Pipeline) -> None:
    for step in range(3):
        panoptic = tracked(scene(), step * 100_000_000)
        with pytest.raises(PanopticError):
            tracked(np.zeros((0, 0, 3), np.uint8), step * 100_000_000)
    assert [s.track for s in panoptic.segments] == [None, None, 1, 2]


def test_the_engine_size_does_not_change_what_is_drawn_in_whole_cells(tiny: Manifest) -> None:
    from panoptic_ros.engine import open_engine

    larger = tiny.with_size(128, 192)
    small, large = (Pipeline(open_engine(model), model)(scene(), 0) for model in (tiny, larger))
    assert (small.ids == large.ids).mean() > 0.9  # growing blurs the edges
    assert tiny_engine.CATEGORY[2] == large.segments[2].category
    assert replace(large.segments[2], score=0, embedding=None).box == (8, 32, 32, 48)


def test_things_below_the_thresholds_are_void(tracked: Pipeline) -> None:
    """The car scores 384 / 6144 = 0.0625 and the person half of that; stuff stays, however it scores."""
    tracked.thresholds = Thresholds(min_score=0.05)
    panoptic = tracked(scene(), 0)
    assert [s.category for s in panoptic.segments] == [7, 23, CAR]
    assert panoptic.ids[30, 68] == 0 and panoptic.ids[40, 20] >> 16 == CAR
    tracked.thresholds = Thresholds(min_area=193)
    assert [s.category for s in tracked(scene(), 1).segments] == [7, 23, CAR]
    tracked.thresholds = Thresholds(min_score=0.03, min_area=192)
    assert [s.category for s in tracked(scene(), 2).segments] == [7, 23, CAR, PERSON_CLASS]


@pytest.mark.parametrize("wrong", [{"min_score": 1.1}, {"min_score": -0.1}, {"min_score": float("nan")}, {"min_area": -1}])
def test_thresholds_have_ranges(wrong: dict[str, float]) -> None:
    with pytest.raises(PanopticError, match="is out of range"):
        Thresholds(**wrong)


def test_forgotten_tracks_get_new_numbers(tracked: Pipeline) -> None:
    numbers = []
    for frame in range(6):
        if frame == 3:
            tracked.forget_tracks()
        numbers.append(tracked(scene(), frame * 33_000_000).segments[2].track)
    assert numbers == [None, 1, 1, None, 3, 3]
