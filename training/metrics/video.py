"""Quality of tracked panoptic video: STQ and VPQ of everything, IDF1, HOTA and MOTA of the things."""

from dataclasses import dataclass, field
from functools import reduce
from operator import add

import numpy as np

from panoptic_ros.core import Label, Panoptic
from training.metrics.clear import Clear, clear
from training.metrics.hota import Hota, hota
from training.metrics.identity import Identity, identity
from training.metrics.overlap import VOID, Overlap, overlap_of
from training.metrics.panoptic_quality import PanopticQuality, Truth
from training.metrics.stq import INSTANCE_BITS, SegmentationTrackingQuality, StqScore
from training.metrics.tracking import Frame, frame_of
from training.metrics.vpq import VideoPanopticQuality


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

    A predicted thing without identity (`track` None) is no track: it counts for STQ as instance 0, for VPQ as a tube of its frame
    alone, and not for the others.
    """

    labels: tuple[Label, ...]
    frames: dict[tuple[str, int], list[Frame]] = field(default_factory=dict)  # by sequence and category
    stq: SegmentationTrackingQuality = field(init=False)
    vpq: VideoPanopticQuality = field(init=False)

    def __post_init__(self) -> None:
        self.things = [label.id for label in self.labels if label.thing]
        self.stq = SegmentationTrackingQuality([label.id for label in self.labels], self.things)
        self.vpq = VideoPanopticQuality(self.labels)
        self._instances: dict[tuple[str, int], int] = {}
        self._alone = 0

    def add(self, sequence: str, truth_ids: np.ndarray, truth: dict[int, Truth], predicted: Panoptic) -> None:
        """One frame. truth_ids: (H, W) int segment ids that persist over the sequence; truth: what they are."""
        self.stq.add(self._true_values(sequence, truth_ids, truth), _identified(predicted), sequence)
        overlap = overlap_of(truth_ids, predicted.ids)
        self._add_tubes(sequence, overlap, truth, predicted)
        judged = _judged(overlap, truth, predicted)
        true = [i for i, segment in truth.items() if segment.category in self.things and not segment.crowd]
        frame = frame_of(truth_ids, true, predicted.ids, judged)
        categories = np.array([truth[i].category for i in frame.truth.tolist()]), frame.predicted >> INSTANCE_BITS
        for category in self.things:
            rows, columns = (np.flatnonzero(of == category) for of in categories)
            of_class = Frame(frame.truth[rows], frame.predicted[columns], frame.iou[np.ix_(rows, columns)])
            self.frames.setdefault((sequence, category), []).append(of_class)

    @property
    def panoptic(self) -> PanopticQuality:
        """Of the single frames."""
        return self.vpq.quality[1]

    def _add_tubes(self, sequence: str, overlap: Overlap, truth: dict[int, Truth], predicted: Panoptic) -> None:
        """For VPQ; what has no identity gets a number below 0 that no other frame has."""
        names = {segment.id: segment.id for segment in predicted.segments}
        for segment in predicted.segments:
            if segment.track is None and segment.category in self.things:
                self._alone += 1
                names[segment.id] = -self._alone
        both = {(t, names.get(p, p)): count for (t, p), count in overlap.both.items()}
        areas = {names.get(p, p): count for p, count in overlap.predicted.items()}
        categories = {names[segment.id]: segment.category for segment in predicted.segments}
        self.vpq.add(sequence, Overlap(both, overlap.truth, areas), truth, categories)

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


def _judged(overlap: Overlap, truth: dict[int, Truth], predicted: Panoptic) -> list[int]:
    """Pixel values of the tracked things, without those of which more than half lies on void or on a crowd of their class."""
    judged = []
    for segment in predicted.segments:
        crowds = [i for i, t in truth.items() if t.crowd and t.category == segment.category]
        ignored = sum(overlap.both.get((i, segment.id), 0) for i in (VOID, *crowds))
        if segment.track is not None and 2 * ignored <= overlap.predicted[segment.id]:
            judged.append(segment.id)
    return judged
