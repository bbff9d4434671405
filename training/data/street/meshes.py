"""Triangle meshes: (V, 3) vertices in metres, (F, 3) faces counted counter-clockwise from outside, (V, 2) texture coordinates."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Mesh:
    """vertices: (V, 3). faces: (F, 3) int. uv: (V, 2) or None."""

    vertices: np.ndarray
    faces: np.ndarray
    uv: np.ndarray | None = None


def prism(profile: list[tuple[float, float, float]]) -> Mesh:
    """A body that is symmetric about y = 0. profile: (x, z, half width) counter-clockwise seen from -y, star-shaped."""
    points = np.array(profile, float)
    n = len(points)
    left = np.column_stack([points[:, 0], points[:, 2], points[:, 1]])
    right = left * [1, -1, 1]
    centre = points.mean(0)
    middle = np.array([[centre[0], centre[2], centre[1]], [centre[0], -centre[2], centre[1]]])
    faces = []
    for i in range(n):
        j = (i + 1) % n
        faces += [(i, n + j, n + i), (i, j, n + j), (2 * n, j, i), (2 * n + 1, n + i, n + j)]
    return Mesh(np.concatenate([left, right, middle]), np.array(faces))


def torus(radius: float, tube: float, around: int = 16, across: int = 6) -> Mesh:
    """A tyre around the y axis."""
    a = np.arange(around)[:, None] * 2 * np.pi / around
    b = np.arange(across)[None] * 2 * np.pi / across
    ring = radius + tube * np.cos(b)
    points = np.stack([ring * np.cos(a), tube * np.sin(b) + 0 * a, ring * np.sin(a)], -1).reshape(-1, 3)
    faces = []
    for i in range(around):
        for j in range(across):
            p, q = i * across + j, (i + 1) % around * across + j
            r, s = i * across + (j + 1) % across, (i + 1) % around * across + (j + 1) % across
            faces += [(p, r, q), (q, r, s)]
    return Mesh(points, np.array(faces))


def ribbon(
    line: np.ndarray, normal: np.ndarray, stations: np.ndarray, section: list[tuple[float, float]], tile: tuple[float, float]
) -> Mesh:
    """Extrude a cross-section along a line.

    line, normal: (N, 2) points and unit left normals at `stations` (N,) metres. section: (offset to the left, height), left to
    right, so that its upper side is outside. tile: metres per texture repeat across and along.
    """
    cross = np.array(section, float)
    n, k = len(line), len(cross)
    xy = line[:, None] + normal[:, None] * cross[None, :, :1]
    z = np.broadcast_to(cross[None, :, 1:], (n, k, 1))
    run = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(cross, axis=0).T))])
    uv = np.stack(np.broadcast_arrays(run[None] / tile[0], stations[:, None] / tile[1]), -1)
    faces = []
    for i in range(n - 1):
        for j in range(k - 1):
            p = i * k + j
            faces += [(p, p + 1, p + k), (p + k, p + 1, p + k + 1)]
    return Mesh(np.concatenate([xy, z], -1).reshape(-1, 3), np.array(faces), uv.reshape(-1, 2))
