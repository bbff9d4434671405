"""A client of the node in another process: what a ROS 2 node on the same host would send and get."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

from cyclonedds.idl import IdlStruct

from panoptic_ros.middleware import dds_types as types
from panoptic_ros.middleware.dds_endpoints import LATCHED, SYSTEM_DEFAULT, Reader, Writer
from panoptic_ros.middleware.dds_participant import LOOPBACK, join

OUTPUTS = {
    "/panoptic/segments": types.Detection2DArray,
    "/panoptic/image": types.Image,
    "/panoptic/semantic": types.Image,
    "/panoptic/overlay": types.Image,
    "/panoptic/overlay/compressed": types.CompressedImage,
    "/panoptic/label_info": types.LabelInfo,
    "/diagnostics": types.DiagnosticArray,
}
COUNTS = ("received", "answered", "dropped_newer", "dropped_bad", "pending")
TIMEOUT_S = 30.0
_domains = count(os.getpid() * 7)


def free_domain() -> int:
    """One that no other test of this process uses, and most likely none of another."""
    return 1 + next(_domains) % 101


def place(domain: int) -> list[str]:
    return ["--domain", str(domain), "--interface", LOOPBACK]


def environment() -> dict[str, str]:
    """Without what would lead the processes elsewhere."""
    return {key: value for key, value in os.environ.items() if key != "CYCLONEDDS_URI" and not key.startswith("ROS_")}


def command(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "panoptic_ros", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(),
    )  # fmt: skip


@contextmanager
def running(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    process = command(*arguments)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


class Client:
    """Subscribes to `topics`; `got` has the messages by topic, in order."""

    def __init__(self, domain: int, *topics: str) -> None:
        self._participant = join(domain, LOOPBACK)
        self.got: dict[str, list[Any]] = {}
        self._readers: dict[str, Any] = {}
        self._writers: dict[str, Any] = {}
        for topic in topics:
            self.subscribe(topic, OUTPUTS[topic])

    def subscribe(self, topic: str, kind: type[IdlStruct]) -> None:
        self.got[topic] = []
        self._readers[topic] = Reader(self._participant, topic, kind, LATCHED if topic.endswith("label_info") else SYSTEM_DEFAULT)

    def advertise(self, topic: str, warm_up: IdlStruct) -> None:
        """Sends an image until it is answered: either side may take a moment longer to discover the other."""
        self._writers[topic] = Writer(self._participant, topic, type(warm_up))
        deadline_s = time.monotonic() + TIMEOUT_S
        while not self._answered(warm_up) and time.monotonic() < deadline_s:
            self.send(topic, warm_up)
            time.sleep(0.3)
            self.take()
        self.wait_for(lambda: self._answered(warm_up))

    def send(self, topic: str, message: IdlStruct) -> None:
        self._writers[topic].write(message)

    def ask(self, topic: str, message: IdlStruct) -> None:
        """Sends an image and waits for its answer on every topic that is subscribed."""
        self.send(topic, message)
        self.wait_for(lambda: self._answered(message))

    def counts(self) -> dict[str, int]:
        """What the node says from now on."""
        self.got["/diagnostics"].clear()
        self.wait_for(lambda: self.got["/diagnostics"])
        return {key: int(value) for key, value in self.values().items() if key in COUNTS}

    def values(self) -> dict[str, str]:
        return {pair.key: pair.value for pair in self.got["/diagnostics"][-1].status[0].values}

    def wait_for(self, condition: Callable[[], Any]) -> None:
        deadline_s = time.monotonic() + TIMEOUT_S
        while not condition():
            assert time.monotonic() < deadline_s, f"after {TIMEOUT_S} s only { ({t: len(m) for t, m in self.got.items()}) }"
            time.sleep(0.005)
            self.take()

    def take(self) -> None:
        for topic, reader in self._readers.items():
            while (message := reader.take()) is not None:
                self.got[topic].append(message)

    @property
    def connected(self) -> bool:
        return all(reader.publishers for reader in self._readers.values())

    def _answered(self, image: IdlStruct) -> bool:
        answers = [t for t in self.got if t not in ("/panoptic/label_info", "/diagnostics")]
        return all(self.got[t] and self.got[t][-1].header == image.header for t in answers)
