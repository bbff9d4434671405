"""VPQ on drawn videos with literal answers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from panoptic_ros.core import Label, Panoptic, Segment
from training.metrics import bench
from training.metrics.frame_quality import Pair
from training.metrics.overlap import Overlap, overlap_of
from training.metrics.panoptic_quality import Tally, Truth
from training.metrics.video import VideoQuality
from training.metrics.vpq import VideoPanopticQuality

SKY, CAR = 1, 2
LABELS = (Label(SKY, "sky", False, (0, 0, 0)), Label(CAR, "car", True, (0, 0, 0)))
TRUTH = {1: Truth(SKY), 2: Truth(CAR)}


def quality(*frames: tuple[str, list, list], windows: tuple[int, ...] = (1, 2)) -> VideoPanopticQuality:
    """frames: sequence, true ids (1 sky, 2 car), predicted ids (1 sky, others cars)."""
    metric = VideoPanopticQuality(LABELS, windows)
    for sequence, truth, predicted in frames:
        guesses = {i: SKY if i == 1 else CAR for i in set(predicted)}
        metric.add(sequence, overlap_of(np.array([truth]), np.array([predicted])), TRUTH, guesses)
    return metric


def test_overlaps_add_up() -> None:
    assert Overlap({(1, 5): 2}, {1: 2}, {5: 2}) + Overlap({(1, 5): 1, (2, 5): 3}, {1: 1, 2: 3}, {5: 4}) == Overlap(
        {(1, 5): 3, (2, 5): 3}, {1: 3, 2: 3}, {5: 6}
    )


def test_a_car_that_changes_its_number_is_no_tube() -> None:
    """Its two halves have a tube IoU of 1/2 each: one miss and two false alarms. The sky is exact."""
    metric = quality(("s", [1, 2], [1, 7]), ("s", [1, 2], [1, 8]))
    assert metric.quality[1].tallies[CAR] == Tally(2.0, 2, 0, 0)
    assert metric.quality[2].tallies[CAR] == Tally(0.0, 0, 2, 1)
    assert metric.score() == (0.75, {1: 1.0, 2: 0.5})


def test_the_iou_of_a_tube_is_over_all_its_frames() -> None:
    """1 of 2 pixels, then 2 of 2: no match in the first frame alone, a tube of IoU 3/4 in both together."""
    metric = quality(("s", [1, 2, 2], [1, 1, 7]), ("s", [1, 2, 2], [1, 7, 7]))
    assert metric.quality[1].tallies[CAR] == Tally(1.0, 1, 1, 1)
    assert metric.quality[2].tallies[CAR] == Tally(0.75, 1, 0, 0)


def test_windows_slide_and_do_not_reach_into_another_sequence() -> None:
    metric = quality(*[("a", [1, 2], [1, 7])] * 4, *[("b", [1, 2], [1, 7])] * 2, windows=(1, 3, 5))
    assert {length: of.tallies[CAR].tp for length, of in metric.quality.items()} == {1: 6, 3: 2, 5: 0}
    assert metric.score() == (1.0, {1: 1.0, 3: 1.0})  # no sequence has 5 frames


def test_nothing() -> None:
    assert quality().score() == (None, {})


@pytest.mark.parametrize(("track", "tubes"), [(7, Tally(1.0, 1, 0, 0)), (None, Tally(0.0, 0, 2, 1))])
def test_a_thing_without_identity_is_a_tube_of_its_frame_alone(track: int | None, tubes: Tally) -> None:
    video = VideoQuality(LABELS)
    video.vpq = VideoPanopticQuality(LABELS, (1, 2))
    ids = np.array([[SKY << 16, CAR << 16 | 7]], np.int32)
    segments = tuple(
        Segment(i, i >> 16, 1.0, 1, (0, 0, 1, 1), np.ones(1), track if i >> 16 == CAR else None) for i in ids[0].tolist()
    )
    for stamp in range(2):
        video.add("s", np.array([[1, 2]]), TRUTH, Panoptic(ids, segments, stamp))
    assert video.panoptic.tallies[CAR] == Tally(2.0, 2, 0, 0)
    assert video.vpq.quality[2].tallies == {SKY: Tally(1.0, 1, 0, 0), CAR: tubes}


maps = arrays.arrays(np.int32, (5, 3, 4), elements=st.integers(0, 4))


@settings(max_examples=40, deadline=None)
@given(maps, maps)
def test_a_window_is_its_frames_pasted_together(truth: np.ndarray, predicted: np.ndarray) -> None:
    """Against masks of the pasted pictures, compared two by two."""
    labels = bench.LABELS
    metric, pasted = VideoPanopticQuality(labels, (3,)), {label.id: Tally() for label in labels}
    category = {i: 1 + i % 2 for i in range(1, 5)}
    for t, p in zip(truth, predicted):
        true, guessed = ({i: category[i] for i in np.unique(ids).tolist() if i} for ids in (t, p))
        metric.add("s", overlap_of(t, p), {i: Truth(c) for i, c in true.items()}, guessed)
    for start in range(3):
        t, p = np.vstack(truth[start : start + 3]), np.vstack(predicted[start : start + 3])
        true, guessed = ({i: category[i] for i in np.unique(ids).tolist() if i} for ids in (t, p))
        bench.segment_by_segment(pasted, Pair("", t, {i: Truth(c) for i, c in true.items()}, p, guessed))
    assert bench.equal(metric.quality[3].tallies, pasted)
