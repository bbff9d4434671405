"""What the demo makes of the node's messages: lines about identities, a film and a contact sheet."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from panoptic_ros.core import MAX_INSTANCE, PanopticError
from panoptic_ros.node import stamp_ns
from panoptic_ros.tracker import MAX_NUMBER

SHEET_COLUMNS, SHEET_ROWS, SHEET_TILE_WIDTH = 3, 4, 512


@dataclass(slots=True)
class Identity:
    """A thing over time. Stamps are those of its first and last image; `scores` is a sum over `frames`."""

    name: str
    first_ns: int
    last_ns: int
    frames: int = 0
    scores: float = 0.0


class Identities:
    """Keeps the things with a track number that have been in Detection2DArray messages."""

    def __init__(self) -> None:
        self.frames = 0
        self.seen: dict[int, Identity] = {}
        self._begin_ns = 0

    def add(self, message: Any) -> None:
        now_ns = stamp_ns(message.header)
        self._begin_ns = self._begin_ns or now_ns
        self.frames += 1
        for number, detection in _tracked(message):
            best = detection.results[0].hypothesis
            identity = self.seen.setdefault(number, Identity(best.class_id, now_ns, now_ns))
            identity.last_ns = now_ns
            identity.frames += 1
            identity.scores += best.score

    def describe(self, message: Any) -> str:
        """The things in one message, each on a line, and the stuff on the first."""
        lines = [f"{(stamp_ns(message.header) - self._begin_ns) / 1e9:6.1f} s  {', '.join(_stuff(message)) or '-'}"]
        for number, detection in _tracked(message):
            best, box = detection.results[0].hypothesis, detection.bbox
            x0, y0 = box.center.position.x - box.size_x / 2, box.center.position.y - box.size_y / 2
            corners = f"({x0:.0f}, {y0:.0f}) to ({x0 + box.size_x:.0f}, {y0 + box.size_y:.0f})"
            lines.append(f"{'':10}#{number:<4} {best.class_id:14} score {best.score:.2f}  box {corners}")
        return "\n".join(lines)

    def summary(self) -> str:
        lines = [f"{len(self.seen)} identities in {self.frames} images:"]
        for number, thing in sorted(self.seen.items()):
            first_s, last_s = (thing.first_ns - self._begin_ns) / 1e9, (thing.last_ns - self._begin_ns) / 1e9
            lines.append(
                f"  #{number:<4} {thing.name:14} seen {first_s:5.1f} s to {last_s:5.1f} s, in {thing.frames} images, "
                f"mean score {thing.scores / thing.frames:.2f}"
            )
        return "\n".join(lines)


def _tracked(message: Any) -> Iterator[tuple[int, Any]]:
    """(track number, detection) of the confirmed things."""
    for detection in message.detections:
        number = int(detection.id) & MAX_INSTANCE
        if 0 < number <= MAX_NUMBER:
            yield number, detection


def _stuff(message: Any) -> list[str]:
    return [d.results[0].hypothesis.class_id for d in message.detections if not int(d.id) & MAX_INSTANCE]


class Film:
    """Collects frames, then writes them as a video of their own rate and as a sheet of a dozen of them."""

    def __init__(self) -> None:
        self._jpegs: list[bytes] = []
        self._stamps_ns: list[int] = []

    def add(self, stamp_ns: int, rgb: np.ndarray) -> None:
        """rgb: (H, W, 3) uint8."""
        self._jpegs.append(cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].tobytes())
        self._stamps_ns.append(stamp_ns)

    def __len__(self) -> int:
        return len(self._jpegs)

    def write_video(self, path: Path) -> None:
        """Frames of another size than the first are scaled to it. Raises PanopticError if the file cannot be written."""
        steps_ns = np.diff(self._stamps_ns)
        rate_hz = 1e9 / max(float(np.median(steps_ns)), 1e6) if len(steps_ns) else 10.0
        height, width = self._frame(0).shape[:2]
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate_hz, (width, height))
        if not writer.isOpened():
            raise PanopticError(f"cannot write the video {path}")
        for index in range(len(self)):
            writer.write(cv2.resize(self._frame(index), (width, height)))
        writer.release()

    def write_sheet(self, path: Path) -> None:
        """Evenly spaced frames with their times, row by row. Raises PanopticError if the file cannot be written."""
        chosen = np.linspace(0, len(self) - 1, SHEET_ROWS * SHEET_COLUMNS).round().astype(int)
        tiles = [self._tile(index) for index in chosen]
        height = max(tile.shape[0] for tile in tiles)
        tiles = [cv2.copyMakeBorder(t, 0, height - t.shape[0] + 4, 0, 4, cv2.BORDER_CONSTANT) for t in tiles]
        rows = [np.hstack(tiles[at : at + SHEET_COLUMNS]) for at in range(0, len(tiles), SHEET_COLUMNS)]
        if not cv2.imwrite(str(path), np.vstack(rows)):
            raise PanopticError(f"cannot write {path}")

    def _frame(self, index: int) -> np.ndarray:
        """(H, W, 3) uint8 BGR."""
        return cv2.imdecode(np.frombuffer(self._jpegs[index], np.uint8), cv2.IMREAD_COLOR)

    def _tile(self, index: int) -> np.ndarray:
        frame = self._frame(index)
        height = round(frame.shape[0] * SHEET_TILE_WIDTH / frame.shape[1])
        tile = cv2.resize(frame, (SHEET_TILE_WIDTH, height), interpolation=cv2.INTER_AREA)
        text = f"{(self._stamps_ns[index] - self._stamps_ns[0]) / 1e9:.1f} s"
        for color, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.putText(tile, text, (6, height - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.5, color, thickness, cv2.LINE_AA)
        return tile
