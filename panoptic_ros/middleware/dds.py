"""The node over Cyclone DDS: no ROS installation, yet ROS 2 nodes see its topics as their own."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from cyclonedds.core import DDSException, InstanceState, ReadCondition, SampleState, ViewState, WaitSet
from cyclonedds.idl import IdlStruct
from cyclonedds.pub import DataWriter
from cyclonedds.sub import DataReader
from cyclonedds.util import duration

from panoptic_ros.core import Label, Panoptic, PanopticError
from panoptic_ros.draw import overlay
from panoptic_ros.middleware import dds_types as types
from panoptic_ros.middleware import messages
from panoptic_ros.middleware.dds_participant import LATCHED, Participant
from panoptic_ros.node import Node, Pipeline, Settings

log = logging.getLogger(__name__)

COMPRESSED = "/compressed"
_DIAGNOSTICS_PERIOD_S = 1.0
_WAIT_S = 0.1
_ANY = SampleState.Any | ViewState.Any | InstanceState.Any


class DdsNode:
    """Subscribes to `image` and `image`/compressed; publishes the topics under /panoptic, and /diagnostics.

    Where a camera offers both, the raw one is taken. info: the engine's description, for the diagnostics. `core` has counts and
    latencies. Raises PanopticError if `image` is no topic name.
    """

    def __init__(
        self,
        participant: Participant,
        pipeline: Pipeline,
        labels: Sequence[Label],
        info: Mapping[str, str],
        image: str = "/camera/image_raw",
        settings: Settings = Settings(),
    ) -> None:
        self._outputs = Outputs(participant, labels)
        self.core = Node(pipeline, self._outputs.publish, image, info, settings)
        self._inputs = _Inputs(participant, image)
        self._diagnostics = participant.writer("/diagnostics", types.DiagnosticArray)
        self._hardware = info.get("device", "")
        self._stop = threading.Event()
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

    def stop(self) -> None:
        """Makes `run` return soon; for signal handlers and other threads."""
        self._stop.set()

    def _receive(self) -> None:
        due_s = time.monotonic()
        while not self._stop.is_set():
            self._inputs.pump(self.core)
            if time.monotonic() >= due_s:
                due_s = time.monotonic() + _DIAGNOSTICS_PERIOD_S
                self._diagnose()
        self._diagnose()

    def _diagnose(self) -> None:
        header = messages.header_at(types, time.time_ns())
        write(self._diagnostics, messages.diagnostics(types, header, "panoptic_ros", self._hardware, self.core.report()))


class _Inputs:
    """The raw and the compressed image topic."""

    def __init__(self, participant: Participant, image: str) -> None:
        raw = image.removesuffix(COMPRESSED)
        self._waitset = WaitSet(participant.entity)
        self._raw = participant.reader(raw, types.Image) if raw == image else None
        self._compressed = participant.reader(raw + COMPRESSED, types.CompressedImage)
        for reader in filter(None, (self._raw, self._compressed)):
            self._waitset.attach(ReadCondition(reader, _ANY))

    def pump(self, core: Node) -> None:
        """Hands over what has arrived, after waiting a moment for it."""
        self._waitset.wait(duration(seconds=_WAIT_S))
        if self._raw is not None:
            _drain(self._raw, core.receive, core.reject)
        if self._raw is not None and self._raw.get_subscription_matched_status().current_count:
            _drain(self._compressed, _ignore, _ignore)
        else:
            _drain(self._compressed, core.receive, core.reject)


def _ignore(_: Any) -> None:
    """The twin of a raw image."""


def _drain(reader: DataReader[Any], receive: Callable[[Any], None], reject: Callable[[PanopticError], None]) -> None:
    """Takes one message at a time: a malformed one must not take others with it."""
    while True:
        try:
            samples = reader.take(1)
        except PanopticError as error:
            reject(error)
            continue
        if not samples:
            return
        if isinstance(samples[0], IdlStruct):  # not the news that a publisher has left
            receive(samples[0])


class Outputs:
    """The topics under /panoptic. What nobody subscribes to is not even computed."""

    def __init__(self, participant: Participant, labels: Sequence[Label]) -> None:
        self._labels = tuple(labels)
        self._names = {label.id: label.name for label in labels}
        self._segments = participant.writer("/panoptic/segments", types.Detection2DArray)
        self._image = participant.writer("/panoptic/image", types.Image)
        self._semantic = participant.writer("/panoptic/semantic", types.Image)
        self._overlay = participant.writer("/panoptic/overlay", types.Image)
        self._jpeg = participant.writer("/panoptic/overlay" + COMPRESSED, types.CompressedImage)
        self._label_info = participant.writer("/panoptic/label_info", types.LabelInfo, LATCHED)
        write(self._label_info, messages.label_info(types, messages.header_at(types, time.time_ns()), labels))

    def publish(self, header: types.Header, frame: np.ndarray, panoptic: Panoptic) -> None:
        """header: the image's. frame: (H, W, 3) RGB."""
        if subscribed(self._segments):
            write(self._segments, messages.segments(types, header, panoptic, self._names))
        if subscribed(self._image):
            write(self._image, messages.panoptic_image(types, header, panoptic))
        if subscribed(self._semantic):
            write(self._semantic, messages.semantic_image(types, header, panoptic, self._labels))
        raw, compressed = subscribed(self._overlay), subscribed(self._jpeg)
        if raw or compressed:
            picture = overlay(frame, panoptic, self._labels)
            if raw:
                write(self._overlay, messages.rgb_image(types, header, picture))
            if compressed:
                write(self._jpeg, messages.jpeg_image(types, header, picture))


def subscribed(writer: DataWriter[Any]) -> bool:
    return writer.get_publication_matched_status().current_count > 0


def write(writer: DataWriter[Any], message: IdlStruct) -> None:
    """A subscriber that keeps a reliable writer waiting costs this one message."""
    try:
        writer.write(message)
    except DDSException as error:
        if error.code != DDSException.DDS_RETCODE_TIMEOUT:
            raise
        log.warning("a subscriber of %s is too slow: a message was dropped", writer.topic.name.removeprefix("rt"))
