"""The road: its centre line, its cross-section, and the ground beside it."""

from dataclasses import dataclass

import numpy as np

from training.data.street import labels, textures
from training.data.street.builder import Builder
from training.data.street.meshes import ribbon
from training.data.street.textures import Rng

BEGIN_M, END_M = -50.0, 260.0


@dataclass(frozen=True)
class Road:
    """Widths in metres, by side (0 right, 1 left) where two. curvature: 1/m, to the left. All lateral offsets `t` point left."""

    curvature: float
    lanes: int
    lane_m: float
    parking_m: float
    verge_m: tuple[float, float]
    walk_m: tuple[float, float]

    @property
    def half_m(self) -> float:
        """From the centre line to the kerb."""
        return self.lanes * self.lane_m / 2 + self.parking_m

    def edge_m(self, side: int) -> float:
        """From the centre line to the outer edge of the pavement of `side`."""
        return self.half_m + self.verge_m[side] + self.walk_m[side]

    def pose(self, s: float, t: float) -> tuple[float, float, float]:
        """World (x, y, yaw) of the place s metres along the road and t metres left of its centre line."""
        k = self.curvature
        yaw = k * s
        x, y = (np.sin(yaw) / k, (1 - np.cos(yaw)) / k) if abs(k) > 1e-6 else (s, 0.0)
        return float(x - t * np.sin(yaw)), float(y + t * np.cos(yaw)), float(yaw)


def random_road(rng: Rng) -> Road:
    """Draw a road."""
    lanes = int(rng.choice([2, 2, 4, 3]))
    curvature = float(rng.choice([0.0, 1.0, 1.0]) * rng.uniform(-1, 1) / 110)
    verges = tuple(float(rng.choice([0.0, 0.0, 1.6]) * rng.uniform(0.7, 1.3)) for _ in range(2))
    walks = tuple(float(rng.uniform(2.2, 5.0)) for _ in range(2))
    return Road(curvature, lanes, float(rng.uniform(3.0, 3.6)), float(rng.choice([0.0, 2.2, 2.2])), verges, walks)


def build(builder: Builder, road: Road, rng: Rng) -> None:
    """Carriageway, verges, pavements and the ground."""
    s = np.arange(BEGIN_M, END_M + 1, 5.0)
    poses = np.array([road.pose(v, 0) for v in s])
    line, normal = poses[:, :2], np.column_stack([-np.sin(poses[:, 2]), np.cos(poses[:, 2])])
    half = road.half_m
    builder.material("road", textures.road(rng, road.lanes, road.parking_m, 2 * half))
    builder.material("paving", textures.paving(rng))
    green = np.array([rng.uniform(70, 120), rng.uniform(95, 140), rng.uniform(40, 70)])
    soil = np.array([rng.uniform(130, 160), rng.uniform(110, 130), rng.uniform(70, 100)])
    mix = rng.random() if rng.random() < 0.4 else rng.uniform(0, 0.25)
    builder.material("grass", textures.grainy(rng, tuple(green * (1 - mix) + soil * mix), 0.45))
    builder.material("lawn", textures.grainy(rng, tuple(green * (1 - mix) + soil * mix), 0.45), tile_m=5)
    builder.material("track", textures.grainy(rng, (95, 88, 82), 0.5))
    plain = (1.0, 1.0, 1.0)
    crown = [(half, 0.0), (0.0, 0.02), (-half, 0.0)]
    builder.fixed(labels.ROAD).mesh(builder.mesh(ribbon(line, normal, s, crown, (2 * half, 12.0))), plain, "road")
    for side, sign in enumerate((-1, 1)):
        inner, outer = half, road.edge_m(side)
        kerb = rng.uniform(0.11, 0.17)
        if road.verge_m[side] > 0.3:
            strip = _profile(inner, inner + road.verge_m[side], kerb, sign)
            builder.fixed(labels.TERRAIN).mesh(builder.mesh(ribbon(line, normal, s, strip, (3.0, 3.0))), plain, "grass")
            inner += road.verge_m[side]
        strip = _profile(inner, outer, kerb + 0.01, sign)
        builder.fixed(labels.SIDEWALK).mesh(builder.mesh(ribbon(line, normal, s, strip, (2.4, 2.4))), plain, "paving")
    builder.fixed(labels.TERRAIN, (100, 0, -1.05)).box((0, 0, 0), (400, 400, 1.0), plain, "lawn")


def _profile(inner: float, outer: float, top: float, sign: int) -> list[tuple[float, float]]:
    """Cross-section of a raised strip between two offsets, left to right."""
    points = [(inner, -0.1), (inner, top), (outer, top), (outer, -0.1)]
    return points[::-1] if sign > 0 else [(-t, z) for t, z in points]


def crossing(builder: Builder, road: Road, s: float) -> None:
    """A zebra crossing."""
    for t in np.arange(-road.half_m + 0.5, road.half_m - 0.3, 1.1):
        x, y, yaw = road.pose(s, float(t))
        builder.fixed(labels.ROAD, (x, y, 0.02), yaw).box((0, 0, 0), (1.7, 0.28, 0.006), (0.88, 0.88, 0.85))


def rails(builder: Builder, road: Road, t: float) -> None:
    """A pair of rails on ballast, labelled terrain."""
    s = np.arange(BEGIN_M, END_M + 1, 5.0)
    poses = np.array([road.pose(v, t) for v in s])
    normal = np.column_stack([-np.sin(poses[:, 2]), np.cos(poses[:, 2])])
    part = builder.fixed(labels.TERRAIN)
    bed = [(2.0, -0.1), (1.6, 0.1), (-1.6, 0.1), (-2.0, -0.1)]
    part.mesh(builder.mesh(ribbon(poses[:, :2], normal, s, bed, (3.0, 3.0))), (1, 1, 1), "track")
    for offset in (-0.72, 0.72):
        rail = [(offset + 0.05, 0.1), (offset + 0.04, 0.22), (offset - 0.04, 0.22), (offset - 0.05, 0.1)]
        part.mesh(builder.mesh(ribbon(poses[:, :2], normal, s, rail, (1.0, 1.0))), (0.45, 0.42, 0.4))
