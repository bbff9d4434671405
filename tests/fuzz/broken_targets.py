"""Readers with every kind of fault, for the tests of the command itself."""

import ctypes
import time
from pathlib import Path

import numpy as np

from panoptic_ros.core import PanopticError
from tests.fuzz.mutation import octets
from tests.fuzz.target import Target


class Wordy(PanopticError):
    """Says more than it was given."""

    def __str__(self) -> str:
        return "x" * 5000


def faulty(data: bytes, _: Path) -> None:
    """Stands for a reader with each kind of fault, by its first byte."""
    if data[0] == 1:
        raise PanopticError("refused")
    if data[0] == 2:
        raise IndexError("no such index")
    if data[0] == 4:
        raise SystemExit
    if data[0] == 5:
        try:
            raise MemoryError
        except MemoryError as error:
            raise PanopticError("too large") from error
    if data[0] == 6:
        raise Wordy("refused")


def hungry(data: bytes, _: Path) -> None:
    """Takes as many times 100 MiB as its first byte says."""
    np.ones(data[0] * 100 << 20, np.uint8)


def deadly(data: bytes, _: Path) -> None:
    if data == b"die":
        ctypes.string_at(0)
    if data == b"hang":
        time.sleep(60)


TARGETS = (
    Target("deadly", lambda: [b"live", b"die", b"live", b"hang", b"live"], deadly, octets),
    Target("faulty", lambda: [b"\0", b"\2"], faulty, octets),
)
