"""The report of a soak: Markdown, and the memory as a picture beside it."""

from collections.abc import Sequence
from datetime import date
from math import nan
from pathlib import Path

from panoptic_ros.commands.machine import describe_machine
from tests.soak.ledger import Account
from tests.soak.memory import Sample
from tests.soak.soak import FORGOTTEN_S, WEIGHED_S, Episode, Life, Soak

_WIDTH, _HEIGHT, _MARGIN = 640, 160, 40
_ACCOUNT = ("sent", "received", "answered", "dropped_newer", "dropped_bad")
_LIFE = (
    "life",
    "minutes",
    "start-up s",
    "identities",
    "weighed",
    "MiB first",
    "highest later",
    "growth",
    "at any time",
    "resident",
)


def write(file: Path, soak: Soak, arguments: Sequence[str]) -> None:
    """The report of a soak that is finished."""
    file.parent.mkdir(parents=True, exist_ok=True)
    picture = file.with_suffix(".svg")
    picture.write_text(curve([life.samples for life in soak.lives]))
    machine = describe_machine()
    settings = soak.settings
    lines = [
        "# Soak: faults injected into a running node",
        f"`python -m tests.soak {' '.join(arguments)}`, {date.today()}: {soak.end_s / 60:.1f} minutes, "
        f"{len(soak.episodes)} faults in random order, a camera of {settings.rate_hz:g} Hz and a planner.",
        f"Machine: {', '.join(f'{key} {value}' for key, value in machine.items())} (at the end).",
        f"Node: {soak.node.description}.",
        verdict(soak.faults, any(len(life.weights_mib) > 1 for life in soak.lives)),
        "## Faults",
        *table(
            ("fault", "times", "recovery ms: median", "worst", "latency ms: median", "worst", *_ACCOUNT, "the node said"),
            [_calm(soak), *(_fault(name, soak.episodes) for name in sorted({e.fault for e in soak.episodes}))],
        ),
        f"Recovery: from the end of a fault to the first answer to an image sent after it; at most {settings.recovery_s:g} s. "
        "Latency: from ordering an image of the camera's process to having its segments, of the images sent during the fault. "
        "Sent is what the camera was ordered to send, and has to be what the node counts as received: "
        "answered, dropped for a newer one, or dropped as bad. It is counted with the node at rest; what is sent while a process "
        "ends or is not discovered yet is left out.",
        "## Lives of the node",
        *table(
            _LIFE,
            [_life(number, life) for number, life in enumerate(soak.lives, 1)],
        ),
        "Start-up: from starting the process, which compiles the engine, to its listening. Memory: what the process has written "
        f"and nobody shares; median of {WEIGHED_S:g} s of plain operation after each whole round of faults, {FORGOTTEN_S:g} s "
        "after the last of them; the limit is for the highest after the first. At any time: the most; a subscriber that lags or "
        "has died keeps up to ten answers of each topic in the node. Resident: all of the process in memory at the end.",
        f"![Private memory over time]({picture.name})",
    ]
    file.write_text("\n\n".join(lines).replace("|\n\n|", "|\n|") + "\n")


def verdict(faults: Sequence[str], weighed: bool) -> str:
    """What was found that must not be. weighed: whether memory could be judged."""
    if not faults:
        memory = "memory and recovery in their limits" if weighed else "recovery in its limit; memory was not judged"
        return f"**No violation**: no crash, no image unaccounted for, no number used twice, {memory}."
    return "\n".join([f"**Violations: {len(faults)}**", "", *(f"- {fault}" for fault in faults)])


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Lines of Markdown."""
    return [f"| {' | '.join(map(str, row))} |" for row in (head, ["---"] * len(head), *rows)]


def _calm(soak: Soak) -> list[object]:
    return ["none, between them", "", "", "", "", "", *_numbers(soak.calm), ""]


def _fault(name: str, episodes: Sequence[Episode]) -> list[object]:
    those = [episode for episode in episodes if episode.fault == name]
    recoveries = sorted(episode.recovery_s * 1e3 for episode in those)
    account = sum((episode.account for episode in those), Account())
    typical = sorted(episode.latency_ms[0] for episode in those)
    said = max((episode.said for episode in those), key=len)
    return [
        name.replace("_", " "), len(those), f"{recoveries[len(those) // 2]:.0f}", f"{recoveries[-1]:.0f}",
        f"{typical[len(those) // 2]:.0f}", f"{max(episode.latency_ms[1] for episode in those):.0f}", *_numbers(account), said,
    ]  # fmt: skip


def _numbers(account: Account) -> list[int]:
    return [getattr(account, name) for name in _ACCOUNT]


def _life(number: int, life: Life) -> list[object]:
    first, *later = life.weights_mib or [nan]
    growth = f"{life.growth:+.1%}" if later else "too short to say"
    seen = life.samples or [Sample(0.0, nan, nan)]
    minutes = (seen[-1].time_s - seen[0].time_s) / 60
    return [
        number, f"{minutes:.1f}", f"{life.start_up_s:.1f}", len(life.identities), len(life.weights_mib), f"{first:.1f}",
        f"{max(later, default=nan):.1f}", growth, f"{max(sample.private_mib for sample in seen):.1f}",
        f"{seen[-1].resident_mib:.0f}",
    ]  # fmt: skip


def curve(lives: Sequence[Sequence[Sample]]) -> str:
    """SVG: private memory of each life over time, from zero."""
    samples = [sample for life in lives for sample in life]
    end_s, top_mib = max((s.time_s for s in samples), default=0.0), max((s.private_mib for s in samples), default=1.0)
    across, up = (_WIDTH - 2 * _MARGIN) / max(end_s, 1e-9), (_HEIGHT - 2 * _MARGIN) / top_mib
    points = (
        " ".join(f"{_MARGIN + s.time_s * across:.1f},{_HEIGHT - _MARGIN - s.private_mib * up:.1f}" for s in life)
        for life in lives
    )
    texts = [(_MARGIN, _MARGIN - 8, f"{top_mib:.0f} MiB"), (_WIDTH - 2 * _MARGIN, _HEIGHT - 12, f"{end_s / 60:.1f} min")]
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<path d="M{_MARGIN},{_MARGIN}V{_HEIGHT - _MARGIN}H{_WIDTH - _MARGIN}" fill="none" stroke="grey"/>',
        *(f'<polyline points="{line}" fill="none" stroke="steelblue"/>' for line in points),
        *(f'<text x="{x}" y="{y}">{text}</text>' for x, y, text in texts),
        "</svg>\n",
    ])  # fmt: skip
