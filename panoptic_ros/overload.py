"""What keeps latency in bounds: a smaller engine input while the large one takes too long, and the way back."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from panoptic_ros.core import Engine, PanopticError, Slots

_SLOW_FRAMES, _FAST_FRAMES = 15, 60
"""Answers that are looked at before a change to the small size, and before one back."""

_MAX_PATIENCE = 64 * _FAST_FRAMES
"""The most answers before a change back: at 30 Hz about two minutes."""

_TRIAL_FRAMES = 600
"""Answers before a change back where nothing says how long the large size would take."""

_HEAD_ROOM = 0.8
"""Share of the limit that the large size has to be expected to stay below."""


@dataclass
class _Stay:
    """At one size: the engine's time in the first and in the last answers, and its least, ms."""

    first_ms: list[float] = field(default_factory=list)
    last_ms: deque[float] = field(default_factory=lambda: deque(maxlen=_SLOW_FRAMES))
    least_ms: float = float("inf")

    def note(self, engine_ms: float) -> None:
        if len(self.first_ms) < _SLOW_FRAMES:
            self.first_ms.append(engine_ms)
        self.last_ms.append(engine_ms)
        self.least_ms = min(self.least_ms, engine_ms)


class AdaptiveEngine:
    """One model opened in two input sizes; the small one answers while the median latency exceeds `limit_ms`.

    See `core.Engine`; `size` and `description` are those of the one that answers. limit_ms: 0 always takes the large one; may be
    replaced at any time. A change back that does not hold for 2 * _FAST_FRAMES answers doubles how many the next one takes, for
    what images wait at the large size depends on when they come, too. `run` and `observe` belong to one thread. Raises
    PanopticError unless the small size is smaller and of the same shape, so that a frame lies in both alike.
    """

    def __init__(self, large: Engine, small: Engine, limit_ms: float = 0.0) -> None:
        (height, width), (small_height, small_width) = large.size, small.size
        if height * small_width != width * small_height or small_height >= height:
            raise PanopticError(
                f"fallback_size {_text(small)} does not fit the size {_text(large)}: it has to be smaller, with the same ratio"
            )
        self.limit_ms = limit_ms
        self._large, self._small = large, small
        self._pixel_ratio = (height * width) / (small_height * small_width)
        self._patience = _FAST_FRAMES
        self._stay = _Stay()
        self._take(large, "")

    def run(self, image: np.ndarray) -> Slots:
        return self._active.run(image)

    def run_network_only(self, image: np.ndarray) -> None:
        self._active.run_network_only(image)

    def observe(self, stages_ms: Mapping[str, float]) -> None:
        """Chooses the size of the next frame. stages_ms: of the last answer, `total` from arrival to publication."""
        limit_ms, total_ms = self.limit_ms, stages_ms["total"]
        self._answers += 1
        self._stay.note(stages_ms["engine"])
        self._latencies_ms.append((total_ms, stages_ms["engine"] + stages_ms["wait"]))
        if self._active is self._large:
            if self._answers == 2 * _FAST_FRAMES:
                self._patience = _FAST_FRAMES
            found_ms = median(total for total, _ in self._latencies_ms)
            if 0 < limit_ms < found_ms and len(self._latencies_ms) == _SLOW_FRAMES:
                self._take(self._small, f"median latency {found_ms:.0f} ms at {_text(self._large)}, over {limit_ms:.0f} ms")
            return
        measured = self._measured_growth()  # of the engine's time, and so of the time that images wait for it
        growth = measured or self._pixel_ratio
        expected_ms = median(total + (growth - 1) * engine for total, engine in self._latencies_ms)
        fits = expected_ms < _HEAD_ROOM * limit_ms or (measured is None and self._answers >= _TRIAL_FRAMES)
        if not limit_ms or (fits and self._answers >= self._patience):
            self._patience = min(2 * self._patience, _MAX_PATIENCE)
            self._take(self._large, "")

    def _measured_growth(self) -> float | None:
        """How many times as long the engine takes at the large size, which is at most as its pixels; None if that is not known.

        That is, in the stay at the large size and in this one, by the answers right before and right after the change, which
        had the same neighbours, and by the least times, which had none. Neighbours that came or went at the change spoil either,
        so the lowest that is possible counts: if it is too low, the change back does not hold, and is measured anew.
        """
        large, small = self._before, self._stay
        if len(small.first_ms) < _SLOW_FRAMES or not small.least_ms:
            return None
        measured = median(large.last_ms) / median(small.first_ms), large.least_ms / small.least_ms
        return min((ratio for ratio in measured if 1 <= ratio <= self._pixel_ratio), default=None)

    def _take(self, engine: Engine, reason: str) -> None:
        self._active, self.reason = engine, reason
        self.size, self.description = engine.size, engine.description
        self._latencies_ms: deque[tuple[float, float]] = deque(maxlen=_FAST_FRAMES if reason else _SLOW_FRAMES)
        self._before, self._stay = self._stay, _Stay()
        self._answers = 0


def _text(engine: Engine) -> str:
    return f"{engine.size[0]}x{engine.size[1]}"
