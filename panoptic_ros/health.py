"""What a node says of one camera: rates, latencies, silence, and the worst of it in a sentence."""

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from panoptic_ros.core import shortened

log = logging.getLogger(__name__)

OK, WARN, ERROR = 0, 1, 2
"""Levels of diagnostic_msgs/DiagnosticStatus."""
MIN_SILENCE_S, MAX_SILENCE_S = 0.1, 3600.0
"""The range of Settings.max_silence_s."""
REPORT_PERIOD_S = 1.0
_WINDOW = 128
"""Frames that rates and latencies are taken over."""
_LONGEST = 500
"""Characters of what is said of an error. It may quote who sent the image, and is sent to everyone, once a second."""


@dataclass(frozen=True, slots=True)
class Settings:
    """max_silence_s: without an image, at work on one, or with one that waits, for longer, the report is an error.

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

    dropped_newer: overtaken by a newer one while waiting. pending: one may wait while another is worked on.
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


class Health:
    """What has happened of late. It has no lock; its node has one.

    input_name: the topic, for messages to people. publishers: who sends on it, in words. `working_since_s`, `waiting_since_s`
    (since when an image waits, or those that it replaced) and `age_ms`, of the newest image when it arrived, are set by the node,
    as is `paused`: why nothing is to be answered.
    """

    def __init__(self, input_name: str, publishers: Callable[[], str]) -> None:
        self.settings, self.paused = Settings(), ""
        self.working_since_s: float | None = None
        self.waiting_since_s: float | None = None
        self.age_ms = 0.0
        self._input_name, self._publishers = input_name, publishers
        self._started_s = time.monotonic()
        self._arrivals_s: deque[float] = deque(maxlen=_WINDOW)
        self._answers_s: deque[float] = deque(maxlen=_WINDOW)
        self._stages_ms: dict[str, deque[float]] = {}
        self._last_error = ""
        self._bad_reported = 0
        self._in_trouble = False
        self._next_report_s = 0.0
        self._complaints: dict[str, str] = {}
        self._unlogged: dict[str, int] = {}
        self._logged_s: dict[str, float] = {}

    def start_anew(self) -> None:
        """Silence counts from now on."""
        self._started_s = time.monotonic()

    def arrived(self) -> None:
        self._arrivals_s.append(time.monotonic())

    def answered(self) -> None:
        self._answers_s.append(time.monotonic())

    def took(self, stages_ms: Mapping[str, float]) -> None:
        for stage, value in stages_ms.items():
            self._stages_ms.setdefault(stage, deque(maxlen=_WINDOW)).append(value)

    def dropped(self, why: str, fault: Exception | None) -> None:
        """An image. fault: whose traceback goes into the log."""
        self._last_error = shortened(why, _LONGEST)
        self._log(f"images on {self._input_name}", self._last_error, fault)

    def complain(self, what: str, why: str, fault: Exception | None) -> None:
        """Something was left out of an answer."""
        self._complaints[what] = shortened(why, _LONGEST)
        self._log(what, self._complaints[what], fault)

    def latency_ms(self, stage: str) -> tuple[float, float]:
        """p50 and p99; zeros before the first frame."""
        return percentiles(self._stages_ms.get(stage, ()))

    def is_news(self, counts: Counts) -> bool:
        """Whether a report is due: once a second, and at once when an error begins or ends."""
        trouble = self._state(counts)[0] == ERROR
        return trouble != self._in_trouble or time.monotonic() >= self._next_report_s

    def report(self, counts: Counts, more: Mapping[str, str]) -> Report:
        """The state since the last report. more: what else its values say."""
        self._next_report_s = time.monotonic() + REPORT_PERIOD_S
        level, message = self._state(counts)
        self._bad_reported = counts.dropped_bad
        self._complaints.clear()
        self._in_trouble = level == ERROR
        return Report(level, message, {**self._values(counts), **more})

    def _log(self, what: str, why: str, fault: Exception | None) -> None:
        """A line on what was dropped, unless there was one just now."""
        self._unlogged[what] = self._unlogged.get(what, 0) + 1
        now_s = time.monotonic()
        if now_s - self._logged_s.get(what, -float("inf")) >= self.settings.log_interval_s:
            log.warning("dropped %d %s: %s", self._unlogged.pop(what), what, why, exc_info=fault)
            self._logged_s[what] = now_s

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
        for what, since_s in (("is being worked on", self.working_since_s), ("waits", self.waiting_since_s)):
            if since_s is not None and time.monotonic() - since_s > limit_s:
                return f"an image on {self._input_name} {what} for {time.monotonic() - since_s:.1f} s"
        silent_s = time.monotonic() - max(self._arrivals_s[-1] if self._arrivals_s else 0.0, self._started_s)
        if silent_s <= limit_s:
            return ""
        ever, publishers = "" if counts.received else ", ever", self._publishers()
        return f"no image on {self._input_name} for {silent_s:.1f} s{ever}" + (f"; {publishers}" if publishers else "")

    def _slowness(self) -> tuple[int, str]:
        limits, latency_ms = self.settings, self.latency_ms("total")[0]
        measured = [
            ("latency", latency_ms, limits.warn_latency_ms, limits.error_latency_ms),
            ("age of the input", self.age_ms, limits.warn_age_ms, limits.error_age_ms),
        ]
        for level, column in ((ERROR, 3), (WARN, 2)):
            for row in measured:
                if 0 < row[column] < row[1]:
                    return level, f"{row[0]} is {row[1]:.0f} ms, more than {row[column]:.0f} ms"
        return OK, f"answering {self._input_name} at {_rate_hz(self._answers_s):.1f} Hz"

    def _values(self, counts: Counts) -> dict[str, str]:
        stages = {stage: percentiles(window) for stage, window in self._stages_ms.items()}
        return {
            "input": self._input_name,
            "input_rate_hz": f"{_rate_hz(self._arrivals_s):.2f}",
            "input_age_ms": f"{self.age_ms:.1f}",
            "output_rate_hz": f"{_rate_hz(self._answers_s):.2f}",
            "received": str(counts.received),
            "answered": str(counts.answered),
            "dropped_newer": str(counts.dropped_newer),
            "dropped_bad": str(counts.dropped_bad),
            "pending": str(counts.pending),
            "last_error": self._last_error,
            **{f"{stage}_ms": f"p50 {p50:.2f} p99 {p99:.2f}" for stage, (p50, p99) in stages.items()},
        }


def percentiles(window: Any) -> tuple[float, float]:
    """p50 and p99; zeros of nothing."""
    if not window:
        return 0.0, 0.0
    p50, p99 = np.percentile(list(window), [50, 99])
    return float(p50), float(p99)


def _rate_hz(times_s: deque[float]) -> float:
    """Over the window and up to now, so that the rate of a silent stream falls."""
    elapsed_s = time.monotonic() - times_s[0] if times_s else 0.0
    return (len(times_s) - 1) / elapsed_s if elapsed_s > 0 else 0.0
