"""From the costs of a network to slots: the multiway cut, then its clusters as segments with a score and an embedding."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from time import monotonic_ns
from typing import Any

import numpy as np
from numba import njit

from panoptic_ros import trace
from panoptic_ros.core import Label, PanopticError, Slots
from panoptic_ros.solvers.multiway_cut import asymmetric_multiway_cut


@dataclass(frozen=True, slots=True)
class CutSettings:
    """distances: of the edges, cells. things: how many at most. min_thing_area, min_stuff_area: cells, smaller segments are void.

    min_probability: of its segment's class; a cell below it is void. time_budget_s: see `asymmetric_multiway_cut`; 0 is none.
    """

    distances: tuple[int, ...]
    things: int = 100
    min_thing_area: int = 0
    min_stuff_area: int = 0
    min_probability: float = 0.0
    time_budget_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Clusters:
    """N clusters. area: cells. first: their first cell in row order. class_cost: mean over their cells of that of their class.

    inside, outside: mean cost of the edges between two of their cells, and of those that leave them; 0 where there are none.
    """

    area: np.ndarray
    first: np.ndarray
    class_cost: np.ndarray
    inside: np.ndarray
    outside: np.ndarray

    def uncertainty(self) -> np.ndarray:
        """(N,) eq. 11: low for likely classes, repelling borders and attracting insides."""
        return self.class_cost + self.outside - self.inside


class Solver:
    """Costs -> Slots: the stuff classes in the labels' order, then the things, in the order of their first cells.

    Called with class_cost (C, h, w), -log of the class probabilities in the labels' order; edge_cost (2D, h, w), see
    `asymmetric_multiway_cut`; features (E, h, w). All float32. Distances beyond the grid are left out. Of more things than
    slots the surest stay. The score of stuff is its mean probability (geometric), that of a thing the sigmoid of minus eq. 11.
    """

    def __init__(self, labels: Sequence[Label], settings: CutSettings) -> None:
        """Raises PanopticError without a thing or a stuff class among the labels."""
        self.settings = settings
        self._things = np.array([label.thing for label in labels])
        if self._things.all() or not self._things.any():
            raise PanopticError("a multiway cut needs labels of stuff and of things")
        self._ids = np.array([label.id for label in labels], np.int32)
        self._stuff_count = int((~self._things).sum())
        self._slot_of_class = np.where(self._things, 0, np.cumsum(~self._things))  # 1.., 0 for things
        self._least_area = np.where(self._things, settings.min_thing_area, settings.min_stuff_area).clip(1)

    @property
    def slots(self) -> int:
        return self._stuff_count + self.settings.things

    def __call__(self, class_cost: np.ndarray, edge_cost: np.ndarray, features: np.ndarray) -> Slots:
        start_ns = monotonic_ns()
        distances = [d for d in self.settings.distances if d <= min(class_cost.shape[1:])]
        edge_cost = edge_cost[: 2 * len(distances)]
        budget_s = self.settings.time_budget_s or None
        cut = asymmetric_multiway_cut(class_cost, edge_cost, distances, np.flatnonzero(self._things), time_budget_s=budget_s)
        kinds = np.empty(cut.clusters.max() + 1, np.int64)
        kinds[cut.clusters] = cut.classes
        cost = np.take_along_axis(class_cost, cut.classes[np.newaxis], 0)[0]
        least = self.settings.min_probability
        known = cost <= (-math.log(least) if least else np.inf)
        found = describe(cut.clusters, known, cost, edge_cost, distances)
        slots = self._slots(kinds, found)
        ids = np.where(known, slots.astype(np.uint8)[cut.clusters], np.uint8(0))
        answer = Slots(ids, *self._table(slots, kinds, found), pooled(ids, features, self.slots))
        trace.report(("solver",), (start_ns, monotonic_ns()))
        return answer

    def _slots(self, kinds: np.ndarray, found: Clusters) -> np.ndarray:
        """(N,) the slot of each cluster from 1 on, 0 for those that are too small or too many. kinds: (N,) class index."""
        kept = found.area >= self._least_area[kinds]
        slots = np.where(kept, self._slot_of_class[kinds], 0)
        things = np.flatnonzero(kept & self._things[kinds])
        surest = things[np.argsort(found.uncertainty()[things], kind="stable")[: self.settings.things]]
        # not in the order of their scores, which rounding may change
        slots[surest[np.argsort(found.first[surest])]] = np.arange(len(surest)) + self._stuff_count + 1
        return slots

    def _table(self, slots: np.ndarray, kinds: np.ndarray, found: Clusters) -> tuple[np.ndarray, np.ndarray]:
        """category (K,) int32 and score (K,) float32; 0 for empty slots of things."""
        category, score = np.zeros(self.slots, np.int32), np.zeros(self.slots, np.float32)
        category[: self._stuff_count] = self._ids[~self._things]
        used = np.flatnonzero(slots)
        sure = 1 / (1 + np.exp(found.uncertainty().clip(-60, 60)))
        category[slots[used] - 1] = self._ids[kinds[used]]
        score[slots[used] - 1] = np.where(self._things[kinds], sure, np.exp(-found.class_cost))[used]
        return category, score


def settings_of(content: Mapping[str, Any]) -> CutSettings:
    """The settings of a manifest. Raises PanopticError for unknown keys, and for values that are no numbers or out of range."""
    known = {field.name for field in fields(CutSettings)}
    if set(content) - known or "distances" not in content:
        raise PanopticError(f"solver has the keys {', '.join(content)}; the keys are {', '.join(sorted(known))}, with distances")
    distances, numbers = content["distances"], [value for key, value in content.items() if key != "distances"]
    if type(distances) is not list or {type(d) for d in distances} != {int} or {type(n) for n in numbers} - {int, float}:
        raise PanopticError(f"solver is {dict(content)}: distances is a list of whole numbers, the others are numbers")
    found = CutSettings(**content | {"distances": tuple(distances)})
    low = min(found.min_thing_area, found.min_stuff_area, found.time_budget_s)
    if low < 0 or type(found.things) is not int or not 1 <= found.things <= 100 or not 0 <= found.min_probability < 1:
        raise PanopticError(f"solver is {dict(content)}: areas from 0, 1 to 100 things, min_probability from 0 to below 1")
    return found


def describe(
    clusters: np.ndarray, known: np.ndarray, cost: np.ndarray, edge_cost: np.ndarray, distances: Sequence[int]
) -> Clusters:
    """clusters: (h, w) int32, 0..N-1. known: (h, w) bool, the cells that count as area. cost: (h, w) that of each cell's class.

    edge_cost: (2D, h, w), see `asymmetric_multiway_cut`.
    """
    labels, flat = clusters.ravel(), known.ravel()
    area, cells = np.bincount(labels, flat).astype(np.int64), np.bincount(labels)
    first = np.empty(len(cells), np.int64)
    first[labels[::-1]] = np.arange(labels.size)[::-1]
    sums = np.zeros((4, len(cells)))
    _add_edges(clusters, edge_cost, np.asarray(distances), sums)
    inside, outside = sums[0] / np.maximum(sums[1], 1), sums[2] / np.maximum(sums[3], 1)
    mean = np.bincount(labels, np.where(known, cost, 0).ravel()) / np.maximum(area, 1)
    return Clusters(area, first, mean, inside, outside)


def pooled(ids: np.ndarray, features: np.ndarray, count: int) -> np.ndarray:
    """(count, E) float32: the mean features of the cells of ids 1..count as unit vectors; 0 for ids without cells."""
    sums = np.zeros((count + 1, len(features)))
    _add_features(ids, features, sums)
    length = np.linalg.norm(sums[1:], axis=1, keepdims=True)
    return (sums[1:] / np.where(length > 0, length, 1)).astype(np.float32)


@njit(cache=True, nogil=True)
def _add_edges(clusters: np.ndarray, edge_cost: np.ndarray, distances: np.ndarray, sums: np.ndarray) -> None:
    """sums: (4, N) cost and number of the edges within each cluster, and of those that leave it."""
    height, width = clusters.shape
    for channel in range(2 * len(distances)):
        down = distances[channel // 2] if channel % 2 else 0
        right = 0 if channel % 2 else distances[channel // 2]
        for i in range(height - down):
            for j in range(width - right):
                a, b = clusters[i, j], clusters[i + down, j + right]
                value = edge_cost[channel, i, j]
                if a == b:
                    sums[0, a] += value
                    sums[1, a] += 1
                else:
                    sums[2, a] += value
                    sums[3, a] += 1
                    sums[2, b] += value
                    sums[3, b] += 1


@njit(cache=True, nogil=True)
def _add_features(ids: np.ndarray, features: np.ndarray, sums: np.ndarray) -> None:
    """sums: (count + 1, E)."""
    for channel in range(len(features)):
        for i in range(ids.shape[0]):
            for j in range(ids.shape[1]):
                sums[ids[i, j], channel] += features[channel, i, j]
