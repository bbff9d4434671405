"""How two label maps overlap: the one pass over the pixels that every metric here starts from."""

from dataclasses import dataclass

import numpy as np

VOID = 0


@dataclass(frozen=True, slots=True)
class Overlap:
    """Pixels of two label maps, or of several pairs of them taken for one (`+`).

    both: of each pair of ids that meet. truth, predicted: of each id. Void, 0, is an id here.
    """

    both: dict[tuple[int, int], int]
    truth: dict[int, int]
    predicted: dict[int, int]

    def __add__(self, other: "Overlap") -> "Overlap":
        return Overlap(*(_sum(getattr(self, name), getattr(other, name)) for name in ("both", "truth", "predicted")))

    def on_void(self, predicted: int) -> int:
        """Pixels of a predicted segment where nothing is known."""
        return self.both.get((VOID, predicted), 0)

    def iou(self, truth: int, predicted: int) -> float:
        """Of two segments that meet; what lies on void does not count (COCO panoptic API)."""
        both = self.both[truth, predicted]
        return both / (self.truth[truth] + self.predicted[predicted] - both - self.on_void(predicted))


def overlap_of(truth_ids: np.ndarray, predicted_ids: np.ndarray) -> Overlap:
    """truth_ids, predicted_ids: (H, W) integers, 0 <= id < 2**31."""
    truth, predicted, counts = (values.tolist() for values in joint_histogram(truth_ids, predicted_ids))
    areas: dict[int, int] = {}
    predicted_areas: dict[int, int] = {}
    for t, p, count in zip(truth, predicted, counts):
        areas[t] = areas.get(t, 0) + count
        predicted_areas[p] = predicted_areas.get(p, 0) + count
    return Overlap(dict(zip(zip(truth, predicted), counts)), areas, predicted_areas)


def joint_histogram(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values of both maps that meet in a pixel, and in how many: three (N,) int64 arrays, pairs in ascending order.

    first, second: (H, W) integers, 0 <= value < 2**31. Label maps consist of long runs of equal pixels, so only the runs are
    sorted.
    """
    a, b = np.ravel(first), np.ravel(second)
    if not a.size:
        return (np.zeros(0, np.int64),) * 3
    starts = np.flatnonzero((a[1:] != a[:-1]) | (b[1:] != b[:-1])) + 1
    starts = np.concatenate(([0], starts))
    pairs = a[starts].astype(np.int64) << 32 | b[starts]
    values, run_of = np.unique(pairs, return_inverse=True)
    counts = np.bincount(run_of, weights=np.diff(starts, append=a.size)).astype(np.int64)
    return values >> 32, values & 0xFFFFFFFF, counts


def ids_in(ids: np.ndarray) -> set[int]:
    """The values of a label map (H, W), void included; only its runs are sorted."""
    flat = np.ravel(ids)
    return set(np.unique(flat[np.concatenate(([True], flat[1:] != flat[:-1]))[: flat.size]]).tolist())


def iou_matrix(first: np.ndarray, second: np.ndarray, first_ids: np.ndarray, second_ids: np.ndarray) -> np.ndarray:
    """(A, B) IoU of the masks `first == first_ids[a]` and `second == second_ids[b]`.

    first, second: (H, W) integers. first_ids: (A,), second_ids: (B,), each without repetition; ids without pixels have IoU 0.
    """
    a, b, counts = joint_histogram(first, second)
    both = np.zeros((len(first_ids), len(second_ids)))
    known = np.isin(a, first_ids) & np.isin(b, second_ids)
    both[_position(first_ids, a[known]), _position(second_ids, b[known])] = counts[known]
    area_a = np.array([counts[a == i].sum() for i in first_ids])
    area_b = np.array([counts[b == i].sum() for i in second_ids])
    union = area_a[:, None] + area_b[None, :] - both if both.size else both
    return both / np.maximum(union, 1)


def _position(ids: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Index in `ids` of each value."""
    order = np.argsort(ids)
    return order[np.searchsorted(ids, values, sorter=order)]


def _sum(first: dict, second: dict) -> dict:
    return first | {key: first.get(key, 0) + count for key, count in second.items()}
