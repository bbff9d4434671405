"""Measures a node that runs, from outside: sends images as a camera would and times the answers. For DDS and ROS nodes."""

import argparse
import time
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any

import cv2
import numpy as np

from panoptic_ros.commands.dds_arguments import add_dds_arguments, join_domain
from panoptic_ros.commands.model_arguments import size
from panoptic_ros.core import PanopticError
from panoptic_ros.images import frames
from panoptic_ros.middleware import dds_types as types
from panoptic_ros.middleware import messages
from panoptic_ros.middleware.dds_endpoints import SYSTEM_DEFAULT, Reader, Writer
from panoptic_ros.node import stamp_ns
from panoptic_ros.sources import STREET_CLIP

_PICTURES = 20
_CONNECT_TIMEOUT_S, _LAST_ANSWER_S = 60.0, 2.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--image", default="/camera/image_raw", metavar="TOPIC", help="that the node listens to")
    parser.add_argument("--segments", default="/panoptic/segments", metavar="TOPIC", help="where it answers")
    parser.add_argument("--frame", type=size, default=(1024, 2048), metavar="HxW", help="of the images (default: 1024x2048)")
    parser.add_argument("--rate", type=float, default=5.0, metavar="HZ", help="images per second (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=20.0, metavar="S", help="how long (default: %(default)s)")
    add_dds_arguments(parser)


def main(args: argparse.Namespace) -> int:
    if not (args.rate > 0 and args.seconds > 0):
        raise PanopticError(f"--rate {args.rate} and --seconds {args.seconds} have to be above 0")
    probe = Probe(args)
    probe.connect()
    probe.run(args.rate, args.seconds)
    for line in probe.found.lines():
        print(line)
    return 0 if probe.found.answered_ns else 1


@dataclass
class Found:
    """sent_ns: when each image was sent, which is its stamp. answered_ns: stamp -> when its answer came."""

    sent_ns: list[int] = field(default_factory=list)
    answered_ns: dict[int, int] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """What the node itself says are medians over its last frames."""
        if not self.answered_ns:
            return [f"sent {len(self.sent_ns)} images, no answers"]
        trip_ms = np.array([answered - stamp for stamp, answered in self.answered_ns.items()]) / 1e6
        p50, p99 = np.percentile(trip_ms, [50, 99])
        total_ms, pipeline_ms = (float(self.values[f"{stage}_ms"].split()[1]) for stage in ("total", "pipeline"))
        behind = self.behind(pipeline_ms)
        return [
            f"sent {len(self.sent_ns)} images, {len(self.answered_ns)} answered",
            f"from sending an image to its segments: p50 {p50:.1f} ms, p99 {p99:.1f} ms",
            f"in the node, from arrival to publication: p50 {total_ms:.1f} ms, "
            f"{total_ms - pipeline_ms:.1f} ms more than its pipeline",
            f"images that were newer when an answer was begun: at most {max(behind)}, on average {np.mean(behind):.2f}",
            "the node: " + ", ".join(f"{key} {self.values.get(key, '?')}" for key in _SHOWN),
        ]

    def behind(self, pipeline_ms: float) -> list[int]:
        """For each answer, how many newer images had been sent before the pipeline can have begun with it."""
        sent = np.array(self.sent_ns)
        begun = [(stamp, answered - pipeline_ms * 1e6) for stamp, answered in self.answered_ns.items()]
        return [int(((sent > stamp) & (sent < start)).sum()) for stamp, start in begun]


_SHOWN = ("model", "backend", "device", "precision", "wait_ms", "convert_ms", "publish_ms", "received", "dropped_newer")


class Probe:
    """A camera and a subscriber in one thread."""

    def __init__(self, args: argparse.Namespace) -> None:
        participant = join_domain(args)
        self.found = Found()
        self._camera = Writer(participant, args.image, types.Image)
        self._segments = Reader(participant, args.segments, types.Detection2DArray, SYSTEM_DEFAULT)
        self._diagnostics = Reader(participant, "/diagnostics", types.DiagnosticArray)
        clip = islice(frames(STREET_CLIP), _PICTURES)
        self._pictures = cycle([cv2.resize(frame, args.frame[::-1], interpolation=cv2.INTER_LINEAR) for frame in clip])

    def connect(self) -> None:
        """Until the node has answered once and reported it. Raises PanopticError if it does not."""
        deadline_s = time.monotonic() + _CONNECT_TIMEOUT_S
        while not (self.found.answered_ns and self.found.values):
            if time.monotonic() > deadline_s:
                raise PanopticError(f"no node answered within {_CONNECT_TIMEOUT_S:.0f} s")
            self._send()
            self._listen(1.0)
        self.found = Found(values=self.found.values)

    def run(self, rate_hz: float, seconds: float) -> None:
        begin_s = time.monotonic()
        for number in range(round(rate_hz * seconds)):
            self._listen(begin_s + number / rate_hz - time.monotonic())
            self._send()
        self._listen(_LAST_ANSWER_S)

    def _send(self) -> None:
        now_ns = time.time_ns()
        self._camera.write(messages.rgb_image(types, messages.header_at(types, now_ns, "probe"), next(self._pictures)))
        self.found.sent_ns.append(now_ns)

    def _listen(self, seconds: float) -> None:
        end_s = time.monotonic() + seconds
        while True:
            while (answer := self._segments.take()) is not None:
                self.found.answered_ns.setdefault(stamp_ns(answer.header), time.time_ns())
            while (report := self._diagnostics.take()) is not None:
                values: Any = {pair.key: pair.value for status in report.status for pair in status.values}
                self.found.values = values if "pipeline_ms" in values else self.found.values
            if time.monotonic() >= end_s:
                return
            time.sleep(0.0005)
