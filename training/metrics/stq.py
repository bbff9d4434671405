"""Segmentation and tracking quality, STQ = sqrt(AQ x SQ) (Weber et al., STEP, 2021, eq. 1-7), as DeepLab2 computes it."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from panoptic_ros.core import PanopticError
from training.metrics.overlap import joint_histogram

INSTANCE_BITS = 16


@dataclass(frozen=True, slots=True)
class StqScore:
    """stq: geometric mean of aq, the association quality of the things' tubes, and iou, the mean IoU of the classes. 0..1."""

    stq: float
    aq: float
    iou: float


@dataclass
class _Video:
    """Sums over one sequence: pixels of each tube, of each pair of tubes, and (C, C) of each true and predicted class."""

    confusion: np.ndarray
    truth: Counter = field(default_factory=Counter)
    predicted: Counter = field(default_factory=Counter)
    both: Counter = field(default_factory=Counter)


class SegmentationTrackingQuality:
    """Accumulates frames of any number of sequences. Maps hold `category << 16 | instance`; true things of instance 0 are crowds.

    categories: all but void. things: those with tubes. void: pixels of this true category are not judged; predicting it where
    there is something is wrong, and counts as one more class that is never right.
    """

    def __init__(self, categories: Iterable[int], things: Iterable[int], void: int = 0) -> None:
        self.categories = np.array(sorted({*categories} - {void}) + [void])  # void last
        self.things = np.array(sorted(things))
        self.videos: dict[str, _Video] = {}

    def add(self, truth: np.ndarray, predicted: np.ndarray, sequence: str = "") -> None:
        """One frame. truth, predicted: (H, W) int. Raises PanopticError for an unknown category."""
        true_values, predicted_values, counts = joint_histogram(truth, predicted)
        size = len(self.categories)
        video = self.videos.setdefault(sequence, _Video(np.zeros((size, size), np.int64)))
        rows, columns = self._index(true_values >> INSTANCE_BITS), self._index(predicted_values >> INSTANCE_BITS)
        np.add.at(video.confusion, (rows, columns), counts)
        is_true = np.isin(true_values >> INSTANCE_BITS, self.things)
        crowd = is_true & (true_values & (1 << INSTANCE_BITS) - 1 == 0)
        is_true &= ~crowd
        is_predicted = np.isin(predicted_values >> INSTANCE_BITS, self.things) & ~crowd
        for t, p, has_truth, has_prediction, count in zip(
            true_values.tolist(), predicted_values.tolist(), is_true.tolist(), is_predicted.tolist(), counts.tolist()
        ):
            video.truth[t] += count * has_truth
            video.predicted[p] += count * has_prediction
            video.both[t, p] += count * (has_truth and has_prediction)

    def score(self, sequence: str | None = None) -> StqScore:
        """Of one sequence, or of all together (None)."""
        videos = list(self.videos.values()) if sequence is None else [self.videos[sequence]]
        tubes = sum(len(+video.truth) for video in videos)
        aq = sum(_association(video) for video in videos) / tubes if tubes else 0.0
        iou = _mean_iou(sum(video.confusion for video in videos))
        return StqScore(math.sqrt(aq * iou), aq, iou)

    def _index(self, categories: np.ndarray) -> np.ndarray:
        unknown = set(categories.tolist()) - set(self.categories.tolist())
        if unknown:
            raise PanopticError(f"categories {sorted(unknown)} are unknown; the labels are {self.categories.tolist()}")
        order = np.argsort(self.categories)
        return order[np.searchsorted(self.categories, categories, sorter=order)]


def _association(video: _Video) -> float:
    """Sum over the true tubes of eq. 5: each overlap counts by its share of the tube and its tube IoU."""
    total = 0.0
    for (t, p), overlap in video.both.items():
        if overlap:
            union = video.truth[t] + video.predicted[p] - overlap
            total += overlap * overlap / union / video.truth[t]
    return total


def _mean_iou(confusion: np.ndarray) -> float:
    """Over the classes that occur. confusion: (C, C) pixels of true (row) and predicted class; void is last."""
    judged = confusion.copy()
    judged[-1] = 0
    hits = judged.diagonal()
    union = judged.sum(axis=0) + judged.sum(axis=1) - hits
    occurs = union > 0
    return float((hits[occurs] / union[occurs]).mean()) if occurs.any() else 0.0
