"""Identities over time: tentative -> confirmed -> lost -> removed."""

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import find_objects

from panoptic_ros import association
from panoptic_ros.association import Weights
from panoptic_ros.core import MAX_INSTANCE, Label, PanopticError, Segment, pixel_value
from panoptic_ros.track import Sighting, Track

RESERVED = 256
"""Instance numbers at the top that unconfirmed things count down through; tracks never get them."""

MAX_NUMBER = MAX_INSTANCE - RESERVED

SEEN = Weights(embedding=0.4, overlap=0.25, distance=0.15, max_cost=0.75)
"""For tracks of the last frames: where an object is says as much as how it looks."""

LOST = Weights(embedding=0.7, overlap=0.1, distance=0.2, max_cost=0.35)
"""For objects that return: the place is uncertain, so looks decide."""


@dataclass(frozen=True, slots=True)
class TrackerSettings:
    """min_hits: frames in a row until a thing gets its number. max_lost_s: an object unseen for longer is forgotten.

    recent_s: a track unseen for longer is searched by its looks rather than by its place. use_embeddings: False tracks by motion
    and overlap alone. max_looks: cosine distance of embeddings that are completely different. embedding_memory: share of the
    average embedding that a frame leaves, 0..1. reach_per_s: how far an object's centre may be off its prediction, in image
    widths for each second unseen, on top of its own size. category_penalty: cost of joining a car with a truck; at least 1
    forbids it.
    """

    min_hits: int = 2
    max_lost_s: float = 3.0
    recent_s: float = 0.35
    use_embeddings: bool = True
    max_looks: float = 0.35
    embedding_memory: float = 0.9
    reach_per_s: float = 0.5
    category_penalty: float = 0.2

    def __post_init__(self) -> None:
        """Raises PanopticError for a value out of its range."""
        legal = {
            "min_hits": (1, 100), "max_lost_s": (0, 3600), "recent_s": (0, 3600), "max_looks": (1e-6, 2),
            "embedding_memory": (0, 1), "reach_per_s": (0, 100), "category_penalty": (0, 1),
        }  # fmt: skip
        for name, (low, high) in legal.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise PanopticError(f"tracker setting {name}={value} is out of range: {low} to {high}")


class Tracker:
    """Gives things an identity: the same object has the same pixel value in every frame.

    Numbers count up from 1 and are never used twice by one tracker, not even over `reset`. `exhausted` counts the things that
    stay unconfirmed because all numbers are used up.
    """

    def __init__(self, labels: tuple[Label, ...], settings: TrackerSettings = TrackerSettings()) -> None:
        self.settings = settings
        self.exhausted = 0
        self._things = frozenset(label.id for label in labels if label.thing)
        self._next_number = 1
        self.reset()

    def reset(self) -> None:
        """Forget all objects; numbers go on."""
        self._tracks: list[Track] = []
        self._grid = np.zeros((0, 0), np.uint8)
        self._last_ns = 0

    def update(self, ids: np.ndarray, segments: list[Segment], stamp_ns: int) -> list[Segment]:
        """The segments of one frame, in their order, each with its pixel value as `id`, and `track` and category from its track.

        ids: (h', w') uint8 slot grid, 0 = void. segments: `id` is the value in that grid. stamp_ns: a clock that goes back drops
        all tracks, as does one that leaps ahead by more than `max_lost_s`. Stuff passes through.
        """
        if stamp_ns < self._last_ns:
            self.reset()
        self._tracks = [track for track in self._tracks if track.unseen_s(stamp_ns) <= self.settings.max_lost_s]
        things = sorted(
            (i for i, segment in enumerate(segments) if segment.category in self._things), key=lambda i: segments[i].id
        )
        sightings = sight(ids, [segments[i] for i in things])
        owners = self._observe(list(sightings.values()), ids, stamp_ns)
        self._tracks = [track for track in self._tracks if track.number is not None or track.seen_ns == stamp_ns]
        self._grid, self._last_ns = ids.copy(), stamp_ns  # the engine overwrites its outputs
        track_of = dict(zip(sightings, owners))
        rank_of = {i: rank for rank, i in enumerate(things)}
        return [
            self._publish(segment, track_of.get(rank_of[i]), MAX_INSTANCE - rank_of[i])
            if i in rank_of
            else replace(segment, id=pixel_value(segment.category, 0), track=None)
            for i, segment in enumerate(segments)
        ]

    def _observe(self, sightings: list[Sighting], ids: np.ndarray, stamp_ns: int) -> list[Track]:
        """The track of each sighting, old or new, updated with it."""
        owners: dict[int, Track] = {}
        for tracks, weights in self._stages(stamp_ns):
            free = [i for i in range(len(sightings)) if i not in owners]
            for t, s in self._match(tracks, [sightings[i] for i in free], weights, ids, stamp_ns):
                owners[free[s]] = tracks[t]
        for i, sighting in enumerate(sightings):
            if i in owners:
                owners[i].observe(sighting, stamp_ns, self.settings.embedding_memory)
            else:
                owners[i] = Track.start(sighting, stamp_ns)
                self._tracks.append(owners[i])
            self._confirm(owners[i])
        return [owners[i] for i in range(len(sightings))]

    def _stages(self, stamp_ns: int) -> list[tuple[list[Track], Weights]]:
        """Who chooses first: identities in view, then identities out of view, then what has none to lose yet."""
        confirmed = [track for track in self._tracks if track.number is not None]
        seen = [
            track for track in confirmed if track.unseen_s(stamp_ns) <= self.settings.recent_s or track.seen_ns == self._last_ns
        ]
        lost = [track for track in confirmed if track not in seen]
        return [(seen, SEEN), (lost, LOST), ([track for track in self._tracks if track.number is None], SEEN)]

    def _match(
        self, tracks: list[Track], sightings: list[Sighting], weights: Weights, ids: np.ndarray, stamp_ns: int
    ) -> list[tuple[int, int]]:
        if not tracks or not sightings:
            return []
        s = self.settings
        pairs = association.measure(tracks, sightings, (self._grid, ids), stamp_ns, self._last_ns, s.reach_per_s)
        if not s.use_embeddings:
            pairs = replace(pairs, looks=np.full_like(pairs.looks, np.nan))
        return association.assign(association.cost(pairs, weights, s.max_looks, s.category_penalty), weights.max_cost)

    def _confirm(self, track: Track) -> None:
        """Give the track its number once it has been seen often enough and one is left."""
        if track.number is not None or track.hits < self.settings.min_hits:
            return
        if self._next_number <= MAX_NUMBER:
            track.number, self._next_number = self._next_number, self._next_number + 1
        elif track.hits == self.settings.min_hits:
            self.exhausted += 1

    @staticmethod
    def _publish(segment: Segment, track: Track | None, stand_in: int) -> Segment:
        """The segment with its identity, or without one with an instance number that only holds for this frame."""
        if track is None or track.number is None:
            return replace(segment, id=pixel_value(segment.category, stand_in), track=None)
        return replace(segment, id=pixel_value(track.category, track.number), category=track.category, track=track.number)


def sight(ids: np.ndarray, things: list[Segment]) -> dict[int, Sighting]:
    """The things that have pixels in the grid, by their index in `things`. Broken embeddings and scores count as none.

    ids: (h', w') uint8.
    """
    regions = find_objects(ids)
    embeddings = unit_rows([thing.embedding for thing in things])
    sightings = {}
    for index, (thing, embedding) in enumerate(zip(things, embeddings)):
        region = regions[thing.id - 1] if 0 < thing.id <= len(regions) else None
        if region is not None:
            rows, columns = region
            score = thing.score if math.isfinite(thing.score) else 0.0
            box = columns.start, rows.start, columns.stop, rows.stop
            sightings[index] = Sighting(thing.id, thing.category, score, box, embedding)
    return sightings


def unit_rows(embeddings: list[np.ndarray]) -> np.ndarray:
    """(N, E) each scaled to length 1; zeros where one has no direction or is not finite."""
    rows = np.array(embeddings, np.float64)
    if not rows.size:
        return rows
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    usable = np.isfinite(length) & (length > 1e-9)
    return np.divide(rows, length, out=np.zeros_like(rows), where=usable)
