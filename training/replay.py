"""Frames of a data set through the pipeline again and again, where only what comes behind the network changes."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
from tqdm import tqdm

from panoptic_ros.core import Label, Slots
from panoptic_ros.manifest import Manifest
from panoptic_ros.pipeline import Pipeline
from panoptic_ros.preprocess import geometry, letterbox
from panoptic_ros.tracker import Tracker, TrackerSettings
from training.data.frames import TrueFrame, read_pair
from training.metrics.panoptic_quality import PanopticQuality
from training.metrics.video import VideoQuality


class Replay:
    """Keeps the truth of the frames and what `before` makes of them in memory; `decode` may be replaced between two rounds.

    before: engine input (1, h, w, 3) uint8 -> what is kept of a frame. decode: what is kept -> Slots. labels: the data set's.
    """

    def __init__(
        self, frames: list[TrueFrame], labels: tuple[Label, ...], model: Manifest,
        before: Callable[[np.ndarray], Any], decode: Callable[[Any], Slots],
    ) -> None:  # fmt: skip
        self.size, self.description, self.decode = model.size, {"backend": "replay"}, decode
        self._labels, self._model = labels, model
        self._frames: list[TrueFrame] = []
        self._truth: list[np.ndarray] = []
        self._kept: list[Any] = []
        self._current = 0
        for frame in tqdm(frames, desc="network", unit="image", disable=None):
            image, true_ids = read_pair(frame.image, frame.ids)
            self._frames.append(replace(frame, truth=dict(frame.truth)))  # read once, where a layout reads it when asked
            self._truth.append(true_ids)
            self._kept.append(before(letterbox(image, geometry(image.shape[:2], model.size, model.grid_stride(model.size[0])))))

    def panoptic_quality(self) -> float:
        """PQ of the single frames, 0..1; 0 where there is nothing."""
        quality, pipeline = PanopticQuality(self._labels), Pipeline(self, self._model)
        for frame, true_ids, image in self._round():
            found = pipeline(image, frame.stamp_ns)
            quality.add(true_ids, frame.truth, found.ids, {s.id: s.category for s in found.segments})
        mean = quality.mean()
        return mean.pq if mean else 0.0

    def tracking_quality(self, settings: TrackerSettings) -> float:
        """HOTA of all things, 0..1, each sequence with a fresh tracker; 0 where there are none."""
        quality = VideoQuality(self._labels)
        for sequence, group in groupby(self._round(), key=lambda entry: entry[0].sequence or ""):
            pipeline = Pipeline(self, self._model, Tracker(self._model.labels, settings))
            for frame, true_ids, image in group:
                quality.add(sequence, true_ids, frame.truth, pipeline(image, frame.stamp_ns))
        total = quality.total()
        return total.summary()["HOTA"] if total else 0.0

    def _round(self) -> Iterator[tuple[TrueFrame, np.ndarray, np.ndarray]]:
        """Each frame, its true ids, and a black picture of its size: nothing looks at it any more."""
        for self._current, (frame, true_ids) in enumerate(zip(self._frames, self._truth)):
            yield frame, true_ids, np.zeros((*true_ids.shape, 3), np.uint8)

    def run(self, image: np.ndarray) -> Slots:
        """See `core.Engine`: the answer to the current frame."""
        return self.decode(self._kept[self._current])

    def run_network_only(self, image: np.ndarray) -> None:
        """See `core.Engine`; the network has run already."""
