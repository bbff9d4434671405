"""Memory that is free but still this process's: given back to the system every few seconds."""

import ctypes
import time
from collections.abc import Callable

_M_ARENA_MAX = -8
"""Of glibc's malloc.h."""
PERIOD_S = 5.0


def share_one_arena() -> None:
    """For the first lines of a program. glibc's malloc gives threads arenas of their own, whose free ends nothing trims."""
    _call_glibc("mallopt", _M_ARENA_MAX, 1)


def _trim() -> None:
    _call_glibc("malloc_trim", 0)


def _call_glibc(name: str, *arguments: int) -> None:
    """Nothing where the C library is another one; those keep less."""
    function = getattr(ctypes.CDLL(None), name, None)
    if function is not None:
        function(*arguments)


class Leftovers:
    """malloc keeps the pages of what was freed for the next of its kind. Images of another size, messages kept for subscribers
    that stop reading, and the start leave some MiB behind each, and with one arena a trim reaches all of them.

    trim: what gives back. now_s: a clock.
    """

    def __init__(self, trim: Callable[[], None] = _trim, now_s: Callable[[], float] = time.monotonic) -> None:
        self._trim, self._now_s, self._given_s = trim, now_s, now_s()

    def give_back(self) -> None:
        """To be called now and then; nothing within PERIOD_S of the last time."""
        now_s = self._now_s()
        if now_s - self._given_s >= PERIOD_S:
            self._given_s = now_s
            self._trim()
