"""The node over Cyclone DDS: no ROS installation, yet ROS 2 nodes see its topics as their own."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from cyclonedds.domain import DomainParticipant
from cyclonedds.qos import Qos

from panoptic_ros.core import Label, Panoptic, PanopticError
from panoptic_ros.draw import overlay
from panoptic_ros.middleware import dds_types as types
from panoptic_ros.middleware import messages
from panoptic_ros.middleware.dds_endpoints import EVERY_SAMPLE, LATCHED, SENSOR_DATA, Arrivals, Reader, Writer
from panoptic_ros.node import Node, Pipeline, Settings

COMPRESSED = "/compressed"
_DIAGNOSTICS_PERIOD_S = 1.0
_WAIT_S = 0.1


class DdsNode:
    """Subscribes to `image` and `image`/compressed; publishes the topics under /panoptic, and /diagnostics.

    Where a camera offers both, the raw one is taken. info: the engine's description, for the diagnostics. reliable: images that
    the network loses are sent again. `core` has counts and latencies. Raises PanopticError if `image` is no topic name.
    """

    def __init__(
        self,
        participant: DomainParticipant,
        pipeline: Pipeline,
        labels: Sequence[Label],
        info: Mapping[str, str],
        image: str = "/camera/image_raw",
        reliable: bool = False,
        settings: Settings = Settings(),
    ) -> None:
        self._outputs = Outputs(participant, labels)
        self.core = Node(pipeline, self._outputs.publish, image, info, settings)
        self._inputs = _Inputs(participant, image, EVERY_SAMPLE if reliable else SENSOR_DATA)
        self._diagnostics = Writer(participant, "/diagnostics", types.DiagnosticArray)
        self._hardware = info.get("device", "")
        self._stop = threading.Event()
        self._fault: Exception | None = None
        self._receiver = threading.Thread(target=self._receive, name="receive", daemon=True)

    def run(self, max_frames: int | None = None) -> None:
        """Answers frames in the calling thread until `stop`, or until `max_frames` are answered. Once only."""
        self._receiver.start()
        try:
            while not self._stop.is_set() and (max_frames is None or self.core.counts.answered < max_frames):
                self.core.step(_WAIT_S)
        finally:
            self._stop.set()
            self._receiver.join()
        if self._fault is not None:
            raise self._fault

    def stop(self) -> None:
        """Makes `run` return soon; for signal handlers and other threads."""
        self._stop.set()

    def _receive(self) -> None:
        try:
            due_s = time.monotonic()
            while not self._stop.is_set():
                self._inputs.pump(self.core)
                if time.monotonic() >= due_s:
                    due_s = time.monotonic() + _DIAGNOSTICS_PERIOD_S
                    self._diagnose()
            self._diagnose()
        except Exception as error:  # A node that no longer hears has to end, so that someone restarts it.
            self._fault = error
            self._stop.set()

    def _diagnose(self) -> None:
        header = messages.header_at(types, time.time_ns())
        self._diagnostics.write(messages.diagnostics(types, header, "panoptic_ros", self._hardware, self.core.report()))


class _Inputs:
    """The raw and the compressed image topic."""

    def __init__(self, participant: DomainParticipant, image: str, qos: Qos) -> None:
        raw = image.removesuffix(COMPRESSED)
        self._raw = Reader(participant, raw, types.Image, qos) if raw == image else None
        self._compressed = Reader(participant, raw + COMPRESSED, types.CompressedImage, qos)
        self._arrivals = Arrivals(participant, *([self._raw] if self._raw else []), self._compressed)

    def pump(self, core: Node) -> None:
        """Hands over what has arrived, after waiting a moment for it."""
        self._arrivals.wait(_WAIT_S)
        if self._raw is not None:
            _drain(self._raw, core.receive, core.reject)
        if self._raw is not None and self._raw.publishers:
            _drain(self._compressed, _ignore, _ignore)
        else:
            _drain(self._compressed, core.receive, core.reject)


def _ignore(_: Any) -> None:
    """The twin of a raw image."""


def _drain(reader: Reader[Any], receive: Callable[[Any], None], reject: Callable[[PanopticError], None]) -> None:
    while True:
        try:
            message = reader.take()
        except PanopticError as error:
            reject(error)
            continue
        if message is None:
            return
        receive(message)


class Outputs:
    """The topics under /panoptic. What nobody subscribes to is not even computed."""

    def __init__(self, participant: DomainParticipant, labels: Sequence[Label]) -> None:
        self._labels = tuple(labels)
        self._names = {label.id: label.name for label in labels}
        self._segments = Writer(participant, "/panoptic/segments", types.Detection2DArray)
        self._image = Writer(participant, "/panoptic/image", types.Image)
        self._semantic = Writer(participant, "/panoptic/semantic", types.Image)
        self._overlay = Writer(participant, "/panoptic/overlay", types.Image)
        self._jpeg = Writer(participant, "/panoptic/overlay" + COMPRESSED, types.CompressedImage)
        self._label_info = Writer(participant, "/panoptic/label_info", types.LabelInfo, LATCHED)
        self._label_info.write(messages.label_info(types, messages.header_at(types, time.time_ns()), labels))

    def publish(self, header: types.Header, frame: np.ndarray, panoptic: Panoptic) -> None:
        """header: the image's. frame: (H, W, 3) RGB."""
        if self._segments.subscribers:
            self._segments.write(messages.segments(types, header, panoptic, self._names))
        if self._image.subscribers:
            self._image.write(messages.panoptic_image(types, header, panoptic))
        if self._semantic.subscribers:
            self._semantic.write(messages.semantic_image(types, header, panoptic, self._labels))
        raw, compressed = self._overlay.subscribers, self._jpeg.subscribers
        if raw or compressed:
            picture = overlay(frame, panoptic, self._labels)
            if raw:
                self._overlay.write(messages.rgb_image(types, header, picture))
            if compressed:
                self._jpeg.write(messages.jpeg_image(types, header, picture))
