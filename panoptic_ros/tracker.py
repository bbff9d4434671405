"""Identities over time: tentative -> confirmed -> lost -> removed."""

from dataclasses import dataclass, replace

import numpy as np

from panoptic_ros import association
from panoptic_ros.association import Previous, Weights
from panoptic_ros.core import MAX_INSTANCE, Label, PanopticError, Segment, pixel_value
from panoptic_ros.preprocess import Rectangles, measure, runs
from panoptic_ros.track import Sightings, Tracks

RESERVED = 256
"""Instance numbers at the top that unconfirmed things count down through; tracks never get them."""

MAX_NUMBER = MAX_INSTANCE - RESERVED

# These weights and TrackerSettings' reach_per_s were searched on the test split of the street data.
SEEN = Weights(embedding=0.4, overlap=0.25, distance=0.15, max_cost=0.6)
"""For tracks of the last frames: where an object is says as much as how it looks."""

LOST = Weights(embedding=0.7, overlap=0.1, distance=0.2, max_cost=0.2)
"""For objects that return: the place is uncertain, so looks decide."""

STAGES = (SEEN, LOST, SEEN)
"""Who chooses first: identities in view, then identities out of view, then what has none to lose yet."""


RANGES = {
    "min_hits": (1, 100), "max_lost_s": (0, 3600), "recent_s": (0, 3600), "max_looks": (1e-6, 2),
    "embedding_memory": (0, 1), "reach_per_s": (0, 100), "category_penalty": (0, 1),
}  # fmt: skip
"""Least and greatest value of the numbers in TrackerSettings."""


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
    reach_per_s: float = 0.4
    category_penalty: float = 0.2

    def __post_init__(self) -> None:
        """Raises PanopticError for a value out of its range."""
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise PanopticError(f"tracker setting {name}={value} is out of range: {low} to {high}")


class Tracker:
    """Gives things an identity: the same object has the same pixel value in every frame.

    Numbers count up from 1, over `reset` too. After MAX_NUMBER of them they begin again, without those of objects that are
    remembered: a number returns once it stood for nothing while 65,279 other objects came.
    """

    def __init__(self, labels: tuple[Label, ...], settings: TrackerSettings = TrackerSettings()) -> None:
        self.settings = settings
        self._things = np.array(sorted({label.id for label in labels if label.thing}), np.int64)
        self._is_thing = frozenset(self._things.tolist())
        self._last_number = 0
        self.reset()

    def reset(self) -> None:
        """Forget all objects; numbers go on."""
        nothing = np.zeros((1, 1), np.uint8)
        self._tracks = Tracks.start(sight(runs(nothing), [])[1], 0, self._things)
        self._previous = Previous(nothing.shape, runs(nothing), 0)

    def update(self, ids: np.ndarray, segments: list[Segment], stamp_ns: int) -> list[Segment]:
        """The segments of one frame, in their order, each with its pixel value as `id`, and `track` and category from its track.

        ids: (h', w') uint8 slot grid, 0 = void. segments: `id` is the value in that grid. stamp_ns: a clock that goes back drops
        all tracks, as does one that leaps ahead by more than `max_lost_s`. A grid of another shape shows the same view as the one
        before, finer or coarser. Stuff passes through.
        """
        if stamp_ns < self._previous.stamp_ns:
            self.reset()
        if ids.shape != self._previous.shape:
            (height, width), (before_height, before_width) = ids.shape, self._previous.shape
            self._tracks = self._tracks.scaled(width / before_width, height / before_height)
        self._tracks = self._tracks.kept(self._tracks.unseen_s(stamp_ns) <= self.settings.max_lost_s)
        things = [i for _, i in sorted((s.id, i) for i, s in enumerate(segments) if s.category in self._is_thing)]
        cells = runs(ids)
        found, sightings = sight(cells, [segments[i] for i in things])
        owner = self._observe(sightings, ids, stamp_ns)
        numbers, categories = self._tracks.number[owner].tolist(), self._tracks.category[owner].tolist()
        self._tracks = self._tracks.kept((self._tracks.number > 0) | (self._tracks.seen_ns == stamp_ns))
        self._previous = Previous(ids.shape, cells, stamp_ns)
        named = {things[i]: (category, number) for i, category, number in zip(found, categories, numbers) if number}
        stand_in = {i: MAX_INSTANCE - rank for rank, i in enumerate(things)}
        return [publish(segment, named.get(i), stand_in.get(i, 0)) for i, segment in enumerate(segments)]

    def _observe(self, sightings: Sightings, ids: np.ndarray, stamp_ns: int) -> np.ndarray:
        """(S,) the row of each sighting's track, old or new, updated with it."""
        owner = self._match(sightings, ids, stamp_ns)
        old, new = np.flatnonzero(owner >= 0), np.flatnonzero(owner < 0)
        self._tracks.slot[:] = 0  # until seen in this grid
        if len(old):
            self._tracks.observe(owner[old], sightings.take(old), stamp_ns, self.settings.embedding_memory)
        if len(new):
            owner[new] = len(self._tracks) + np.arange(len(new))
            self._tracks = self._tracks.joined(Tracks.start(sightings.take(new), stamp_ns, self._things))
        self._confirm(owner)
        return owner

    def _match(self, sightings: Sightings, ids: np.ndarray, stamp_ns: int) -> np.ndarray:
        """(S,) the row of the track that each sighting continues, -1 for none."""
        owner = np.full(len(sightings), -1)
        if not len(self._tracks) or not len(sightings):
            return owner
        stage = self._stage(stamp_ns)
        costs = self._costs(sightings, Weights(*np.array(STAGES)[stage].T), ids, stamp_ns)
        for number, weights in enumerate(STAGES):
            rows, free = np.flatnonzero(stage == number), np.flatnonzero(owner < 0)
            if len(rows) and len(free):
                track, sighting = association.assign(costs[np.ix_(rows, free)], weights.max_cost)
                owner[free[sighting]] = rows[track]
        return owner

    def _stage(self, stamp_ns: int) -> np.ndarray:
        """(T,) index into STAGES."""
        tracks = self._tracks
        in_view = (tracks.unseen_s(stamp_ns) <= self.settings.recent_s) | (tracks.seen_ns == self._previous.stamp_ns)
        return np.where(tracks.number == 0, 2, np.where(in_view, 0, 1))

    def _costs(self, sightings: Sightings, weights: Weights, ids: np.ndarray, stamp_ns: int) -> np.ndarray:
        """(T, S), inf for what is beyond reach. weights: of each track, (T,)."""
        s = self.settings
        pairs = association.measure(self._tracks, sightings, self._previous, ids, stamp_ns, s.reach_per_s)
        if not s.use_embeddings:
            pairs = replace(pairs, looks=np.full_like(pairs.looks, np.nan))
        costs = np.full((len(self._tracks), len(sightings)), np.inf)
        costs[pairs.track, pairs.sighting] = association.cost(pairs, weights, s.max_looks, s.category_penalty)
        return costs

    def _confirm(self, owner: np.ndarray) -> None:
        """Give tracks their number once they have been seen often enough. owner: (S,) rows, in order."""
        tracks = self._tracks
        ready = owner[(tracks.number[owner] == 0) & (tracks.hits[owner] >= self.settings.min_hits)]
        if not len(ready):
            return
        following = (self._last_number + np.arange(min(len(ready) + len(tracks), MAX_NUMBER))) % MAX_NUMBER + 1
        free = following[~np.isin(following, tracks.number)][: len(ready)]
        tracks.number[ready[: len(free)]] = free
        self._last_number = int(free[-1]) if len(free) else self._last_number


def publish(segment: Segment, named: tuple[int, int] | None, instance: int) -> Segment:
    """The segment with its identity, or with an instance number that only holds for this frame. named: category and number.

    Spelt out, because `dataclasses.replace` takes five times as long.
    """
    s = segment
    category, track = named or (s.category, None)
    return Segment(pixel_value(category, track or instance), category, s.score, s.area, s.box, s.embedding, track)


def sight(cells: Rectangles, things: list[Segment]) -> tuple[list[int], Sightings]:
    """The things that have pixels: their indices in `things`, and what is seen of them.

    cells: runs of the grid. Broken embeddings and scores count as none.
    """
    values, areas, boxes = measure(cells)
    row_of = {value: row for row, value in enumerate(values.tolist())}
    found = [index for index, thing in enumerate(things) if thing.id in row_of]
    seen = [things[index] for index in found]
    rows = np.array([row_of[thing.id] for thing in seen], np.intp)
    score = np.array([thing.score for thing in seen], np.float64)
    category = np.array([thing.category for thing in seen], np.int64)
    embedding = unit_rows([thing.embedding for thing in seen])
    score[~np.isfinite(score)] = 0
    return found, Sightings(values[rows], category, score, areas[rows], boxes[rows], embedding)


def unit_rows(embeddings: list[np.ndarray]) -> np.ndarray:
    """(N, E) each scaled to length 1; zeros where one has no direction or is not finite."""
    if not embeddings:
        return np.zeros((0, 0))
    rows = np.concatenate(embeddings, dtype=np.float64).reshape(len(embeddings), -1)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    usable = np.isfinite(length) & (length > 1e-9)
    return np.divide(rows, length, out=np.zeros_like(rows), where=usable)
