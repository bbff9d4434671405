"""Pictures of true segments and of training samples."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from panoptic_ros.core import Label, Panoptic, Segment, pixel_value
from panoptic_ros.draw import overlay
from training.metrics.panoptic_quality import Truth

GAP = 4
"""Pixels between the tiles of a sheet."""


def true_picture(image: np.ndarray, ids: np.ndarray, truth: Mapping[int, Truth], labels: tuple[Label, ...]) -> np.ndarray:
    """image (H,W,3) uint8 RGB with the segments of ids (H,W) on it. An id that `truth` lacks is left as void is."""
    values, inverse = np.unique(ids, return_inverse=True)
    new, segments = np.zeros(len(values), np.int32), []
    for number, value in enumerate(values.tolist()):
        if value and value in truth:
            new[number] = pixel_value(truth[value].category, number)
            mask = (ids == value).view(np.uint8)
            x, y, width, height = cv2.boundingRect(mask)
            box, area = (x, y, x + width, y + height), int(cv2.countNonZero(mask))
            segments.append(Segment(int(new[number]), truth[value].category, 1.0, area, box, np.empty(0, np.float32)))
    return overlay(image, Panoptic(new[inverse.reshape(ids.shape)], tuple(segments), 0), labels)


def sample_picture(sample: tuple[np.ndarray, np.ndarray, np.ndarray], labels: tuple[Label, ...]) -> np.ndarray:
    """A training sample (`training.data.panoptic.Sample`) with its targets on it, (h,w,3) uint8 RGB."""
    image, semantic, instance = sample
    image = np.ascontiguousarray(image.transpose(1, 2, 0))
    grid = np.where(semantic < 0, 0, (semantic + 1) << 16 | (instance + 1)).astype(np.int32)
    ids = cv2.resize(grid, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    truth = {value: Truth(labels[(value >> 16) - 1].id) for value in np.unique(ids).tolist() if value}
    return true_picture(image, ids, truth, labels)


def sheet(tiles: Sequence[np.ndarray], columns: int, width: int) -> np.ndarray:
    """Tiles (H,W,3), each scaled to `width`, row by row on black."""
    tiles = [cv2.resize(t, (width, round(t.shape[0] * width / t.shape[1])), interpolation=cv2.INTER_AREA) for t in tiles]
    rows = [tiles[first : first + columns] for first in range(0, len(tiles), columns)]
    heights = [max(tile.shape[0] for tile in row) + GAP for row in rows]
    page = np.zeros((sum(heights), columns * (width + GAP), 3), np.uint8)
    for row, top in zip(rows, np.cumsum([0, *heights])):
        for number, tile in enumerate(row):
            left = number * (width + GAP)
            page[top : top + tile.shape[0], left : left + width] = tile
    return page
