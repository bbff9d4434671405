"""One tracked object: where it was, how it moves, what it looks like and which identity it has."""

import math
from dataclasses import dataclass

import numpy as np

VELOCITY_S = 0.2
"""Time constant of the velocity estimate: motion older than this fades."""

COAST_S = 0.4
"""An unseen object is predicted to move on for this long before it settles."""

MIN_STEP_S = 0.01
"""Stamps closer than this (bursts, duplicates) say nothing about speed."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """One thing in one frame.

    slot: its value in the grid. category: a `Label.id`. score: 0..1. box: (x0, y0, x1, y1), half-open, grid pixels.
    embedding: (E,) float unit vector, or zeros where the engine gave none.
    """

    slot: int
    category: int
    score: float
    box: tuple[int, int, int, int]
    embedding: np.ndarray


@dataclass(slots=True, eq=False)
class Track:
    """An object over time. `number` is its identity, None until it is confirmed; `category` may change until then.

    box: where it was last seen, grid pixels. velocity: x, y of its centre, grid pixels per second.
    embedding: (E,) of the last sighting. mean_embedding: (E,) exponential average, unit length. seen_ns: stamp of the last
    sighting.
    slot: its value in the grid of that sighting. votes: category -> summed score.
    """

    box: tuple[int, int, int, int]
    embedding: np.ndarray
    mean_embedding: np.ndarray
    seen_ns: int
    slot: int
    category: int
    votes: dict[int, float]
    velocity: tuple[float, float] = (0.0, 0.0)
    hits: int = 1
    number: int | None = None

    @classmethod
    def start(cls, sighting: Sighting, stamp_ns: int) -> "Track":
        """A tentative track of a thing seen for the first time."""
        s = sighting
        return cls(s.box, s.embedding, s.embedding, stamp_ns, s.slot, s.category, {s.category: s.score})

    def unseen_s(self, stamp_ns: int) -> float:
        """Seconds from the last sighting to `stamp_ns`."""
        return (stamp_ns - self.seen_ns) * 1e-9

    def shift(self, stamp_ns: int) -> tuple[float, float]:
        """Predicted motion x, y of the box since the last sighting, grid pixels: constant velocity that fades out."""
        moving_s = COAST_S * -math.expm1(-self.unseen_s(stamp_ns) / COAST_S)
        return self.velocity[0] * moving_s, self.velocity[1] * moving_s

    def observe(self, sighting: Sighting, stamp_ns: int, embedding_memory: float) -> None:
        """Take the sighting in. embedding_memory: share of the old average that is kept, 0..1."""
        self.hits += 1
        self._move(sighting.box, stamp_ns)
        self._remember(sighting.embedding, embedding_memory)
        self.slot = sighting.slot
        if self.number is None:
            self.votes[sighting.category] = self.votes.get(sighting.category, 0.0) + sighting.score
            self.category = max(self.votes, key=lambda category: (self.votes[category], -category))

    def _move(self, box: tuple[int, int, int, int], stamp_ns: int) -> None:
        """The gain depends on the time that passed, so the estimate is the same at every frame rate."""
        passed_s = self.unseen_s(stamp_ns)
        if passed_s >= MIN_STEP_S:
            gain = max(1 / (self.hits - 1), -math.expm1(-passed_s / VELOCITY_S))
            (x0, y0, x1, y1), (vx, vy), old = box, self.velocity, self.box
            x_speed, y_speed = (x0 + x1 - old[0] - old[2]) / 2 / passed_s, (y0 + y1 - old[1] - old[3]) / 2 / passed_s
            self.velocity = vx + gain * (x_speed - vx), vy + gain * (y_speed - vy)
        self.box, self.seen_ns = box, stamp_ns

    def _remember(self, embedding: np.ndarray, memory: float) -> None:
        mean = memory * self.mean_embedding + (1 - memory) * embedding
        length = math.sqrt(mean @ mean)
        if length > 0 and embedding.any():
            self.embedding, self.mean_embedding = embedding, mean / length
