"""HOTA: higher order tracking accuracy (Luiten et al. 2020), the geometric mean of detection and association accuracy."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from training.metrics.tracking import Frame, count_identities

ALPHAS = np.arange(0.05, 0.99, 0.05)
"""The localisation thresholds that the scores are averaged over (eq. 17)."""

EPSILON = np.finfo(float).eps


@dataclass(frozen=True, slots=True)
class Hota:
    """Sums at each alpha, each (19,); adds up over sequences. The scores are properties, (19,): their means are what is quoted.

    iou: over the true positives. accuracy, recall, precision: of the association, over the true positives (eq. 14-16).
    """

    tp: np.ndarray
    fn: np.ndarray
    fp: np.ndarray
    iou: np.ndarray
    accuracy: np.ndarray
    recall: np.ndarray
    precision: np.ndarray

    def __add__(self, other: "Hota") -> "Hota":
        return Hota(*(getattr(self, name) + getattr(other, name) for name in Hota.__slots__))

    @property
    def det_a(self) -> np.ndarray:
        return self.tp / np.maximum(self.tp + self.fn + self.fp, 1)

    @property
    def det_re(self) -> np.ndarray:
        return self.tp / np.maximum(self.tp + self.fn, 1)

    @property
    def det_pr(self) -> np.ndarray:
        return self.tp / np.maximum(self.tp + self.fp, 1)

    @property
    def ass_a(self) -> np.ndarray:
        return self.accuracy / np.maximum(self.tp, 1)

    @property
    def ass_re(self) -> np.ndarray:
        return self.recall / np.maximum(self.tp, 1)

    @property
    def ass_pr(self) -> np.ndarray:
        return self.precision / np.maximum(self.tp, 1)

    @property
    def loc_a(self) -> np.ndarray:
        """Mean IoU of the true positives, 1 where there are none."""
        return np.maximum(self.iou, 1e-10) / np.maximum(self.tp, 1e-10)

    @property
    def hota(self) -> np.ndarray:
        return np.sqrt(self.det_a * self.ass_a)

    @property
    def owta(self) -> np.ndarray:
        """As HOTA without a penalty for objects that are not annotated: sqrt(DetRe x AssA)."""
        return np.sqrt(self.det_re * self.ass_a)


def hota(frames: list[Frame]) -> Hota:
    """Of one class in one sequence."""
    frames, true_counts, predicted_counts = count_identities(frames)
    alignment = _alignment(frames, true_counts, predicted_counts)
    matches = np.zeros((len(ALPHAS), *alignment.shape))
    iou = np.zeros(len(ALPHAS))
    for frame in frames:
        rows, columns = linear_sum_assignment(-alignment[np.ix_(frame.truth, frame.predicted)] * frame.iou)
        similarity = frame.iou[rows, columns]
        good = similarity >= ALPHAS[:, None] - EPSILON  # (19, matches)
        matches[:, frame.truth[rows], frame.predicted[columns]] += good
        iou += good @ similarity
    tp = matches.sum(axis=(1, 2))
    return Hota(
        tp, true_counts.sum() - tp, predicted_counts.sum() - tp, iou,
        (matches**2 / (true_counts[:, None] + predicted_counts - matches)).sum(axis=(1, 2)),
        (matches**2 / true_counts[:, None]).sum(axis=(1, 2)),
        (matches**2 / predicted_counts).sum(axis=(1, 2)),
    )  # fmt: skip


def _alignment(frames: list[Frame], true_counts: np.ndarray, predicted_counts: np.ndarray) -> np.ndarray:
    """(T, P) how well two tracks fit over the whole sequence, before any decision: what the per-frame matching prefers."""
    shared = np.zeros((len(true_counts), len(predicted_counts)))
    for frame in frames:
        total = frame.iou.sum(axis=0)[None, :] + frame.iou.sum(axis=1)[:, None] - frame.iou
        shared[np.ix_(frame.truth, frame.predicted)] += np.divide(
            frame.iou, total, out=np.zeros_like(total), where=total > EPSILON
        )
    return shared / (true_counts[:, None] + predicted_counts - shared)
