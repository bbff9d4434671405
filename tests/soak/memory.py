"""The memory of another process over time (Linux)."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path
from statistics import median

_SHARE = 10


@dataclass(frozen=True, slots=True)
class Sample:
    """private_mib: what the process has written and nobody shares. What leaks is in there, but no mapped file, which the kernel
    takes and gives back as it likes. resident_mib: all that is in memory."""

    time_s: float
    private_mib: float
    resident_mib: float


def sample(pid: int, time_s: float) -> Sample | None:
    """None if the process is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except (FileNotFoundError, ProcessLookupError):
        return None
    kib = {name: int(size.split()[0]) for name, _, size in (line.partition(":") for line in lines)}
    return Sample(time_s, (kib["Private_Dirty"] + kib["Swap"]) / 1024, kib["Rss"] / 1024) if kib else None


def ends(samples: Sequence[Sample]) -> tuple[float, float]:
    """MiB of private memory: medians of the first and of the last tenth of the samples; NaN of none."""
    if not samples:
        return nan, nan
    count = max(1, len(samples) // _SHARE)
    first, last = (median(s.private_mib for s in part) for part in (samples[:count], samples[-count:]))
    return first, last
