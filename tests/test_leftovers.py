"""Freed memory goes back to the system once images have another size, and only then."""

import platform
import subprocess
import sys

import pytest

from panoptic_ros.leftovers import DELAY_S, Leftovers

BEGIN = """
import resource, time
from pathlib import Path
from threading import Thread
import numpy as np
from panoptic_ros import leftovers

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() >> 20
"""
FREES_BLOCKS_BELOW_ONE_IN_USE = """
blocks = [np.ones(64 << 10, np.uint8) for _ in range(2000)]
top, before = np.ones(64 << 10, np.uint8), resident()
del blocks
"""
FREES_AN_IMAGE_IN_A_THREAD = """
leftovers.share_one_arena()
np.ones(30 << 20, np.uint8)  # malloc learns that blocks of this size are freed, and keeps them from now on
before = resident() + 25
thread = Thread(target=lambda: np.ones(25 << 20, np.uint8))
thread.start()
thread.join()
"""
END = """
kept, leftovers.DELAY_S = resident(), 0
leftovers.Leftovers().watch([(64, 96)])
print(before - kept, before - resident())
"""


class Clock:
    now = 5.0

    def __call__(self) -> float:
        return self.now


def given_s(sizes_at_s: list[tuple[float, tuple[int, int]]]) -> list[float]:
    """When it is given back."""
    clock, found = Clock(), []
    leftovers = Leftovers(lambda: found.append(clock.now), clock)
    for clock.now, size in sizes_at_s:
        leftovers.watch([size])
    return found


def test_it_is_given_back_once_after_each_change() -> None:
    small, large = (4, 6), (8, 6)
    assert DELAY_S == 1
    times = [(2, small), (2.9, small), (3, small), (9, small), (9.5, large), (10.4, large), (11, large), (15, large)]
    assert given_s(times) == [3, 11]


def test_it_is_given_back_while_sizes_change_all_the_time() -> None:
    assert given_s([(second / 2, (second, 6)) for second in range(1, 10)]) == [1.5, 3.0, 4.5]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc, which alone has malloc_trim")
@pytest.mark.parametrize(("frees", "mib"), [(FREES_BLOCKS_BELOW_ONE_IN_USE, 125), (FREES_AN_IMAGE_IN_A_THREAD, 25)])
def test_what_malloc_keeps_is_given_back(frees: str, mib: int) -> None:
    program = BEGIN + frees + END
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    kept, after = map(int, done.stdout.split())
    assert kept < 0.2 * mib and after > 0.8 * mib, "MiB given back before and after"
