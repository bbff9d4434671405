"""Freed memory goes back to the system once images have another size, and only then."""

import platform
import subprocess
import sys

import pytest

from panoptic_ros.leftovers import DELAY_S, Leftovers

FREES_BLOCKS_BELOW_ONE_IN_USE = """
import resource, time
from pathlib import Path
import numpy as np
from panoptic_ros import leftovers

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() >> 20

blocks = [np.ones(64 << 10, np.uint8) for _ in range(2000)]
top, before = np.ones(64 << 10, np.uint8), resident()
del blocks
kept, leftovers.DELAY_S = resident(), 0
watched = leftovers.Leftovers()
watched.watch([(64, 96)])
watched.watch([(64, 96)])
print(before - kept, before - resident())
"""


class Clock:
    now = 5.0

    def __call__(self) -> float:
        return self.now


def test_it_is_given_back_once_after_each_change() -> None:
    clock, given_s = Clock(), []
    leftovers = Leftovers(lambda: given_s.append(clock.now), clock)
    for seconds, sizes in [
        (0, [None]),
        (2, [(4, 6)]),
        (2.5, [(4, 6)]),
        (3, [(4, 6)]),
        (4, [(4, 6)]),
        (6, [(8, 6)]),
        (6.5, [(9, 6)]),
    ]:
        clock.now = seconds
        leftovers.watch(sizes)
    assert given_s == [3]
    for clock.now in (6.5 + DELAY_S - 0.01, 6.5 + DELAY_S, 9):
        leftovers.watch([(9, 6)])
    assert given_s == [3, 6.5 + DELAY_S]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc, which alone has malloc_trim")
def test_blocks_below_one_in_use_are_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", FREES_BLOCKS_BELOW_ONE_IN_USE], capture_output=True, text=True, check=True)
    kept, after = map(int, done.stdout.split())
    assert kept < 20 and after > 100, "MiB of 125 given back before and after"
