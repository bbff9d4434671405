"""Freed memory goes back to the system, every few seconds."""

import platform
import subprocess
import sys

import pytest

from panoptic_ros.leftovers import PERIOD_S, Leftovers

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
kept, leftovers.PERIOD_S = resident(), 0
leftovers.Leftovers().give_back()
print(before - kept, before - resident())
"""


def test_it_is_given_back_every_few_seconds() -> None:
    now_s, given = [100.0], []
    leftovers = Leftovers(lambda: given.append(now_s[0]), lambda: now_s[0])
    for now_s[0] in (100.0, 100.1 + PERIOD_S, 100.2 + PERIOD_S, 99.9 + 2 * PERIOD_S, 100.1 + 2 * PERIOD_S, 200.0 + PERIOD_S):
        leftovers.give_back()
    assert given == [100.1 + PERIOD_S, 100.1 + 2 * PERIOD_S, 200.0 + PERIOD_S]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc, which alone has malloc_trim")
@pytest.mark.parametrize(("frees", "mib"), [(FREES_BLOCKS_BELOW_ONE_IN_USE, 125), (FREES_AN_IMAGE_IN_A_THREAD, 25)])
def test_what_malloc_keeps_is_given_back(frees: str, mib: int) -> None:
    program = BEGIN + frees + END
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    kept, after = map(int, done.stdout.split())
    assert kept < 0.2 * mib and after > 0.8 * mib, "MiB given back before and after"
