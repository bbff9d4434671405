"""How things move: every path maps seconds to a place on the road, as deterministic functions."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from training.data.street.textures import Rng

Path = Callable[[float], tuple[float, float]]
"""Seconds -> (s, t): metres along the road, metres to the left of its centre line."""


@dataclass(frozen=True)
class Mover:
    """A thing on its path. name: its mocap body; yaw: of what stands (None: along the path); gait: strides per second, 0 none."""

    name: str
    path: Path
    yaw: float | None = None
    z: float = 0.0
    gait: float = 0.0
    phase: float = 0.0


def standing(s: float, t: float) -> Path:
    """Does not move."""
    return lambda _: (s, t)


def cruise(s: float, t: float, speed: float, wave: float = 0.0, period: float = 6.0) -> Path:
    """Along the road at `speed` m/s (negative: towards the viewer), weaving by `wave` metres."""
    return lambda time: (s + speed * time, t + wave * np.sin(2 * np.pi * time / period))


def companion(ego: Path, ahead: float, t: float, amplitude: float, period: float, phase: float) -> Path:
    """Keeps near the camera car: overtakes it and falls back again."""
    return lambda time: (ego(time)[0] + ahead + amplitude * np.sin(2 * np.pi * time / period + phase), t)


def pace(s: float, t: float, reach: float, speed: float, phase: float, across: bool) -> Path:
    """Walks `reach` metres to and fro, along the road or across it, turning round in place."""

    def path(time: float) -> tuple[float, float]:
        lap = (time * speed / (2 * reach) + phase) % 1.0
        way = reach * (abs(2 * lap - 1) - 0.5)
        drift = 0.12 * np.sin(2 * np.pi * (lap + 0.25))
        return (s + drift, t + way) if across else (s + way, t + drift)

    return path


@dataclass(frozen=True)
class Ego:
    """The camera car: its path, and where its camera looks."""

    path: Path
    height_m: float
    pitch: float
    sway: float
    pan: float
    pan_start_s: float
    pan_long_s: float
    shake: float
    fovy_deg: float

    def yaw(self, time: float) -> float:
        """Camera yaw against the road: a slow sway, and for some scenes one look aside and back."""
        u = (time - self.pan_start_s) / self.pan_long_s
        aside = self.pan * np.sin(np.pi * u) ** 2 if 0 < u < 1 else 0.0
        return float(self.sway * np.sin(0.9 * time + 1.0) + aside)

    def jitter(self, time: float) -> tuple[float, float]:
        """Small pitch and roll in radians."""
        a = np.sin(9.1 * time) + np.sin(14.3 * time + 1.3) + np.sin(3.7 * time + 0.4)
        b = np.sin(8.3 * time + 0.7) + np.sin(12.1 * time + 2.0)
        return float(self.shake * a), float(self.shake * b)


def random_ego(rng: Rng, lane_t: float, lane_m: float) -> Ego:
    """A drive: speed, lane change, camera mount and its looks aside."""
    speed = float(rng.uniform(0.8, 9.0)) if rng.random() < 0.85 else 0.0
    wave = float(rng.uniform(0, 0.45)) * speed
    change = float(rng.choice([0.0, 0.0, 0.25, -0.15]) * lane_m) * (speed > 2)
    begin = float(rng.uniform(0, 4))

    def path(time: float) -> tuple[float, float]:
        blend = np.clip((time - begin) / 3.0, 0, 1)
        s = speed * time + wave / 0.8 * (1 - np.cos(0.8 * time))
        return s, lane_t + 0.25 * np.sin(0.5 * time) + change * blend**2 * (3 - 2 * blend)

    pan = float(rng.choice([-1, 1]) * rng.uniform(0.5, 0.95)) if rng.random() < 0.4 else 0.0
    fixed = float(rng.uniform(-0.12, 0.12)) if rng.random() < 0.5 else 0.0
    return Ego(
        path,
        float(rng.uniform(1.25, 2.3)),
        float(rng.uniform(0.0, 0.14)),
        float(rng.uniform(0, 0.06)) + fixed,
        pan,
        float(rng.uniform(0.5, 3)),
        float(rng.uniform(2.5, 4)),
        float(rng.uniform(0, 0.004)),
        float(rng.uniform(31, 44)),
    )
