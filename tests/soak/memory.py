"""The memory of another process over time (Linux)."""

from dataclasses import dataclass
from pathlib import Path


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
