"""Frame -> engine input, and from the decoding grid back to the frame: `letterbox` and `Geometry`."""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from scipy.ndimage import find_objects

GREY = 114
"""Value of the padding."""


class Region(NamedTuple):
    """area: pixels. box: (x0, y0, x1, y1), half-open, pixels."""

    area: int
    box: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Geometry:
    """Where a frame lies in the engine input and on the decoding grid; made by `geometry`.

    engine_size: (h, w). inner: (top, left, height, width) of the frame in the engine input, pixels.
    rows: (H,) and columns: (W,), ascending: the grid row and column that each frame row and column reads (nearest).
    """

    engine_size: tuple[int, int]
    inner: tuple[int, int, int, int]
    rows: np.ndarray
    columns: np.ndarray

    def paint(self, values: np.ndarray) -> np.ndarray:
        """values: (h', w') on the grid -> (H, W) in the frame, same dtype."""
        return values.take(self.columns, axis=1).take(self.rows, axis=0)

    def regions(self, ids: np.ndarray) -> dict[int, Region]:
        """The region of every id but 0 that `paint(ids)` would show, exactly, without painting. ids: (h', w') uint8.

        A grid cell counts as many frame rows times columns as read it; a cell of the padding is read by none.
        """
        used_rows, y_edges = _runs(self.rows)
        used_columns, x_edges = _runs(self.columns)
        seen = ids[used_rows][:, used_columns]
        pixels = np.outer(np.diff(y_edges), np.diff(x_edges))
        areas = np.bincount(seen.ravel(), weights=pixels.ravel())
        regions = {}
        for value, found in enumerate(find_objects(seen), start=1):
            if found is not None:
                y, x = found
                x0, y0, x1, y1 = int(x_edges[x.start]), int(y_edges[y.start]), int(x_edges[x.stop]), int(y_edges[y.stop])
                regions[value] = Region(int(areas[value]), (x0, y0, x1, y1))
        return regions


@lru_cache(maxsize=16)
def geometry(frame_size: tuple[int, int], engine_size: tuple[int, int], stride: int) -> Geometry:
    """The way of a frame of (H, W) pixels into an engine input of (h, w) and its grid of (h / stride, w / stride)."""
    (frame_h, frame_w), (engine_h, engine_w) = frame_size, engine_size
    scale = min(engine_h / frame_h, engine_w / frame_w)
    height = min(max(round(frame_h * scale), 1), engine_h)
    width = min(max(round(frame_w * scale), 1), engine_w)
    top, left = (engine_h - height) // 2, (engine_w - width) // 2
    rows, columns = _cells(frame_h, height, top, stride), _cells(frame_w, width, left, stride)
    return Geometry(engine_size, (top, left, height, width), rows, columns)


def letterbox(frame: np.ndarray, to: Geometry) -> np.ndarray:
    """frame: (H, W, 3) uint8 -> (1, h, w, 3) uint8, C-contiguous: aspect kept, centred, the rest grey.

    A contiguous frame that has the size of the engine input is returned as it is, without a copy.
    """
    top, left, height, width = to.inner
    if frame.shape[:2] != (height, width):
        shrinks = height < frame.shape[0]
        frame = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    if (height, width) != to.engine_size:
        image = np.full((*to.engine_size, 3), GREY, np.uint8)
        image[top : top + height, left : left + width] = frame
        frame = image
    return np.ascontiguousarray(frame)[np.newaxis]


def _cells(frame: int, inner: int, start: int, stride: int) -> np.ndarray:
    """(frame,) the grid cell under the centre of each of `frame` pixels that are scaled to `inner` and moved by `start`.

    At the padding, where a cell lies half in it, the nearest one whose own centre is in the frame.
    """
    cells = ((2 * np.arange(frame) + 1) * inner // (2 * frame) + start) // stride
    first, last = -((stride - 2 * start) // (2 * stride)), (2 * (start + inner) - stride - 1) // (2 * stride)
    return np.clip(cells, first, last) if first <= last else cells


def _runs(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The n different cells of an ascending array, and the n + 1 edges between their runs."""
    used, starts = np.unique(cells, return_index=True)
    return used, np.append(starts, len(cells))
