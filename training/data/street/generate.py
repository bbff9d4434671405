"""One street as a stream of frames."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from training.data.street.render import Painter, segments
from training.data.street.scene import assemble
from training.data.street.weather import develop, random_weather

SMALLEST_PX = 48
"""Segments with fewer visible pixels than this at 256x512 are void; scaled with the area for other sizes."""
START_NS = 1_700_000_000_000_000_000


@dataclass(frozen=True)
class Frame:
    """rgb (H, W, 3) uint8; depth_m (H, W) float32, 0 = none; ids (H, W) int32 segment ids; categories: of each id.

    intrinsics: (fx, fy, cx, cy) px, whole numbers being pixel centres.
    """

    rgb: np.ndarray
    depth_m: np.ndarray
    ids: np.ndarray
    categories: dict[int, int]
    intrinsics: tuple[float, float, float, float]
    stamp_ns: int


def frames(seed: int | tuple[int, ...], count: int, rate_hz: float, size: tuple[int, int] = (256, 512)) -> Iterator[Frame]:
    """Render `count` frames of the street that `seed` draws, at `rate_hz`; size: (height, width)."""
    rng = np.random.default_rng(seed)
    street, weather = assemble(rng), random_weather(rng)
    height, width = size
    focal = height / 2 / np.tan(np.deg2rad(street.ego.fovy_deg) / 2)
    intrinsics = (float(focal), float(focal), (width - 1) / 2, (height - 1) / 2)
    painter = Painter(street, weather, size)
    try:
        for k in range(count):
            rgb, objects, depth = painter.paint(k / rate_hz)
            ids, categories = segments(objects, street.builder, SMALLEST_PX * height * width / (256 * 512))
            picture = develop(weather, rgb, depth, painter.rotation, focal, np.random.default_rng([*np.atleast_1d(seed), k]))
            yield Frame(picture, depth, ids, categories, intrinsics, START_NS + round(k * 1e9 / rate_hz))
    finally:
        painter.close()
