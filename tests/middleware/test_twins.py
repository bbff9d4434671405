"""A camera that offers its images raw and compressed: each of them is handed over once, in the order of their stamps."""

import time
from typing import Any

import pytest

from panoptic_ros.middleware import dds_types as types
from panoptic_ros.middleware.messages import header_at
from panoptic_ros.middleware.twins import Twins


class Handed:
    """`stamps_ms` of what was handed over, in order."""

    def __init__(self) -> None:
        self.stamps_ms: list[int] = []
        self.twins = Twins(lambda message: self.stamps_ms.append(message.header.stamp.nanosec // 1_000_000))

    def raw(self, *stamps_ms: int) -> None:
        for ms in stamps_ms:
            self.twins.receive_raw(image(ms))

    def compressed(self, *stamps_ms: int) -> None:
        for ms in stamps_ms:
            self.twins.receive_compressed(image(ms))


def image(ms: int) -> Any:
    return types.Image(header_at(types, ms * 1_000_000), 1, 1, "mono8", 0, 1, b"0")


@pytest.fixture
def handed() -> Handed:
    return Handed()


def test_a_slow_camera_is_answered_once_whichever_topic_comes_first(handed: Handed) -> None:
    for ms in (100, 200):
        handed.raw(ms)
        handed.compressed(ms)
    for ms in (300, 400):
        handed.compressed(ms)
        handed.raw(ms)
    assert handed.stamps_ms == [100, 200, 300, 400]


def test_time_does_not_go_back_when_the_other_topic_takes_over(handed: Handed) -> None:
    handed.compressed(100, 133, 166)
    handed.raw(133, 166, 200)
    handed.compressed(150, 233)
    assert handed.stamps_ms == [100, 133, 166, 200, 233]


def test_on_one_topic_every_image_counts(handed: Handed) -> None:
    """What is older there is the tracker's business: a bag that loops, or is sent again."""
    handed.raw(100, 100, 50)
    assert handed.stamps_ms == [100, 100, 50]


def test_what_is_far_behind_starts_anew(handed: Handed) -> None:
    handed.twins.receive_raw(types.Image(header_at(types, 7_000_000_000), 1, 1, "mono8", 0, 1, b"0"))
    handed.compressed(500)
    assert handed.stamps_ms == [0, 500]


def test_images_without_a_stamp_cannot_be_told_apart(handed: Handed) -> None:
    handed.raw(0)
    handed.compressed(0, 0)
    assert handed.stamps_ms == [0, 0, 0]


def test_raw_images_are_silent_after_a_second(handed: Handed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that were not handed over."""
    assert handed.twins.raw_is_silent
    handed.compressed(100)
    handed.raw(100)
    now_s = time.monotonic()
    for later_s, silent in ((0.9, False), (1.1, True)):
        monkeypatch.setattr(time, "monotonic", lambda at_s=now_s + later_s: at_s)
        assert handed.twins.raw_is_silent == silent
