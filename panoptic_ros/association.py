"""Which thing of this frame is which track: costs from appearance, mask overlap and distance, solved by the Hungarian method."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from panoptic_ros.preprocess import Rectangles
from panoptic_ros.track import Sightings, Tracks


class Weights(NamedTuple):
    """How much each cost term counts, and the cost from which leaving both sides unmatched is better; numbers or (T,).

    A pair without a usable embedding shares its weight out between the other two.
    """

    embedding: float | np.ndarray
    overlap: float | np.ndarray
    distance: float | np.ndarray
    max_cost: float | np.ndarray


@dataclass(frozen=True, slots=True)
class Pairs:
    """Tracks and sightings within reach of each other, and the terms that their cost is made of, each (P,).

    track, sighting: their rows. looks: cosine distance of the embeddings, 0..2; NaN where one is missing. overlap: IoU of masks,
    or of boxes for tracks that were not in the previous grid. distance: between centres, as a fraction of the reach (see
    `measure`), at most 1. category_differs: bool.
    """

    track: np.ndarray
    sighting: np.ndarray
    looks: np.ndarray
    overlap: np.ndarray
    distance: np.ndarray
    category_differs: np.ndarray


class Previous(NamedTuple):
    """The grid before this one: its shape (h', w'), its pixels as runs, its stamp."""

    shape: tuple[int, ...]
    runs: Rectangles
    stamp_ns: int


def measure(tracks: Tracks, things: Sightings, previous: Previous, grid: np.ndarray, stamp_ns: int, reach_per_s: float) -> Pairs:
    """All terms for tracks and things, neither empty.

    grid: (h', w') uint8, the current one. reach_per_s: how far an object's centre may be from where it is predicted, in grid
    widths per second unseen, on top of its own size.
    """
    shifts = tracks.shift(stamp_ns)
    predicted = tracks.box + np.tile(shifts, 2)  # (T, 4)
    slack = reach_per_s * grid.shape[1] * tracks.unseen_s(stamp_ns)
    track, thing, distance = within_reach(predicted, things.box, slack)
    overlap = box_iou(predicted[track], things.box[thing])
    if previous.shape == grid.shape:
        masks = mask_iou(previous.runs, grid, tracks.slot, shifts, things, (track, thing))
        overlap = np.where(tracks.slot[track] > 0, masks, overlap)
    looks = cosine_distance(tracks, things)[track, thing]
    return Pairs(track, thing, looks, overlap, distance, tracks.category[track] != things.category[thing])


def cost(pairs: Pairs, weights: Weights, max_looks: float, category_penalty: float) -> np.ndarray:
    """(P,) the weighted mean of terms in 0..1 plus the penalty. weights: of each track, (T,).

    max_looks: the cosine distance from which two embeddings count as completely different.
    """
    embedding, overlap, distance, _ = (weight[pairs.track] for weight in weights)
    has_looks = np.isfinite(pairs.looks)
    looks = np.where(has_looks, np.minimum(pairs.looks / max_looks, 1), 0)
    total = embedding * looks + overlap * (1 - pairs.overlap) + distance * pairs.distance
    return total / (embedding * has_looks + overlap + distance) + category_penalty * pairs.category_differs


def assign(costs: np.ndarray, max_cost: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of least total cost, where an unmatched pair costs `max_cost`; never one that costs that much."""
    capped = np.minimum(costs, max_cost)
    rows, columns = linear_sum_assignment(capped)
    good = capped[rows, columns] < max_cost
    return rows[good], columns[good]


def within_reach(a: np.ndarray, b: np.ndarray, slack: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pairs of boxes (A, 4) and (B, 4) with centres within reach: their rows (P,) twice, and distance / reach (P,).

    The reach is `slack` (A,) and the larger `extent` of the two.
    """
    dx, dy = ((a[:, i] + a[:, i + 2])[:, None] / 2 - (b[:, i] + b[:, i + 2]) / 2 for i in (0, 1))  # (A, B)
    reach = slack[:, None] + np.maximum(extent(a)[:, None], extent(b))
    square = dx * dx + dy * dy
    near = np.flatnonzero(square <= reach * reach)
    return *np.divmod(near, len(b)), np.sqrt(square.ravel()[near]) / reach.ravel()[near]


def cosine_distance(tracks: Tracks, things: Sightings) -> np.ndarray:
    """(T, S) to the nearer of a track's last and average embedding, 0..2; NaN where either side has none (a zero vector)."""
    seen = things.embedding.T
    similar = np.maximum(tracks.embedding @ seen, tracks.mean_embedding @ seen)
    distance = 1 - np.clip(similar, -1, 1)
    distance[~tracks.embedding.any(axis=1)] = np.nan
    distance[:, ~things.embedding.any(axis=1)] = np.nan
    return distance


def mask_iou(
    previous: Rectangles,
    grid: np.ndarray,
    slots: np.ndarray,
    shifts: np.ndarray,
    things: Sightings,
    pairs: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """(P,) IoU of the previous mask of track t, moved by `shifts[t]`, with the mask of thing s, for `pairs` t (P,) and s (P,).

    previous: runs. grid: (h', w') uint8, the current one. slots: (T,) values in the previous grid, 0 for none.
    shifts: (T, 2) x and y. What moves out of the grid is not counted.
    """
    track, thing = pairs
    pixels, owner = moved_pixels(previous, grid.shape, slots, np.rint(shifts).astype(np.int32))
    found = grid.ravel()[pixels]
    both = np.bincount(owner * 256 + found, minlength=len(slots) * 256)[track * 256 + things.slot[thing]]
    covered = np.bincount(owner, minlength=len(slots))
    return both / np.maximum(covered[track] + things.area[thing] - both, 1)


def moved_pixels(
    runs: Rectangles, shape: tuple[int, ...], slots: np.ndarray, shifts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Flat index (N,) of every pixel of the masks `slots` (T,) moved by `shifts` (T, 2) int, and its t (N,).

    What is moved out of `shape` (h', w') is left out, and so is slot 0.
    """
    height, width = shape
    owner_of = np.full(256, -1)
    owner_of[slots] = np.arange(len(slots))
    owner_of[0] = -1
    mine = np.flatnonzero(owner_of[runs.value] >= 0)
    owner = owner_of[runs.value[mine]]
    dx, dy = shifts[owner].T
    y, x0 = runs.y0[mine] + dy, np.maximum(runs.x0[mine] + dx, 0)
    length = np.minimum(runs.x1[mine] + dx, width) - x0
    length *= (length > 0) & (y >= 0) & (y < height)
    ends = np.cumsum(length)
    pixels = np.arange(length.sum()) + np.repeat(y * width + x0 - (ends - length), length)
    return pixels, np.repeat(owner, length)


def box_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(P,) IoU of boxes (P, 4) and (P, 4), row by row."""
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    both = np.maximum(sides[:, 0], 0) * np.maximum(sides[:, 1], 0)
    return both / (box_area(a) + box_area(b) - both)


def box_area(boxes: np.ndarray) -> np.ndarray:
    """(A,) of boxes (A, 4)."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def extent(boxes: np.ndarray) -> np.ndarray:
    """(A,) side of the square with the area of each box (A, 4)."""
    return np.sqrt(box_area(boxes))
