"""Made-up instances of the asymmetric multiway cut, for tests and the benchmark."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

DISTANCES = (1, 4, 16, 32)


class Instance(NamedTuple):
    """The arguments of `asymmetric_multiway_cut`: (K, H, W) float32, (2 * len(distances), H, W) float32, and so on."""

    class_cost: np.ndarray
    edge_cost: np.ndarray
    distances: tuple[int, ...]
    thing_classes: tuple[int, ...]


def scene_instance(
    height: int,
    width: int,
    seed: int,
    noise: float = 0.5,
    classes: int = 19,
    things: int = 8,
    distances: tuple[int, ...] = DISTANCES,
) -> Instance:
    """Regions of stuff with blobs of things before them, seen by a network that errs.

    The last `things` classes are things. Half of the noise (in units of the true margins) is independent between pixels, half is
    smooth over some ten of them, as a network's is.
    """
    random = np.random.default_rng(seed)
    kind, cluster = _scene(height, width, classes, things, random)
    return seen(kind, cluster, classes, range(classes - things, classes), noise, random, distances)


def seen(
    kind: np.ndarray,
    cluster: np.ndarray,
    classes: int,
    thing_classes: Sequence[int],
    noise: float,
    random: np.random.Generator,
    distances: tuple[int, ...] = DISTANCES,
) -> Instance:
    """The costs of a true labelling, classes and clusters (H, W) int, for a network that errs: the noise of `scene_instance`."""
    height, width = kind.shape
    class_cost = np.where(np.arange(classes)[:, None, None] == kind, np.float32(-1), np.float32(1))
    class_cost += noise * _noise(class_cost.shape, random)
    edge_cost = np.zeros((2 * len(distances), height, width), np.float32)
    for d, step in enumerate(distances):
        edge_cost[2 * d, :, :-step] = np.where(cluster[:, :-step] == cluster[:, step:], 1, -1)
        edge_cost[2 * d + 1, :-step] = np.where(cluster[:-step] == cluster[step:], 1, -1)
    edge_cost += noise * _noise(edge_cost.shape, random)
    return Instance(class_cost, edge_cost, distances, tuple(thing_classes))


def random_instance(
    height: int, width: int, seed: int, classes: int = 3, things: int = 1, distances: tuple[int, ...] = (1, 2)
) -> Instance:
    """Independent normal costs without any structure; the last `things` classes are things."""
    random = np.random.default_rng(seed)
    class_cost = random.normal(size=(classes, height, width)).astype(np.float32)
    edge_cost = random.normal(size=(2 * len(distances), height, width)).astype(np.float32)
    return Instance(class_cost, edge_cost, distances, tuple(range(classes - things, classes)))


def _scene(height: int, width: int, classes: int, things: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Class and cluster (H, W) of every pixel: Voronoi cells of stuff, then ellipses of things, later ones in front."""
    y, x = np.mgrid[:height, :width]
    seeds = random.uniform(size=(2 * (classes - things), 2)) * (height, width)
    cell = np.stack([np.hypot(y - row, x - column) for row, column in seeds]).argmin(0)
    kind = random.integers(classes - things, size=len(seeds))[cell]
    cluster = kind.copy()
    for number in range(int(random.integers(5, 40))):
        row, column = random.uniform(size=2) * (height, width)
        tall, wide = random.uniform(0.02, 0.2, size=2) * height
        inside = ((y - row) / tall) ** 2 + ((x - column) / wide) ** 2 < 1
        kind[inside] = random.integers(classes - things, classes)
        cluster[inside] = classes + number
    return kind, cluster


def _noise(shape: tuple[int, int, int], random: np.random.Generator) -> np.ndarray:
    """(C, H, W) float32 of variance about 1, half of it smooth."""
    channels, height, width = shape
    coarse = random.standard_normal((channels, -(-height // 10), -(-width // 10)), np.float32)
    smooth = np.stack([cv2.resize(plane, (width, height), interpolation=cv2.INTER_CUBIC) for plane in coarse])
    return np.sqrt(np.float32(0.5)) * (smooth + random.standard_normal(shape, np.float32))
