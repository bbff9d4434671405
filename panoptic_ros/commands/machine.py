"""What a measurement was made on, and how steady it is."""

import os
import platform
from hashlib import pbkdf2_hmac
from pathlib import Path

import cv2
import numpy as np


def describe_machine() -> dict[str, str | int | float]:
    """CPU, usable cores, memory, operating system, the libraries' versions, and how busy the machine is already."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(pages / (1 << 30), 1),
        "os": platform.platform(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "load_average": round(os.getloadavg()[0], 2),
    }


def fixed_work() -> None:
    """About as long as a frame, the same at every call and on every machine, in this thread, without memory (PBKDF2).

    Where its calls differ, that is the machine: other processes, the clock of the core, or others' work on the same silicon,
    which may be that of a backend's threads that spin on.
    """
    pbkdf2_hmac("sha256", b"", b"", 80_000)


def resident_bytes() -> int:
    """Memory that this process holds (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def peak_bytes() -> int:
    """The most that this process has ever held (Linux); getrusage's would start from that of the process that started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def _cpu() -> str:
    """Arm boards have no model name in /proc/cpuinfo."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
