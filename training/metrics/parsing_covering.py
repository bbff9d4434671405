"""Parsing covering (Yang et al., DeeperLab, 2019): how well each true segment is covered, large ones counting more."""

from collections.abc import Mapping

import numpy as np

from panoptic_ros.core import Label
from training.metrics.overlap import Overlap
from training.metrics.panoptic_quality import Truth


class ParsingCovering:
    """For each class the best IoU of its true segments with a prediction of the class, weighted by area, over all images."""

    def __init__(self, labels: tuple[Label, ...]) -> None:
        self.area = {label.id: 0 for label in labels}
        self.covered = {label.id: 0.0 for label in labels}

    def count(self, overlap: Overlap, truth: Mapping[int, Truth], predicted: Mapping[int, int]) -> None:
        """One image. truth: segment id -> Truth; crowds are left out. predicted: segment id -> category."""
        best = {t: 0.0 for t, segment in truth.items() if not segment.crowd}
        for t, p in overlap.both:
            if t in best and predicted.get(p) == truth[t].category:
                best[t] = max(best[t], overlap.iou(t, p))
        for t, iou in best.items():
            area = overlap.truth.get(t, 0)
            self.area[truth[t].category] += area
            self.covered[truth[t].category] += area * iou

    def per_class(self) -> dict[int, float]:
        """`Label.id` -> 0..1, for the classes that the ground truth has."""
        return {category: self.covered[category] / area for category, area in self.area.items() if area}

    def mean(self) -> float | None:
        """Over the classes that the ground truth has; None where there are none."""
        scores = self.per_class()
        return float(np.mean(list(scores.values()))) if scores else None
