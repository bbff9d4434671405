"""What the records of a soak must show, each as a function that names what they do not."""

from collections.abc import Sequence

import numpy as np

from panoptic_ros.health import ERROR, WARN
from tests.soak.ledger import Account
from tests.soak.records import Episode, Said

ANSWERED = 0.95
"""The least share of the images of calm time that is answered."""
_ENOUGH = 20
"""Images that such a share can be told of: one of them is no more than may be missing."""
CALM = "calm"
_NOT_MEASURED = ("camera_stalls", "stamps_go_back", "stamps_leap_ahead")
"""Nothing is sent before they are over; their accounts are of the way back."""

_SILENT = (ERROR, "no image")
_BAD = (WARN, "bad images")
NAMED: dict[str, Said] = {
    "camera_stalls": _SILENT, "camera_dies": _SILENT, "camera_returns_compressed": _SILENT,
    "damaged_images": _BAD, "damaged_compressed_images": _BAD,
}  # fmt: skip
"""The least level, and a part of the message, of what the node has to say of a fault."""


def of_run(calm: Account, calm_ms: Sequence[float], episodes: Sequence[Episode], limit_ms: float) -> list[str]:
    """All that is judged at the end. calm_ms: latencies between the faults. limit_ms: of the 95th percentile."""
    found = answered(calm) + latency(CALM, calm_ms, calm.sent, limit_ms)
    for fault in sorted({episode.fault for episode in episodes}):
        those = [episode for episode in episodes if episode.fault == fault]
        latencies_ms = [value for episode in those for value in episode.latencies_ms]
        found += latency(fault, latencies_ms, sum(episode.account.sent for episode in those), limit_ms)
    return found


def answered(calm: Account) -> list[str]:
    """Whether the node keeps up with the camera when nothing is wrong; nearly, since other work may share the machine."""
    if calm.sent < _ENOUGH or calm.answered >= ANSWERED * calm.sent:
        return []
    share = f"{calm.answered / calm.sent:.1%} of {calm.sent} images"
    return [f"between faults {share} were answered, less than {ANSWERED:.0%}"]


def latency(fault: str, latencies_ms: Sequence[float], sent: int, limit_ms: float) -> list[str]:
    """Whether answers are of the newest image, not of one that waited in a queue. sent: images, in the account."""
    if not latencies_ms:
        return [f"{fault}: none of {sent} images was answered"] if sent >= _ENOUGH and fault not in _NOT_MEASURED else []
    p95_ms = float(np.percentile(latencies_ms, 95))
    return [f"{fault}: latency p95 is {p95_ms:.0f} ms, more than {limit_ms:.0f} ms"] if p95_ms > limit_ms else []


def said(episode: Episode) -> list[str]:
    """Whether the node's diagnostics spoke of the fault: of silence while it lasts, since the soak's own rests are silent too;
    of a bad image in its next report, which may come after the fault."""
    if episode.fault not in NAMED:
        return []
    level, part = NAMED[episode.fault]
    heard = episode.said if level == ERROR else episode.said + episode.said_after
    if any(said[0] >= level and part in said[1] for said in heard):
        return []
    return [f"no status of level {level} or more had {part!r} in it, but: {sorted(set(heard))}"]
