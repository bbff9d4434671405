"""What tracking metrics are computed from: which true and which predicted objects a frame has, and how their masks overlap."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from training.metrics.overlap import iou_matrix


@dataclass(frozen=True, slots=True)
class Frame:
    """truth: (T,) and predicted: (P,) identities of the objects of one class in one frame. iou: (T, P) of their masks."""

    truth: np.ndarray
    predicted: np.ndarray
    iou: np.ndarray


def frame_of(truth_ids: np.ndarray, truth: Iterable[int], predicted_ids: np.ndarray, predicted: Iterable[int]) -> Frame:
    """truth_ids, predicted_ids: (H, W) int, pixels hold identities. truth, predicted: the identities that are to be compared."""
    t, p = np.array(sorted(truth), np.int64), np.array(sorted(predicted), np.int64)
    return Frame(t, p, iou_matrix(truth_ids, predicted_ids, t, p))


def count_identities(frames: list[Frame]) -> tuple[list[Frame], np.ndarray, np.ndarray]:
    """The frames with identities numbered from 0, and in how many frames each true and each predicted one is: (T,) and (P,)."""
    true_values, true_counts = np.unique(np.concatenate([[], *(f.truth for f in frames)]), return_counts=True)
    predicted_values, predicted_counts = np.unique(np.concatenate([[], *(f.predicted for f in frames)]), return_counts=True)
    numbered = [
        Frame(np.searchsorted(true_values, f.truth), np.searchsorted(predicted_values, f.predicted), f.iou) for f in frames
    ]
    return numbered, true_counts, predicted_counts
