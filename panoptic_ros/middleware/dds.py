"""The node over Cyclone DDS: no ROS installation, yet ROS 2 nodes see its topics as their own."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cyclonedds.domain import DomainParticipant
from cyclonedds.qos import Qos

from panoptic_ros.core import Label, PanopticError
from panoptic_ros.middleware import dds_types as types
from panoptic_ros.middleware import messages
from panoptic_ros.middleware.dds_endpoints import EVERY_SAMPLE, SENSOR_DATA, Arrivals, DdsTransport, Reader, Writer
from panoptic_ros.middleware.depth import Depths
from panoptic_ros.middleware.outputs import COMPRESSED, Outputs
from panoptic_ros.node import Node, Pipeline, Report, Settings

_WAIT_S = 0.1
_TWIN_S = 1.0
"""For as long as this after a raw image, the compressed ones are its twins. A camera that died still counts as a publisher."""


class DdsNode:
    """Subscribes to `image` and `image`/compressed; publishes the topics under /panoptic, and /diagnostics.

    Where a camera offers both, the raw one is taken as long as it comes. info: the engine's description, for the diagnostics.
    reliable: images that the network loses are sent again. depth, camera_info: topics for the 3D outputs, which need both. `core`
    has counts and latencies. Raises PanopticError for what is no topic name.
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
        depth: str = "",
        camera_info: str = "",
    ) -> None:
        depths = Depths() if depth and camera_info else None
        outputs = Outputs(DdsTransport(participant), labels, depths=depths)
        outputs.announce(time.time_ns())
        self.core = Node(pipeline, outputs.publish, image, info, settings)
        self._inputs = _Inputs(participant, image, EVERY_SAMPLE if reliable else SENSOR_DATA)
        if depths is not None:
            self._inputs.attach(participant, depths, depth, camera_info)
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
            while not self._stop.is_set():
                self._inputs.pump(self.core)
                self._diagnose(self.core.news())
            self._diagnose(self.core.report())
        except Exception as error:  # A node that no longer hears has to end, so that someone restarts it.
            self._fault = error
            self._stop.set()

    def _diagnose(self, report: Report | None) -> None:
        if report is not None:
            header = messages.header_at(types, time.time_ns())
            self._diagnostics.write(messages.diagnostics(types, header, "panoptic_ros", self._hardware, report))


class _Inputs:
    """The raw and the compressed image topic."""

    def __init__(self, participant: DomainParticipant, image: str, qos: Qos) -> None:
        raw = image.removesuffix(COMPRESSED)
        self._raw = Reader(participant, raw, types.Image, qos) if raw == image else None
        self._compressed = Reader(participant, raw + COMPRESSED, types.CompressedImage, qos)
        self._arrivals = Arrivals(participant, *([self._raw] if self._raw else []), self._compressed)
        self._raw_came_s = -_TWIN_S
        self._others: list[tuple[Reader[Any], Callable[[Any], None]]] = []

    def attach(self, participant: DomainParticipant, depths: Depths, depth: str, camera_info: str) -> None:
        """Reads the topics for 3D too."""
        self._others = [
            (Reader(participant, depth, types.Image), depths.receive_depth),
            (Reader(participant, camera_info, types.CameraInfo), depths.receive_info),
        ]

    def pump(self, core: Node) -> None:
        """Hands over what has arrived, after waiting a moment for it."""
        self._arrivals.wait(_WAIT_S)
        for reader, receive in self._others:
            _drain(reader, receive, core.reject)
        if self._raw is not None:
            if _drain(self._raw, core.receive, core.reject):
                self._raw_came_s = time.monotonic()
            core.miss(self._raw.overflow())
        if self._raw is not None and self._raw.publishers and time.monotonic() - self._raw_came_s < _TWIN_S:
            _drain(self._compressed, _ignore, _ignore)
            self._compressed.overflow()
        else:
            _drain(self._compressed, core.receive, core.reject)
            core.miss(self._compressed.overflow())


def _ignore(_: Any) -> None:
    """The twin of a raw image."""


def _drain(reader: Reader[Any], receive: Callable[[Any], None], reject: Callable[[PanopticError], None]) -> bool:
    """Whether there was a message."""
    found = False
    while True:
        try:
            message = reader.take()
        except PanopticError as error:
            reject(error)
            continue
        if message is None:
            return found
        receive(message)
        found = True
