"""Multiway cuts of a pixel grid: section 3.2 of "Combinatorial Optimization for Panoptic Segmentation" (Abbas and Swoboda, 2021).

Every pixel takes a class and a cluster; clusters of stuff classes are whole, things may split. The first call compiles for some
seconds; numba keeps the result in `__pycache__`, or in $NUMBA_CACHE_DIR.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Literal

import numpy as np

from panoptic_ros.core import PanopticError
from panoptic_ros.solvers import contraction, linking, reassign
from panoptic_ros.solvers.energy import energy

Mode = Literal["fast", "greedy"]

LINK_SCALE, LINK_DOUBT = 0.2, 1.5
"""Least similarity of a link, in units of the mean magnitude of the distance-1 edges; the part of edges that repel adds to it.

Lower is faster and, with noise, worse; noise makes edges repel that cross no boundary."""

LINK_FROM_PIXELS = 2048
"""Smaller images are contracted pixel by pixel in every mode."""

LEAST_REDUCTION = 3
"""Pixels per cluster after linking. With fewer the costs have no structure that links could follow, and mislead them."""

SWEEPS = 4
STEPS = 4096
"""Queue entries between two looks at the clock, well under a millisecond."""

LARGEST_COST = 1e30
"""Sums over an image must stay finite in float32."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A feasible labelling.

    classes: (H, W) int32, 0..K-1. clusters: (H, W) int32, 0..C-1; a cluster has one class, a stuff class at most one cluster.
    energy: eq. 2. complete: False if the time budget cut the search short.
    """

    classes: np.ndarray
    clusters: np.ndarray
    energy: float
    complete: bool


def asymmetric_multiway_cut(
    class_cost: np.ndarray,
    edge_cost: np.ndarray,
    distances: Sequence[int],
    thing_classes: Sequence[int],
    mode: Mode = "fast",
    time_budget_s: float | None = None,
) -> Cut:
    """A labelling of low energy (eq. 2), where only clusters of `thing_classes` may meet others of their class.

    class_cost: (K, H, W), K >= 2. edge_cost: (2 * len(distances), H, W), positive = attractive, paid when cut; channel 2d joins
    (i, j) to (i, j + distances[d]), channel 2d + 1 to (i + distances[d], j); what leaves the image is ignored. Both float32, or
    float64 that is rounded to it. distances: pixels, increasing from 1, none above H or W.
    mode: "greedy" is Algorithm 2, with similarities in float32; "fast" links what is safe first, contracts in nearly that
    order, then lets clusters change their class, and what was linked and at last single pixels their cluster.
    time_budget_s: no merging or moving begins after it; linking and building the graph are not interrupted.
    Multiplying all costs by a positive number changes nothing but the energy, up to rounding.
    PanopticError: an argument is none of that.
    """
    things = _checked_things(thing_classes, len(class_cost) if np.ndim(class_cost) else 0)
    return _solve(class_cost, edge_cost, distances, things, mode, time_budget_s)


def multiway_cut(
    class_cost: np.ndarray,
    edge_cost: np.ndarray,
    distances: Sequence[int],
    mode: Mode = "fast",
    time_budget_s: float | None = None,
) -> Cut:
    """The same without things: an edge is cut exactly where the classes differ. K may be 1."""
    things = np.zeros(len(class_cost) if np.ndim(class_cost) else 0, bool)
    return _solve(class_cost, edge_cost, distances, things, mode, time_budget_s)


def _solve(
    class_cost: np.ndarray, edge_cost: np.ndarray, distances: Sequence[int], things: np.ndarray, mode: str, budget_s: float | None
) -> Cut:
    stop = _deadline(budget_s)
    if mode not in ("fast", "greedy"):
        raise PanopticError(f"mode={mode!r}: 'fast' or 'greedy'")
    class_cost, edge_cost = _checked_costs("class_cost", class_cost), _checked_costs("edge_cost", edge_cost)
    steps = _checked_distances(distances, class_cost.shape, edge_cost.shape)
    labels, sums = _linked(class_cost, edge_cost, steps) if mode == "fast" else _pixels(class_cost)
    linked = len(sums) < labels.size
    edges = linking.cluster_edges(labels, len(sums), edge_cost, steps) if linked else linking.pixel_edges(edge_cost, steps)
    parts = [part.copy() for part in (sums, *edges)] if linked else []
    graph = contraction.build_graph(sums, *edges)
    complete = False
    while not complete and perf_counter() < stop:
        complete = contraction.contract(graph, not linked, STEPS)
    for _ in range(SWEEPS if mode == "fast" else 0):
        complete = complete and perf_counter() < stop
        if not complete or not reassign.change_classes(graph, things):
            break
    clusters, classes = _merged(graph, things)
    neighbours = reassign.incident(parts[1], len(sums)) if linked and complete else ()
    for _ in range(SWEEPS if linked else 0):
        complete = complete and perf_counter() < stop
        if not complete or not reassign.move_nodes(clusters, classes, *parts, *neighbours):
            break
    labels = clusters[labels]
    if mode == "fast":
        active = reassign.boundary(labels)
        for _ in range(SWEEPS):
            complete = complete and perf_counter() < stop
            if not complete or not reassign.move_pixels(labels, classes, class_cost, edge_cost, steps, active):
                break
    cost = energy(labels, classes, class_cost, edge_cost, steps)
    return Cut(classes[labels], _numbered(labels, len(classes)), cost, complete)


def _linked(class_cost: np.ndarray, edge_cost: np.ndarray, distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The clusters that need no queue: labels (H, W) and their class costs (C, K). Where that saves little: the pixels."""
    pixels = class_cost[0].size
    if pixels < LINK_FROM_PIXELS:
        return _pixels(class_cost)
    unit, repulsive = linking.edge_scale(edge_cost, distances[:2])
    threshold = unit * (LINK_SCALE + LINK_DOUBT * repulsive)
    crossing = int(distances[1]) if len(distances) > 1 else 0
    labels, sizes = linking.tile_components(linking.safe_links(class_cost, edge_cost, crossing, threshold))
    sums = linking.class_sums(class_cost, labels, len(sizes))
    kept = reassign.attach_small(labels, sizes, sums, edge_cost, distances[:2])
    return (labels, sums[kept]) if len(kept) * LEAST_REDUCTION <= pixels else _pixels(class_cost)


def _pixels(class_cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each pixel as a cluster (lines 1-2)."""
    classes, height, width = class_cost.shape
    labels = np.arange(height * width, dtype=np.int32).reshape(height, width)
    return labels, class_cost.reshape(classes, -1).T.astype(np.float64, order="C")


def _merged(graph: contraction.Graph, things: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The final cluster of every node of the graph, those of one stuff class merged (lines 19-23), and the clusters' classes."""
    contraction.roots(graph.parent)
    kind = graph.best[graph.parent]
    stuff = ~things[kind]
    name = np.where(stuff, kind, len(things) + graph.parent)
    names, clusters = np.unique(name, return_inverse=True)
    classes = np.empty(len(names), np.int32)
    classes[clusters] = kind
    return clusters.astype(np.int32), classes


def _numbered(labels: np.ndarray, count: int) -> np.ndarray:
    """Without the numbers that no pixel has any more."""
    present = np.bincount(labels.ravel(), minlength=count) > 0
    return (np.cumsum(present, dtype=np.int32) - 1)[labels]


def _deadline(budget_s: float | None) -> float:
    if budget_s is None:
        return np.inf
    if not budget_s >= 0:
        raise PanopticError(f"time_budget_s={budget_s}: seconds, at least 0, or None")
    return perf_counter() + budget_s


def _checked_costs(name: str, costs: np.ndarray) -> np.ndarray:
    """The costs as the kernels are compiled for: read-only, C-contiguous float32."""
    if not isinstance(costs, np.ndarray) or costs.dtype not in (np.float32, np.float64):
        raise PanopticError(f"{name} is {getattr(costs, 'dtype', type(costs).__name__)}: an array of float32 or float64")
    if costs.ndim != 3 or not costs.size:
        raise PanopticError(f"{name} has shape {costs.shape}: three axes (channels, H, W), none empty")
    if not (costs.min() >= -LARGEST_COST and costs.max() <= LARGEST_COST):
        raise PanopticError(f"{name} has values that are NaN or beyond +-{LARGEST_COST:g}")
    costs = np.require(costs, np.float32, ["C", "A"]).view()
    costs.flags.writeable = False
    return costs


def _checked_distances(distances: Sequence[int], cost_shape: tuple[int, ...], edge_shape: tuple[int, ...]) -> np.ndarray:
    """(D,) int64, once the shapes fit each other."""
    height, width = cost_shape[1:]
    steps = np.asarray(distances)
    whole = steps.ndim == 1 and steps.size and np.issubdtype(steps.dtype, np.integer)
    if not whole or steps[0] != 1 or (np.diff(steps) <= 0).any():
        raise PanopticError(f"distances={distances}: whole numbers that increase from 1")
    if height * width < 2 or steps[-1] > min(height, width):
        raise PanopticError(f"distances={distances}: too long for an image of {height}x{width} pixels")
    if edge_shape != (2 * len(steps), height, width):
        raise PanopticError(f"edge_cost has shape {edge_shape}: ({2 * len(steps)}, {height}, {width}), two channels a distance")
    return steps.astype(np.int64)


def _checked_things(thing_classes: Sequence[int], count: int) -> np.ndarray:
    """(K,) bool."""
    chosen = np.asarray(thing_classes)
    if count < 2:
        raise PanopticError(f"class_cost has {count} classes: at least 2")
    if chosen.ndim != 1 or not chosen.size or not np.issubdtype(chosen.dtype, np.integer):
        raise PanopticError(f"thing_classes={thing_classes}: at least one class; without things it is a multiway_cut")
    if chosen.min() < 0 or chosen.max() >= count:
        raise PanopticError(f"thing_classes={thing_classes}: classes are 0 to {count - 1}")
    things = np.zeros(count, bool)
    things[chosen] = True
    return things
