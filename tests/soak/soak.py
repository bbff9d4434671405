"""A node, a camera and a planner for hours: what the faults of `faults.py` are played on, and what is measured meanwhile."""

import time
from collections.abc import Callable
from math import inf, isnan
from pathlib import Path
from random import Random
from statistics import median

from panoptic_ros.leftovers import PERIOD_S
from panoptic_ros.manifest import Manifest
from panoptic_ros.middleware.dds_participant import LOOPBACK, join
from tests.soak import judgements, memory
from tests.soak.camera import Camera, Order
from tests.soak.ledger import Account, Ledger
from tests.soak.node_process import NodeProcess
from tests.soak.planner import Planner
from tests.soak.records import Episode, Life, Settings

FORGOTTEN_S = 10.0 + PERIOD_S + 1.0
"""Until the lease of a DDS peer that died is over, and what was kept for it is given back."""
WEIGHED_S = 6.0
_PATIENCE_S = 60.0
"""For what has to happen some time."""
_REST_S = 0.3
"""For the last image to reach the node."""
_SETTLE_S = 5.0
_LOOK_S = 0.002
_SAMPLE_PERIOD_S = 1.0


class Soak:
    """`model`: in a folder that may be damaged. log: what the node prints. `faults` has a sentence for all that must not be."""

    def __init__(self, model: Manifest, domain: int, log: Path, settings: Settings) -> None:
        self.domain, self.settings, self.random = domain, settings, Random(settings.seed)
        self.folder, self.log = model.onnx.parent, log
        self.faults: list[str] = []
        self.lives: list[Life] = []
        self.episodes: list[Episode] = []
        self.calm, self.calm_s = Account(), 0.0
        """Between faults: the account, and how long images were sent at the camera's rate."""
        self.calm_ms: list[float] = []
        """Latencies between faults."""
        self.ledger = Ledger()
        self.clock_ns = 0
        """What the camera's clock is off."""
        self.number = 0
        """Of the next image."""
        self.begin_s = time.monotonic()
        self._due_s = self._sampled_s = self._killed_s = 0.0
        self._answered_s: dict[int, float] = {}
        self._sent_s: dict[int, float] = {}
        self._damaged: set[int] = set()
        self._newest_answer = -1
        self._during = "start"
        self._participant = join(domain, LOOPBACK)
        self.planner = Planner(self._participant, model.labels, self._on_answer, self.ledger.note_image, self.complain)
        self.camera = Camera(domain)
        self.node = NodeProcess(self.folder, domain, log, settings.node)
        self.lives.append(Life())

    def start(self) -> None:
        """Until the node answers. Raises RuntimeError if it does not start."""
        self._until(lambda: self.camera.ready, "the camera has started", self._look)
        self._advertise(compressed=False)
        self._wait_for_node()
        self.recover()
        self.rest()

    def complain(self, *what: str) -> None:
        """Says of something that must not be when it was, and during which fault."""
        self.faults += [f"{time.monotonic() - self.begin_s:.0f} s, {self._during}: {fault}" for fault in what]

    @property
    def life(self) -> Life:
        return self.lives[-1]

    @property
    def age_s(self) -> float:
        """Of the node's life."""
        return time.monotonic() - self.node.started_s

    def kill_node(self) -> None:
        """What is on its way to it is lost."""
        self.ledger.abandon()
        self.node.kill()
        self._killed_s = time.monotonic()

    def start_node(self) -> None:
        """A new life, until the node says that it listens; the camera goes on meanwhile."""
        self.ledger.abandon()
        self.complain(*self.node.traces())
        self.node = NodeProcess(self.folder, self.domain, self.log, self.settings.node)
        self.lives.append(Life(killed_s=self._killed_s))
        self._wait_for_node()

    def replace_camera(self, compressed: bool, pause_s: float) -> None:
        """SIGKILL for the one that publishes. Another one, which has started before, advertises its topic after a pause."""
        other = Camera(self.domain)
        self.play_until(lambda: other.ready, "another camera has started")
        self.ledger.abandon()
        self.camera.kill()
        self.listen(pause_s)
        self.camera = other
        self._advertise(compressed)

    def switch(self, compressed: bool) -> None:
        """The camera leaves its topic for the other one; until the node knows, what it sends is lost."""
        if compressed != self.camera.compressed:
            self.rest()
            self.ledger.abandon()
            self._advertise(compressed)
            self.recover()
            self.rest()

    def send(self, damage: str = "", size: tuple[int, int] = (256, 512), encoding: str = "") -> None:
        """An image, at once. encoding: rgb8, or on the compressed topic jpg, if it is not said."""
        encoding = encoding or ("jpg" if self.camera.compressed else "rgb8")
        order = Order(self.number, time.time_ns() + self.clock_ns, size, encoding, damage)
        self._sent_s[order.number] = time.monotonic()
        self.planner.sizes[order.number] = size
        if damage:
            self._damaged.add(order.number)
        self.camera.send(order)
        self.ledger.note_sent(bool(damage))
        self.number += 1

    def play(self, seconds: float, **image: str | tuple[int, int]) -> None:
        """Images at the camera's rate, each as `send` takes them."""
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            self.play_one(**image)

    def play_until(self, condition: Callable[[], object], what: str) -> None:
        self._until(condition, what, self.play_one)

    def listen(self, seconds: float) -> None:
        """Nothing is sent."""
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            self._look()

    def recover(self) -> float:
        """Seconds until the first answer to an image that is sent from now on."""
        begin_s, first = time.monotonic(), self.number
        self.play_until(lambda: self._newest_answer >= first, "an image was answered")
        return min((at for number, at in self._answered_s.items() if number >= first), default=inf) - begin_s

    def rest(self) -> Account:
        """Sends nothing until the node has dealt with everything and says so. Closes the account."""
        silent_ns = time.time_ns() + round(_REST_S * 1e9)
        end_s = time.monotonic() + _SETTLE_S
        while time.monotonic() < end_s:
            self._look()
            if self.planner.reported_ns > silent_ns and not self.planner.counts.pending:
                break
        account = self.ledger.close(self.planner.counts)
        self.complain(*account.faults())
        return account

    def inject(self, fault: Callable[["Soak"], None]) -> None:
        """A calm stretch, the fault, and the way back to normal."""
        self._play_calm(self.settings.hold_s * self.random.uniform(0.3, 1.0))
        self.ledger.total, outside, first = Account(), self.ledger.outside, self.number
        self.planner.hear()
        self._during = fault.__name__
        fault(self)
        last, said = self.number, self.planner.hear()
        recovery_s = self.recover()
        self.play(self.settings.hold_s * 0.3)
        self.rest()
        account, outside = self.ledger.total, self.ledger.outside - outside
        latencies_ms = self._latencies_ms(first, last)
        episode = Episode(fault.__name__, recovery_s, latencies_ms, account, outside, said, self.planner.hear())
        self._keep(episode)
        self.switch(compressed=False)
        self._forget()

    def _keep(self, episode: Episode) -> None:
        self.episodes.append(episode)
        self.complain(*judgements.said(episode))
        if episode.recovery_s > self.settings.recovery_s:
            self.complain(f"first answer {episode.recovery_s:.2f} s after its end")

    def weigh(self) -> None:
        """Plain operation, a part of it to settle."""
        life, begin_s = self.life, time.monotonic() - self.begin_s + FORGOTTEN_S
        self._play_calm(FORGOTTEN_S + WEIGHED_S)
        found = [sample.private_mib for sample in life.samples if begin_s <= sample.time_s < begin_s + WEIGHED_S]
        if found:
            life.weights_mib.append(median(found))
        self._forget()

    def _play_calm(self, seconds: float) -> None:
        """Plain operation, and what became of it."""
        self._during, begin_s, first = judgements.CALM, time.monotonic(), self.number
        self.play(seconds)
        self.calm_s += time.monotonic() - begin_s
        self.calm += self.rest()
        self.calm_ms += self._latencies_ms(first, self.number)

    def finish(self) -> None:
        """Ends all processes. Memory and identities are judged by now."""
        self._during = "end"
        self.node.stop()
        self.complain(*self.node.faults(), *self.node.traces())
        for number, life in enumerate(self.lives, 1):
            self.faults += [f"life {number}: {fault}" for fault in life.faults()]
        self.faults += judgements.of_run(self.calm, self.calm_ms, self.episodes, self.settings.latency_ms)
        self.camera.kill()
        self.end_s = time.monotonic() - self.begin_s

    def play_one(self, **image: str | tuple[int, int]) -> None:
        self._due_s = max(self._due_s + 1 / self.settings.rate_hz, time.monotonic())
        while time.monotonic() < self._due_s:
            self._look()
        self.send(**image)

    def _until(self, condition: Callable[[], object], what: str, step: Callable[[], None]) -> None:
        end_s = time.monotonic() + _PATIENCE_S
        while not condition() and time.monotonic() < end_s:
            step()
        if not condition():
            self.complain(f"not within {_PATIENCE_S:.0f} s: {what}")

    def _advertise(self, compressed: bool) -> None:
        self.camera.advertise(compressed)
        self._until(lambda: self.camera.ready, "the camera has a topic", self._look)

    def _wait_for_node(self) -> None:
        self.play_until(lambda: self.node.ready, "the node has started")
        self.life.start_up_s = time.monotonic() - self.node.started_s

    def _look(self) -> None:
        """Takes what there is to read, and sleeps for a moment."""
        self.planner.take()
        now_s = time.monotonic()
        if now_s - self._sampled_s > _SAMPLE_PERIOD_S:
            self._sampled_s = now_s
            sample = memory.sample(self.node.pid, now_s - self.begin_s)
            if sample is not None:
                self.life.samples.append(sample)
        if self.node.ended and not self.node.killed:
            self.complain(*self.node.faults())
            if not self.node.ready:
                raise RuntimeError(f"the node does not start: {self.faults[-1]}")
            self._killed_s = now_s
            self.start_node()
        time.sleep(_LOOK_S)

    def _on_answer(self, number: int, stamp_ns: int, things: list[tuple[int, int]]) -> None:
        if number <= self._newest_answer:
            self.complain(f"image {number} was answered after image {self._newest_answer}")
        if number in self._damaged:
            self.complain(f"image {number} was answered although it is damaged")
        self._newest_answer = max(number, self._newest_answer)
        self._answered_s[number] = time.monotonic()
        if isnan(self.life.answered_s):
            self.life.answered_s = time.monotonic()
        self.ledger.note_answer()
        self.life.identities.observe(stamp_ns, things)

    def _latencies_ms(self, first: int, last: int) -> tuple[float, ...]:
        """Of the images answered whose numbers are in [first, last)."""
        return tuple((at - self._sent_s[number]) * 1e3 for number, at in self._answered_s.items() if first <= number < last)

    def _forget(self) -> None:
        """What is over, so that hours take no more memory than minutes."""
        for kept in (self._answered_s, self._sent_s, self.planner.sizes):
            kept.clear()
        self._damaged.clear()
