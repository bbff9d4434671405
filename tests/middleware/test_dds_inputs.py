"""What one camera of the node over DDS does with what has arrived on its topics."""

from collections import deque
from typing import Any

import pytest
from tiny_node import Pipeline, Published, image

from panoptic_ros.core import PanopticError
from panoptic_ros.health import WARN
from panoptic_ros.middleware import dds
from panoptic_ros.middleware.depth import Depths
from panoptic_ros.middleware.streams import Stream, Topics
from panoptic_ros.middleware.twins import Twins
from panoptic_ros.node import Counts, Node

RAW, DEPTH, INFO = "/image", "/depth", "/info"


class Reader:
    """Of messages, and of what is wrong with them, that wait in `arrived`."""

    arrived: dict[str, deque[Any]] = {}
    publishers = 1

    def __init__(self, _participant: Any, topic: str, *_: Any) -> None:
        self._queue = self.arrived[topic] = deque()

    def overflow(self) -> int:
        return 0

    def take(self) -> Any:
        message = self._queue.popleft() if self._queue else None
        if isinstance(message, PanopticError):
            raise message
        return message


def test_only_images_count_as_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Depth and calibration that cannot be read are said, and what comes after them is taken."""
    monkeypatch.setattr(dds, "Reader", Reader)
    depths, core = Depths(), Node(Pipeline(), Published(), RAW)
    inputs = dds._Inputs(None, Stream(Topics(RAW, DEPTH, INFO), core, None, depths, Twins(core.receive)), None)
    Reader.arrived[DEPTH] += [PanopticError("malformed Image"), image(7)]
    Reader.arrived[INFO].append(PanopticError("malformed CameraInfo"))
    inputs.pump()
    assert core.counts == Counts()
    report = core.report()
    assert (report.level, report.message) == (
        WARN, "dropped messages on /depth: malformed Image; dropped messages on /info: malformed CameraInfo"
    )  # fmt: skip
    assert [stamp for stamp, _ in depths._images] == [7_000_000_005]
    Reader.arrived[RAW] += [PanopticError("malformed Image"), image(7)]
    inputs.pump()
    assert core.counts == Counts(received=2, dropped_bad=1, pending=1)
