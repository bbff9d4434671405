"""The node of any middleware: the newest image in, a Panoptic out, and every message accounted for."""

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Condition, Event, Thread
from typing import Any, Protocol

import numpy as np

from panoptic_ros import trace
from panoptic_ros.core import Panoptic, PanopticError
from panoptic_ros.middleware.frames import frame_of

log = logging.getLogger(__name__)

OK, WARN, ERROR = 0, 1, 2
"""Levels of diagnostic_msgs/DiagnosticStatus."""
_REPORT_PERIOD_S = 1.0
_STEP_S, _STOP_S = 0.1, 5.0
_WINDOW = 128
"""Frames that rates and latencies are taken over."""


class Pipeline(Protocol):
    """Anything that segments a frame; `timings_ms` are the stages of its last call, by name."""

    @property
    def timings_ms(self) -> Mapping[str, float]: ...

    def __call__(self, frame: np.ndarray, stamp_ns: int) -> Panoptic: ...


Publish = Callable[[Any, np.ndarray, Panoptic], Mapping[str, str]]
"""(header of the image message, (H, W, 3) RGB frame, result) -> what had to be left out, and why."""


@dataclass(frozen=True, slots=True)
class Settings:
    """max_silence_s: without an image, or at work on one, for longer, the report is an error.

    warn_latency_ms, error_latency_ms: of the median from arrival to publication; warn_age_ms, error_age_ms: of the newest
    image when it arrives, by its stamp. 0 sets no limit. log_interval_s: between lines on bad frames.
    """

    max_silence_s: float = 0.75
    warn_latency_ms: float = 0.0
    error_latency_ms: float = 0.0
    warn_age_ms: float = 0.0
    error_age_ms: float = 0.0
    log_interval_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the messages: received = answered + dropped_newer + dropped_bad + pending, at any moment.

    dropped_newer: overtaken by others while waiting. pending: one may wait while another is worked on.
    """

    received: int = 0
    answered: int = 0
    dropped_newer: int = 0
    dropped_bad: int = 0
    pending: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """The content of a diagnostic_msgs/DiagnosticStatus."""

    level: int
    message: str
    values: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Job:
    """taken_ns: the image's stamp, or for a driver that leaves it 0 the time of arrival, since a tracker needs a clock."""

    message: Any
    arrived_s: float
    taken_ns: int


class Node:
    """One thread calls `step` in a loop; `receive`, `reject`, `counts` and `report` may be called from any thread.

    input_name: the topic, for messages to people. info: what the report adds, such as the engine's description.
    now_ns: the clock that image stamps are compared with. convert: image message -> (H, W, 3) RGB frame.
    publishers: who sends on the topic, in words, for the report on its silence. `settings` and `paused` (why nothing is to be
    answered, "" if it is) may be replaced at any time.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        publish: Publish,
        input_name: str,
        info: Mapping[str, str] | None = None,
        settings: Settings = Settings(),
        now_ns: Callable[[], int] = time.time_ns,
        convert: Callable[[Any], np.ndarray] = frame_of,
        publishers: Callable[[], str] = lambda: "",
    ) -> None:
        self.settings = settings
        self.paused = ""
        self._convert = convert
        self._publishers = publishers
        self._pipeline = pipeline
        self._publish = publish
        self._input_name = input_name
        self._info = dict(info or {})
        self._now_ns = now_ns
        self._changed = Condition()
        self._waiting: _Job | None = None
        self._working_since_s: float | None = None
        self._received = self._answered = self._dropped_newer = self._dropped_bad = 0
        self._started_s = time.monotonic()
        self._arrivals_s: deque[float] = deque(maxlen=_WINDOW)
        self._answers_s: deque[float] = deque(maxlen=_WINDOW)
        self._stages_ms: dict[str, deque[float]] = {}
        self._age_ms = 0.0
        self._last_error = ""
        self._bad_reported = 0
        self._in_trouble = False
        self._next_report_s = 0.0
        self._complaints: dict[str, str] = {}
        self._unlogged: dict[str, int] = {}
        self._logged_s: dict[str, float] = {}

    def receive(self, message: Any) -> None:
        """Takes a sensor_msgs/Image or CompressedImage of any middleware; one that still waits is dropped for it."""
        with self._changed:
            self._arrive()
            self._dropped_newer += self._waiting is not None
            now_ns = self._now_ns()
            self._waiting = _Job(message, time.monotonic(), stamp_ns(message.header) or now_ns)
            self._age_ms = (now_ns - self._waiting.taken_ns) / 1e6
            self._changed.notify()

    def reject(self, error: PanopticError) -> None:
        """Counts a message that could not even be read."""
        with self._changed:
            self._arrive()
            self._drop(error)

    def miss(self, count: int) -> None:
        """Counts messages that the middleware had no room for: they came faster than even `receive` takes them."""
        with self._changed:
            for _ in range(count):
                self._arrive()
            self._dropped_newer += count

    def start_anew(self) -> None:
        """For an input that is only just listened to: silence counts from now on, and what still waits is dropped."""
        with self._changed:
            self._started_s = time.monotonic()
            self._dropped_newer += self._waiting is not None
            self._waiting = None

    def step(self, timeout_s: float) -> bool:
        """Answers the newest message, waiting up to `timeout_s` for one. False if none came."""
        job = self._take(timeout_s)
        if job is None:
            return False
        try:
            stages_ms = self._answer(job)
        except Exception as error:  # A fault, even one of ours, costs a frame and not the stream.
            with self._changed:
                self._working_since_s = None
                self._drop(error)
        else:
            self._finish(stages_ms)
        return True

    @property
    def counts(self) -> Counts:
        with self._changed:
            pending = (self._waiting is not None) + (self._working_since_s is not None)
            return Counts(self._received, self._answered, self._dropped_newer, self._dropped_bad, pending)

    def news(self) -> Report | None:
        """A report once a second, and at once when an error begins or ends; None between them."""
        with self._changed:
            trouble = self._state(self.counts)[0] == ERROR
            if trouble == self._in_trouble and time.monotonic() < self._next_report_s:
                return None
        return self.report()

    def report(self) -> Report:
        """The state since the last report."""
        counts = self.counts
        with self._changed:
            self._next_report_s = time.monotonic() + _REPORT_PERIOD_S
            level, message = self._state(counts)
            self._bad_reported = counts.dropped_bad
            self._complaints.clear()
            self._in_trouble = level == ERROR
            return Report(level, message, self._values(counts))

    def latency_ms(self, stage: str = "total") -> tuple[float, float]:
        """p50 and p99 of a stage over the last frames; zeros before the first. `total` is from arrival to publication."""
        with self._changed:
            return _percentiles(self._stages_ms.get(stage, ()))

    def _arrive(self) -> None:
        self._received += 1
        self._arrivals_s.append(time.monotonic())

    def _take(self, timeout_s: float) -> _Job | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is not None, timeout_s)
            job, self._waiting = self._waiting, None
            self._working_since_s = None if job is None else time.monotonic()
            return job

    def _answer(self, job: _Job) -> dict[str, float]:
        """Milliseconds of each stage."""
        begin = time.monotonic()
        frame = self._convert(job.message)
        converted = time.monotonic()
        panoptic = self._pipeline(frame, job.taken_ns)
        segmented = time.monotonic()
        missing = self._publish(job.message.header, frame, panoptic)
        end = time.monotonic()
        self._complain(missing)
        self._trace(job, (begin, converted, segmented, end))
        return {
            "wait": (begin - job.arrived_s) * 1e3,
            "convert": (converted - begin) * 1e3,
            **self._pipeline.timings_ms,
            "pipeline": (segmented - converted) * 1e3,
            "publish": (end - segmented) * 1e3,
            "total": (end - job.arrived_s) * 1e3,
        }

    def _trace(self, job: _Job, times_s: tuple[float, float, float, float]) -> None:
        """times_s: taken, converted, segmented, published. A frame waits while another is worked on: on a track of its own."""
        begin, converted, segmented, end = (round(1e9 * time_s) for time_s in times_s)
        trace.report(("wait",), (round(1e9 * job.arrived_s), begin), job.taken_ns, f"queue of {self._input_name}")
        trace.report(("frame",), (begin, end), job.taken_ns)
        trace.report(("convert",), (begin, converted), job.taken_ns)
        trace.report(("publish",), (segmented, end), job.taken_ns)

    def _complain(self, missing: Mapping[str, str]) -> None:
        with self._changed:
            for what, why in missing.items():
                self._complaints[what] = why
                self._log(what, why)

    def _finish(self, stages_ms: Mapping[str, float]) -> None:
        with self._changed:
            self._working_since_s = None
            self._answered += 1
            self._answers_s.append(time.monotonic())
            for stage, value in stages_ms.items():
                self._stages_ms.setdefault(stage, deque(maxlen=_WINDOW)).append(value)

    def _drop(self, error: Exception) -> None:
        expected = isinstance(error, PanopticError)
        self._dropped_bad += 1
        self._last_error = str(error) if expected else f"{type(error).__name__}: {error}"
        self._log(f"images on {self._input_name}", self._last_error, None if expected else error)

    def _log(self, what: str, why: str, trace: Exception | None = None) -> None:
        """A line on what was dropped, unless there was one just now."""
        self._unlogged[what] = self._unlogged.get(what, 0) + 1
        now = time.monotonic()
        if now - self._logged_s.get(what, -float("inf")) >= self.settings.log_interval_s:
            log.warning("dropped %d %s: %s", self._unlogged.pop(what), what, why, exc_info=trace)
            self._logged_s[what] = now

    def _state(self, counts: Counts) -> tuple[int, str]:
        """The worst of what there is to say."""
        if self.paused:
            return OK, f"paused: {self.paused}"
        silent = self._silence(counts)
        if silent:
            return ERROR, silent
        slow = self._slowness()
        bad = counts.dropped_bad - self._bad_reported
        if slow[0] < ERROR and bad:
            return WARN, f"dropped {bad} bad images: {self._last_error}"
        if slow[0] < WARN and self._complaints:
            return WARN, "; ".join(f"dropped {what}: {why}" for what, why in self._complaints.items())
        return slow

    def _silence(self, counts: Counts) -> str:
        """What has been silent for too long, if anything."""
        limit_s = self.settings.max_silence_s
        working_s = time.monotonic() - self._working_since_s if self._working_since_s is not None else 0.0
        if working_s > limit_s:
            return f"an image on {self._input_name} is being worked on for {working_s:.1f} s"
        silent_s = time.monotonic() - max(self._arrivals_s[-1] if self._arrivals_s else 0.0, self._started_s)
        if silent_s <= limit_s:
            return ""
        ever, publishers = "" if counts.received else ", ever", self._publishers()
        return f"no image on {self._input_name} for {silent_s:.1f} s{ever}" + (f"; {publishers}" if publishers else "")

    def _slowness(self) -> tuple[int, str]:
        limits, latency_ms = self.settings, _percentiles(self._stages_ms.get("total", ()))[0]
        measured = [
            ("latency", latency_ms, limits.warn_latency_ms, limits.error_latency_ms),
            ("age of the input", self._age_ms, limits.warn_age_ms, limits.error_age_ms),
        ]
        for level, column in ((ERROR, 3), (WARN, 2)):
            for row in measured:
                if 0 < row[column] < row[1]:
                    return level, f"{row[0]} is {row[1]:.0f} ms, more than {row[column]:.0f} ms"
        return OK, f"answering {self._input_name} at {_rate_hz(self._answers_s):.1f} Hz"

    def _values(self, counts: Counts) -> dict[str, str]:
        stages = {stage: _percentiles(window) for stage, window in self._stages_ms.items()}
        return {
            "input": self._input_name,
            "input_rate_hz": f"{_rate_hz(self._arrivals_s):.2f}",
            "input_age_ms": f"{self._age_ms:.1f}",
            "output_rate_hz": f"{_rate_hz(self._answers_s):.2f}",
            "received": str(counts.received),
            "answered": str(counts.answered),
            "dropped_newer": str(counts.dropped_newer),
            "dropped_bad": str(counts.dropped_bad),
            "pending": str(counts.pending),
            "last_error": self._last_error,
            **{f"{stage}_ms": f"p50 {p50:.2f} p99 {p99:.2f}" for stage, (p50, p99) in stages.items()},
            **self._info,
        }


class Worker:
    """Answers images in a thread of its own until it is stopped."""

    def __init__(self, core: Node) -> None:
        self._core = core
        self._stop = Event()
        self._thread = Thread(target=self._work, name="answer", daemon=True)
        self._thread.start()

    def stop(self) -> bool:
        """False if it still works on an image after _STOP_S; it ends once that is answered."""
        self._stop.set()
        self._thread.join(_STOP_S)
        return not self.alive

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def _work(self) -> None:
        while not self._stop.is_set():
            self._core.step(_STEP_S)


def stamp_ns(header: Any) -> int:
    """The time of a std_msgs/Header in nanoseconds."""
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)


def _rate_hz(times_s: deque[float]) -> float:
    """Over the window and up to now, so that the rate of a silent stream falls."""
    elapsed_s = time.monotonic() - times_s[0] if times_s else 0.0
    return (len(times_s) - 1) / elapsed_s if elapsed_s > 0 else 0.0


def _percentiles(window: Any) -> tuple[float, float]:
    if not window:
        return 0.0, 0.0
    p50, p99 = np.percentile(list(window), [50, 99])
    return float(p50), float(p99)
