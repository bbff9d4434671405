"""The images of a camera that offers them raw and compressed, each of them once."""

import time
from collections.abc import Callable
from typing import Any

from panoptic_ros.node import stamp_ns

_TWIN_S = 1.0
"""For as long as this after a raw image, the compressed ones are its twins. A camera that died still counts as a publisher."""


class Twins:
    """Hands images of both topics over to `receive`, but none that the other topic has overtaken, by their stamps.

    One that is behind by more than _TWIN_S starts anew: a bag that loops, a clock that was set back. Belongs to one thread.
    """

    def __init__(self, receive: Callable[[Any], None]) -> None:
        self._receive = receive
        self._raw_came_s = -_TWIN_S
        self._last_ns, self._last_raw = 0, True

    @property
    def raw_is_silent(self) -> bool:
        """For so long that the compressed images have to speak for it."""
        return time.monotonic() - self._raw_came_s >= _TWIN_S

    def receive_raw(self, message: Any) -> None:
        self._raw_came_s = time.monotonic()
        self._hand_over(message, True)

    def receive_compressed(self, message: Any) -> None:
        self._hand_over(message, False)

    def _hand_over(self, message: Any, raw: bool) -> None:
        at_ns = stamp_ns(message.header)
        behind_ns = self._last_ns - at_ns
        if at_ns and raw != self._last_raw and 0 <= behind_ns < _TWIN_S * 1e9:
            return
        self._last_ns, self._last_raw = at_ns, raw
        self._receive(message)
