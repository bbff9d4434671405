"""What a run says of itself: progress bar, log.jsonl, val.jsonl, and TensorBoard's curves and pictures."""

import json
import resource
import time
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from tqdm import tqdm

try:
    from torch.utils.tensorboard import SummaryWriter
except ImportError:  # curves are worth having, but no reason not to train
    SummaryWriter = None

LOG, VALIDATION = "log.jsonl", "val.jsonl"


class Journal:
    """Of the steps behind `first` of `total`, in the folder `out`. `quiet` writes nothing, in all processes but one."""

    def __init__(self, out: Path, first: int, total: int, every: int, quiet: bool) -> None:
        self._began, self._first, self._total, self._every, self._quiet = time.monotonic(), first, total, every, quiet
        self._bar = tqdm(total=total, initial=first, unit="step", disable=True if quiet else None)
        self._log = self._board = None
        self._validation = out / VALIDATION
        if quiet:
            return
        forget_after(out / LOG, first)
        forget_after(self._validation, first)
        self._log = (out / LOG).open("a")
        if SummaryWriter:
            self._board = SummaryWriter(str(out / "tensorboard"), purge_step=first + 1)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.close()
        for open_file in (self._log, self._board):
            if open_file:
                open_file.close()

    def step(self, number: int, rate: float, terms: dict[str, float], device: torch.device) -> None:
        """A step is done, as number `number` counted from 1. rate: the learning rate of the next one."""
        self._bar.update()
        if self._quiet or (number % self._every and number != self._total):
            return
        seconds = (time.monotonic() - self._began) / (number - self._first)
        entry = {"step": number, "lr": rate, "s_per_step": round(seconds, 4), **terms}
        self._log.write(json.dumps(entry) + "\n")
        self._log.flush()
        self._bar.set_postfix({name: f"{value:.3f}" for name, value in terms.items()} | {"GiB": f"{peak_gib(device):.1f}"})
        if self._board:
            for name, value in entry.items():
                self._board.add_scalar(f"train/{name}", value, number)

    def validated(self, number: int, scores: dict[str, float]) -> None:
        """scores: PQ of the averaged network, in 0..1."""
        with self._validation.open("a") as file:
            file.write(json.dumps({"step": number, **scores}) + "\n")
        self.say(f"step {number}: " + ", ".join(f"{name} {100 * value:.1f}" for name, value in scores.items()))
        if self._board:
            for name, value in scores.items():
                self._board.add_scalar(f"val/{name}", value, number)

    def pictures(self, number: int, pictures: dict[str, np.ndarray]) -> None:
        """pictures: name -> (h,w,3) uint8 RGB."""
        if self._board:
            for name, picture in pictures.items():
                self._board.add_image(name, picture, number, dataformats="HWC")

    def say(self, text: str) -> None:
        if not self._quiet:
            self._bar.write(text)


def forget_after(log: Path, step: int) -> None:
    """Take the lines of later steps off a log: the run goes on from an earlier checkpoint."""
    if not log.exists():
        return
    lines = [line for line in log.read_text().splitlines() if line.endswith("}")]  # the last one may be cut off
    kept = [line for line in lines if json.loads(line)["step"] <= step]
    temporary = log.with_suffix(".tmp")
    temporary.write_text("".join(f"{line}\n" for line in kept))
    temporary.replace(log)


def peak_gib(device: torch.device) -> float:
    """The most memory that was in use at a time: the GPU's, or the whole process's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # Linux counts in KiB
