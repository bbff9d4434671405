"""IDF1: how long the one predicted track that fits each object best is right (Ristani et al. 2016), at IoU >= 0.5."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from training.metrics.tracking import Frame, count_identities

THRESHOLD = 0.5


@dataclass(frozen=True, slots=True)
class Identity:
    """Detections whose identity is right (idtp), true ones that are missed (idfn), predicted ones that are wrong (idfp)."""

    idtp: int
    idfn: int
    idfp: int

    def __add__(self, other: "Identity") -> "Identity":
        return Identity(self.idtp + other.idtp, self.idfn + other.idfn, self.idfp + other.idfp)

    @property
    def idf1(self) -> float:
        return self.idtp / max(self.idtp + 0.5 * self.idfp + 0.5 * self.idfn, 1.0)

    @property
    def recall(self) -> float:
        return self.idtp / max(self.idtp + self.idfn, 1)

    @property
    def precision(self) -> float:
        return self.idtp / max(self.idtp + self.idfp, 1)


def identity(frames: list[Frame]) -> Identity:
    """Of one class in one sequence."""
    frames, true_counts, predicted_counts = count_identities(frames)
    together = np.zeros((len(true_counts), len(predicted_counts)))
    for frame in frames:
        t, p = np.nonzero(frame.iou >= THRESHOLD)
        together[frame.truth[t], frame.predicted[p]] += 1
    # A pair gains the frames it shares over leaving both alone, so the assignment of most shared frames has the least errors.
    idtp = int(together[linear_sum_assignment(-together)].sum())
    return Identity(idtp, int(true_counts.sum()) - idtp, int(predicted_counts.sum()) - idtp)
