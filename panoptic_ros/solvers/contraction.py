"""Greedy edge contraction of a graph of clusters: Algorithm 2 of "Combinatorial Optimization for Panoptic Segmentation"."""

from typing import NamedTuple

import numpy as np
from numba import njit

HASH_FACTOR = 0x2545F4914F6CDD1D
NONE = -1


class Graph(NamedTuple):
    """Clusters (C), their edges (E) and the queue, all changed in place by `contract`.

    Edge e has two half-edges: 2e, which its first end owns, and 2e + 1. A cluster's half-edges are a linked list.
    """

    cost: np.ndarray  # (C, K) float64, sum of its pixels' class costs
    best: np.ndarray  # (C,) int32, the cheapest class
    parent: np.ndarray  # (C,) int32, the cluster that it was merged into, or itself
    first: np.ndarray  # (C,) int32, its first half-edge or NONE
    degree: np.ndarray  # (C,) int32, half-edges listed, removed ones included
    following: np.ndarray  # (2E,) int32, the owner's next half-edge or NONE
    end: np.ndarray  # (2E,) int32, the owner; NONE: the edge was removed
    weight: np.ndarray  # (E,) float64, positive = attractive
    key: np.ndarray  # (E,) int32, similarity as in the queue (see `_key`), or NONE
    heap: np.ndarray  # (3E + 1,) int64, 4-ary, largest first: key << 32 | edge
    table_pair: np.ndarray  # (power of 2,) int64, open addressing: ends (see `_pair`) -> edge
    table_edge: np.ndarray  # the same shape, int32
    used: np.ndarray  # (2,) int64: entries of the heap, of the table


def build_graph(cost: np.ndarray, ends: np.ndarray, weight: np.ndarray) -> Graph:
    """The graph of C clusters with class costs (C, K) float64, edges between `ends` (E, 2) int32, each pair once, and weights."""
    clusters, edges = len(cost), len(weight)
    slots = 1 << max(4 * edges, 16).bit_length()
    graph = Graph(
        cost=cost,
        best=cost.argmin(1).astype(np.int32),
        parent=np.arange(clusters, dtype=np.int32),
        first=np.full(clusters, NONE, np.int32),
        degree=np.zeros(clusters, np.int32),
        following=np.empty(2 * edges, np.int32),
        end=ends.reshape(-1),
        weight=weight,
        key=np.full(edges, NONE, np.int32),
        heap=np.empty(3 * edges + 1, np.int64),
        table_pair=np.empty(slots, np.int64),
        table_edge=np.empty(slots, np.int32),
        used=np.zeros(2, np.int64),
    )
    _fill(graph)
    return graph


@njit(cache=True, nogil=True, error_model="numpy")
def _fill(graph: Graph) -> None:
    """Lists, table and queue of the initial edges."""
    for half in range(len(graph.end)):
        _list(graph, half)
    _rebuild_table(graph)
    for edge in range(len(graph.weight)):
        _queue(graph, edge)


@njit(cache=True, nogil=True, error_model="numpy")
def contract(graph: Graph, eager: bool, steps: int) -> bool:
    """Merges the most similar pair while the similarity is not negative, for at most `steps` queue entries; True: finished.

    eager: no similarity is ever above its key, so that one still right when it comes up is the largest, as in Algorithm 2.
    Otherwise similarities that have risen are looked for only when the queue has run empty.
    """
    for _ in range(steps):
        if graph.used[0] == 0:
            for edge in range(0 if eager else len(graph.weight)):
                _queue(graph, edge)
            if graph.used[0] == 0:
                return True
        entry = _pop(graph)
        edge = entry & 0x7FFFFFFF
        if graph.end[2 * edge] == NONE or graph.key[edge] != entry >> 32:
            continue
        key = _key(graph, edge)
        if key < graph.key[edge]:
            graph.key[edge] = NONE
            _queue(graph, edge)
        else:
            _merge(graph, edge, eager)
    return False


@njit(cache=True, nogil=True, error_model="numpy")
def roots(parent: np.ndarray) -> None:
    """Replaces every cluster's parent (C,) by the cluster it has ended in."""
    for cluster in range(len(parent)):
        root = parent[cluster]
        while parent[root] != root:
            root = parent[root]
        parent[cluster] = root


@njit(cache=True, nogil=True, error_model="numpy")
def _merge(graph: Graph, edge: int, eager: bool) -> None:
    """Contracts an edge (lines 7-18); the cluster with more edges survives.

    If both had the same class, every other class has become more expensive against it, and similarities have only fallen.
    Otherwise some may have risen, and all of the cluster's edges are queued anew if `eager`.
    """
    kept, gone = graph.end[2 * edge], graph.end[2 * edge + 1]
    if graph.degree[kept] < graph.degree[gone]:
        kept, gone = gone, kept
    graph.end[2 * edge] = NONE
    graph.parent[gone] = kept
    may_rise = eager and graph.best[kept] != graph.best[gone]
    best = 0
    for k in range(graph.cost.shape[1]):
        graph.cost[kept, k] += graph.cost[gone, k]
        if graph.cost[kept, k] < graph.cost[kept, best]:
            best = k
    graph.best[kept] = best
    half = graph.first[gone]
    while half != NONE:
        following = graph.following[half]
        if graph.end[half & ~1] != NONE:
            _queue(graph, _move(graph, half, kept))
        half = following
    if may_rise:
        _queue_all(graph, kept)


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _move(graph: Graph, half: int, owner: int) -> int:
    """Gives a half-edge to another owner, or adds its weight to the edge that is there already; that edge."""
    if 2 * graph.used[1] > len(graph.table_pair):
        _rebuild_table(graph)
    pair = _pair(owner, graph.end[half ^ 1])
    slot = _slot(graph, pair)
    if graph.table_pair[slot] == pair:
        other = graph.table_edge[slot]
        graph.weight[other] += graph.weight[half >> 1]
        graph.end[half & ~1] = NONE
        return other
    graph.end[half] = owner
    graph.table_pair[slot], graph.table_edge[slot] = pair, half >> 1
    graph.used[1] += 1
    _list(graph, half)
    return half >> 1


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _list(graph: Graph, half: int) -> None:
    owner = graph.end[half]
    graph.following[half] = graph.first[owner]
    graph.first[owner] = half
    graph.degree[owner] += 1


@njit(cache=True, nogil=True, error_model="numpy")
def _queue_all(graph: Graph, cluster: int) -> None:
    """Queues a cluster's edges anew and takes the removed ones off its list."""
    before, half = NONE, graph.first[cluster]
    while half != NONE:
        following = graph.following[half]
        if graph.end[half & ~1] != NONE:
            _queue(graph, half >> 1)
            before = half
        else:
            graph.degree[cluster] -= 1
            if before == NONE:
                graph.first[cluster] = following
            else:
                graph.following[before] = following
        half = following


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True, fastmath={"nnan", "nsz"})
def _similarity(graph: Graph, edge: int) -> float:
    """What merging its ends saves (lines 25-30); some negative number if the edge itself is repulsive."""
    weight = graph.weight[edge]
    a, b = graph.end[2 * edge], graph.end[2 * edge + 1]
    best_a, best_b = graph.best[a], graph.best[b]
    if best_a == best_b or weight < 0:
        return weight
    joint = np.inf
    for k in range(graph.cost.shape[1]):
        joint = min(joint, graph.cost[a, k] + graph.cost[b, k])
    return weight + graph.cost[a, best_a] + graph.cost[b, best_b] - joint


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _key(graph: Graph, edge: int) -> int:
    """The similarity as float32 bits, which order like the numbers as long as these are not negative; NONE if it is."""
    if graph.end[2 * edge] == NONE:
        return NONE
    similarity = _similarity(graph, edge)
    if similarity < 0:
        return NONE
    return np.float32(abs(similarity)).view(np.int32)


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _queue(graph: Graph, edge: int) -> None:
    """Makes the queue hold an edge under its present similarity. An entry under another one is skipped when it comes up."""
    key = _key(graph, edge)
    if key == graph.key[edge]:
        return
    graph.key[edge] = key
    if key == NONE:
        return
    if graph.used[0] == len(graph.heap):
        graph.used[0] = 0
        for other in range(len(graph.key)):
            if graph.key[other] != NONE and graph.end[2 * other] != NONE:
                _push(graph, (np.int64(graph.key[other]) << 32) | other)
    else:
        _push(graph, (np.int64(key) << 32) | edge)


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _push(graph: Graph, entry: int) -> None:
    heap, place = graph.heap, graph.used[0]
    graph.used[0] += 1
    while place > 0 and heap[(place - 1) >> 2] < entry:
        heap[place] = heap[(place - 1) >> 2]
        place = (place - 1) >> 2
    heap[place] = entry


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _pop(graph: Graph) -> int:
    heap = graph.heap
    graph.used[0] -= 1
    size, top, place = graph.used[0], heap[0], 0
    last = heap[size]
    while 4 * place + 1 < size:
        child = 4 * place + 1
        for other in range(child + 1, min(child + 4, size)):
            if heap[other] > heap[child]:
                child = other
        if heap[child] <= last:
            break
        heap[place] = heap[child]
        place = child
    heap[place] = last
    return top


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _pair(a: int, b: int) -> int:
    return (np.int64(min(a, b)) << 32) | max(a, b)


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _slot(graph: Graph, pair: int) -> int:
    """Where the pair is in the table, or where it would be."""
    mask = len(graph.table_pair) - 1
    slot = ((pair * HASH_FACTOR) >> 32) & mask
    while graph.table_pair[slot] != NONE and graph.table_pair[slot] != pair:
        slot = (slot + 1) & mask
    return slot


@njit(cache=True, nogil=True, error_model="numpy")
def _rebuild_table(graph: Graph) -> None:
    """Without the pairs of clusters that are gone."""
    graph.table_pair[:] = NONE
    graph.used[1] = 0
    for edge in range(len(graph.weight)):
        if graph.end[2 * edge] != NONE:
            pair = _pair(graph.end[2 * edge], graph.end[2 * edge + 1])
            slot = _slot(graph, pair)
            graph.table_pair[slot], graph.table_edge[slot] = pair, edge
            graph.used[1] += 1
