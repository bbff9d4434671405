"""Where compiled plans are kept. A plan is executable code, so only what this user wrote on this machine is ever opened.

The name of a plan holds all that it depends on; a plan for anything else has another name, and is never found by mistake.
"""

import fcntl
import hashlib
import json
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from panoptic_ros.core import PanopticError
from panoptic_ros.variant import write_atomically

LONGEST_WAIT_S = 3600.0
"""For another process that builds the same plan."""


def default_folder() -> Path:
    """$PANOPTIC_ROS_CACHE, or panoptic_ros in the user's cache folder."""
    configured = os.environ.get("PANOPTIC_ROS_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(configured) if configured else Path(home) / "panoptic_ros"


def plan_file(folder: Path, name: str, depends_on: Mapping[str, object]) -> Path:
    """Where the plan of model `name` lies that depends on exactly these things: hash of the graph, versions, GPU, size ..."""
    key = hashlib.sha256(json.dumps(depends_on, sort_keys=True, default=str).encode()).hexdigest()[:32]
    return folder / f"{name}-{key}.plan"


def cached(file: Path, build: Callable[[], bytes], log: Callable[[str], None], force: bool = False) -> bytes:
    """The plan in `file`, built first if it is missing, was altered or was cut short, or with `force`.

    Of several processes one builds and the others wait for it; if it dies, its lock goes with it and the next one builds.
    Raises PanopticError where nothing can be kept, or after LONGEST_WAIT_S.
    """
    private_folder(file.parent)
    with _lock(file.with_suffix(".lock"), log):
        for left in file.parent.glob(f".{file.name}.*"):  # by a process that was killed while it wrote
            left.unlink()
        plan = None if force else read(file, log)
        if plan is None:
            plan = build()
            write(file, plan)
    return plan


def write(file: Path, data: bytes) -> None:
    """With the hash by which `read` knows that it is whole. Raises PanopticError where it cannot be written."""
    write_atomically(file, hashlib.sha256(data).hexdigest().encode() + b"\n" + data)


def read(file: Path, log: Callable[[str], None]) -> bytes | None:
    """What was written to a file that is whole; None if there is none."""
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PanopticError(f"cannot read {file}: {error.strerror}") from error
    digest, _, data = content.partition(b"\n")
    if hashlib.sha256(data).hexdigest().encode() != digest:
        log(f"{file} was altered or is incomplete; it is built again")
        return None
    return data


def private_folder(folder: Path) -> None:
    """Make the folder. Raises PanopticError if anyone else could have put a plan there."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        status = folder.stat()
    except OSError as error:
        raise PanopticError(f"cannot make the cache folder {folder}: {error.strerror}") from error
    if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PanopticError(
            f"the cache folder {folder} can be written by others, and a plan is executable code: "
            f"run `chmod go-w {folder}` as its owner, or set PANOPTIC_ROS_CACHE to a folder of your own"
        )


@contextmanager
def _lock(file: Path, log: Callable[[str], None]) -> Iterator[None]:
    """Held by one process at a time; the system frees it when that process ends, however it ends."""
    with file.open("w") as handle:
        started = time.monotonic()
        told = False
        while not _try_lock(handle.fileno()):
            if not told:
                log(f"another process is building {file.with_suffix('.plan').name}; waiting for it")
                told = True
            if time.monotonic() - started > LONGEST_WAIT_S:
                raise PanopticError(f"{file} has been locked for {LONGEST_WAIT_S:.0f} s by a build that does not end")
            time.sleep(0.2)
        yield


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
