"""Which class is taken for which, pixel by pixel, and mIoU (Everingham et al., PASCAL VOC, 2010; void as in Cityscapes)."""

from collections.abc import Mapping

import numpy as np

from panoptic_ros.core import Label
from training.metrics.overlap import Overlap
from training.metrics.panoptic_quality import Truth


class Confusion:
    """`pixels` (C + 1, C + 1): of each true (row) and predicted class, in the labels' order, void last.

    True void is counted, but not judged; predicted void is a miss. The pixels of crowds are of their class like any others.
    """

    def __init__(self, labels: tuple[Label, ...]) -> None:
        self.labels = labels
        self.pixels = np.zeros((len(labels) + 1,) * 2, np.int64)
        self._row = {label.id: row for row, label in enumerate(labels)}

    def count(self, overlap: Overlap, truth: Mapping[int, Truth], predicted: Mapping[int, int]) -> None:
        """One image. truth: segment id -> Truth. predicted: segment id -> category. Other ids are void."""
        void = len(self.labels)
        rows = {t: self._row[segment.category] for t, segment in truth.items()}
        columns = {p: self._row[category] for p, category in predicted.items()}
        for (t, p), count in overlap.both.items():
            self.pixels[rows.get(t, void), columns.get(p, void)] += count

    def per_class(self) -> dict[int, float]:
        """`Label.id` -> IoU, for the classes that occur."""
        judged = self.pixels[:-1]
        hits = judged.diagonal()
        union = judged.sum(axis=1) + judged[:, :-1].sum(axis=0) - hits
        return {label.id: float(h / u) for label, h, u in zip(self.labels, hits, union) if u}

    def mean(self) -> float | None:
        """mIoU over the classes that occur; None where there are none."""
        scores = self.per_class()
        return float(np.mean(list(scores.values()))) if scores else None
