"""PQ-dagger (Porzi et al., Seamless Scene Segmentation, 2019): stuff is judged by its IoU, without a threshold of 1/2."""

from collections.abc import Mapping

import numpy as np

from training.metrics.overlap import Overlap
from training.metrics.panoptic_quality import PanopticQuality, Truth


class PanopticQualityDagger:
    """PQ of each thing class; of each stuff class the IoU summed over its segments that meet a prediction, for each true segment.

    A stuff class that the ground truth lacks does not count. `panoptic` counts the same images, for the things.
    """

    def __init__(self, panoptic: PanopticQuality) -> None:
        self.panoptic = panoptic
        stuff = [label.id for label in panoptic.labels if not label.thing]
        self.iou, self.segments = dict.fromkeys(stuff, 0.0), dict.fromkeys(stuff, 0)

    def count(self, overlap: Overlap, truth: Mapping[int, Truth], predicted: Mapping[int, int]) -> None:
        """One image. truth: segment id -> Truth; crowds are left out. predicted: segment id -> category."""
        asked = {t: s.category for t, s in truth.items() if s.category in self.segments and not s.crowd}
        for category in asked.values():
            self.segments[category] += 1
        for t, p in overlap.both:
            if t in asked and predicted.get(p) == asked[t]:
                self.iou[asked[t]] += overlap.iou(t, p)

    def per_class(self) -> dict[int, float]:
        """`Label.id` -> 0..1, for the classes that occur."""
        things = {label.id for label in self.panoptic.labels if label.thing}
        scores = {category: score.pq for category, score in self.panoptic.per_class().items() if category in things}
        return scores | {category: self.iou[category] / count for category, count in self.segments.items() if count}

    def mean(self) -> float | None:
        """Over the classes that occur; None where there are none."""
        scores = self.per_class()
        return float(np.mean(list(scores.values()))) if scores else None
