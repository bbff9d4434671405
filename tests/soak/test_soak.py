"""The soak itself, for less than a minute: every fault once on a node with the tiny engine, and a node that does crash."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from dds_client import environment

from tests.soak.faults import FAULTS

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


@contextmanager
def soak(tiny_folder: Path, out: Path, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    place = ["--model", str(tiny_folder), "--report", str(out / "soak.md"), "--log", str(out / "soak.log")]
    brief = ["--minutes", "0.01", "--hold", "0.4", "--rate", "15", "--memory-mib", "256", "--recovery", "5"]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.soak", *place, *brief, *arguments],
        cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def test_every_fault_once(tiny_folder: Path, tmp_path: Path) -> None:
    with soak(tiny_folder, tmp_path) as process:
        said, _ = process.communicate(timeout=600)
    assert process.returncode == 0, said
    text = (tmp_path / "soak.md").read_text()
    assert "**No violation**" in text
    times = dict(re.findall(r"^\| ([a-z ]+) \| (\d+) \|", text, re.M))
    assert times == {fault.__name__.replace("_", " "): "1" for fault in FAULTS}
    assert re.findall(r"^\| ([12]) \| ", text, re.M) == ["1", "2"]  # lives: one was ended
    assert (tmp_path / "soak.svg").read_text().count("<polyline") == 2


def test_memory_is_weighed_after_each_round(tiny_folder: Path, tmp_path: Path) -> None:
    with soak(tiny_folder, tmp_path, "--only", "camera_stalls", "--minutes", "0.7") as process:
        said, _ = process.communicate(timeout=200)
    life = re.search(r"^\| 1 \|.*?\| (\d+) \| ([\d.]+) \| ([\d.]+) \| ([-+][\d.]+)% \|", said, re.M)
    assert life is not None, said
    count, first, highest, growth = map(float, life.groups())
    assert count == 2 and first > 20 and growth == pytest.approx(100 * (highest / first - 1), abs=0.4)


def test_a_crash_is_found(tiny_folder: Path, tmp_path: Path) -> None:
    """The node gets a signal that the soak does not know of."""
    log, deadline_s = tmp_path / "soak.log", time.monotonic() + 60
    with soak(tiny_folder, tmp_path, "--only", "camera_stalls") as process:
        while not log.exists() or "backend=" not in log.read_text():
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        os.kill(node_of(process.pid), signal.SIGSEGV)
        said, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "the node ended with status -11" in said and "**Violations: " in said


def test_a_node_that_does_not_start_is_named(tiny_folder: Path, tmp_path: Path) -> None:
    with soak(tiny_folder, tmp_path, "--node=--max-frames 0") as process:
        said, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "the node does not start" in said.splitlines()[-1] and "--max-frames 0 is not possible" in said


def node_of(pid: int) -> int:
    """The child of the soak that runs the node."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return next(int(child) for child in children if b"\0run\0" in Path(f"/proc/{child}/cmdline").read_bytes())
