"""Slow and plain: what a labelling must be, its energy (eq. 2), the best of all labellings, and Algorithm 2 with dictionaries."""

from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("numba", reason="the multiway cut solver needs numba (pip install 'panoptic_ros[amwc]')")

from panoptic_ros.solvers.instances import Instance  # noqa: E402
from panoptic_ros.solvers.multiway_cut import Cut  # noqa: E402


def edges(instance: Instance) -> Iterator[tuple[tuple[int, int], tuple[int, int], float]]:
    height, width = instance.class_cost.shape[1:]
    for d, step in enumerate(instance.distances):
        for i in range(height):
            for j in range(width):
                if j + step < width:
                    yield (i, j), (i, j + step), float(instance.edge_cost[2 * d, i, j])
                if i + step < height:
                    yield (i, j), (i + step, j), float(instance.edge_cost[2 * d + 1, i, j])


def energy(instance: Instance, classes: np.ndarray, clusters: np.ndarray) -> float:
    """Eq. 2 of a labelling."""
    total = np.take_along_axis(instance.class_cost.astype(float), classes[None].astype(int), 0).sum()
    for d, step in enumerate(instance.distances):
        right, down = instance.edge_cost[2 * d : 2 * d + 2].astype(float)
        total += right[:, :-step][clusters[:, :-step] != clusters[:, step:]].sum()
        total += down[:-step][clusters[:-step] != clusters[step:]].sum()
    return float(total)


def check(cut: Cut, instance: Instance) -> None:
    """Asserts that a labelling is feasible, and of the energy that it says."""
    feasible(cut, instance)
    assert cut.energy == pytest.approx(energy(instance, cut.classes, cut.clusters), rel=1e-5, abs=1e-3)


def feasible(cut: Cut, instance: Instance) -> None:
    """Asserts that all pixels have one class and cluster, and clusters of stuff are whole."""
    shape = instance.class_cost.shape[1:]
    assert cut.classes.shape == cut.clusters.shape == shape
    pairs = np.unique(np.stack([cut.clusters.ravel(), cut.classes.ravel()]), axis=1)
    assert pairs[0].tolist() == list(range(pairs.shape[1])), "one class for each cluster, numbers without gaps"
    stuff = pairs[1][~np.isin(pairs[1], instance.thing_classes)]
    assert len(np.unique(stuff)) == len(stuff), "one cluster for each stuff class"


def optimum(instance: Instance) -> float:
    """The least energy of all feasible labellings: each pixel joins a cluster or opens one; a stuff class has only one."""
    class_cost = instance.class_cost.reshape(len(instance.class_cost), -1).astype(float)
    width, things = instance.class_cost.shape[2], set(instance.thing_classes)
    before: list[list[tuple[int, float]]] = [[] for _ in range(class_cost.shape[1])]
    for (i, j), (y, x), weight in edges(instance):
        before[y * width + x].append((i * width + j, weight))
    clusters: list[int] = []
    kinds: list[int] = []

    def least(pixel: int) -> float:
        if pixel == class_cost.shape[1]:
            return 0.0
        opened = [kind for kind in range(len(class_cost)) if kind in things or kind not in kinds]
        best = np.inf
        for cluster, kind in [*enumerate(kinds), *((len(kinds), kind) for kind in opened)]:
            cut = sum(weight for other, weight in before[pixel] if clusters[other] != cluster)
            new = cluster == len(kinds)
            clusters.append(cluster)
            if new:
                kinds.append(kind)
            best = min(best, class_cost[kind, pixel] + cut + least(pixel + 1))
            clusters.pop()
            if new:
                kinds.pop()
        return best

    return least(0)


def algorithm_2(instance: Instance) -> tuple[np.ndarray, np.ndarray]:
    """Classes and clusters (H, W), line by line; cluster numbers are arbitrary."""
    shape = instance.class_cost.shape[1:]
    cost = {(i, j): instance.class_cost[:, i, j].astype(float) for i, j in np.ndindex(shape)}
    members = {pixel: [pixel] for pixel in cost}
    weight: dict[frozenset, float] = {frozenset((a, b)): value for a, b, value in edges(instance)}

    def similarity(pair: frozenset) -> float:
        a, b = pair
        return weight[pair] + cost[a].min() + cost[b].min() - (cost[a] + cost[b]).min()

    while weight:
        best = max(weight, key=similarity)
        if similarity(best) < 0:
            break
        kept, gone = best
        del weight[best]
        cost[kept] = cost[kept] + cost.pop(gone)
        members[kept] += members.pop(gone)
        for pair in [pair for pair in weight if gone in pair]:
            (other,) = pair - {gone}
            joined = frozenset((kept, other))
            weight[joined] = weight.get(joined, 0.0) + weight.pop(pair)
    classes, clusters = np.empty(shape, int), np.empty(shape, int)
    for number, (cluster, pixels) in enumerate(members.items()):
        kind = int(cost[cluster].argmin())
        for pixel in pixels:
            classes[pixel] = kind
            clusters[pixel] = len(instance.class_cost) + number if kind in instance.thing_classes else kind
    return classes, clusters
