"""Where each frame spent its time, as Chrome trace events: for ui.perfetto.dev and chrome://tracing.

Like logging it is one for the process, off until `current` is set; whoever works on a frame reports what it did, from any thread.
"""

import json
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from panoptic_ros.variant import write_atomically

MAX_SPANS = 10_000
"""Kept, the newest; about a thousand frames, and a few MB of memory."""


class Trace:
    """The last `size` spans. tracks: rows of the picture, by default the threads; spans of one track nest or lie apart."""

    def __init__(self, size: int = MAX_SPANS) -> None:
        self._spans: deque[tuple[str, str, int, int, int | None]] = deque(maxlen=size)

    def add(self, name: str, start_ns: int, end_ns: int, frame: int | None, track: str) -> None:
        self._spans.append((name, track or threading.current_thread().name, start_ns, end_ns, frame))

    def events(self, process: str, pid: int = 1) -> list[dict[str, Any]]:
        """In the trace event format: a complete event (X) for each span, with its frame's stamp; names of process and tracks."""
        spans = list(self._spans)
        tid = {track: number for number, track in enumerate(sorted({track for _, track, *_ in spans}), 1)}
        names = [{"ph": "M", "name": "process_name", "pid": pid, "tid": 0, "args": {"name": process}}]
        names += [{"ph": "M", "name": "thread_name", "pid": pid, "tid": tid[track], "args": {"name": track}} for track in tid]
        return names + [
            {
                "ph": "X", "name": name, "pid": pid, "tid": tid[track], "ts": start_ns / 1e3, "dur": (end_ns - start_ns) / 1e3,
                "args": {} if frame is None else {"frame": frame},
            }
            for name, track, start_ns, end_ns, frame in spans
        ]  # fmt: skip


current: Trace | None = None


def report(names: Sequence[str], times_ns: Sequence[int], frame: int | None = None, track: str = "") -> None:
    """What was done one after the other: each of `names` from one time to the next, of `time.monotonic_ns`.

    frame: stamp of the image, where it is known. track: the calling thread's, unless it is named.
    """
    if (now := current) is not None:  # another thread may end it meanwhile
        for name, start_ns, end_ns in zip(names, times_ns, times_ns[1:]):
            now.add(name, start_ns, end_ns, frame, track)


def write(file: Path, events: list[dict[str, Any]]) -> None:
    """Raises PanopticError where the file cannot be written."""
    write_atomically(file, json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}).encode())
