"""From pixels to a graph of clusters: either one cluster per pixel, or first the merges that are safe to do locally."""

import numpy as np
from numba import njit

TILE = 16
"""Pixels; links never leave a tile, since a chain of good links leaks through a weak boundary sooner or later."""

FREE = -1
HASH_FACTOR = 0x2545F4914F6CDD1D


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "nsz"})
def edge_scale(edge_cost: np.ndarray, distances: np.ndarray) -> tuple[float, float]:
    """Mean magnitude of the distance-1 edges, and how much of the magnitude of the edges of `distances`, the first ones, repels.

    Without noise only edges over boundaries would repel.
    """
    _, height, width = edge_cost.shape
    unit = magnitude = total = 0.0
    for channel in range(2 * len(distances)):
        down = distances[channel >> 1] if channel & 1 else 0
        right = 0 if channel & 1 else distances[channel >> 1]
        for i in range(height - down):
            for j in range(width - right):
                magnitude += abs(edge_cost[channel, i, j])
                total += edge_cost[channel, i, j]
        if channel == 1:
            unit = magnitude / (height * (width - 1) + (height - 1) * width)
    return unit, (magnitude - total) / (2 * magnitude) if magnitude > 0 else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def safe_links(class_cost: np.ndarray, edge_cost: np.ndarray, crossing: int, threshold: float) -> np.ndarray:
    """(H, W) uint8: 1 = linked to the pixel on the right, 2 = to the one below, 3 = both.

    A link's similarity, exactly that of Algorithm 2, exceeds `threshold`, and the edges of length `crossing` (channels 2 and 3;
    0: there are none) that cross it do not fall short of `threshold` on average; one that leaves the image counts as 0.
    """
    classes, height, width = class_cost.shape
    links = np.empty((height, width), np.uint8)
    here, below = np.full(width, np.float32(np.inf)), np.empty(width, np.float32)
    right, down = np.empty(width, np.float32), np.empty(width, np.float32)
    across, along = np.empty(width, np.float32), np.empty(width, np.float32)
    for k in range(classes):
        for j in range(width):
            here[j] = min(here[j], class_cost[k, 0, j])
    for i in range(height):
        last = i + 1 == height
        below[:], right[:], down[:] = np.inf, np.inf, np.inf
        for k in range(classes):
            row, next_row = class_cost[k, i], class_cost[k, i if last else i + 1]
            for j in range(width - 1):
                right[j] = min(right[j], row[j] + row[j + 1])
            for j in range(width):
                down[j] = min(down[j], row[j] + next_row[j])
                below[j] = min(below[j], next_row[j])
        _crossing_sums(edge_cost, crossing, i, across, along)
        for j in range(width):
            to_right = to_below = False
            if j + 1 < width:
                to_right = edge_cost[0, i, j] + here[j] + here[j + 1] - right[j] > threshold and across[j] >= crossing * threshold
            if not last:
                to_below = edge_cost[1, i, j] + here[j] + below[j] - down[j] > threshold and along[j] >= crossing * threshold
            links[i, j] = to_right + 2 * to_below
        here, below = below, here
    return links


@njit(cache=True, nogil=True, error_model="numpy")
def _crossing_sums(edge_cost: np.ndarray, crossing: int, i: int, across: np.ndarray, along: np.ndarray) -> None:
    """For row i, the sums (W,) of the edges of length `crossing` over the step to the right and over the step down."""
    _, height, width = edge_cost.shape
    across[:], along[:] = 0, 0
    for back in range(crossing):
        for j in range(back, width - crossing + back):
            across[j] += edge_cost[2, i, j - back]
        if 0 <= i - back < height - crossing:
            for j in range(width):
                along[j] += edge_cost[3, i - back, j]


@njit(cache=True, nogil=True, error_model="numpy")
def tile_components(links: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the links connect within each tile: labels (H, W) int32, numbered in raster order, and their sizes in pixels."""
    height, width = links.shape
    parent = np.arange(height * width, dtype=np.int32)
    for i in range(height):
        for j in range(width):
            pixel = i * width + j
            if j % TILE and links[i, j - 1] & 1:
                parent[pixel] = _root(parent, pixel - 1)
            if i % TILE and links[i - 1, j] & 2:
                a, b = _root(parent, pixel), _root(parent, pixel - width)
                parent[max(a, b)] = min(a, b)
                parent[pixel] = min(a, b)
    labels, sizes, count = np.empty(height * width, np.int32), np.empty(height * width, np.int32), 0
    for pixel in range(height * width):
        label = count
        if parent[pixel] == pixel:
            sizes[count] = 0
            count += 1
        else:
            label = labels[parent[pixel]]
        labels[pixel] = label
        sizes[label] += 1
    return labels.reshape(height, width), sizes[:count].copy()


@njit(cache=True, nogil=True, error_model="numpy")
def _root(parent: np.ndarray, pixel: int) -> int:
    while parent[pixel] != pixel:
        parent[pixel] = parent[parent[pixel]]
        pixel = parent[pixel]
    return pixel


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "nsz"})
def class_sums(class_cost: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """(count, K) float64, the class costs (K, H, W) of each label's pixels."""
    classes, height, width = class_cost.shape
    sums = np.zeros((count, classes))
    for i in range(height):
        start = 0
        while start < width:
            label, stop = labels[i, start], start + 1
            while stop < width and labels[i, stop] == label:
                stop += 1
            for k in range(classes):
                run = np.float32(0)
                for j in range(start, stop):
                    run += class_cost[k, i, j]
                sums[label, k] += run
            start = stop
    return sums


@njit(cache=True, nogil=True, error_model="numpy")
def pixel_edges(edge_cost: np.ndarray, distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`cluster_edges` where each pixel is a cluster and no pair comes twice; a table would take 512 bytes or more a pixel."""
    _, height, width = edge_cost.shape
    count = 0
    for step in distances:
        count += height * (width - step) + (height - step) * width
    ends, cost, edge = np.empty((count, 2), np.int32), np.empty(count), 0
    for i in range(height):
        for channel in range(2 * len(distances)):
            down = distances[channel >> 1] if channel & 1 else 0
            right = 0 if channel & 1 else distances[channel >> 1]
            for j in range(width - right if i + down < height else 0):
                ends[edge, 0], ends[edge, 1] = i * width + j, (i + down) * width + j + right
                cost[edge] = edge_cost[channel, i, j]
                edge += 1
    return ends, cost


@njit(cache=True, nogil=True, error_model="numpy")
def cluster_edges(labels: np.ndarray, count: int, edge_cost: np.ndarray, distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every pair of labels with an edge between their pixels, (E, 2) int32, and its summed cost, (E,) float64.

    Along a row the same pair comes many times in succession: those are summed before the table is asked. The table keeps the
    pairs of one label together, so that neighbouring pixels find theirs in the cache.
    """
    height, width = labels.shape
    room = 16 * width * len(distances)
    pairs, weights = _empty_table(32 * count + room)
    used = 0
    for i in range(height):
        for channel in range(2 * len(distances)):
            down = distances[channel >> 1] if channel & 1 else 0
            right = 0 if channel & 1 else distances[channel >> 1]
            if i + down >= height:
                continue
            here, there, cost = labels[i], labels[i + down, right:], edge_cost[channel, i]
            a, b, run = here[0], here[0], 0.0
            for j in range(len(there)):
                if here[j] != a or there[j] != b:
                    used += _sum_up(pairs, weights, a, b, run)
                    a, b, run = here[j], there[j], 0.0
                run += cost[j]
            used += _sum_up(pairs, weights, a, b, run)
        if 2 * used + room > len(pairs):
            pairs, weights = _grown(pairs, weights)
    return _as_edges(pairs, weights, used)


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _sum_up(pairs: np.ndarray, weights: np.ndarray, first: int, second: int, weight: float) -> int:
    """Adds the cost of a pair of labels to the table; 1 if it is new there."""
    if first == second:
        return 0
    a, b = np.int64(min(first, second)), np.int64(max(first, second))
    pair, mask = (a << 32) | b, len(pairs) - 1
    slot = (32 * a + ((b * HASH_FACTOR >> 40) & 255)) & mask
    while pairs[slot] != pair and pairs[slot] != FREE:
        slot = (slot + 1) & mask
    weights[slot] += weight
    if pairs[slot] == pair:
        return 0
    pairs[slot] = pair
    return 1


@njit(cache=True, nogil=True, error_model="numpy")
def _empty_table(slots: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs and weights, a power of two and at least `slots` of them."""
    size = 1
    while size < slots:
        size *= 2
    return np.full(size, FREE, np.int64), np.zeros(size)


@njit(cache=True, nogil=True, error_model="numpy")
def _grown(pairs: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same table with four times the slots."""
    new_pairs, new_weights = _empty_table(4 * len(pairs))
    for slot in range(len(pairs)):
        if pairs[slot] != FREE:
            _sum_up(new_pairs, new_weights, pairs[slot] >> 32, pairs[slot] & 0xFFFFFFFF, weights[slot])
    return new_pairs, new_weights


@njit(cache=True, nogil=True, error_model="numpy")
def _as_edges(pairs: np.ndarray, weights: np.ndarray, used: int) -> tuple[np.ndarray, np.ndarray]:
    ends, cost, edge = np.empty((used, 2), np.int32), np.empty(used), 0
    for slot in range(len(pairs)):
        if pairs[slot] != FREE:
            ends[edge, 0], ends[edge, 1], cost[edge] = pairs[slot] >> 32, pairs[slot] & 0xFFFFFFFF, weights[slot]
            edge += 1
    return ends, cost
