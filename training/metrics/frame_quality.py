"""Everything that is measured of single images, from one pass over the pixels of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from panoptic_ros.core import Label
from training.metrics.average_precision import AveragePrecision
from training.metrics.dagger import PanopticQualityDagger
from training.metrics.overlap import overlap_of
from training.metrics.panoptic_quality import PanopticQuality, Truth
from training.metrics.parsing_covering import ParsingCovering
from training.metrics.semantic import Confusion

SHOWN = 4
"""Best and worst images that are kept for the report."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Ground truth and prediction of an image.

    truth_ids, predicted_ids: (H, W) int, 0 = void. truth: segment id -> Truth. predicted: segment id -> category, of ids with
    pixels. scores: predicted segment id -> score, for AP. sequence: the video it is from. image: the picture's file.
    """

    name: str
    truth_ids: np.ndarray
    truth: Mapping[int, Truth]
    predicted_ids: np.ndarray
    predicted: Mapping[int, int]
    scores: Mapping[int, float] | None = None
    sequence: str | None = None
    image: Path | None = None


class Extremes:
    """The images with the most extreme PQ, one of each sequence, since neighbouring frames look the same."""

    def __init__(self, sign: int) -> None:
        self.pairs: list[tuple[float, Pair]] = []  # PQ and image, the most extreme first
        self._sign = sign  # 1: the highest PQ, -1: the lowest

    def offer(self, pq: float, pair: Pair) -> None:
        ranked = sorted([*self.pairs, (pq, pair)], key=lambda entry: -self._sign * entry[0])
        best = {pair.sequence or pair.name: (pq, pair) for pq, pair in reversed(ranked)}  # the first of a sequence wins
        self.pairs = sorted(best.values(), key=lambda entry: -self._sign * entry[0])[:SHOWN]


class FrameQuality:
    """Accumulates images. precision: None once an image came without scores. images: PQ of each by its name."""

    def __init__(self, labels: tuple[Label, ...]) -> None:
        self.labels = labels
        self.panoptic = PanopticQuality(labels)
        self.dagger = PanopticQualityDagger(self.panoptic)
        self.covering = ParsingCovering(labels)
        self.confusion = Confusion(labels)
        self.precision: AveragePrecision | None = AveragePrecision(labels)
        self.images: dict[str, float] = {}
        self.best, self.worst = Extremes(1), Extremes(-1)

    def add(self, pair: Pair) -> None:
        """Images without true and predicted segments have no PQ of their own."""
        overlap, alone = overlap_of(pair.truth_ids, pair.predicted_ids), PanopticQuality(self.labels)
        for metric in (alone, self.panoptic, self.dagger, self.covering, self.confusion):
            metric.count(overlap, pair.truth, pair.predicted)
        if pair.scores is None:
            self.precision = None
        if self.precision:
            self.precision.add(pair.truth_ids, pair.truth, pair.predicted_ids, pair.predicted, pair.scores)
        mean = alone.mean()
        if mean:
            self.images[pair.name] = mean.pq
            self.best.offer(mean.pq, pair)
            self.worst.offer(mean.pq, pair)
