"""PQ-dagger, parsing covering, mIoU and AP on drawn arrays with literal answers."""

from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from panoptic_ros.core import Label
from training.metrics.average_precision import AveragePrecision
from training.metrics.dagger import PanopticQualityDagger
from training.metrics.frame_quality import SHOWN, FrameQuality, Pair
from training.metrics.overlap import overlap_of
from training.metrics.panoptic_quality import PanopticQuality, Truth
from training.metrics.parsing_covering import ParsingCovering
from training.metrics.semantic import Confusion

SKY, CAR, BUS = 1, 2, 3
LABELS = tuple(Label(i, name, i != SKY, (0, 0, 0)) for i, name in ((SKY, "sky"), (CAR, "car"), (BUS, "bus")))


def count(metric, truth: list, true_segments: dict, predicted: list, predicted_segments: dict):
    metric.count(overlap_of(np.array(truth), np.array(predicted)), true_segments, predicted_segments)
    return metric


def dagger(*images: tuple) -> PanopticQualityDagger:
    panoptic = PanopticQuality(LABELS)
    metric = PanopticQualityDagger(panoptic)
    for image in images:
        count(panoptic, *image)
        count(metric, *image)
    return metric


def test_pq_dagger_is_the_iou_of_stuff_however_small() -> None:
    """Sky with IoU 1/4, which PQ calls missed, and with IoU 1; a sky that is not there changes nothing."""
    quarter = [[1, 1, 1, 1]], {1: Truth(SKY)}, [[1, 0, 0, 0]], {1: SKY}
    exact = [[1, 1, 1, 1]], {1: Truth(SKY)}, [[1, 1, 1, 1]], {1: SKY}
    made_up = [[2, 2, 2, 2]], {2: Truth(CAR)}, [[2, 2, 2, 1]], {1: SKY, 2: CAR}
    assert dagger(quarter).per_class() == {SKY: 0.25}
    metric = dagger(quarter, exact, made_up)
    assert metric.per_class() == {CAR: 0.75, SKY: 0.625}
    assert metric.mean() == 0.6875


def test_pq_dagger_of_things_is_pq_and_stuff_without_truth_does_not_count() -> None:
    metric = dagger(([[1, 1, 2, 2]], {1: Truth(CAR), 2: Truth(SKY, crowd=True)}, [[1, 0, 2, 2]], {1: CAR, 2: SKY}))
    assert metric.per_class() == {CAR: 0.0}
    assert dagger().mean() is None


def test_parsing_covering_takes_the_best_iou_weighted_by_area() -> None:
    """A car of 4 pixels is cut into 3 and 1, one of 2 is missed: (4 x 3/4 + 2 x 0) / 6. Void and crowds do not count."""
    truth, predicted = [[1, 1, 1, 1, 2, 2, 0, 3]], [[5, 5, 5, 6, 0, 0, 5, 7]]
    segments = {1: Truth(CAR), 2: Truth(CAR), 3: Truth(BUS, crowd=True)}
    metric = count(ParsingCovering(LABELS), truth, segments, predicted, {5: CAR, 6: CAR, 7: BUS})
    assert metric.per_class() == {CAR: 0.5}
    count(metric, [[1, 1]], {1: Truth(SKY)}, [[9, 9]], {9: SKY})
    assert metric.mean() == 0.75
    assert ParsingCovering(LABELS).mean() is None


def test_parsing_covering_adds_up_over_images() -> None:
    metric = count(ParsingCovering(LABELS), [[1, 1, 1]], {1: Truth(CAR)}, [[5, 5, 5]], {5: CAR})
    count(metric, [[1, 1, 1]], {1: Truth(CAR)}, [[5, 5, 5]], {5: BUS})
    count(metric, [[1, 1]], {1: Truth(CAR)}, [[5, 0]], {5: CAR})
    assert metric.per_class() == {CAR: (3 + 0 + 2 * 0.5) / 8}


def test_confusion_and_miou() -> None:
    """Sky: 1 right of 2 true ones. Car: taken for void once, seen in the sky once. On true void nothing is judged."""
    metric = count(Confusion(LABELS), [[1, 1, 2, 0]], {1: Truth(SKY), 2: Truth(CAR)}, [[1, 5, 0, 5]], {1: SKY, 5: CAR})
    assert metric.pixels.tolist() == [[1, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0]]
    assert metric.per_class() == {SKY: 0.5, CAR: 0.0}
    assert metric.mean() == 0.25
    assert Confusion(LABELS).mean() is None


def precision(truth: list, true_segments: dict, predicted: list, scores: dict) -> AveragePrecision:
    metric = AveragePrecision(LABELS)
    metric.add(np.array(truth), true_segments, np.array(predicted), dict.fromkeys(scores, CAR), scores)
    return metric


@pytest.mark.parametrize(("of_the_false_one", "expected"), [(0.5, 51 / 101), (0.95, 51 / 202)])
def test_ap_of_one_of_two_cars_and_a_false_alarm(of_the_false_one: float, expected: float) -> None:
    """Found up to recall 1/2, so at 51 of 101 recalls; with a precision of 1/2 if the false alarm is the surer one."""
    truth, cars = [[1, 1, 2, 2, 0, 0]], {1: Truth(CAR), 2: Truth(CAR)}
    mean, classes = precision(truth, cars, [[8, 8, 0, 0, 9, 9]], {8: 0.9, 9: of_the_false_one}).score()
    assert astuple(mean) == pytest.approx([expected] * 3)
    assert classes == {CAR: mean}


def test_ap_of_a_mask_of_iou_five_eighths() -> None:
    """It counts at the thresholds 0.50, 0.55 and 0.60 of ten."""
    mean, _ = precision([[1] * 8], {1: Truth(CAR)}, [[5] * 5 + [0] * 3], {5: 0.7}).score()
    assert astuple(mean) == pytest.approx((0.3, 1.0, 0.0))


def test_ap_without_things_and_with_a_crowd() -> None:
    assert AveragePrecision(LABELS).score() == (None, {})
    assert precision([[1, 1]], {1: Truth(CAR, crowd=True)}, [[5, 5]], {5: 0.7}).score() == (None, {})
    truth = {1: Truth(CAR), 2: Truth(CAR, crowd=True), 3: Truth(BUS)}
    mean, classes = precision([[1, 1, 2, 2, 3, 3]], truth, [[5, 5, 6, 6, 0, 0]], {5: 0.7, 6: 0.9}).score()
    assert {category: found.ap for category, found in classes.items()} == pytest.approx({CAR: 1.0, BUS: 0.0})
    assert mean.ap == pytest.approx(0.5)


def pair(name: str, good: int, sequence: str | None = None, scores: dict | None = None) -> Pair:
    """A car of 10 pixels of which `good` are found."""
    predicted = np.array([[5] * good + [0] * (10 - good)])
    return Pair(name, np.ones((1, 10), int), {1: Truth(CAR)}, predicted, {5: CAR}, scores, sequence)


def test_best_and_worst_images_are_of_different_sequences() -> None:
    quality = FrameQuality(LABELS)
    for name, good, sequence in (("a0", 6, "a"), ("a1", 9, "a"), ("b0", 7, "b"), ("b1", 3, "b"), ("photo", 8, None)):
        quality.add(pair(name, good, sequence))
    assert quality.images == {"a0": 0.6, "a1": 0.9, "b0": 0.7, "b1": 0.0, "photo": 0.8}
    assert [(pq, found.name) for pq, found in quality.best.pairs] == [(0.9, "a1"), (0.8, "photo"), (0.7, "b0")]
    assert [(pq, found.name) for pq, found in quality.worst.pairs] == [(0.0, "b1"), (0.6, "a0"), (0.8, "photo")]
    for number in range(6):
        quality.add(pair(f"perfect {number}", 10))
    assert [pq for pq, _ in quality.best.pairs] == [1.0] * SHOWN


def test_ap_needs_the_scores_of_every_image() -> None:
    quality = FrameQuality(LABELS)
    quality.add(pair("0", 10, scores={5: 0.5}))
    assert quality.precision.score()[0].ap == pytest.approx(1.0)
    quality.add(pair("1", 10))
    quality.add(pair("2", 10, scores={5: 0.5}))
    assert quality.precision is None


@settings(max_examples=30, deadline=None)
@given(arrays.arrays(np.int32, (5, 6), elements=st.integers(0, 4)))
def test_the_truth_itself_scores_one(ids: np.ndarray) -> None:
    category = {i: 1 + i % 3 for i in np.unique(ids[ids > 0]).tolist()}
    quality = FrameQuality(LABELS)
    quality.add(Pair("0", ids, {i: Truth(c) for i, c in category.items()}, ids, category, dict.fromkeys(category, 0.5)))
    occur = set(category.values())
    for metric in (quality.dagger, quality.covering, quality.confusion):
        assert metric.per_class() == dict.fromkeys(sorted(occur), 1.0)
    assert {c: found.ap for c, found in quality.precision.score()[1].items()} == pytest.approx(dict.fromkeys(occur - {SKY}, 1.0))


def test_an_image_of_nothing_has_no_pq() -> None:
    quality = FrameQuality(LABELS)
    quality.add(Pair("void", np.zeros((2, 2), int), {}, np.zeros((2, 2), int), {}))
    assert quality.images == {}
    assert quality.worst.pairs == []
