"""CLEAR MOT: MOTA, sMOTA and what they are made of (Bernardin and Stiefelhagen 2008; sMOTA: Voigtlaender et al. 2019)."""

from dataclasses import dataclass, fields

import numpy as np
from scipy.optimize import linear_sum_assignment

from training.metrics.tracking import Frame, count_identities

THRESHOLD = 0.5
EPSILON = np.finfo(float).eps
KEEP_BONUS = 1000
"""Outweighs any IoU: a match of the frame before is kept while it is valid."""


@dataclass(frozen=True, slots=True)
class Clear:
    """Detections found, missed and wrong; changes of identity; objects tracked for > 80%, between, and < 20% of their life; gaps
    in tracks; IoU summed over the found ones. Adds up over sequences."""

    tp: int = 0
    fn: int = 0
    fp: int = 0
    switches: int = 0
    mostly_tracked: int = 0
    partly_tracked: int = 0
    mostly_lost: int = 0
    fragments: int = 0
    iou: float = 0.0

    def __add__(self, other: "Clear") -> "Clear":
        return Clear(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Clear)))

    @property
    def mota(self) -> float:
        return (self.tp - self.fp - self.switches) / max(self.tp + self.fn, 1)

    @property
    def moda(self) -> float:
        return (self.tp - self.fp) / max(self.tp + self.fn, 1)

    @property
    def motp(self) -> float:
        return self.iou / max(self.tp, 1)

    @property
    def smota(self) -> float:
        return (self.iou - self.fp - self.switches) / max(self.tp + self.fn, 1)


def clear(frames: list[Frame]) -> Clear:
    """Of one class in one sequence."""
    frames, true_counts, predicted_counts = count_identities(frames)
    total = Clear()
    tracked_by = np.full(len(true_counts), -1)  # whom each object had when it was last found
    kept = tracked_by.copy()  # the same, of the frame before only
    found, starts = np.zeros(len(true_counts), int), np.zeros(len(true_counts), int)
    for frame in frames:
        rows, columns = _match(frame, kept)
        if not (frame.truth.size and frame.predicted.size):  # TrackEval lets such a frame neither end a match nor a fragment
            continue
        truth, predicted = frame.truth[rows], frame.predicted[columns]
        switches = int(((tracked_by[truth] >= 0) & (tracked_by[truth] != predicted)).sum())
        starts[truth] += kept[truth] < 0
        kept[:] = -1
        kept[truth] = tracked_by[truth] = predicted
        found[truth] += 1
        total += Clear(tp=len(rows), switches=switches, iou=float(frame.iou[rows, columns].sum()))
    rest = Clear(fn=int(true_counts.sum()) - total.tp, fp=int(predicted_counts.sum()) - total.tp)
    return total + rest + _lives(found, true_counts, starts)


def _match(frame: Frame, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of `frame.iou` that belong together: matches of the frame before first, then the most IoU."""
    valid = frame.iou >= THRESHOLD - EPSILON
    score = np.where(valid, frame.iou + KEEP_BONUS * (frame.predicted == kept[frame.truth][:, None]), 0)
    rows, columns = linear_sum_assignment(-score)
    matched = score[rows, columns] > EPSILON
    return rows[matched], columns[matched]


def _lives(found: np.ndarray, lives: np.ndarray, starts: np.ndarray) -> Clear:
    """How much of its life each object was tracked, and in how many pieces. All (T,), frames."""
    ratio = found / lives
    mostly, lost = int((ratio > 0.8).sum()), int((ratio < 0.2).sum())
    return Clear(
        mostly_tracked=mostly, mostly_lost=lost, partly_tracked=len(lives) - mostly - lost,
        fragments=int((starts[starts > 0] - 1).sum()),
    )  # fmt: skip
