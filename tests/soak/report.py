"""The report of a soak: Markdown, and the memory as a picture beside it."""

import shlex
from collections.abc import Sequence
from datetime import date
from math import isnan, nan
from pathlib import Path

import numpy as np

from panoptic_ros.commands.machine import describe_machine
from panoptic_ros.health import OK
from tests.soak.judgements import ANSWERED, NAMED
from tests.soak.ledger import Account
from tests.soak.memory import Sample
from tests.soak.records import GROWTH, Episode, Life
from tests.soak.soak import FORGOTTEN_S, WEIGHED_S, Soak

_WIDTH, _HEIGHT, _MARGIN = 640, 160, 40
_ACCOUNT = ("sent", "received", "answered", "images", "dropped_newer", "dropped_bad")
_FAULT = (
    "fault", "times", "recovery ms: median", "worst", "latency ms: p50", "p95", "worst", *_ACCOUNT, "outside", "the node said",
)  # fmt: skip
_LIFE = (
    "life", "minutes", "start-up s", "respawn s", "identities", "weighed", "MiB first", "highest later", "growth", "at any time",
    "resident",
)  # fmt: skip
_NOTHING = "-"
"""Where nothing was measured."""


def write(file: Path, soak: Soak, arguments: Sequence[str], note: str = "") -> None:
    """The report of a soak that is finished. note: a paragraph of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    picture = file.with_suffix(".svg")
    picture.write_text(curve([life.samples for life in soak.lives]))
    lines = [
        "# Soak: faults injected into a running node",
        f"`python -m tests.soak {shlex.join(arguments)}`, {date.today()}: {soak.end_s / 60:.1f} minutes, "
        f"{len(soak.episodes)} faults in random order, a camera of {soak.settings.rate_hz:g} Hz and a planner.",
        f"Machine: {', '.join(f'{key} {value}' for key, value in describe_machine().items())} (at the end).",
        f"Node: {soak.node.description}.",
        verdict(soak.faults, [life.minutes for life in soak.lives if len(life.weights_mib) > 1]),
        *([note] if note else []),
        "## Faults",
        *table(_FAULT, [_calm(soak), *(_fault(name, soak.episodes) for name in sorted({e.fault for e in soak.episodes}))]),
        *_explained(soak),
        "## Lives of the node",
        *table(_LIFE, [_life(number, life) for number, life in enumerate(soak.lives, 1)]),
        "Start-up: from starting the process, which compiles the engine, to its listening. Respawn: from SIGKILL for the life "
        "before to the first answer of this one, the pause before it is started and the start-up in it; no limit is set for it. "
        "Memory: what the process has written and nobody shares; "
        f"median of {WEIGHED_S:g} s of plain operation after each whole round of faults, {FORGOTTEN_S:g} s "
        f"after the last of them; the highest after the first is at most {GROWTH:.0%} above it. At any time: the most; a "
        "subscriber that lags or has died keeps up to ten answers of each topic in the node. Resident: all of the process in "
        "memory at the end.",
        f"![Private memory over time]({picture.name})",
    ]
    file.write_text("\n\n".join(lines).replace("|\n\n|", "|\n|") + "\n")


def verdict(faults: Sequence[str], weighed_minutes: Sequence[float]) -> str:
    """What was found that must not be. weighed_minutes: of the lives whose memory could be judged."""
    if faults:
        return "\n".join([f"**Violations: {len(faults)}**", "", *(f"- {fault}" for fault in faults)])
    memory = f"memory over {max(weighed_minutes):.0f} minutes of one life" if weighed_minutes else "memory was not judged"
    return (
        "**No violation**: no crash, no image of the account missing, no number used twice, each fault that the node has to name "
        f"named; the share answered, latency and recovery in their limits; {memory}."
    )


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Lines of Markdown."""
    return [f"| {' | '.join(map(str, row))} |" for row in (head, ["---"] * len(head), *rows)]


def _explained(soak: Soak) -> list[str]:
    """What the table of faults means, a paragraph each."""
    settings = soak.settings
    return [
        _rate(soak),
        _outside(soak.episodes),
        f"Recovery: from the end of a fault to the first answer to an image sent after it; at most {settings.recovery_s:g} s. "
        "A node that was killed is back, by that count, when it says that it listens: its respawn is in the table of lives. "
        "Latency: from ordering an image of the camera's process to having its segments, of the images sent during the fault, "
        f"over all its times; p95 at most {settings.latency_ms:g} ms, since the newest image is answered and the others wait for "
        "nothing. Sent is what the camera was ordered to send, and has to be what the node counts as received: "
        "answered, dropped for a newer one, or dropped as bad. It is counted with the node at rest, of a fault and the way back "
        "from it. Images: label images that came; one for each answer.",
        f"Stamps: those of the images jump, not the clock of the machine. Memory pressure: another process takes "
        f"{settings.memory_bytes >> 20} MiB or half of what is free, whichever is less, and leaves the other half free.",
    ]


def _rate(soak: Soak) -> str:
    """What was really sent, and how much of it was answered."""
    calm, rate = soak.calm, soak.settings.rate_hz
    share = f"{calm.answered / calm.sent:.2%}" if calm.sent else _NOTHING
    calm_hz = f"{calm.sent / soak.calm_s:.1f}" if soak.calm_s else _NOTHING
    return (
        f"Sent: {soak.number} images, {soak.number / soak.end_s:.1f} Hz on average over the whole run, in which the camera "
        f"is silent for some faults and while accounts are closed; {calm_hz} Hz between faults, of nominally {rate:g} Hz. "
        f"Answered between faults: {share}, at least {ANSWERED:.0%}."
    )


def _outside(episodes: Sequence[Episode]) -> str:
    """What no account knows of."""
    without = sum(not episode.account.sent for episode in episodes)
    return (
        f"Outside: {sum(episode.outside for episode in episodes)} images were sent while a process ended, started or was not "
        f"discovered yet, so nobody can say what has to become of them; {without} of {len(episodes)} faults have no account at "
        f"all. {_NOTHING}: nothing was measured."
    )


def _calm(soak: Soak) -> list[object]:
    return ["none, between them", "", "", "", *_latency(soak.calm_ms), *_numbers(soak.calm), "", ""]


def _fault(name: str, episodes: Sequence[Episode]) -> list[object]:
    those = [episode for episode in episodes if episode.fault == name]
    recoveries = sorted(episode.recovery_s * 1e3 for episode in those)
    account = sum((episode.account for episode in those), Account())
    return [
        name.replace("_", " "), len(those), f"{recoveries[len(those) // 2]:.0f}", f"{recoveries[-1]:.0f}",
        *_latency([value for episode in those for value in episode.latencies_ms]), *_numbers(account),
        sum(episode.outside for episode in those), _said(those),
    ]  # fmt: skip


def _latency(latencies_ms: Sequence[float]) -> list[str]:
    """Median, 95th percentile and worst."""
    return [f"{value:.0f}" for value in np.percentile(latencies_ms, (50, 95, 100))] if latencies_ms else [_NOTHING] * 3


def _numbers(account: Account) -> list[object]:
    measured = account.sent or account.received
    return [getattr(account, name) if measured else _NOTHING for name in _ACCOUNT]


def _said(episodes: Sequence[Episode]) -> str:
    """What names the fault, else the worst while it lasted."""
    part = NAMED.get(episodes[0].fault, (OK, ""))[1]
    during = [said for episode in episodes for said in episode.said if said[0] > OK]
    naming = [said for episode in episodes for said in episode.said + episode.said_after if part and part in said[1]]
    return max(naming or during, key=lambda said: (said[0], len(said[1])), default=(OK, ""))[1]


def _life(number: int, life: Life) -> list[object]:
    first, *later = life.weights_mib or [nan]
    growth = f"{life.growth:+.1%}" if later else "too short to say"
    seen = life.samples or [Sample(0.0, nan, nan)]
    return [
        number, f"{life.minutes:.1f}", f"{life.start_up_s:.1f}", _known(life.respawn_s), len(life.identities),
        len(life.weights_mib), _known(first), _known(max(later, default=nan)), growth,
        _known(max(sample.private_mib for sample in seen)), _known(seen[-1].resident_mib, digits=0),
    ]  # fmt: skip


def _known(value: float, digits: int = 1) -> str:
    return _NOTHING if isnan(value) else f"{value:.{digits}f}"


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
