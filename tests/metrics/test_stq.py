"""STQ on drawn arrays with literal answers, on DeepLab2's numbers, and properties."""

import json
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from panoptic_ros.core import PanopticError
from training.metrics.stq import SegmentationTrackingQuality, StqScore

SKY, CAR = 1, 2


def value(category: int, instance: int = 0) -> int:
    return category << 16 | instance


def quality() -> SegmentationTrackingQuality:
    return SegmentationTrackingQuality([SKY, CAR], [CAR])


def test_the_truth_itself_scores_one() -> None:
    stq = quality()
    frame = np.array([[value(SKY), value(CAR, 1), value(CAR, 2), 0]])
    stq.add(frame, frame)
    assert stq.score() == StqScore(1, 1, 1)


def test_a_number_that_changes_half_way_costs_half_the_association() -> None:
    """One tube of 2 pixels is met by two of 1: each overlap of 1 has a tube IoU of 1/2, so AQ = (1/2 + 1/2) / 2."""
    stq = quality()
    for number in (7, 8):
        stq.add(np.array([[value(SKY), value(CAR, 1)]]), np.array([[value(SKY), value(CAR, number)]]))
    assert stq.score() == StqScore(sqrt(0.5), 0.5, 1)


def test_void_in_the_truth_is_not_judged_and_void_in_the_prediction_is_a_class_that_is_never_right() -> None:
    stq = quality()
    stq.add(np.array([[0, value(SKY), value(SKY)]]), np.array([[value(CAR, 1), value(SKY), 0]]))
    assert stq.score() == StqScore(0, 0, 0.25)  # sky 1/2, void 0


def test_a_crowd_asks_for_no_identity() -> None:
    stq = quality()
    stq.add(np.array([[value(CAR), value(CAR), value(CAR, 1)]]), np.array([[value(CAR, 5), value(CAR, 6), value(CAR, 6)]]))
    assert stq.score() == StqScore(1, 1, 1)


def test_an_unknown_category_is_refused() -> None:
    with pytest.raises(PanopticError, match=r"categories \[9\] are unknown; the labels are \[1, 2, 0\]"):
        quality().add(np.array([[value(9)]]), np.array([[value(SKY)]]))


frames = arrays.arrays(np.int64, (2, 4, 4), elements=st.sampled_from([0, value(SKY), value(CAR), value(CAR, 1), value(CAR, 2)]))


@settings(max_examples=60, deadline=None)
@given(frames, frames)
def test_scores_lie_in_their_range_and_the_numbers_of_tracks_do_not_matter(truth: np.ndarray, predicted: np.ndarray) -> None:
    straight, renamed = quality(), quality()
    for t, p in zip(truth, predicted):
        straight.add(t, p)
        renamed.add(t, np.where(p & 0xFFFF, p ^ 0x30, p))
    score = straight.score()
    assert all(0 <= v <= 1 + 1e-12 for v in (score.stq, score.aq, score.iou))
    assert renamed.score().stq == pytest.approx(score.stq)


def class_and_instance(text: Path, frame: int) -> np.ndarray:
    """(H, W) class << 16 | instance of one frame of a KITTI MOTS file, by the protocol of the reference numbers."""
    mask = pytest.importorskip("pycocotools.mask")
    values = np.zeros((720, 1280), np.int64)
    for line in text.read_text().splitlines():
        number, identity, category, height, width, rle = line.split(" ")
        if int(number) == frame and int(category) in (1, 2):
            inside = mask.decode({"size": [int(height), int(width)], "counts": rle.encode()}).astype(bool)
            values[inside] = value(int(category), int(identity) % 1000 + 1)
    return values


@pytest.mark.shared_data
@pytest.mark.parametrize("tracker", ["perfect", "perturbed"])
def test_deeplab2_numbers(shared_data: Path, tracker: str) -> None:
    expected = json.loads((shared_data / "metrics" / "stq_expected_bdd_mots.json").read_text())[tracker]
    folder = shared_data / "metrics" / "trackeval_kitti_mots"
    stq = SegmentationTrackingQuality([0, 1, 2], [1, 2], void=255)
    for sequence in ("0000", "0001"):
        for frame in range(6):
            truth = class_and_instance(folder / "gt" / "label_02" / f"{sequence}.txt", frame)
            stq.add(truth, class_and_instance(folder / "trackers" / tracker / "data" / f"{sequence}.txt", frame), sequence)
    score = stq.score()
    assert (score.stq, score.aq, score.iou) == pytest.approx((expected["STQ"], expected["AQ"], expected["IoU"]), abs=1e-6)
    for index, sequence in enumerate(("0000", "0001")):
        score = stq.score(sequence)
        assert (score.stq, score.aq, score.iou) == pytest.approx(
            tuple(expected[f"{name}_per_seq"][index] for name in ("STQ", "AQ", "IoU")), abs=1e-6
        )
