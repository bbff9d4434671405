"""A tiny network of HLE and its training on the drawn data set."""

import multiprocessing
import os
import socket
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch

from panoptic_ros.core import Label
from training import train
from training.recipe import Recipe

RECIPE = """
model: tiny
method: hle
stages: [{size: [32, 64], steps: 3, batch: 2}, {size: [64, 64], steps: 2, batch: 2}]
precision: fp32
warmup: 2
lr: 1e-3
settings: {network: {aspp_width: 8, skips: [[8, 4, 8], [2, 4, 8]], thomson: false}}
"""

LABELS = (Label(7, "road", False, (0, 0, 0)), Label(26, "car", True, (0, 0, 0)))


def run(file: Path, data: Path, out: Path, *arguments: str, save_every: int = 2, workers: str = "0") -> int:
    options = ["--out", str(out), "--workers", workers, "--save-every", str(save_every), "--picture-every", "0"]
    return train.main([str(file), f"data.root={data}", *arguments, *options])


def refusal(capsys: pytest.CaptureFixture) -> str:
    """The one line that an error leaves."""
    error = capsys.readouterr().err
    lines = [line for line in error.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and error.endswith(lines[0] + "\n")
    return lines[0]


def weights(checkpoint: Path, key: str = "network") -> dict[str, torch.Tensor]:
    return torch.load(checkpoint, weights_only=True)[key]


def trained(recipe: Recipe) -> train.Trainer:
    torch.manual_seed(0)
    return train.Trainer(recipe, LABELS)


def batch() -> train.Batch:
    semantic = torch.zeros(1, 16, 16, dtype=torch.int64)
    semantic[:, 4:8, 4:8] = 1
    return torch.full((1, 3, 32, 32), 100, dtype=torch.uint8), semantic, semantic - 1


def started(action: Callable[..., object], *arguments: object) -> BaseProcess:
    """`action`, a function of a module, in a fresh process: a fork of this one would inherit locks that its threads hold.

    It is a fork of a server that has imported torch, which takes seconds, and has no threads.
    """
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload([__name__])
    process = server.Process(target=_exit, args=(action, arguments))
    process.start()
    return process


def in_two_processes(work: Callable[..., object], *arguments: object) -> list[int | None]:
    """Exit codes of two processes that run `work`, a function of a module, as torchrun's do."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [started(_ranked, rank, port, work, arguments) for rank in range(2)]
    for process in processes:
        process.join(120)
    return [process.exitcode for process in processes]


def _ranked(rank: int, port: int, work: Callable[..., object], arguments: tuple[object, ...]) -> object:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return work(*arguments)


def _exit(action: Callable[..., object], arguments: tuple[object, ...]) -> None:
    sys.exit(action(*arguments))
