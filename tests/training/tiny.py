"""A tiny network of HLE and its training on the drawn data set."""

import multiprocessing
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
    """`action`, a function of a module, in a fresh process: a fork of this one would inherit locks that its threads hold."""
    process = multiprocessing.get_context("spawn").Process(target=_alone, args=(action, arguments))
    process.start()
    return process


def _alone(action: Callable[..., object], arguments: tuple[object, ...]) -> None:
    torch.set_num_threads(1)
    sys.exit(action(*arguments))
