"""The planner of the soak: reads what the node publishes, and checks what one answer by itself can show."""

import time
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np

from panoptic_ros.core import Label
from panoptic_ros.middleware import dds_types as types
from panoptic_ros.middleware.dds_endpoints import SYSTEM_DEFAULT, Reader
from panoptic_ros.middleware.dds_participant import Participant
from panoptic_ros.node import Counts, stamp_ns
from panoptic_ros.tracker import MAX_NUMBER
from tests.soak.camera import FRAME_ID
from tests.soak.records import Said

_COMPARE_PERIOD_S = 0.5

OnAnswer = Callable[[int, int, list[tuple[int, int]]], None]
"""Number of the image, its stamp, and category and number of each confirmed thing."""


class Planner:
    """Hands every answer on, and keeps the newest diagnostics: `counts`, when they were made, and what they said.

    on_image: told of every label image. complain: of what an answer or the diagnostics show to be wrong. `sizes` are those of
    the images sent, by number.
    """

    def __init__(
        self,
        participant: Participant,
        labels: tuple[Label, ...],
        on_answer: OnAnswer,
        on_image: Callable[[], None],
        complain: Callable[[str], None],
    ) -> None:
        self.counts = Counts()
        self.reported_ns = 0
        self.sizes: dict[int, tuple[int, int]] = {}
        self._things = frozenset(label.id for label in labels if label.thing)
        self._on_answer, self._note_image, self._complain = on_answer, on_image, complain
        self._said: list[Said] = []
        self._values: dict[int, set[int]] = {}
        self._compared_s = 0.0
        self._readers: list[tuple[Reader[Any], Callable[[Any], None]]] = [
            (Reader(participant, "/panoptic/segments", types.Detection2DArray, SYSTEM_DEFAULT), self._on_segments),
            (Reader(participant, "/panoptic/image", types.Image, SYSTEM_DEFAULT), self._on_image),
            (Reader(participant, "/diagnostics", types.DiagnosticArray, SYSTEM_DEFAULT), self._on_diagnostics),
        ]

    def take(self) -> None:
        """All there is."""
        for reader, handle in self._readers:
            while (message := reader.take()) is not None:
                handle(message)

    def hear(self) -> tuple[Said, ...]:
        """What the diagnostics said since the last call."""
        said, self._said = tuple(self._said), []
        return said

    def _on_segments(self, message: Any) -> None:
        number = number_of(message)
        values = [int(detection.id) for detection in message.detections]
        self._values = {number: set(values)}  # the image comes after it
        things = [(value >> 16, value & 0xFFFF) for value in values if value >> 16 in self._things]
        self._on_answer(number, stamp_ns(message.header), [thing for thing in things if thing[1] <= MAX_NUMBER])

    def _on_image(self, message: Any) -> None:
        """The size is that of the image sent; its values are those of the segments, which is looked at now and then."""
        self._note_image()
        number = number_of(message)
        expected = self.sizes.pop(number, None)
        if expected is not None and (message.height, message.width) != expected:
            self._complain(f"an image of {expected} was answered with {message.height}x{message.width} pixels")
        if number in self._values and time.monotonic() - self._compared_s > _COMPARE_PERIOD_S:
            self._compared_s = time.monotonic()
            found = set(np.unique(np.frombuffer(message.data, "<i4")).tolist()) - {0}
            if found != self._values[number]:
                self._complain(f"image {number} and its segments differ in {sorted(found ^ self._values[number])}")

    def _on_diagnostics(self, message: Any) -> None:
        status = message.status[0]
        values = {pair.key: pair.value for pair in status.values}
        self.counts = Counts(**{field.name: int(values[field.name]) for field in fields(Counts)})
        self.reported_ns = stamp_ns(message.header)
        self._said.append((status.level, status.message))
        c = self.counts
        if c.received != c.answered + c.dropped_newer + c.dropped_bad + c.pending:
            self._complain(f"the node's counts do not add up: {c}")


def number_of(answer: Any) -> int:
    """Of the image that it answers."""
    return int(answer.header.frame_id.removeprefix(FRAME_ID))
