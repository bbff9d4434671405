"""Other processes on the machine: each does one thing until it is killed."""

import os
import signal
import time
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from panoptic_ros.middleware import dds_types as types
from panoptic_ros.middleware.dds_endpoints import SYSTEM_DEFAULT, Reader
from panoptic_ros.middleware.dds_participant import LOOPBACK, Participant, join
from tests.soak.camera import SPAWN

TOPICS = {
    "/panoptic/segments": types.Detection2DArray,
    "/panoptic/image": types.Image,
    "/panoptic/semantic": types.Image,
    "/panoptic/overlay": types.Image,
    "/panoptic/overlay/compressed": types.CompressedImage,
    "/diagnostics": types.DiagnosticArray,
}
_CROWD = 8
_BLOCK = 64 << 20


class Neighbour:
    """Runs `work` in a process until it is killed; `ready` once it does what it is for."""

    def __init__(self, work: Callable[..., None], *arguments: Any) -> None:
        self._ready = SPAWN.Event()
        self._process = SPAWN.Process(target=work, args=(self._ready, *arguments), daemon=True)
        self._process.start()

    @property
    def ready(self) -> bool:
        return self._ready.is_set()

    def freeze(self) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def kill(self) -> None:
        self._process.kill()
        self._process.join()


def burn(ready: Event) -> None:
    """All of a core."""
    ready.set()
    while True:
        pass


def fill(ready: Event, limit: int) -> None:
    """Half of the free memory, but no more than `limit` bytes; again and again. The kernel takes this process first."""
    Path("/proc/self/oom_score_adj").write_text("1000")
    while True:
        held = []
        while sum(block.nbytes for block in held) + _BLOCK <= min(limit, available() // 2):
            held.append(np.ones(_BLOCK, np.uint8))
            ready.set()
            time.sleep(0.005)
        time.sleep(0.2)


def available() -> int:
    """Bytes that the kernel could give."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))


def subscribe(ready: Event, domain: int, pause_s: float) -> None:
    """Reads one message of each topic, then does something else for `pause_s`."""
    participant = join(domain, LOOPBACK)
    readers = _readers(participant)
    while not all(reader.publishers for reader in readers):
        time.sleep(0.01)
    ready.set()
    while True:
        for reader in readers:
            reader.take()
        time.sleep(pause_s)


def come_and_go(ready: Event, domain: int, seed: int) -> None:
    """Up to _CROWD subscribers to everything; each stays for a moment."""
    random = Random(seed)
    crowd: list[tuple[Participant, list[Reader[Any]]]] = []
    while True:
        if len(crowd) == _CROWD:
            ready.set()
            crowd.pop(random.randrange(_CROWD))  # deletes them
        participant = join(domain, LOOPBACK)
        crowd.append((participant, _readers(participant)))
        time.sleep(random.uniform(0, 0.05))


def _readers(participant: Participant) -> list[Reader[Any]]:
    return [Reader(participant, topic, kind, SYSTEM_DEFAULT) for topic, kind in TOPICS.items()]
