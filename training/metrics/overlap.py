"""How two label maps overlap: the one pass over the pixels that every metric here starts from."""

import numpy as np


def joint_histogram(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values of both maps that meet in a pixel, and in how many: three (N,) int64 arrays, pairs in ascending order.

    first, second: (H, W) integers, 0 <= value < 2**31. Label maps consist of long runs of equal pixels, so only the runs are
    sorted.
    """
    pairs = (first.astype(np.int64) << 32 | second).ravel()
    if not pairs.size:
        return pairs, pairs, pairs
    starts = np.flatnonzero(np.concatenate(([True], pairs[1:] != pairs[:-1])))
    lengths = np.diff(starts, append=pairs.size)
    values, run_of = np.unique(pairs[starts], return_inverse=True)
    counts = np.bincount(run_of, weights=lengths).astype(np.int64)
    return values >> 32, values & 0xFFFFFFFF, counts


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
