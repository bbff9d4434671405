"""The node over Cyclone DDS: no ROS installation, yet ROS 2 nodes see its topics as their own."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cyclonedds.domain import DomainParticipant
from cyclonedds.qos import Qos

from panoptic_ros.aside import Aside
from panoptic_ros.cameras import Cameras
from panoptic_ros.core import Label, PanopticError
from panoptic_ros.health import Report, Settings
from panoptic_ros.middleware import dds_types as types
from panoptic_ros.middleware import messages
from panoptic_ros.middleware.dds_endpoints import EVERY_SAMPLE, SENSOR_DATA, Arrivals, DdsTransport, Reader, Writer
from panoptic_ros.middleware.depth import Depths
from panoptic_ros.middleware.outputs import COMPRESSED, Outputs
from panoptic_ros.middleware.streams import Stream, Topics, spare_thread
from panoptic_ros.middleware.twins import Twins
from panoptic_ros.node import Node, Pipeline
from panoptic_ros.overload import AdaptiveEngine

_WAIT_S = 0.1


class DdsNode:
    """Subscribes to the images of each camera and their /compressed; publishes the topics under /panoptic, and /diagnostics.

    Where a camera offers both, the raw one is taken as long as it comes. pipeline: makes one for each camera; all share an
    engine, `adaptive` if it can change its size. info: the engine's description, for the diagnostics. reliable: images that the
    network loses are sent again. `streams` have counts and latencies. Raises PanopticError for what is no topic name.
    """

    def __init__(
        self,
        participant: DomainParticipant,
        cameras: Sequence[Topics],
        pipeline: Callable[[], Pipeline],
        labels: Sequence[Label],
        info: Mapping[str, str],
        reliable: bool = False,
        adaptive: AdaptiveEngine | None = None,
        settings: Settings = Settings(),
    ) -> None:
        changed, self._aside, self._ahead = threading.Condition(), Aside("aside"), spare_thread(info)

        def stream(topics: Topics) -> Stream:
            depths = Depths() if topics.depth else None
            outputs = Outputs(DdsTransport(participant), labels, topics.prefix("/panoptic/"), depths)
            outputs.announce(time.time_ns())
            core = Node(
                pipeline(), outputs.publish, topics.image, info, settings,
                changed=changed, aside=self._aside, ahead=self._ahead,
            )  # fmt: skip
            return Stream(topics, core, outputs, depths, Twins(core.receive))

        self.streams = tuple(map(stream, cameras))
        self._cameras = Cameras([stream.core for stream in self.streams], changed, adaptive)
        self._inputs = [_Inputs(participant, stream, EVERY_SAMPLE if reliable else SENSOR_DATA) for stream in self.streams]
        self._arrivals = Arrivals(participant, *(reader for inputs in self._inputs for reader in inputs.images))
        self._diagnostics = Writer(participant, "/diagnostics", types.DiagnosticArray)
        self._hardware = info.get("device", "")
        self._stop = threading.Event()
        self._fault: Exception | None = None
        self._receiver = threading.Thread(target=self._receive, name="receive", daemon=True)

    def run(self, max_frames: int | None = None) -> None:
        """Answers frames in the calling thread until `stop`, or until `max_frames` are answered. Once only."""
        self._receiver.start()
        try:
            while not self._stop.is_set() and (max_frames is None or self._cameras.answered < max_frames):
                self._cameras.step(_WAIT_S)
        finally:
            self._stop.set()
            self._receiver.join()
            for beside in filter(None, (self._aside, self._ahead)):
                beside.stop()
        if self._fault is not None:
            raise self._fault

    def stop(self) -> None:
        """Makes `run` return soon; for signal handlers and other threads."""
        self._stop.set()

    def _receive(self) -> None:
        try:
            while not self._stop.is_set():
                self._arrivals.wait(_WAIT_S)
                for inputs in self._inputs:
                    inputs.pump()
                self._diagnose(self._cameras.news())
            self._diagnose(self._cameras.reports())
        except Exception as error:  # A node that no longer hears has to end, so that someone restarts it.
            self._fault = error
            self._stop.set()

    def _diagnose(self, reports: Sequence[tuple[int, Report]]) -> None:
        for index, report in reports:
            header = messages.header_at(types, time.time_ns())
            title = self.streams[index].topics.title("panoptic_ros")
            self._diagnostics.write(messages.diagnostics(types, header, title, self._hardware, report))


class _Inputs:
    """What one camera sends. `images` are the readers to wait for."""

    def __init__(self, participant: DomainParticipant, stream: Stream, qos: Qos) -> None:
        image, self._core, self._twins = stream.topics.image, stream.core, stream.twins
        raw = image.removesuffix(COMPRESSED)
        self._raw = Reader(participant, raw, types.Image, qos) if raw == image else None
        self._compressed = Reader(participant, raw + COMPRESSED, types.CompressedImage, qos)
        self.images: list[Reader[Any]] = [*([self._raw] if self._raw else []), self._compressed]
        self._others: list[tuple[str, Reader[Any], Callable[[Any], None]]] = []
        if stream.depths is not None:
            depth, info = stream.topics.depth, stream.topics.camera_info
            self._others = [
                (depth, Reader(participant, depth, types.Image), stream.depths.receive_depth),
                (info, Reader(participant, info, types.CameraInfo), stream.depths.receive_info),
            ]

    def pump(self) -> None:
        """Hands over what has arrived."""
        core, twins = self._core, self._twins
        for topic, reader, receive in self._others:
            _drain(reader, receive, lambda error, topic=topic: core.complain(f"messages on {topic}", str(error)))
        if self._raw is not None:
            _drain(self._raw, twins.receive_raw, core.reject)
            core.miss(self._raw.overflow())
        if self._raw is not None and self._raw.publishers and not twins.raw_is_silent:
            _drain(self._compressed, _ignore, _ignore)
            self._compressed.overflow()
        else:
            _drain(self._compressed, twins.receive_compressed, core.reject)
            core.miss(self._compressed.overflow())


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
