"""Several cameras over one engine in one thread: whose turn it is, how far apart their images are, and which size answers."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from threading import Condition, Event, Thread

from panoptic_ros.health import OK, WARN, Report, percentiles
from panoptic_ros.leftovers import Leftovers
from panoptic_ros.node import Node
from panoptic_ros.overload import AdaptiveEngine

_STEP_S, _STOP_S = 0.1, 5.0
_ROUNDS, _ROUND_AGE_S = 128, 10.0
"""That the skew is taken over: at most so many, none that is older."""


class Cameras:
    """Nodes that share an engine: the one that has waited longest for an answer is next, whatever its rate.

    nodes: at least one; all have `changed` as their lock. engine: theirs, if it can change its size. A round is over when each
    node that is not paused has answered; its skew is how far apart the stamps of their last images are. now_s: a clock.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        changed: Condition,
        engine: AdaptiveEngine | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.nodes = tuple(nodes)
        self._changed, self._engine, self._now_s = changed, engine, now_s
        self._round: set[Node] = set()
        self._skews_ms: deque[tuple[float, float]] = deque(maxlen=_ROUNDS)
        self._leftovers = Leftovers()

    def step(self, timeout_s: float) -> bool:
        """Answers one image, waiting up to `timeout_s` for one. False if none came."""
        with self._changed:
            self._changed.wait_for(self._next, timeout_s)
            node = self._next()
        if node is None:
            return False
        before = node.last
        answered, last = node.step(0), node.last
        if last is not None and last is not before:
            self._note(node)
            if self._engine is not None:
                self._engine.observe(last.stages_ms)
        return answered

    @property
    def answered(self) -> int:
        """Images, of all cameras."""
        return sum(node.counts.answered for node in self.nodes)

    def news(self) -> list[tuple[int, Report]]:
        """The reports that are due, with the index of their node. To be called some times a second."""
        self._leftovers.give_back()
        found = [(index, node, node.news()) for index, node in enumerate(self.nodes)]
        return [(index, self._completed(node, report)) for index, node, report in found if report is not None]

    def reports(self) -> list[tuple[int, Report]]:
        """The reports of all nodes, with their index."""
        return [(index, self._completed(node, node.report())) for index, node in enumerate(self.nodes)]

    def _next(self) -> Node | None:
        """A newer image takes over the place of the one that it replaces, or the camera with the later phase would starve."""
        waiting = [(node.waiting_since_s, node) for node in self.nodes if node.waiting_since_s is not None]
        return min(waiting, key=lambda pair: pair[0])[1] if waiting else None

    def _note(self, node: Node) -> None:
        with self._changed:
            self._round.add(node)
            listening = {other: other.last for other in self.nodes if not other.paused}
            self._round = {other for other in self._round if listening.get(other) is not None}
            if len(listening) > 1 and self._round.issuperset(listening):
                stamps_ns = [last.stamp_ns for last in listening.values() if last is not None]
                self._skews_ms.append((self._now_s(), (max(stamps_ns) - min(stamps_ns)) / 1e6))
                self._round.clear()

    def _skew(self) -> str:
        with self._changed:
            late_s = self._now_s() - _ROUND_AGE_S
            found = [skew_ms for at_s, skew_ms in self._skews_ms if at_s >= late_s]
        p50, p99 = percentiles(found)
        return f"p50 {p50:.2f} p99 {p99:.2f}" if found else f"not all have answered in the last {_ROUND_AGE_S:.0f} s"

    def _completed(self, node: Node, report: Report) -> Report:
        """With what is the same for all cameras."""
        level, message, values = report.level, report.message, dict(report.values)
        if len(self.nodes) > 1:
            values["skew_ms"] = self._skew()
        if self._engine is not None:
            (height, width), reason = self._engine.size, self._engine.reason
            values |= {"engine_size": f"{height}x{width}", "engine_size_reason": reason}
            if reason and level == OK and not node.paused:
                level, message = WARN, f"answering with {height}x{width}: {reason}"
        return Report(level, message, values)


class Worker:
    """Calls `step` in a thread of its own until it is stopped."""

    def __init__(self, step: Callable[[float], bool]) -> None:
        self._step = step
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
            self._step(_STEP_S)
