"""One camera's part of a node, for any middleware: the newest image in, a Panoptic out, and every message accounted for."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from threading import Condition, Lock
from typing import Any, Protocol

import numpy as np

from panoptic_ros import trace
from panoptic_ros.aside import Aside
from panoptic_ros.core import Panoptic, PanopticError
from panoptic_ros.health import Counts, Health, Report, Settings
from panoptic_ros.middleware.frames import check_header, frame_of


class Pipeline(Protocol):
    """Anything that segments a frame; `timings_ms` are the stages of its last call, by name."""

    @property
    def timings_ms(self) -> Mapping[str, float]: ...

    def __call__(self, frame: np.ndarray, stamp_ns: int) -> Panoptic: ...


Rest = Callable[[], Mapping[str, str]]
"""Publishes what nobody waits for. Returns what had to be left out, and why."""

Publish = Callable[[Any, np.ndarray, Panoptic], Rest | None]
"""(header of the image message, (H, W, 3) RGB frame, result) -> what else there is to publish of it, if anything."""


@dataclass(frozen=True, slots=True)
class Answer:
    """stamp_ns: of the image. stages_ms: what it took; `total` is from arrival to publication."""

    stamp_ns: int
    stages_ms: Mapping[str, float]


class _Job:
    """taken_ns: the image's stamp, or for a driver that leaves it 0 the time of arrival, since a tracker needs a clock."""

    def __init__(self, message: Any, arrived_s: float, taken_ns: int, convert: Callable[[Any], np.ndarray]) -> None:
        self.message, self.arrived_s, self.taken_ns = message, arrived_s, taken_ns
        self._convert, self._converting = convert, Lock()
        self._frame: np.ndarray | None = None

    def frame(self) -> np.ndarray:
        """The message as (H, W, 3) RGB, converted by whichever thread comes first."""
        with self._converting:
            if self._frame is None:
                check_header(self.message.header)
                self._frame = self._convert(self.message)
            return self._frame

    def prepare(self) -> None:
        """What is wrong with the message comes out when it is answered."""
        begin_ns = time.monotonic_ns()
        with suppress(Exception):
            self.frame()
        trace.report(("convert",), (begin_ns, time.monotonic_ns()), self.taken_ns)


class Node:
    """One thread calls `step` in a loop; what else there is may be called from any thread.

    input_name: the topic, for messages to people. info: what the report adds, such as the engine's description.
    now_ns: the clock that image stamps are compared with. convert: image message -> (H, W, 3) RGB frame.
    publishers: who sends on the topic, in words, for the report on its silence. changed: the lock, which the nodes of several
    cameras share. aside: what publishes the rest of an answer; without it `step` does. ahead: what converts images that wait, if
    there are cores for it. `last` is the last answer since it was started anew.
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
        changed: Condition | None = None,
        aside: Aside | None = None,
        ahead: Aside | None = None,
    ) -> None:
        self.last: Answer | None = None
        self._convert = convert
        self._pipeline = pipeline
        self._publish = publish
        self._input_name = input_name
        self._info = dict(info or {})
        self._now_ns = now_ns
        self._changed = changed or Condition()
        self._aside, self._ahead = aside, ahead
        self._waiting: _Job | None = None
        self._received = self._answered = self._dropped_newer = self._dropped_bad = self._not_drawn = 0
        self._health = Health(input_name, publishers)
        self._health.settings = settings

    @property
    def settings(self) -> Settings:
        """May be replaced at any time."""
        return self._health.settings

    @settings.setter
    def settings(self, settings: Settings) -> None:
        self._health.settings = settings

    @property
    def paused(self) -> str:
        """Why nothing is to be answered, "" if it is; may be replaced at any time."""
        return self._health.paused

    @paused.setter
    def paused(self, reason: str) -> None:
        self._health.paused = reason

    @property
    def waiting_since_s(self) -> float | None:
        """Since when an image waits, or those that it replaced; of `time.monotonic`. None if none does."""
        return self._health.waiting_since_s

    def receive(self, message: Any) -> None:
        """Takes a sensor_msgs/Image or CompressedImage of any middleware; one that still waits is dropped for it."""
        with self._changed:
            self._arrive()
            now_s, now_ns = time.monotonic(), self._now_ns()
            if self._waiting is None:
                self._health.waiting_since_s = now_s
            else:
                self._dropped_newer += 1
            job = self._waiting = _Job(message, now_s, stamp_ns(message.header) or now_ns, self._convert)
            self._health.age_ms = (now_ns - job.taken_ns) / 1e6
            self._changed.notify()
        if self._ahead is not None:
            self._ahead.put(self, job.prepare)

    def reject(self, error: PanopticError) -> None:
        """Counts a message that could not even be read."""
        with self._changed:
            self._arrive()
            self._drop(error)

    def complain(self, what: str, why: str, fault: Exception | None = None) -> None:
        """Something that is no image could not be used, or was left out of an answer: for report and log."""
        with self._changed:
            self._health.complain(what, why, fault)

    def miss(self, count: int) -> None:
        """Counts messages that the middleware had no room for: they came faster than even `receive` takes them."""
        with self._changed:
            for _ in range(count):
                self._arrive()
            self._dropped_newer += count

    def start_anew(self) -> None:
        """For an input that is only just listened to: silence counts from now on; what waits is dropped, `last` forgotten."""
        with self._changed:
            self._health.start_anew()
            self._dropped_newer += self._waiting is not None
            self._waiting = self._health.waiting_since_s = self.last = None

    def step(self, timeout_s: float) -> bool:
        """Answers the newest message, waiting up to `timeout_s` for one. False if none came."""
        job = self._take(timeout_s)
        if job is None:
            return False
        try:
            stages_ms, rest = self._answer(job)
        except Exception as error:  # A fault, even one of ours, costs a frame and not the stream.
            with self._changed:
                self._health.working_since_s = None
                self._drop(error)
            return True
        self._finish(Answer(job.taken_ns, stages_ms))
        if rest is not None:
            self._leave(job.taken_ns, rest)
        return True

    @property
    def counts(self) -> Counts:
        with self._changed:
            pending = (self._waiting is not None) + (self._health.working_since_s is not None)
            return Counts(self._received, self._answered, self._dropped_newer, self._dropped_bad, pending)

    def news(self) -> Report | None:
        """A report once a second, and at once when an error begins or ends; None between them."""
        with self._changed:
            return self.report() if self._health.is_news(self.counts) else None

    def report(self) -> Report:
        """The state since the last report."""
        with self._changed:
            return self._health.report(self.counts, {"not_drawn": str(self._not_drawn), **self._info})

    def latency_ms(self, stage: str = "total") -> tuple[float, float]:
        """p50 and p99 of a stage over the last frames; zeros before the first. `total` is from arrival to publication."""
        with self._changed:
            return self._health.latency_ms(stage)

    def _arrive(self) -> None:
        self._received += 1
        self._health.arrived()

    def _take(self, timeout_s: float) -> _Job | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is not None, timeout_s)
            job, self._waiting = self._waiting, None
            self._health.waiting_since_s = None
            self._health.working_since_s = None if job is None else time.monotonic()
            return job

    def _answer(self, job: _Job) -> tuple[dict[str, float], Rest | None]:
        """Milliseconds of each stage, and what is still to be published."""
        begin = time.monotonic()
        frame = job.frame()
        converted = time.monotonic()
        panoptic = self._pipeline(frame, job.taken_ns)
        segmented = time.monotonic()
        rest = self._publish(job.message.header, frame, panoptic)
        end = time.monotonic()
        self._trace(job, (begin, converted, segmented, end))
        stages_ms = {
            "wait": (begin - job.arrived_s) * 1e3,
            "convert": (converted - begin) * 1e3,
            **self._pipeline.timings_ms,
            "pipeline": (segmented - converted) * 1e3,
            "publish": (end - segmented) * 1e3,
            "total": (end - job.arrived_s) * 1e3,
        }
        return stages_ms, rest

    def _trace(self, job: _Job, times_s: tuple[float, float, float, float]) -> None:
        """times_s: taken, converted, segmented, published. A frame waits while another is worked on: on a track of its own."""
        begin, converted, segmented, end = (round(1e9 * time_s) for time_s in times_s)
        trace.report(("wait",), (round(1e9 * job.arrived_s), begin), job.taken_ns, f"queue of {self._input_name}")
        trace.report(("frame",), (begin, end), job.taken_ns)
        trace.report(("convert",), (begin, converted), job.taken_ns)
        trace.report(("publish",), (segmented, end), job.taken_ns)

    def _finish(self, answer: Answer) -> None:
        with self._changed:
            self._health.working_since_s = None
            self._answered += 1
            self._health.answered()
            self._health.took(answer.stages_ms)
            self.last = answer

    def _leave(self, taken_ns: int, rest: Rest) -> None:
        """To whoever publishes what nobody waits for."""
        if self._aside is None:
            self._publish_rest(taken_ns, rest)
        elif not self._aside.put(self, lambda: self._publish_rest(taken_ns, rest)):
            with self._changed:
                self._not_drawn += 1

    def _publish_rest(self, taken_ns: int, rest: Rest) -> None:
        begin_ns = time.monotonic_ns()
        fault: Exception | None = None
        try:
            missing = rest()
        except Exception as error:  # as with frames
            missing, fault = {"pictures": f"{type(error).__name__}: {error}"}, error
        end_ns = time.monotonic_ns()
        trace.report(("aside",), (begin_ns, end_ns), taken_ns)
        with self._changed:
            self._health.took({"aside": (end_ns - begin_ns) / 1e6})
            for what, why in missing.items():
                self.complain(what, why, fault)

    def _drop(self, error: Exception) -> None:
        expected = isinstance(error, PanopticError)
        self._dropped_bad += 1
        why = str(error) if expected else f"{type(error).__name__}: {error}"
        self._health.dropped(why, None if expected else error)


def stamp_ns(header: Any) -> int:
    """The time of a std_msgs/Header in nanoseconds."""
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)
