"""Which thing of this frame is which track: costs from appearance, mask overlap and distance, solved by the Hungarian method."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from panoptic_ros.track import Sighting, Track


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each cost term counts, and the cost from which leaving both sides unmatched is better.

    A pair without a usable embedding shares its weight out between the other two.
    """

    embedding: float
    overlap: float
    distance: float
    max_cost: float


@dataclass(frozen=True, slots=True)
class Pairs:
    """Every track (T) against every sighting (S): the terms that a cost is made of, each (T, S).

    looks: cosine distance of the embeddings, 0..2; NaN where one is missing. overlap: IoU of masks, or of boxes for tracks that
    were not in the previous grid. distance: between centres, as a fraction of the reach (see `measure`). category_differs: bool.
    """

    looks: np.ndarray
    overlap: np.ndarray
    distance: np.ndarray
    category_differs: np.ndarray


def measure(
    tracks: list[Track],
    things: list[Sighting],
    grids: tuple[np.ndarray, np.ndarray],
    stamp_ns: int,
    last_ns: int,
    reach_per_s: float,
) -> Pairs:
    """All terms for tracks and things, neither empty.

    grids: previous and current (h', w') uint8. reach_per_s: how far an object's centre may be from where it is predicted, in grid
    widths per second unseen, on top of its own size. last_ns: stamp of the previous grid.
    """
    shifts = np.array([track.shift(stamp_ns) for track in tracks])  # (T, 2)
    predicted = np.array([track.box for track in tracks]) + np.tile(shifts, 2)  # (T, 4)
    boxes = np.array([thing.box for thing in things])  # (S, 4)
    unseen_s = np.array([track.unseen_s(stamp_ns) for track in tracks])
    overlap = box_iou(predicted, boxes)
    in_grid = np.array([track.seen_ns == last_ns for track in tracks])
    if in_grid.any() and grids[0].shape == grids[1].shape:
        slots = np.array([track.slot for track in tracks])[in_grid]
        iou = mask_iou(*grids, slots, np.rint(shifts[in_grid]).astype(np.int32))
        overlap[in_grid] = iou[:, [thing.slot for thing in things]]
    reach = reach_per_s * grids[1].shape[1] * unseen_s[:, None] + np.maximum(extent(predicted)[:, None], extent(boxes))
    categories = np.array([track.category for track in tracks]), np.array([thing.category for thing in things])
    return Pairs(
        cosine_distance(tracks, things),
        overlap,
        centre_distance(predicted, boxes) / reach,
        categories[0][:, None] != categories[1],
    )


def cost(pairs: Pairs, weights: Weights, max_looks: float, category_penalty: float) -> np.ndarray:
    """(T, S) cost, the weighted mean of terms in 0..1 plus the penalty; inf where a pair is beyond reach.

    max_looks: the cosine distance from which two embeddings count as completely different.
    """
    has_looks = np.isfinite(pairs.looks)
    looks = np.where(has_looks, np.minimum(pairs.looks / max_looks, 1), 0)
    total = weights.embedding * looks + weights.overlap * (1 - pairs.overlap) + weights.distance * pairs.distance
    total /= weights.embedding * has_looks + weights.overlap + weights.distance
    return np.where(pairs.distance <= 1, total + category_penalty * pairs.category_differs, np.inf)


def assign(costs: np.ndarray, max_cost: float) -> list[tuple[int, int]]:
    """Pairs (row, column) of least total cost, where an unmatched pair costs `max_cost`; never one that costs that much."""
    capped = np.minimum(costs, max_cost)
    return [(int(r), int(c)) for r, c in zip(*linear_sum_assignment(capped)) if capped[r, c] < max_cost]


def cosine_distance(tracks: list[Track], things: list[Sighting]) -> np.ndarray:
    """(T, S) to the nearer of a track's last and average embedding, 0..2; NaN where either side has none (a zero vector)."""
    seen = np.stack([thing.embedding for thing in things])  # (S, E)
    last = np.stack([track.embedding for track in tracks])
    mean = np.stack([track.mean_embedding for track in tracks])
    similar = np.maximum(last @ seen.T, mean @ seen.T)
    missing = np.logical_not(last.any(axis=1))[:, None] | ~seen.any(axis=1)
    return np.where(missing, np.nan, 1 - np.clip(similar, -1, 1))


def mask_iou(previous: np.ndarray, current: np.ndarray, slots: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """(T, 256) IoU of mask `slots[t]` of the previous grid, moved by `shifts[t]`, with every mask of the current one.

    previous, current: (h', w') uint8. slots: (T,) of previous. shifts: (T, 2) int, x and y. What moves out of the grid is not
    counted.
    """
    row = np.full(256, -1, np.int16)
    row[slots] = np.arange(len(slots))
    rows = row[previous]
    y, x = np.nonzero(rows >= 0)
    track = rows[y, x].astype(np.intp)
    x, y = x + shifts[track, 0], y + shifts[track, 1]
    inside = (x >= 0) & (x < current.shape[1]) & (y >= 0) & (y < current.shape[0])
    pairs = track[inside] * 256 + current[y[inside], x[inside]]
    both = np.bincount(pairs, minlength=len(slots) * 256).reshape(-1, 256)
    area = np.bincount(current.ravel(), minlength=256)
    return both / np.maximum(both.sum(axis=1, keepdims=True) + area - both, 1)


def box_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(A, B) IoU of boxes (A, 4) and (B, 4)."""
    low = np.maximum(a[:, None, :2], b[:, :2])
    high = np.minimum(a[:, None, 2:], b[:, 2:])
    both = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (a, b)]
    return both / (areas[0][:, None] + areas[1] - both)


def centre_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(A, B) distance between the centres of boxes (A, 4) and (B, 4)."""
    centres = [(boxes[:, :2] + boxes[:, 2:]) / 2 for boxes in (a, b)]
    return np.linalg.norm(centres[0][:, None] - centres[1], axis=2)


def extent(boxes: np.ndarray) -> np.ndarray:
    """(A,) side of the square with the area of each box (A, 4)."""
    return np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
