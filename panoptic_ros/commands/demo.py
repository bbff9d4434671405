"""Camera, node and subscriber as three processes over DDS, on this host alone; ends by itself with pictures to judge."""

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from panoptic_ros.commands.demo_report import Film, Identities
from panoptic_ros.commands.model_arguments import add_model_arguments
from panoptic_ros.core import PanopticError
from panoptic_ros.middleware import dds_types as types
from panoptic_ros.middleware.dds_endpoints import SYSTEM_DEFAULT, Reader
from panoptic_ros.middleware.dds_participant import LOOPBACK, Participant, join
from panoptic_ros.middleware.frames import frame_of
from panoptic_ros.node import stamp_ns

VIDEO, SHEET = "overlay.mp4", "contact_sheet.png"
LAST_ROS_DOMAIN = 101
"""Higher domains have ports that the system may hand out to others."""
START_TIMEOUT_S, END_TIMEOUT_S = 180.0, 10.0
PRINT_PERIOD_NS = 1_000_000_000
_MODEL_OPTIONS = ("model", "backend", "device", "precision", "threads")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", default="street", help="as for `camera` (default: the bundled clip)")
    parser.add_argument(
        "--out", type=Path, default=Path("out/demo"), metavar="DIR", help=f"gets {VIDEO} and {SHEET} (default: %(default)s)"
    )
    parser.add_argument("--speed", type=float, default=1.0, metavar="X", help="times as fast (default: 1)")
    parser.add_argument("--domain", type=int, metavar="N", help="DDS domain (default: one of its own)")
    add_model_arguments(parser)


def main(args: argparse.Namespace) -> int:
    """The exit status is 1 if no segments came."""
    args.out.mkdir(parents=True, exist_ok=True)
    os.environ.pop("CYCLONEDDS_URI", None)  # could lead off this host
    domain = 1 + os.getpid() % LAST_ROS_DOMAIN if args.domain is None else args.domain
    place = ["--domain", str(domain), "--interface", LOOPBACK]
    subscriber = Subscriber(join(domain, LOOPBACK))
    node = _spawn("run", "--reliable", *place, *_model_arguments(args))
    try:
        _wait_for_node(node, subscriber)
        camera = _spawn(
            "camera", args.source, *place, "--speed", str(args.speed), "--wait-for-subscriber", stdout=subprocess.PIPE
        )
        try:
            while camera.poll() is None:
                subscriber.pump()
        finally:
            camera.terminate()
        sent = re.search(r"sent (\d+)", camera.communicate()[0])
        subscriber.drain()
    finally:
        node.send_signal(signal.SIGINT)
        node.wait(END_TIMEOUT_S)
    subscriber.pump()
    return _finish(args.out, subscriber, int(sent[1]) if sent else 0)


def _spawn(command: str, *arguments: str, stdout: int | None = None) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-m", "panoptic_ros", command, *arguments], stdout=stdout, text=True)


def _model_arguments(args: argparse.Namespace) -> list[str]:
    options = [text for name in _MODEL_OPTIONS for text in (f"--{name}", str(getattr(args, name)))]
    return options + (["--size", "x".join(map(str, args.size))] if args.size else [])


def _wait_for_node(node: "subprocess.Popen[str]", subscriber: "Subscriber") -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while not subscriber.connected:
        if node.poll() is not None:
            raise PanopticError(f"the node ended with exit status {node.returncode} before its first image")
        if time.monotonic() > deadline_s:
            raise PanopticError(f"the node did not start within {START_TIMEOUT_S:.0f} s")
        time.sleep(0.05)


class Subscriber:
    """Reads segments, overlays and diagnostics, as a ROS 2 node would."""

    def __init__(self, participant: Participant) -> None:
        self.identities, self.film = Identities(), Film()
        self.values: dict[str, str] = {}
        self._printed_ns = -PRINT_PERIOD_NS
        self._readers: list[tuple[Reader[Any], Callable[[Any], None]]] = [
            (Reader(participant, "/panoptic/segments", types.Detection2DArray, SYSTEM_DEFAULT), self._on_segments),
            (Reader(participant, "/panoptic/overlay", types.Image, SYSTEM_DEFAULT), self._on_overlay),
            (Reader(participant, "/diagnostics", types.DiagnosticArray, SYSTEM_DEFAULT), self._on_diagnostics),
        ]

    @property
    def connected(self) -> bool:
        return all(reader.publishers for reader, _ in self._readers)

    def pump(self) -> None:
        """Takes what there is."""
        time.sleep(0.01)
        for reader, handle in self._readers:
            while (message := reader.take()) is not None:
                handle(message)

    def drain(self) -> None:
        """Until the node says that it has dealt with everything it received."""
        self.values.clear()
        deadline_s = time.monotonic() + END_TIMEOUT_S
        while self.values.get("pending") != "0" and time.monotonic() < deadline_s:
            self.pump()

    def _on_segments(self, message: Any) -> None:
        self.identities.add(message)
        if stamp_ns(message.header) - self._printed_ns >= PRINT_PERIOD_NS:
            self._printed_ns = stamp_ns(message.header)
            print(self.identities.describe(message), flush=True)

    def _on_overlay(self, message: Any) -> None:
        self.film.add(stamp_ns(message.header), frame_of(message))

    def _on_diagnostics(self, message: Any) -> None:
        self.values = {pair.key: pair.value for status in message.status for pair in status.values}


def _finish(out: Path, subscriber: Subscriber, sent: int) -> int:
    values, film = subscriber.values, subscriber.film
    print(f"\nthe camera sent {sent} images; the node " + ", ".join(f"{key} {values.get(key, '?')}" for key in _COUNTS))
    total, pipeline = (values.get(f"{stage}_ms", "?") for stage in ("total", "pipeline"))
    print(f"latency from arrival to publication: {total} ms, of this the pipeline {pipeline} ms")
    print(subscriber.identities.summary())
    if len(film):
        film.write_video(out / VIDEO)
        film.write_sheet(out / SHEET)
        print(f"see {out / VIDEO} ({len(film)} images) and {out / SHEET}")
    return 0 if subscriber.identities.frames and len(film) else 1


_COUNTS = ("received", "answered", "dropped_newer", "dropped_bad")
