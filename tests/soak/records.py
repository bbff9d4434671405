"""What a soak keeps: the lives of the node and the faults that were injected."""

from dataclasses import dataclass, field
from math import nan

from panoptic_ros.tracker import TrackerSettings
from tests.soak import memory
from tests.soak.identities import Identities
from tests.soak.ledger import Account

GROWTH = 0.02
"""The most that the memory of a life may grow by."""

Said = tuple[int, str]
"""Level and message of one diagnostic status."""


@dataclass(slots=True)
class Life:
    """Of the node, from start to end. weights_mib: its private memory in plain operation, after each whole round of faults.

    killed_s, answered_s: when the life before it ended, and when this one gave its first answer; NaN where there was none.
    """

    start_up_s: float = 0.0
    weights_mib: list[float] = field(default_factory=list)
    samples: list[memory.Sample] = field(default_factory=list)
    identities: Identities = field(default_factory=lambda: Identities(TrackerSettings().max_lost_s))
    killed_s: float = nan
    answered_s: float = nan

    @property
    def growth(self) -> float:
        """From the first weight to the highest after it, as a share; NaN of fewer than two."""
        first, *later = self.weights_mib or [nan]
        return max(later, default=nan) / first - 1

    @property
    def minutes(self) -> float:
        """From the first sample to the last."""
        return (self.samples[-1].time_s - self.samples[0].time_s) / 60 if self.samples else 0.0

    @property
    def respawn_s(self) -> float:
        """From the end of the life before to the first answer of this one; NaN if either is missing."""
        return self.answered_s - self.killed_s

    def faults(self) -> list[str]:
        grown = [f"its memory grew by {self.growth:.1%}"] if self.growth > GROWTH else []
        return self.identities.faults + grown


@dataclass(frozen=True, slots=True)
class Episode:
    """A fault that was injected. latencies_ms: from order to answer, of the images sent while it lasted.

    outside: images sent that are in no account. said: by the node while it lasted; said_after: until the node was at rest again.
    """

    fault: str
    recovery_s: float
    latencies_ms: tuple[float, ...] = ()
    account: Account = Account()
    outside: int = 0
    said: tuple[Said, ...] = ()
    said_after: tuple[Said, ...] = ()


@dataclass(frozen=True, slots=True)
class Settings:
    """rate_hz: of the camera. hold_s: how long faults last. recovery_s: the most that one may cost after its end.

    latency_ms: the most for the 95th percentile of each fault. memory_bytes: that memory pressure takes at most. seed: of what is
    random. node: its arguments, which leave its topics alone.
    """

    rate_hz: float
    hold_s: float
    recovery_s: float
    latency_ms: float
    memory_bytes: int
    seed: int
    node: tuple[str, ...] = ()
