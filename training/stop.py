"""Ctrl-C and SIGTERM end a run after the step that is under way."""

import signal
from types import FrameType


class Stop:
    """While it is entered, the first signal sets `asked`, and a second one of Ctrl-C interrupts at once."""

    asked = False

    def __enter__(self) -> "Stop":
        self._before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True


def ignore_interrupts(_worker: int = 0) -> None:
    """For processes that load data: Ctrl-C in a terminal reaches them too, but it is the trainer that ends the run."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
