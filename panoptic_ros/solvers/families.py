"""Instances that the fast mode is compared with greedy on: scenes, no structure at all, costs that mislead, real segments."""

from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path

import cv2
import numpy as np

from panoptic_ros import coco
from panoptic_ros.core import PanopticError
from panoptic_ros.solvers.instances import DISTANCES, Instance, random_instance, scene_instance, seen

STRIDE = 4
"""Pixels of a true image for each cell of its instance, as in the network."""

NOISES = (0.25, 0.5, 1.0, 1.5)

Family = Callable[[int, int, int], Instance]
"""Height, width and seed -> an instance."""


def _scene(height: int, width: int, seed: int) -> Instance:
    return scene_instance(height, width, seed, NOISES[seed % len(NOISES)])


def _random(height: int, width: int, seed: int) -> Instance:
    """More and less attractive on average."""
    instance = random_instance(height, width, seed, 19, 8, DISTANCES)
    return instance._replace(edge_cost=instance.edge_cost + np.float32((0.5, 0, -0.5, 0.1)[seed % 4]))


def _scaled_edges(*factors: float) -> Family:
    """Scenes whose edges of each distance are multiplied by a factor."""

    def family(height: int, width: int, seed: int) -> Instance:
        instance = _scene(height, width, seed)
        return instance._replace(edge_cost=instance.edge_cost * np.repeat(np.float32(factors), 2)[:, None, None])

    return family


def _scaled_classes(factor: float) -> Family:
    def family(height: int, width: int, seed: int) -> Instance:
        instance = _scene(height, width, seed)
        return instance._replace(class_cost=instance.class_cost * np.float32(factor))

    return family


def _blind_nearby(height: int, width: int, seed: int) -> Instance:
    """Distance 1 attracts everywhere."""
    instance = _scene(height, width, seed)
    return instance._replace(edge_cost=np.concatenate([abs(instance.edge_cost[:2]) / 2, instance.edge_cost[2:]]))


def _leaks(height: int, width: int, seed: int) -> Instance:
    """Half of the distance-1 edges, in patches, attract whatever they cross."""
    instance, random = _scene(height, width, seed), np.random.default_rng(seed)
    patches = cv2.resize(random.random((height // 3, width // 3)), (width, height), interpolation=cv2.INTER_CUBIC) < 0.5
    near = np.where(patches, np.float32(1), instance.edge_cost[:2])
    return instance._replace(edge_cost=np.concatenate([near, instance.edge_cost[2:]]))


def _ties(height: int, width: int, seed: int) -> Instance:
    """Whole costs: many pairs are equally similar."""
    instance = _scene(height, width, seed)
    return instance._replace(class_cost=np.rint(instance.class_cost), edge_cost=np.rint(instance.edge_cost))


def _outliers(height: int, width: int, seed: int) -> Instance:
    """One cost in a thousand is a thousand times as large."""
    instance, random = _scene(height, width, seed), np.random.default_rng(seed)
    parts = (np.where(random.random(part.shape) < 1e-3, 1000, 1) * part for part in instance[:2])
    return Instance(*(part.astype(np.float32) for part in parts), *instance[2:])


def _crumbs(height: int, width: int, seed: int) -> Instance:
    """Things of 2x3 pixels side by side on stuff in stripes of 2: smaller than what is attached at once."""
    i, j = np.mgrid[:height, :width]
    thing = (i // 16 + j // 24) % 2 == 0
    kind = np.where(thing, 11 + (i // 2 + j // 3) % 8, i // 2 % 11)
    cluster = np.where(thing, 19 + i // 2 * width + j // 3, kind)
    return seen(kind, cluster, 19, range(11, 19), NOISES[seed % 2], np.random.default_rng(seed))


def _twins(height: int, width: int, seed: int) -> Instance:
    """Classes in pairs that are hardly told apart."""
    instance = _scene(height, width, seed)
    twin = instance.class_cost[np.arange(19) // 2 * 2]
    return instance._replace(class_cost=twin + np.float32(0.05) * (instance.class_cost - twin))


FAMILIES: dict[str, Family] = {
    "scenes": _scene,
    "random": _random,
    "distance 1 attracts": _blind_nearby,
    "distance 1 leaks": _leaks,
    "distance 1 is faint": _scaled_edges(0.01, 1, 1, 1),
    "distance 4 is inverted": _scaled_edges(1, -1, 1, 1),
    "far edges dominate": _scaled_edges(1, 1, 10, 10),
    "far edges are inverted": _scaled_edges(1, 1, -1, -1),
    "edges dominate": _scaled_classes(0.05),
    "classes dominate": _scaled_classes(20),
    "ties": _ties,
    "outliers": _outliers,
    "crumbs": _crumbs,
    "twin classes": _twins,
}


def truth_instances(file: Path) -> Iterator[Instance]:
    """The images of a COCO panoptic JSON again and again, each time with other noise. Cells without a label are a class of stuff.

    Raises PanopticError if the file is damaged or has no things; when an image is reached, if its PNG is.
    """
    content = coco.read_json(file)
    labels = coco.labels_of(content)
    if not content["annotations"] or not any(label.thing for label in labels):
        raise PanopticError(f"{file} has no annotations or no thing classes; it needs both")
    number = {label.id: index for index, label in enumerate(labels, start=1)}
    thing = np.array([False, *(label.thing for label in labels)])

    def instance(seed: int, annotation: dict) -> Instance:
        ids = coco.read_ids(file.with_suffix("") / annotation["file_name"])[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]
        kind_of = {segment["id"]: number[segment["category_id"]] for segment in annotation["segments_info"]}
        kind = np.array([kind_of.get(value, 0) for value in ids.ravel().tolist()]).reshape(ids.shape)
        cluster = np.where(thing[kind], len(thing) + ids, kind)
        noise, random = NOISES[seed % len(NOISES)], np.random.default_rng(seed)
        kind, cluster = (_displaced(part, noise, random) for part in (kind, cluster))
        return seen(kind, cluster, len(thing), np.flatnonzero(thing).tolist(), noise, random)

    return (instance(seed, annotation) for seed, annotation in enumerate(cycle(content["annotations"])))


def _displaced(labels: np.ndarray, cells: float, random: np.random.Generator) -> np.ndarray:
    """Labels (H, W) with wavy boundaries, out of place by about so many cells: no two branches agree where a boundary is."""
    height, width = labels.shape
    coarse = random.standard_normal((2, -(-height // 10), -(-width // 10)), np.float32)
    down, right = cells * np.stack([cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC) for field in coarse])
    i, j = np.rint(np.mgrid[:height, :width] + (down, right)).astype(int)
    return labels[i.clip(0, height - 1), j.clip(0, width - 1)]
