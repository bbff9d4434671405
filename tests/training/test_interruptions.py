"""Runs that are killed, stopped, or run out of disk: what is left of them, and what becomes of them."""

import json
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.tiny import refusal, run, started, weights
from training import train


def assert_same_weights(one: Path, other: Path) -> None:
    """To the last bit."""
    for key in ("network", "average"):
        a, b = weights(one, key), weights(other, key)
        assert set(a) == set(b) and all(torch.equal(a[name], b[name]) for name in a)


def call_at_step(monkeypatch: pytest.MonkeyPatch, step: int, action: Callable[[], object]) -> None:
    """Before the step with this number, counted from 0, `action` happens."""
    update = train.Trainer.update

    def watched(self: train.Trainer, batch: train.Batch) -> dict[str, float]:
        if self.step == step:
            action()
        return update(self, batch)

    monkeypatch.setattr(train.Trainer, "update", watched)


def run_until_killed(file: Path, data: Path, out: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        call_at_step(patch, 3, lambda: os.kill(os.getpid(), signal.SIGKILL))
        run(file, data, out)


def test_a_killed_run_ends_where_an_uninterrupted_one_does(file: Path, data: Path, tmp_path: Path, finished: Path) -> None:
    """Killed by SIGKILL in step 4, in the middle of a stage: the checkpoint of step 2 is what is left."""
    parts = tmp_path / "parts"
    child = started(run_until_killed, file, data, parts)
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert train.read_checkpoint(parts / "last.pt")["step"] == 2
    torch.manual_seed(99)
    assert run(file, data, parts, "--resume") == 0
    assert_same_weights(finished / "last.pt", parts / "last.pt")


@pytest.mark.slow
def test_a_run_killed_at_ten_random_points_ends_where_an_uninterrupted_one_does(file: Path, data: Path, tmp_path: Path) -> None:
    """Each time it is killed by SIGKILL, it has come further than the time before, and then some random time has passed."""
    arguments = ["stages.0.steps=20", "stages.1.steps=30", "--log-every", "1"]
    whole, parts, random = tmp_path / "whole", tmp_path / "parts", np.random.default_rng()
    assert run(file, data, whole, *arguments) == 0
    for kill in range(10):
        child = started(run, file, data, parts, *arguments, *(["--resume"] if kill else []))
        while logged(parts) < 3 * kill + 3:
            assert child.is_alive()
            time.sleep(0.02)
        time.sleep(random.uniform(0, 0.2))
        child.kill()
        child.join()
        assert child.exitcode == -signal.SIGKILL
    assert run(file, data, parts, *arguments, "--resume") == 0
    assert_same_weights(whole / "last.pt", parts / "last.pt")
    steps = [json.loads(line)["step"] for line in (parts / "log.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 51))


def logged(out: Path) -> int:
    """The last step in a log, 0 without one."""
    log = out / "log.jsonl"
    return len(log.read_text().splitlines()) if log.exists() else 0


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGINT, "1"), (signal.SIGTERM, "0")])
def test_a_signal_ends_a_run_after_its_step_and_loses_nothing(
    file: Path, data: Path, tmp_path: Path, finished: Path, number: int, workers: str
) -> None:
    """Ctrl-C in a terminal goes to all processes, those that load data too."""
    parts, before = tmp_path / "parts", signal.getsignal(number)

    def send() -> None:
        os.kill(os.getpid(), number)
        for worker in multiprocessing.active_children():
            os.kill(worker.pid, signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch:
        call_at_step(patch, 2, send)
        assert run(file, data, parts, workers=workers, save_every=100) == train.INTERRUPTED
    assert signal.getsignal(number) == before
    assert train.read_checkpoint(parts / "last.pt")["step"] == 3
    assert run(file, data, parts, "--resume") == 0
    assert_same_weights(finished / "last.pt", parts / "last.pt")


def test_a_second_interrupt_ends_a_run_at_once(
    file: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    call_at_step(monkeypatch, 3, lambda: [os.kill(os.getpid(), signal.SIGINT) for _ in range(2)])
    assert run(file, data, tmp_path) == train.INTERRUPTED
    assert "interrupted at once; continue from the last checkpoint" in refusal(capsys)
    assert train.read_checkpoint(tmp_path / "last.pt")["step"] == 2


def test_a_continued_log_has_every_step_once(file: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps 3 and 4 were done and logged, but the checkpoint is that of step 2."""
    with monkeypatch.context() as patch:
        call_at_step(patch, 4, lambda: [os.kill(os.getpid(), signal.SIGINT) for _ in range(2)])
        run(file, data, tmp_path, "--log-every", "1", save_every=3)
    (tmp_path / "log.jsonl").open("a").write('{"step": 5, "los')
    assert run(file, data, tmp_path, "--log-every", "1", "--resume") == 0
    entries = map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())
    assert [entry["step"] for entry in entries] == [1, 2, 3, 4, 5]


def resume_on_a_full_disk(file: Path, data: Path, out: Path, report: Path) -> int:
    """The files of this process cannot grow beyond 100 kB."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    with report.open("w") as sys.stderr:
        return run(file, data, out, "--resume")


def test_a_disk_that_fills_up_is_one_line_and_loses_nothing(file: Path, data: Path, tmp_path: Path) -> None:
    """The network alone has 7 MB."""
    with pytest.MonkeyPatch.context() as patch:
        call_at_step(patch, 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
        run(file, data, tmp_path)
    before, report = (tmp_path / "last.pt").read_bytes(), tmp_path / "stderr"
    child = started(resume_on_a_full_disk, file, data, tmp_path, report)
    child.join()
    assert child.exitcode == 2
    assert f"the last good checkpoint, {tmp_path / 'last.pt'}, is intact; make room" in report.read_text()
    assert (tmp_path / "last.pt").read_bytes() == before and not list(tmp_path.glob("*.tmp"))
