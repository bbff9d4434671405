"""Memory that is free but still this process's: given back to the system when images have changed their size."""

import ctypes
import time
from collections.abc import Callable

_M_ARENA_MAX = -8
"""Of glibc's malloc.h."""
DELAY_S = 1.0
"""After a change, until nothing of the images before it is in use."""


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
    """malloc keeps the pages of freed images for the next ones, which fit in badly when they are of another size: each change
    would leave some tens of MiB more or less behind, and so does the start. Giving them back takes milliseconds, so it is
    not done while sizes stay the same.

    trim: what gives back. now_s: a clock.
    """

    def __init__(self, trim: Callable[[], None] = _trim, now_s: Callable[[], float] = time.monotonic) -> None:
        self._trim, self._now_s = trim, now_s
        self._sizes: object = None
        self._changed_s: float | None = None

    def watch(self, sizes: object) -> None:
        """To be called now and then with the sizes of the images, whatever they are compared as."""
        if sizes != self._sizes and self._changed_s is None:
            self._changed_s = self._now_s()
        self._sizes = sizes
        if self._changed_s is not None and self._now_s() - self._changed_s >= DELAY_S:
            self._changed_s = None
            self._trim()
