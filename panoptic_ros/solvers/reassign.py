"""What is better off elsewhere: small components, whole clusters in another class, then their parts, in the end single pixels."""

import numpy as np
from numba import njit

from panoptic_ros.solvers.contraction import Graph

SMALL = 8
"""Pixels; components below are attached to a neighbour at once."""

NONE = -1


@njit(cache=True, nogil=True, error_model="numpy")
def attach_small(
    labels: np.ndarray, sizes: np.ndarray, sums: np.ndarray, edge_cost: np.ndarray, distances: np.ndarray
) -> np.ndarray:
    """Merges each component of less than SMALL pixels with the most similar large one, if the similarity is not negative.

    Changes `sums` and labels (H, W), numbered anew in raster order; returns where in `sums` the labels that are left have theirs.
    """
    width = labels.shape[1]
    first, order = _pixels_of_small(labels, sizes)
    target = np.arange(len(sizes), dtype=np.int32)
    ends, costs = np.empty(4 * len(distances), np.int32), np.empty(4 * len(distances))
    others, weights = np.empty(SMALL * len(ends), np.int32), np.empty(SMALL * len(ends))
    for small in range(len(sizes)):
        if sizes[small] >= SMALL:
            continue
        found = 0
        for pixel in order[first[small] : first[small + 1]]:
            for edge in range(_edges(labels, edge_cost, distances, pixel // width, pixel % width, ends, costs)):
                if sizes[ends[edge]] >= SMALL:
                    found = _add(others, weights, found, ends[edge], costs[edge])
        large = _most_similar(sums, small, others[:found], weights)
        if large != NONE:
            target[small] = large
            for k in range(sums.shape[1]):
                sums[large, k] += sums[small, k]
    return _renumber(labels, target)


@njit(cache=True, nogil=True, error_model="numpy")
def change_classes(graph: Graph, things: np.ndarray) -> bool:
    """One sweep of iterated conditional modes: clusters of a contracted graph take the class that costs least. True: one did.

    Clusters of one stuff class will be one, which Algorithm 2 does not look ahead to: the edges between them are not cut.
    things: (K,) bool.
    """
    changed, saved = False, np.empty(len(things))
    for cluster in range(len(graph.parent)):
        if graph.parent[cluster] != cluster:
            continue
        for k in range(len(things)):
            saved[k] = -graph.cost[cluster, k]
        half = graph.first[cluster]
        while half != NONE:
            if graph.end[half & ~1] != NONE:
                kind = graph.best[graph.end[half ^ 1]]
                saved[kind] += 0 if things[kind] else graph.weight[half >> 1]
            half = graph.following[half]
        kind = saved.argmax()
        if saved[kind] > saved[graph.best[cluster]]:
            graph.best[cluster], changed = kind, True
    return changed


@njit(cache=True, nogil=True, error_model="numpy")
def incident(ends: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The half-edges of each of `count` nodes: those of n are order[first[n] : first[n + 1]], and h is ends.ravel()[h]."""
    owner = ends.reshape(-1)
    first, order = np.zeros(count + 1, np.int32), np.empty(len(owner), np.int32)
    for half in range(len(owner)):
        first[owner[half] + 1] += 1
    for node in range(count):
        first[node + 1] += first[node]
    place = first.copy()
    for half in range(len(owner)):
        order[place[owner[half]]] = half
        place[owner[half]] += 1
    return first, order


@njit(cache=True, nogil=True, error_model="numpy")
def move_nodes(
    clusters: np.ndarray,
    classes: np.ndarray,
    cost: np.ndarray,
    ends: np.ndarray,
    weight: np.ndarray,
    first: np.ndarray,
    order: np.ndarray,
) -> int:
    """One sweep of iterated conditional modes over a graph before its contraction; how many nodes went to another cluster.

    clusters: (N,) int32 indices into `classes` (C,), changed in place. cost: (N, K). ends, weight: see `contraction.build_graph`.
    first, order: see `incident`. The clusters that a node has edges to are the choice.
    """
    owner, moved = ends.reshape(-1), 0
    found, saved, listed = np.empty(len(classes), np.int32), np.empty(len(classes)), np.zeros(len(classes), np.bool_)
    for node in range(len(clusters)):
        own, count = clusters[node], 1
        found[0], saved[own], listed[own] = own, -cost[node, classes[own]], True
        for half in order[first[node] : first[node + 1]]:
            other = clusters[owner[half ^ 1]]
            if not listed[other]:
                found[count], saved[other], listed[other] = other, -cost[node, classes[other]], True
                count += 1
            saved[other] += weight[half >> 1]
        best = own
        for place in range(count):
            listed[found[place]] = False
            if saved[found[place]] > saved[best]:
                best = found[place]
        if best != own:
            clusters[node] = best
            moved += 1
    return moved


@njit(cache=True, nogil=True, error_model="numpy")
def move_pixels(
    labels: np.ndarray,
    classes: np.ndarray,
    class_cost: np.ndarray,
    edge_cost: np.ndarray,
    distances: np.ndarray,
    active: np.ndarray,
) -> int:
    """One sweep of iterated conditional modes: each active pixel goes to the adjacent cluster where it costs least.

    Returns how many went. labels: (H, W) int32 indices into `classes` (C,), changed in place. active: (H, W) bool, changed to the
    pixels for the next sweep.
    A pixel's edges count at all distances; the clusters of its four neighbours are the choice.
    """
    height, width = labels.shape
    moved = 0
    others, weights = np.empty(5, np.int32), np.empty(5)
    ends, costs = np.empty(4 * len(distances), np.int32), np.empty(4 * len(distances))
    for i in range(height):
        for j in range(width):
            if not active[i, j]:
                continue
            active[i, j] = False
            found = _choice(labels, i, j, others)
            if found == 1:
                continue
            weights[:] = 0
            for edge in range(_edges(labels, edge_cost, distances, i, j, ends, costs)):
                for place in range(found):
                    if others[place] == ends[edge]:
                        weights[place] += costs[edge]
            best = 0
            for place in range(found):
                weights[place] -= class_cost[classes[others[place]], i, j]
                if weights[place] > weights[best]:
                    best = place
            if best:
                labels[i, j] = others[best]
                moved += 1
                active[i, j] = True
                active[max(i - 1, 0), j] = active[min(i + 1, height - 1), j] = True
                active[i, max(j - 1, 0)] = active[i, min(j + 1, width - 1)] = True
    return moved


@njit(cache=True, nogil=True, error_model="numpy")
def boundary(labels: np.ndarray) -> np.ndarray:
    """(H, W) bool, the pixels with a neighbour in another cluster."""
    height, width = labels.shape
    mask = np.zeros((height, width), np.bool_)
    for i in range(height):
        for j in range(width):
            if j + 1 < width and labels[i, j] != labels[i, j + 1]:
                mask[i, j] = mask[i, j + 1] = True
            if i + 1 < height and labels[i, j] != labels[i + 1, j]:
                mask[i, j] = mask[i + 1, j] = True
    return mask


@njit(cache=True, nogil=True, error_model="numpy")
def _pixels_of_small(labels: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pixels (flat indices) of the small components, by component: those of c are order[first[c] : first[c + 1]]."""
    first = np.zeros(len(sizes) + 1, np.int32)
    for label in range(len(sizes)):
        first[label + 1] = first[label] + (sizes[label] if sizes[label] < SMALL else 0)
    place, order = first.copy(), np.empty(first[-1], np.int32)
    width = labels.shape[1]
    for i in range(labels.shape[0]):
        for j in range(width):
            label = labels[i, j]
            if sizes[label] < SMALL:
                order[place[label]] = i * width + j
                place[label] += 1
    return first, order


@njit(cache=True, nogil=True, error_model="numpy")
def _add(others: np.ndarray, weights: np.ndarray, found: int, label: int, weight: float) -> int:
    """Adds an edge to the list of neighbours; its length."""
    place = 0
    while place < found and others[place] != label:
        place += 1
    if place == found:
        others[place], weights[place] = label, 0
        found += 1
    weights[place] += weight
    return found


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"nnan", "nsz"})
def _most_similar(sums: np.ndarray, small: int, others: np.ndarray, weights: np.ndarray) -> int:
    """The one of `others` with the largest similarity of Algorithm 2, or NONE if all are negative."""
    best, best_similarity = NONE, 0.0
    for place in range(len(others)):
        if weights[place] < best_similarity:
            continue
        own = alone = joint = np.inf
        for k in range(sums.shape[1]):
            own = min(own, sums[others[place], k])
            alone = min(alone, sums[small, k])
            joint = min(joint, sums[others[place], k] + sums[small, k])
        similarity = weights[place] + own + alone - joint
        if similarity >= best_similarity:
            best, best_similarity = others[place], similarity
    return best


@njit(cache=True, nogil=True, error_model="numpy")
def _renumber(labels: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Replaces every label by its target, numbered anew in raster order; the old numbers in the new order."""
    height, width = labels.shape
    number, kept, count = np.full(len(target), NONE, np.int32), np.empty(len(target), np.int32), 0
    for i in range(height):
        for j in range(width):
            label = target[labels[i, j]]
            if number[label] == NONE:
                number[label], kept[count] = count, label
                count += 1
            labels[i, j] = number[label]
    return kept[:count]


@njit(cache=True, nogil=True, error_model="numpy")
def _choice(labels: np.ndarray, i: int, j: int, others: np.ndarray) -> int:
    """The clusters of a pixel, its own first, and of its four neighbours; how many different ones."""
    height, width = labels.shape
    others[0], found = labels[i, j], 1
    for direction in range(4):
        y, x = i + (direction == 0) - (direction == 1), j + (direction == 2) - (direction == 3)
        if 0 <= y < height and 0 <= x < width:
            place = 0
            while place < found and others[place] != labels[y, x]:
                place += 1
            if place == found:
                others[found] = labels[y, x]
                found += 1
    return found


@njit(cache=True, nogil=True, error_model="numpy")
def _edges(
    labels: np.ndarray, edge_cost: np.ndarray, distances: np.ndarray, i: int, j: int, ends: np.ndarray, costs: np.ndarray
) -> int:
    """Lists a pixel's edges, the labels at their other ends and their costs; how many there are."""
    height, width = labels.shape
    count = 0
    for d in range(len(distances)):
        step = distances[d]
        if j + step < width:
            ends[count], costs[count] = labels[i, j + step], edge_cost[2 * d, i, j]
            count += 1
        if j >= step:
            ends[count], costs[count] = labels[i, j - step], edge_cost[2 * d, i, j - step]
            count += 1
        if i + step < height:
            ends[count], costs[count] = labels[i + step, j], edge_cost[2 * d + 1, i, j]
            count += 1
        if i >= step:
            ends[count], costs[count] = labels[i - step, j], edge_cost[2 * d + 1, i - step, j]
            count += 1
    return count
