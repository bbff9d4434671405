"""Quality of tracked panoptic video: STQ of everything, IDF1, HOTA and MOTA of the things."""

from dataclasses import dataclass, field
from functools import reduce
from operator import add

import numpy as np

from panoptic_ros.core import Label, Panoptic
from training.metrics.clear import Clear, clear
from training.metrics.hota import Hota, hota
from training.metrics.identity import Identity, identity
from training.metrics.overlap import joint_histogram
from training.metrics.panoptic_quality import VOID, Truth
from training.metrics.stq import INSTANCE_BITS, SegmentationTrackingQuality, StqScore
from training.metrics.tracking import Frame, frame_of


@dataclass(frozen=True, slots=True)
class TrackScore:
    """How well the objects of one class, or of all, are followed."""

    hota: Hota
    identity: Identity
    clear: Clear

    def __add__(self, other: "TrackScore") -> "TrackScore":
        return TrackScore(self.hota + other.hota, self.identity + other.identity, self.clear + other.clear)

    def summary(self) -> dict[str, float]:
        """The scores that are quoted, 0..1 (MOTA may be negative), and the number of identity switches."""
        return {
            "IDF1": self.identity.idf1, "HOTA": float(self.hota.hota.mean()), "DetA": float(self.hota.det_a.mean()),
            "AssA": float(self.hota.ass_a.mean()), "MOTA": self.clear.mota, "sMOTA": self.clear.smota,
            "switches": self.clear.switches,
        }  # fmt: skip


@dataclass
class VideoQuality:
    """Accumulates sequences, frame after frame.

    A predicted thing without identity (`track` None) is no track: it counts for STQ as instance 0, and not for the others.
    """

    labels: tuple[Label, ...]
    frames: dict[tuple[str, int], list[Frame]] = field(default_factory=dict)  # by sequence and category
    stq: SegmentationTrackingQuality = field(init=False)

    def __post_init__(self) -> None:
        self.things = [label.id for label in self.labels if label.thing]
        self.stq = SegmentationTrackingQuality([label.id for label in self.labels], self.things)
        self._instances: dict[tuple[str, int], int] = {}

    def add(self, sequence: str, truth_ids: np.ndarray, truth: dict[int, Truth], predicted: Panoptic) -> None:
        """One frame. truth_ids: (H, W) int segment ids that persist over the sequence; truth: what they are."""
        self.stq.add(self._true_values(sequence, truth_ids, truth), _identified(predicted), sequence)
        judged = _judged(truth_ids, truth, predicted)
        true = [i for i, segment in truth.items() if segment.category in self.things and not segment.crowd]
        frame = frame_of(truth_ids, true, predicted.ids, judged)
        categories = np.array([truth[i].category for i in frame.truth.tolist()]), frame.predicted >> INSTANCE_BITS
        for category in self.things:
            rows, columns = (np.flatnonzero(of == category) for of in categories)
            of_class = Frame(frame.truth[rows], frame.predicted[columns], frame.iou[np.ix_(rows, columns)])
            self.frames.setdefault((sequence, category), []).append(of_class)

    def per_class(self) -> dict[int, TrackScore]:
        """Of each thing class that occurs, over all sequences."""
        scores: dict[int, TrackScore] = {}
        for (_, category), frames in self.frames.items():
            if any(len(frame.truth) + len(frame.predicted) for frame in frames):
                score = TrackScore(hota(frames), identity(frames), clear(frames))
                scores[category] = scores[category] + score if category in scores else score
        return {category: scores[category] for category in self.things if category in scores}

    def total(self) -> TrackScore | None:
        """Over the detections of all thing classes; None where there are none."""
        scores = list(self.per_class().values())
        return reduce(add, scores) if scores else None

    def segmentation_and_tracking(self) -> StqScore:
        return self.stq.score()

    def _true_values(self, sequence: str, ids: np.ndarray, truth: dict[int, Truth]) -> np.ndarray:
        """(H, W) category << 16 | number of the object in its sequence, from 1; 0 for stuff and crowds."""
        present, inverse = np.unique(ids, return_inverse=True)
        values = np.zeros(len(present), np.int64)
        for index, i in enumerate(present.tolist()):
            if i in truth:
                countable = truth[i].category in self.things and not truth[i].crowd
                number = self._instances.setdefault((sequence, i), len(self._instances) + 1) if countable else 0
                values[index] = truth[i].category << INSTANCE_BITS | number
        return values[inverse.reshape(ids.shape)]


def _identified(predicted: Panoptic) -> np.ndarray:
    """(H, W) pixel values, where things without identity have instance 0."""
    values = predicted.ids.copy()
    for segment in predicted.segments:
        if segment.track is None:
            values[predicted.ids == segment.id] = segment.category << INSTANCE_BITS
    return values


def _judged(truth_ids: np.ndarray, truth: dict[int, Truth], predicted: Panoptic) -> list[int]:
    """Pixel values of the tracked things, without those of which more than half lies on void or on a crowd of their class."""
    true, guessed, counts = joint_histogram(truth_ids, predicted.ids)
    judged = []
    for segment in predicted.segments:
        crowds = [i for i, t in truth.items() if t.crowd and t.category == segment.category]
        mine = guessed == segment.id
        ignored = counts[mine & np.isin(true, [VOID, *crowds])].sum()
        if segment.track is not None and 2 * ignored <= counts[mine].sum():
            judged.append(segment.id)
    return judged
