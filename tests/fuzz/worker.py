"""The process that runs the inputs, and may die of them. Whoever started it reads how far it is from a file that both map."""

import argparse
import contextlib
import io
import mmap
import os
import resource
import struct
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from panoptic_ros.commands.machine import peak_bytes
from panoptic_ros.core import PanopticError
from tests.fuzz.target import Target, case, find

MIB = 1 << 20
MAX_MEMORY = 768 * MIB
"""That one input may take on top of what was there: the largest picture takes 192 MiB, and some copies."""
MAX_TEXT = 4096
"""Characters of what a refusal says: it goes to logs and diagnostics, once for each image."""
MAX_GROWTH = 64 * MIB
"""That memory may grow by from the first tenth of the inputs to the last."""
_ADDRESSES = 4096 * MIB
"""Beyond what was there, memory is not even given, so that the machine survives what this is to find."""


@dataclass
class Status:
    """number: of the input that runs, -1 for none. begun_s: when, by the monotonic clock. memory: resident bytes."""

    number: int = -1
    begun_s: float = 0.0
    taken: int = 0
    refused: int = 0
    memory_early: int = 0
    memory: int = 0

    _FORM = struct.Struct("<qdqqqq")

    def write(self, shared: mmap.mmap) -> None:
        fields = self.number, self.begun_s, self.taken, self.refused, self.memory_early, self.memory
        shared[: self._FORM.size] = self._FORM.pack(*fields)

    @classmethod
    def read(cls, file: Path) -> "Status":
        return cls(*cls._FORM.unpack(file.read_bytes()))

    @classmethod
    def create(cls, file: Path) -> Path:
        file.write_bytes(cls._FORM.pack(-1, 0.0, 0, 0, 0, 0))
        return file


def fault_of(target: Target, data: bytes, folder: Path) -> str:
    """What is wrong with how the target took `data`; "" if it returned, "refused" if it raised PanopticError."""
    before = _fresh_peak()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            target.run(data, folder)
        outcome = ""
    except PanopticError as error:
        outcome = _fault_of_refusal(error, target.greedy) or "refused"
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too: an input must not end the process
        frame = traceback.extract_tb(error.__traceback__)[-1]
        outcome = f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}: {str(error)[:200]}"
    grown = peak_bytes() - before
    return f"{grown // MIB} MiB of memory" if grown > MAX_MEMORY else outcome


def _fault_of_refusal(error: PanopticError, greedy: bool) -> str:
    if not greedy and _out_of_memory(error):
        return "MemoryError behind a PanopticError"
    text = str(error)
    return f"a refusal of {len(text)} characters: {text[:100]}" if len(text) > MAX_TEXT else ""


def _out_of_memory(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _fresh_peak() -> int:
    """Bytes that this process holds, from where `peak_bytes` starts anew; else one large input would hide those after it."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_bytes()


def _pages() -> tuple[int, int]:
    """Bytes of addresses, and of memory."""
    total, resident, *_ = Path("/proc/self/statm").read_text().split()
    return int(total) * mmap.PAGESIZE, int(resident) * mmap.PAGESIZE


def work(target: Target, seed: int, numbers: range, status_file: Path, found: Path) -> None:
    """Runs the inputs of these numbers. One that fails is written to `found`, with a second file that says why."""
    seeds, status = target.seeds(), Status()
    with tempfile.TemporaryDirectory() as folder, status_file.open("r+b") as file, mmap.mmap(file.fileno(), 0) as shared:
        for number in numbers:
            data = case(target, seeds, seed, number)
            status.number, status.begun_s = number, time.monotonic()
            status.write(shared)
            fault = fault_of(target, data, Path(folder))
            status.taken += not fault
            status.refused += fault == "refused"
            if fault not in ("", "refused"):
                save(found, target, number, data, fault)
            if number == numbers[len(numbers) // 10]:
                status.memory_early = status.memory = _pages()[1]
            elif status.memory and (number % 256 == 0 or number == numbers[-1]):
                status.memory = _pages()[1]
        status.number = -1
        status.write(shared)


def save(found: Path, target: Target, number: int, data: bytes, fault: str) -> None:
    found.mkdir(parents=True, exist_ok=True)
    (found / f"{target.name}_{number}.bin").write_bytes(data)
    (found / f"{target.name}_{number}.txt").write_text(fault + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("target", "status", "found"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("seed", "first", "end"):
        parser.add_argument(f"--{name}", type=int, required=True)
    args = parser.parse_args()
    target = find(args.target)
    target.seeds()  # imports what it imports before memory is limited
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())  # codecs talk a lot
    resource.setrlimit(resource.RLIMIT_AS, (_pages()[0] + _ADDRESSES,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    work(target, args.seed, range(args.first, args.end), Path(args.status), Path(args.found))


if __name__ == "__main__":
    main()
