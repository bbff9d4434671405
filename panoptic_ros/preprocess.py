"""Frame -> engine input, and from the decoding grid back to the frame: `letterbox`, `Geometry`, and a grid as `Rectangles`."""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

GREY = 114
"""Value of the padding."""


class Region(NamedTuple):
    """area: pixels. box: (x0, y0, x1, y1), half-open, pixels."""

    area: int
    box: tuple[int, int, int, int]


class Rectangles(NamedTuple):
    """Parts of a picture that have one id each. value: (N,) uint8. x0, y0, x1, y1: (N,) int32, half-open, pixels."""

    value: np.ndarray
    x0: np.ndarray
    y0: np.ndarray
    x1: np.ndarray
    y1: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Geometry:
    """Where a frame lies in the engine input and on the decoding grid; made by `geometry`.

    engine_size: (h, w). inner: (top, left, height, width) of the frame in the engine input, pixels.
    rows: (H,) and columns: (W,), ascending: the grid row and column that each frame row and column reads (nearest).
    row_edges: (h' + 1,) and column_edges: (w' + 1,): grid row r is read by the frame rows row_edges[r] to row_edges[r + 1].
    """

    engine_size: tuple[int, int]
    inner: tuple[int, int, int, int]
    rows: np.ndarray
    columns: np.ndarray
    row_edges: np.ndarray
    column_edges: np.ndarray

    def paint(self, values: np.ndarray) -> np.ndarray:
        """values: (h', w') on the grid -> (H, W) in the frame, same dtype."""
        return values.take(self.columns, axis=1).take(self.rows, axis=0)

    def regions(self, ids: np.ndarray) -> dict[int, Region]:
        """The region of every id but 0 that `paint(ids)` would show, exactly, without painting. ids: (h', w') uint8."""
        cells, x, y = runs(ids), self.column_edges, self.row_edges
        values, areas, boxes = measure(Rectangles(cells.value, x[cells.x0], y[cells.y0], x[cells.x1], y[cells.y1]))
        boxes_px = map(tuple, boxes.tolist())
        return dict(zip(values.tolist(), map(Region, areas.tolist(), boxes_px)))


@lru_cache(maxsize=16)
def geometry(frame_size: tuple[int, int], engine_size: tuple[int, int], stride: int) -> Geometry:
    """The way of a frame of (H, W) pixels into an engine input of (h, w) and its grid of (h / stride, w / stride)."""
    (frame_h, frame_w), (engine_h, engine_w) = frame_size, engine_size
    scale = min(engine_h / frame_h, engine_w / frame_w)
    height = min(max(round(frame_h * scale), 1), engine_h)
    width = min(max(round(frame_w * scale), 1), engine_w)
    top, left = (engine_h - height) // 2, (engine_w - width) // 2
    rows, columns = _cells(frame_h, height, top, stride), _cells(frame_w, width, left, stride)
    edges = _edges(rows, engine_h // stride), _edges(columns, engine_w // stride)
    return Geometry(engine_size, (top, left, height, width), rows, columns, *edges)


def letterbox(frame: np.ndarray, to: Geometry, image: np.ndarray | None = None) -> np.ndarray:
    """frame: (H, W, 3) uint8 -> (1, h, w, 3) uint8, C-contiguous: aspect kept, centred, the rest grey.

    A contiguous frame that has the size of the engine input is returned as it is, without a copy. image: what this gave for
    another frame on the same way, to be written over.
    """
    top, left, height, width = to.inner
    if frame.shape[:2] == to.engine_size:
        return np.ascontiguousarray(frame)[np.newaxis]
    if image is None:
        image = np.full((1, *to.engine_size, 3), GREY, np.uint8)
    inside = image[0, top : top + height, left : left + width]
    if frame.shape[:2] == (height, width):
        inside[:] = frame
    else:
        shrinks = height < frame.shape[0]
        cv2.resize(frame, (width, height), dst=inside, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return image


def runs(ids: np.ndarray) -> Rectangles:
    """All pixels as horizontal runs of one id, a row high, in reading order. ids: (h', w') uint8."""
    flat, width = ids.ravel(), ids.shape[1]
    starts_here = np.empty(flat.size, np.bool_)
    np.not_equal(flat[1:], flat[:-1], out=starts_here[1:])
    starts_here[::width] = True
    start = np.flatnonzero(starts_here).astype(np.int32)  # half the memory is half the time
    y = start // width
    x0 = start - y * width
    x1 = np.append(start[1:], np.int32(flat.size)) - y * width
    return Rectangles(flat[start], x0, y, x1, y + 1)


def measure(parts: Rectangles) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """values (n,) ascending, areas (n,) and boxes (n, 4) of the ids but 0 that have pixels."""
    area = (parts.x1 - parts.x0) * (parts.y1 - parts.y0)
    value = parts.value * (area > 0)
    order = np.argsort(value, kind="stable")  # a radix sort for uint8
    values = np.flatnonzero(np.bincount(value, minlength=256)[1:]) + 1
    first = value[order].searchsorted(values.astype(np.uint8))
    low = [np.minimum.reduceat(edge[order], first) for edge in (parts.x0, parts.y0)]
    high = [np.maximum.reduceat(edge[order], first) for edge in (parts.x1, parts.y1)]
    return values, np.add.reduceat(area[order], first, dtype=np.int64), np.stack(low + high, axis=1)


def _cells(frame: int, inner: int, start: int, stride: int) -> np.ndarray:
    """(frame,) the grid cell under the centre of each of `frame` pixels that are scaled to `inner` and moved by `start`.

    At the padding, where a cell lies half in it, the nearest one whose own centre is in the frame.
    """
    cells = ((2 * np.arange(frame) + 1) * inner // (2 * frame) + start) // stride
    first, last = -((stride - 2 * start) // (2 * stride)), (2 * (start + inner) - stride - 1) // (2 * stride)
    return np.clip(cells, first, last) if first <= last else cells


def _edges(cells: np.ndarray, count: int) -> np.ndarray:
    """(count + 1,) int32: where in the ascending `cells` each of `count` cells starts, and the end."""
    return np.searchsorted(cells, np.arange(count + 1)).astype(np.int32)
