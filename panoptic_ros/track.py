"""The tracked objects, one row each: where they were, how they move, what they look like and which identity they have."""

from dataclasses import dataclass, fields, replace

import numpy as np

VELOCITY_S = 0.2
"""Time constant of the velocity estimate: motion older than this fades."""

COAST_S = 0.4
"""An unseen object is predicted to move on for this long before it settles."""

MIN_STEP_S = 0.01
"""Stamps closer than this (bursts, duplicates) say nothing about speed."""


@dataclass(frozen=True, slots=True)
class Sightings:
    """The things (S) of one frame.

    slot: (S,) values in the grid. category: (S,) `Label.id`. score: (S,) 0..1. area: (S,) grid pixels.
    box: (S, 4) x0, y0, x1, y1, half-open, grid pixels. embedding: (S, E) float unit vectors, or zeros where the engine gave none.
    """

    slot: np.ndarray
    category: np.ndarray
    score: np.ndarray
    area: np.ndarray
    box: np.ndarray
    embedding: np.ndarray

    def __len__(self) -> int:
        return len(self.slot)

    def take(self, rows: np.ndarray) -> "Sightings":
        """Those of the given rows, in their order."""
        return Sightings(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass(slots=True, eq=False)
class Tracks:
    """Objects (T) over time. `number` is the identity, 0 until it is confirmed; `category` may change until then.

    box: (T, 4) where it was last seen, grid pixels. velocity: (T, 2) x, y of its centre, grid pixels per second.
    embedding: (T, E) of the last sighting. mean_embedding: (T, E) exponential average, unit length. seen_ns: (T,) int64, stamp of
    the last sighting. slot: (T,) its value in the previous grid, 0 if it was not seen there. hits: (T,) sightings.
    votes: (T, C) summed score for each of `categories` (C,) ascending; -inf where it was never seen as one.
    """

    categories: np.ndarray
    box: np.ndarray
    velocity: np.ndarray
    embedding: np.ndarray
    mean_embedding: np.ndarray
    seen_ns: np.ndarray
    slot: np.ndarray
    category: np.ndarray
    votes: np.ndarray
    hits: np.ndarray
    number: np.ndarray

    @classmethod
    def start(cls, seen: Sightings, stamp_ns: int, categories: np.ndarray) -> "Tracks":
        """A tentative track of each thing seen for the first time."""
        count, column = len(seen), np.searchsorted(categories, seen.category)
        votes = np.full((count, len(categories)), -np.inf)
        votes[np.arange(count), column] = seen.score
        return cls(
            categories, seen.box.copy(), np.zeros((count, 2)), seen.embedding.copy(), seen.embedding.copy(),
            np.full(count, stamp_ns, np.int64), seen.slot.copy(), seen.category.copy(), votes,
            hits=np.ones(count, np.int64), number=np.zeros(count, np.int64),
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.number)

    def kept(self, chosen: np.ndarray) -> "Tracks":
        """Those where `chosen` (T,) bool is true."""
        if chosen.all():
            return self
        return Tracks(self.categories, *(getattr(self, field.name)[chosen] for field in fields(self)[1:]))

    def joined(self, new: "Tracks") -> "Tracks":
        """These and then the new ones."""
        if not len(self):  # there is no length of embeddings to agree with yet
            return new
        both = ((getattr(self, field.name), getattr(new, field.name)) for field in fields(self)[1:])
        return Tracks(self.categories, *map(np.concatenate, both))

    def scaled(self, x: float, y: float) -> "Tracks":
        """The same on a grid that is as much wider and higher."""
        return replace(self, box=self.box * (x, y, x, y), velocity=self.velocity * (x, y))

    def unseen_s(self, stamp_ns: int) -> np.ndarray:
        """(T,) seconds from the last sighting to `stamp_ns`."""
        return (stamp_ns - self.seen_ns) * 1e-9

    def shift(self, stamp_ns: int) -> np.ndarray:
        """(T, 2) predicted motion of the boxes since the last sighting, grid pixels: constant velocity that fades out."""
        moving_s = COAST_S * -np.expm1(-self.unseen_s(stamp_ns) / COAST_S)
        return self.velocity * moving_s[:, None]

    def observe(self, rows: np.ndarray, seen: Sightings, stamp_ns: int, embedding_memory: float) -> None:
        """Take a sighting into each of `rows`, all different. embedding_memory: share of the old average that is kept, 0..1."""
        self.slot[rows] = seen.slot
        self.hits[rows] += 1
        self._move(rows, seen.box, stamp_ns)
        self._remember(rows, seen.embedding, embedding_memory)
        tentative = self.number[rows] == 0
        if tentative.any():
            self._vote(rows[tentative], seen.category[tentative], seen.score[tentative])

    def _move(self, rows: np.ndarray, box: np.ndarray, stamp_ns: int) -> None:
        """The gain depends on the time that passed, so the estimate is the same at every frame rate."""
        passed_s = (stamp_ns - self.seen_ns[rows]) * 1e-9
        gain = np.maximum(1 / (self.hits[rows] - 1), -np.expm1(-passed_s / VELOCITY_S)) * (passed_s >= MIN_STEP_S)
        moved = box - self.box[rows]
        speed = (moved[:, :2] + moved[:, 2:]) / 2 / np.maximum(passed_s, MIN_STEP_S)[:, None]
        velocity = self.velocity[rows]
        self.velocity[rows] = velocity + gain[:, None] * (speed - velocity)
        self.box[rows], self.seen_ns[rows] = box, stamp_ns

    def _remember(self, rows: np.ndarray, embedding: np.ndarray, memory: float) -> None:
        mean = memory * self.mean_embedding[rows] + (1 - memory) * embedding
        length = np.sqrt(np.einsum("te,te->t", mean, mean))
        usable = np.flatnonzero((length > 0) & embedding.any(axis=1))
        self.embedding[rows[usable]] = embedding[usable]
        self.mean_embedding[rows[usable]] = mean[usable] / length[usable, None]

    def _vote(self, rows: np.ndarray, category: np.ndarray, score: np.ndarray) -> None:
        """Of categories with equal votes the lowest wins."""
        column = np.searchsorted(self.categories, category)
        before = self.votes[rows, column]
        self.votes[rows, column] = np.where(np.isfinite(before), before, 0) + score
        self.category[rows] = self.categories[self.votes[rows].argmax(axis=1)]
