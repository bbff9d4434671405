"""From a camera frame to a panoptic segmentation: the steps in order, timed. Node, benchmark and evaluation run this."""

from dataclasses import dataclass, replace
from time import monotonic_ns

import numpy as np

from panoptic_ros import trace
from panoptic_ros.core import Engine, Panoptic, PanopticError, Segment, Slots, pixel_value
from panoptic_ros.image_header import MAX_SIDE
from panoptic_ros.manifest import Manifest
from panoptic_ros.preprocess import Geometry, geometry, letterbox
from panoptic_ros.tracker import Tracker

STAGES = ("preprocess", "engine", "segments", "tracker", "paint")


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Things below either become void before they are tracked. min_score: 0..1. min_area: pixels of the frame."""

    min_score: float = 0.0
    min_area: int = 0

    def __post_init__(self) -> None:
        """Raises PanopticError for a value out of its range."""
        if not 0 <= self.min_score <= 1:
            raise PanopticError(f"min_score={self.min_score} is out of range: 0 to 1")
        if self.min_area < 0:
            raise PanopticError(f"min_area={self.min_area} is out of range: pixels, 0 or more")

    def keep(self, segment: Segment) -> bool:
        return segment.score >= self.min_score and segment.area >= self.min_area


class Pipeline:
    """Segments frames of any size, one after the other; a new size is no problem midway.

    Without a tracker, things get instance numbers from 1 in each frame and `track` None.
    timings_ms: of the last frame, for each of STAGES and in `total`. thresholds, and the
    tracker's settings, may be replaced at any time from any thread.
    """

    def __init__(
        self, engine: Engine, manifest: Manifest, tracker: Tracker | None = None, thresholds: Thresholds = Thresholds()
    ) -> None:
        self.timings_ms = dict.fromkeys((*STAGES, "total"), 0.0)
        self.thresholds = thresholds
        self._forget = False
        self._way: Geometry | None = None
        self._image: np.ndarray | None = None
        self._engine = engine
        self._grid_stride = manifest.grid_stride
        self._things = frozenset(label.id for label in manifest.labels if label.thing)
        self.tracker = tracker

    def forget_tracks(self) -> None:
        """Makes the next frame the first one that the tracker knows of; numbers go on. For any thread."""
        self._forget = True

    def __call__(self, frame: np.ndarray, stamp_ns: int) -> Panoptic:
        """frame: (H, W, 3) uint8 RGB. stamp_ns: when it was taken. Raises PanopticError for anything that is no such frame."""
        check_frame(frame)
        times = [monotonic_ns()]
        size = self._engine.size  # it may change from frame to frame
        way = geometry(frame.shape[:2], size, self._grid_stride(size[0]))
        self._image = letterbox(frame, way, self._image if way is self._way else None)
        self._way = way
        times.append(monotonic_ns())
        slots = self._engine.run(self._image)
        times.append(monotonic_ns())
        found = self._kept(_segments(slots, way))
        times.append(monotonic_ns())
        segments = self._identified(slots.ids, found, stamp_ns)
        times.append(monotonic_ns())
        ids = _painted(slots.ids, found, segments, way)
        times.append(monotonic_ns())
        self._note(times, stamp_ns)
        return Panoptic(ids, tuple(segments), stamp_ns)

    def _kept(self, found: list[Segment]) -> list[Segment]:
        if self.thresholds == _ALL:
            return found
        return [segment for segment in found if segment.category not in self._things or self.thresholds.keep(segment)]

    def _identified(self, ids: np.ndarray, found: list[Segment], stamp_ns: int) -> list[Segment]:
        """The segments in their order, each with its final pixel value."""
        if self.tracker is not None:
            if self._forget:
                self._forget = False
                self.tracker.reset()
            return self.tracker.update(ids, found, stamp_ns)
        segments, instance = [], 0
        for segment in found:
            thing = segment.category in self._things
            instance += thing
            segments.append(replace(segment, id=pixel_value(segment.category, instance if thing else 0)))
        return segments

    def _note(self, times: list[int], stamp_ns: int) -> None:
        trace.report(("pipeline",), (times[0], times[-1]), stamp_ns)
        trace.report(STAGES, times, stamp_ns)
        spans = (end - start for start, end in zip(times, times[1:]))
        self.timings_ms = {stage: span / 1e6 for stage, span in zip(STAGES, spans)}
        self.timings_ms["total"] = (times[-1] - times[0]) / 1e6


_ALL = Thresholds()


def check_frame(frame: np.ndarray) -> None:
    """Raises PanopticError unless frame is (H, W, 3) uint8 with H and W in 1..MAX_SIDE."""
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        raise PanopticError(f"a frame is {frame.dtype} {frame.shape}; expected uint8 (height, width, 3)")
    height, width = frame.shape[:2]
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise PanopticError(f"a frame has {height}x{width} pixels; height and width are 1 to {MAX_SIDE}")


def _segments(slots: Slots, way: Geometry) -> list[Segment]:
    """The slots that can be seen in the frame, in their order, with the value in `slots.ids` as `id`."""
    embedding = slots.embedding.copy()  # segments outlive the engine's buffers
    embedding.flags.writeable = False
    category, score, embeddings = slots.category.tolist(), slots.score.tolist(), list(embedding)
    return [
        Segment(value, category[value - 1], score[value - 1], area, box, embeddings[value - 1])
        for value, (area, box) in way.regions(slots.ids).items()
    ]


def _painted(grid: np.ndarray, found: list[Segment], segments: list[Segment], way: Geometry) -> np.ndarray:
    """(H, W) int32 pixel values, read-only. grid: (h', w') uint8 of `found` ids, which become the ids of `segments`."""
    values = np.zeros(256, np.int32)
    for before, after in zip(found, segments):
        values[before.id] = after.id
    ids = way.paint(values.take(grid))
    ids.flags.writeable = False
    return ids
