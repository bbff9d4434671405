"""From the asymmetric multiway cut of classes to a multiway cut of panoptic labels, one for each true segment (section 3.3)."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from panoptic_ros.solvers.multiway_cut import Cut


@dataclass(frozen=True)
class Lifting:
    """J panoptic labels of one image, the true segments.

    category: (J,) class index, m of Algorithm 1. truth: (J,H,W) bool. found: (J,H,W) bool, z: the cluster that a label is
    matched with, empty where it has none. known: (H,W) bool, where truth is. cut: the solution. false_category: (F,) and
    false_area: (F,) known cells, of the clusters without a label.
    """

    category: np.ndarray
    truth: np.ndarray
    found: np.ndarray
    known: np.ndarray
    cut: Cut
    false_category: np.ndarray
    false_area: np.ndarray


def lift(cut: Cut, semantic: np.ndarray, instance: np.ndarray, things: np.ndarray) -> Lifting:
    """semantic, instance: (H,W) int, -1 none; a thing without an instance is a crowd, and unknown. things: (C,) bool."""
    known = (semantic >= 0) & ~(things[semantic] & (instance < 0))
    names = np.where(things[semantic], len(things) + instance, semantic)[known]
    values, index = np.unique(names, return_inverse=True)
    labels = np.full(semantic.shape, -1)
    labels[known] = index
    truth = labels == np.arange(len(values)).reshape(-1, 1, 1)
    category = np.array([semantic[mask][0] for mask in truth], np.int64)
    kinds = np.empty(cut.clusters.max() + 1, np.int64)
    kinds[cut.clusters] = cut.classes
    areas = np.bincount(cut.clusters[known], minlength=len(kinds))
    cluster = match(labels, cut.clusters, category, kinds, areas)  # J
    found = (cut.clusters == cluster.reshape(-1, 1, 1)) & known
    false = np.setdiff1d(np.flatnonzero(areas), cluster)
    return Lifting(category, truth, found, known, cut, kinds[false], areas[false])


def match(labels: np.ndarray, clusters: np.ndarray, category: np.ndarray, kinds: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """(J,) the cluster of each label in the matching of largest total IoU within the classes, -1 where it has none.

    labels: (H,W) 0..J-1, -1 unknown. clusters: (H,W) 0..N-1. category: (J,), kinds: (N,) class indices. areas: (N,) known cells.
    """
    count = len(category)
    both = np.bincount((labels + 1).ravel() * len(kinds) + clusters.ravel(), minlength=(count + 1) * len(kinds))
    both = both.reshape(count + 1, len(kinds))[1:]
    union = both.sum(1, keepdims=True) + areas - both
    iou = np.where(category[:, None] == kinds, both / np.maximum(union, 1), 0)
    rows, columns = linear_sum_assignment(iou, maximize=True)
    matched = iou[rows, columns] > 0
    cluster = np.full(count, -1)
    cluster[rows[matched]] = columns[matched]
    return cluster
