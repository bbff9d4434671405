"""Segments and depth -> boxes and points in space (pinhole model)."""

from dataclasses import dataclass

import numpy as np

from panoptic_ros.core import Panoptic, PanopticError, Segment

MIN_POINTS = 10
"""With fewer pixels of known depth, an object has no box."""
MAX_POINTS = 4096
"""Of larger objects only so many pixels, evenly spread, are looked at."""
SPREAD = 3.0
"""Pixels further from the median depth than this many deviations are taken for background seen past the object's edge."""
LEAST_DEVIATION = 0.02
"""As a share of the depth: what depth cameras are off by on a flat surface."""

_FURTHEST = 1e6
"""Pixels: the greatest focal length and offset of the principal point, and the inverse of the least focal length."""

POINT = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("category", "<u2"), ("instance", "<u2")])
"""A point of `cloud`: metres, and the halves of its pixel value."""


@dataclass(frozen=True, slots=True)
class Intrinsics:
    """Of an undistorted image, in pixels: focal lengths and principal point."""

    fx: float
    fy: float
    cx: float
    cy: float

    def __post_init__(self) -> None:
        """Raises PanopticError for what would throw points to infinity: focal lengths near 0, or numbers that no camera has."""
        usable = all(abs(value) <= _FURTHEST for value in (self.fx, self.fy, self.cx, self.cy))
        if not (usable and self.fx >= 1 / _FURTHEST and self.fy >= 1 / _FURTHEST):
            raise PanopticError(f"{self} are no intrinsics: focal lengths are above 0; is the camera calibrated?")

    def scaled(self, x: float, y: float) -> "Intrinsics":
        """For an image that is x times as wide and y times as high; pixel centres lie at whole numbers."""
        return Intrinsics(self.fx * x, self.fy * y, (self.cx + 0.5) * x - 0.5, (self.cy + 0.5) * y - 0.5)


@dataclass(frozen=True, slots=True)
class Placement:
    """From the camera's optical frame (x right, y down, z forward) to another: p -> rotation @ p + translation.

    rotation: (3, 3). translation: (3,) metres.
    """

    rotation: np.ndarray
    translation: np.ndarray

    @staticmethod
    def of(quaternion: tuple[float, float, float, float], translation: tuple[float, float, float]) -> "Placement":
        """quaternion: x, y, z, w, of unit length."""
        x, y, z, w = quaternion
        rotation = [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
        return Placement(np.array(rotation), np.array(translation))


HERE = Placement(np.eye(3), np.zeros(3))
"""Stays in the camera's frame."""


@dataclass(frozen=True, slots=True)
class Box3D:
    """Where the seen part of an object is: centre (3,) and size (3,) in metres, along the axes of the frame."""

    segment: Segment
    centre: np.ndarray
    size: np.ndarray


def boxes_3d(
    panoptic: Panoptic, depth: np.ndarray, intrinsics: Intrinsics, placement: Placement, categories: frozenset[int]
) -> list[Box3D]:
    """A box for each segment of `categories` with enough known depth. depth: (H, W) float32 metres, as large as `ids`."""
    found = []
    for segment in panoptic.segments:
        if segment.category in categories:
            points = _solid(_points_of(segment, panoptic.ids, depth, intrinsics))
            if len(points) >= MIN_POINTS:
                placed = points @ placement.rotation.T + placement.translation
                low, high = np.percentile(placed, [1, 99], axis=0)
                found.append(Box3D(segment, (low + high) / 2, high - low))
    return found


def cloud(ids: np.ndarray, depth: np.ndarray, intrinsics: Intrinsics, placement: Placement, stride: int) -> np.ndarray:
    """(N,) POINT of every `stride`th row and column where the depth is known, void included.

    ids: (H, W) int32. depth: (H, W) float32 metres.
    """
    rows, columns = np.arange(stride // 2, ids.shape[0], stride), np.arange(stride // 2, ids.shape[1], stride)
    z, values = depth[np.ix_(rows, columns)], ids[np.ix_(rows, columns)]
    y, x = np.nonzero(_known(z))
    points = _unprojected(columns[x], rows[y], z[y, x], intrinsics) @ placement.rotation.T + placement.translation
    result = np.empty(len(points), POINT)
    result["x"], result["y"], result["z"] = points.T
    result["category"], result["instance"] = values[y, x] >> 16, values[y, x] & 0xFFFF
    return result


def _points_of(segment: Segment, ids: np.ndarray, depth: np.ndarray, intrinsics: Intrinsics) -> np.ndarray:
    """(N, 3) in the camera's frame: at most MAX_POINTS pixels of the segment whose depth is known."""
    x0, y0, x1, y1 = segment.box
    z = depth[y0:y1, x0:x1]
    y, x = np.nonzero((ids[y0:y1, x0:x1] == segment.id) & _known(z))
    step = -(-len(y) // MAX_POINTS) or 1
    y, x = y[::step], x[::step]
    return _unprojected(x + x0, y + y0, z[y, x], intrinsics)


def _known(depth: np.ndarray) -> np.ndarray:
    return np.isfinite(depth) & (depth > 0)


def _unprojected(x: np.ndarray, y: np.ndarray, z: np.ndarray, k: Intrinsics) -> np.ndarray:
    """(N, 3) of pixels (N,) and their depths (N,)."""
    return np.stack([(x - k.cx) / k.fx * z, (y - k.cy) / k.fy * z, z], axis=1)


def _solid(points: np.ndarray) -> np.ndarray:
    """Those (N, 3) whose depth is near the median: masks reach over edges, and depth cameras smear them."""
    if not len(points):
        return points
    middle = np.median(points[:, 2])
    off = np.abs(points[:, 2] - middle)
    deviation = max(1.4826 * np.median(off), LEAST_DEVIATION * middle)
    return points[off <= SPREAD * deviation]
