"""Plans are found by all that they depend on, written whole or not at all, and built by one process at a time."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from panoptic_ros import variant
from panoptic_ros.backends import plan_cache
from panoptic_ros.backends.plan_cache import cached, plan_file
from panoptic_ros.core import PanopticError

ROOT = Path(__file__).resolve().parents[2]
DEPENDS_ON = {"onnx": "aa", "precision": "fp16", "size": (256, 512), "tensorrt": "10.13.0", "gpu": "Orin", "architecture": 87}


class Builder:
    """Counts how often it was asked."""

    def __init__(self, plan: bytes = b"a plan") -> None:
        self.plan, self.count = plan, 0

    def __call__(self) -> bytes:
        self.count += 1
        return self.plan


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_a_plan_is_built_once(folder: Path) -> None:
    builder, file = Builder(), plan_file(folder, "hle", DEPENDS_ON)
    assert [cached(file, builder, print) for _ in range(3)] == [b"a plan"] * 3
    assert builder.count == 1
    assert cached(file, builder, print, force=True) == b"a plan"
    assert builder.count == 2


@pytest.mark.parametrize(
    "change",
    [{"onnx": "ab"}, {"precision": "int8"}, {"size": (512, 256)}, {"tensorrt": "11.0.0"}, {"gpu": "Thor"}, {"architecture": 89}],
)
def test_whatever_differs_gives_another_plan(folder: Path, change: dict) -> None:
    assert plan_file(folder, "hle", DEPENDS_ON) == plan_file(folder, "hle", dict(reversed(DEPENDS_ON.items())))
    assert plan_file(folder, "hle", DEPENDS_ON | change) != plan_file(folder, "hle", DEPENDS_ON)


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data[:20], lambda data: b"", lambda data: data + b"x"])
def test_a_damaged_plan_is_built_again_with_a_word_about_it(folder: Path, damage: object) -> None:
    said: list[str] = []
    builder, file = Builder(), plan_file(folder, "hle", DEPENDS_ON)
    cached(file, builder, said.append)
    file.write_bytes(damage(file.read_bytes()))
    assert cached(file, builder, said.append) == b"a plan"
    assert builder.count == 2
    assert said == [f"{file} was altered or is incomplete; it is built again"]


def test_a_plan_put_there_by_others_is_never_opened(folder: Path) -> None:
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    with pytest.raises(PanopticError, match="can be written by others, and a plan is executable code: run `chmod go-w"):
        cached(plan_file(folder, "hle", DEPENDS_ON), Builder(), print)


def test_a_build_that_fails_leaves_nothing(folder: Path) -> None:
    def fail() -> bytes:
        raise PanopticError("no room")

    file = plan_file(folder, "hle", DEPENDS_ON)
    with pytest.raises(PanopticError, match="no room"):
        cached(file, fail, print)
    assert list(folder.glob("*.plan")) == []
    assert cached(file, Builder(), print) == b"a plan"


def test_a_full_disk_is_said_and_leaves_no_half_plan(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(variant.os, "fsync", full)
    with pytest.raises(PanopticError, match=r"cannot write .*hle-\w+.plan .*No space left on device"):
        cached(plan_file(folder, "hle", DEPENDS_ON), Builder(), print)
    assert [path.suffix for path in folder.iterdir()] == [".lock"]


SLOW_BUILD = """
import sys, time
from pathlib import Path
from panoptic_ros.backends.plan_cache import cached
def build():
    print("building", flush=True)
    time.sleep(float(sys.argv[2]))
    return b"theirs"
cached(Path(sys.argv[1]), build, print)
"""


def start_build(file: Path, seconds: float) -> subprocess.Popen:
    """Another process, in the middle of its build."""
    command = [sys.executable, "-c", SLOW_BUILD, str(file), str(seconds)]
    other = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "building\n"
    return other


def test_two_builds_at_once_are_one(folder: Path) -> None:
    said: list[str] = []
    builder, file = Builder(b"ours"), plan_file(folder, "hle", DEPENDS_ON)
    other = start_build(file, 0.5)
    assert cached(file, builder, said.append) == b"theirs"
    assert builder.count == 0
    assert said == [f"another process is building {file.name}; waiting for it"]
    assert other.wait(5) == 0


def test_a_build_that_was_killed_does_not_block_the_next(folder: Path) -> None:
    file = plan_file(folder, "hle", DEPENDS_ON)
    other = start_build(file, 60)
    os.kill(other.pid, signal.SIGKILL)
    other.wait(5)
    (folder / f".{file.name}.abc").write_bytes(b"a pl")  # what a process leaves that is killed while it writes
    started = time.monotonic()
    assert cached(file, Builder(b"ours"), print) == b"ours"
    assert time.monotonic() - started < 5
    assert {path.name for path in folder.iterdir()} == {file.name, file.with_suffix(".lock").name}


def test_a_build_that_never_ends_is_not_waited_for_forever(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_cache, "LONGEST_WAIT_S", 0.0)
    file = plan_file(folder, "hle", DEPENDS_ON)
    other = start_build(file, 60)
    try:
        with pytest.raises(PanopticError, match="has been locked for 0 s by a build that does not end"):
            cached(file, Builder(), print)
    finally:
        other.kill()
        other.wait(5)


def test_where_plans_are_kept_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    monkeypatch.delenv("PANOPTIC_ROS_CACHE", raising=False)
    assert plan_cache.default_folder() == Path("/somewhere/panoptic_ros")
    monkeypatch.setenv("PANOPTIC_ROS_CACHE", "/mine")
    assert plan_cache.default_folder() == Path("/mine")
