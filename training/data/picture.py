"""Pictures of true segments and of training samples."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from panoptic_ros.core import Label, Panoptic, Segment, pixel_value
from panoptic_ros.draw import overlay
from training.data.regions import indexed
from training.metrics.panoptic_quality import Truth

GAP = 4
"""Pixels between the tiles of a sheet."""


def true_picture(image: np.ndarray, ids: np.ndarray, truth: Mapping[int, Truth], labels: tuple[Label, ...]) -> np.ndarray:
    """image (H,W,3) uint8 RGB with the segments of ids (H,W) on it. An id that `truth` lacks is left as void is."""
    values, index = indexed(ids)
    new, segments = np.zeros(len(values), np.int32), []
    for number, value in enumerate(values.tolist()):
        if value and value in truth:
            new[number] = pixel_value(truth[value].category, number)
            mask = (ids == value).view(np.uint8)
            x, y, width, height = cv2.boundingRect(mask)
            box, area = (x, y, x + width, y + height), int(cv2.countNonZero(mask))
            segments.append(Segment(int(new[number]), truth[value].category, 1.0, area, box, np.empty(0, np.float32)))
    return overlay(image, Panoptic(new[index], tuple(segments), 0), labels)


def sample_picture(sample: tuple[np.ndarray, np.ndarray, np.ndarray], labels: tuple[Label, ...]) -> np.ndarray:
    """A training sample (`training.data.panoptic.Sample`) with its targets on it, (h,w,3) uint8 RGB."""
    image, semantic, instance = sample
    image = np.ascontiguousarray(image.transpose(1, 2, 0))
    grid = np.where(semantic < 0, 0, (semantic + 1) << 16 | (instance + 1)).astype(np.int32)
    ids = cv2.resize(grid, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    truth = {value: Truth(labels[(value >> 16) - 1].id) for value in np.unique(ids).tolist() if value}
    return true_picture(image, ids, truth, labels)


def sheet(tiles: Sequence[np.ndarray], columns: int, size: tuple[int, int]) -> np.ndarray:
    """Tiles (H,W,3), each shrunk or grown to fit into `size` (h,w), row by row on black."""
    height, width = size
    page = np.zeros((-(-len(tiles) // columns) * (height + GAP), columns * (width + GAP), 3), np.uint8)
    for number, tile in enumerate(tiles):
        scale = min(height / tile.shape[0], width / tile.shape[1])
        h, w = (round(side * scale) for side in tile.shape[:2])
        top, left = number // columns * (height + GAP), number % columns * (width + GAP)
        page[top : top + h, left : left + w] = cv2.resize(tile, (w, h), interpolation=cv2.INTER_AREA)
    return page
