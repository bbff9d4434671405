"""Panoptic quality, PQ = SQ x RQ (Kirillov et al. 2019, eq. 1-2), with the void and crowd rules of the COCO panoptic API."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from panoptic_ros.core import Label
from training.metrics.overlap import Overlap, overlap_of


@dataclass(frozen=True, slots=True)
class Truth:
    """A ground-truth segment. A crowd is neither to be found nor held against who finds it."""

    category: int
    crowd: bool = False


@dataclass(slots=True)
class Tally:
    """Matches of one class so far; `iou` is summed over the true positives."""

    iou: float = 0.0
    tp: int = 0
    fp: int = 0
    fn: int = 0


@dataclass(frozen=True, slots=True)
class Score:
    """PQ, SQ and RQ in 0..1, of one class or as mean over `classes` classes."""

    pq: float
    sq: float
    rq: float
    classes: int = 1


@dataclass
class PanopticQuality:
    """Accumulates images. Classes that neither ground truth nor predictions contain do not count."""

    labels: tuple[Label, ...]
    tallies: dict[int, Tally] = field(init=False)

    def __post_init__(self) -> None:
        self.tallies = {label.id: Tally() for label in self.labels}

    def add(
        self, truth_ids: np.ndarray, truth: Mapping[int, Truth], predicted_ids: np.ndarray, predicted: Mapping[int, int]
    ) -> None:
        """One image. truth_ids, predicted_ids: (H, W) int, 0 = void.

        truth: segment id -> Truth; a segment without pixels is missed. predicted: segment id -> category, of ids with pixels.
        """
        self.count(overlap_of(truth_ids, predicted_ids), truth, predicted)

    def count(self, overlap: Overlap, truth: Mapping[int, Truth], predicted: Mapping[int, int]) -> None:
        """What `add` does, of an overlap that was measured already."""
        found = matches(overlap, truth, predicted)
        for t, (_, iou) in found.items():
            tally = self.tallies[truth[t].category]
            tally.tp, tally.iou = tally.tp + 1, tally.iou + iou
        for t in truth.keys() - found.keys():
            self.tallies[truth[t].category].fn += not truth[t].crowd
        crowd_of = {segment.category: t for t, segment in truth.items() if segment.crowd}
        for p in predicted.keys() - {p for p, _ in found.values()}:
            ignored = overlap.on_void(p) + overlap.both.get((crowd_of.get(predicted[p]), p), 0)
            self.tallies[predicted[p]].fp += 2 * ignored <= overlap.predicted[p]

    def per_class(self) -> dict[int, Score]:
        """`Label.id` -> its score, for the classes that occur, in the order of the labels."""
        return {category: _score(tally) for category, tally in self.tallies.items() if tally.tp + tally.fp + tally.fn}

    def mean(self, thing: bool | None = None) -> Score | None:
        """Over the classes that occur, of things, of stuff or (None) of both; None where there are none."""
        wanted = {label.id for label in self.labels if thing is None or label.thing == thing}
        scores = [score for category, score in self.per_class().items() if category in wanted]
        if not scores:
            return None
        return Score(*(float(np.mean([getattr(s, name) for s in scores])) for name in ("pq", "sq", "rq")), len(scores))


def matches(overlap: Overlap, truth: Mapping[int, Truth], predicted: Mapping[int, int]) -> dict[int, tuple[int, float]]:
    """True segment -> the predicted one of its class whose IoU with it is above 1/2, and the IoU; there is one at most."""
    found = {}
    for t, p in overlap.both:
        if t in truth and not truth[t].crowd and predicted.get(p) == truth[t].category:
            iou = overlap.iou(t, p)
            if iou > 0.5:
                found[t] = p, iou
    return found


def _score(tally: Tally) -> Score:
    whole = tally.tp + tally.fp / 2 + tally.fn / 2
    return Score(tally.iou / whole, tally.iou / tally.tp if tally.tp else 0.0, tally.tp / whole)
