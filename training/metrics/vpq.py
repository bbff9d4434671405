"""Video panoptic quality, VPQ (Kim et al., Video Panoptic Segmentation, 2020): PQ of tubes.

A tube is the segments of one identity over several frames.
"""

from collections import deque
from collections.abc import Mapping
from functools import reduce
from operator import add, or_

import numpy as np

from panoptic_ros.core import Label
from training.metrics.overlap import Overlap
from training.metrics.panoptic_quality import PanopticQuality, Truth

WINDOWS = (1, 5, 10, 15)
"""Frames; those of the paper for VIPER, whose every frame is annotated."""


class VideoPanopticQuality:
    """Accumulates frames; those of a sequence follow each other. Each window slides over a sequence by one frame at a time.

    quality: for each window length PQ, where a window counts as one image. A sequence shorter than a window has none of it.
    """

    def __init__(self, labels: tuple[Label, ...], windows: tuple[int, ...] = WINDOWS) -> None:
        self.quality = {length: PanopticQuality(labels) for length in windows}
        self._recent: deque = deque(maxlen=max(windows))
        self._sequence: str | None = None

    def add(self, sequence: str, overlap: Overlap, truth: Mapping[int, Truth], predicted: Mapping[int, int]) -> None:
        """One frame. The ids of truth (id -> Truth), predicted (id -> category) and overlap persist over the sequence."""
        if sequence != self._sequence:
            self._recent.clear()
        self._sequence = sequence
        self._recent.append((overlap, dict(truth), dict(predicted)))
        for length, quality in self.quality.items():
            if len(self._recent) >= length:
                overlaps, truths, guesses = zip(*list(self._recent)[-length:])
                quality.count(reduce(add, overlaps), reduce(or_, truths), reduce(or_, guesses))

    def score(self) -> tuple[float | None, dict[int, float]]:
        """Mean over the windows that fit into a sequence (None if none does), and of each of them by its length."""
        means = {length: quality.mean() for length, quality in self.quality.items()}
        scores = {length: mean.pq for length, mean in means.items() if mean}
        return (float(np.mean(list(scores.values()))) if scores else None), scores
