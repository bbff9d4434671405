"""What is fuzzed: one function for each place where bytes come in from outside."""

import importlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.fuzz.mutation import Mutate

MODULES = ("message_targets", "image_targets", "file_targets", "training_targets")
"""In this folder; the last one loads torch."""


@dataclass(frozen=True)
class Target:
    """seeds: valid inputs. run: takes an input, and a folder for what has to be a file; it may return, or raise PanopticError.

    cost: how long an input takes, about, as a multiple of the cheapest targets' 0.1 ms. greedy: a library asks for as much memory
    as a length in the file says before it reads, and may be refused it; what it really takes is watched all the same.
    """

    name: str
    seeds: Callable[[], Sequence[bytes]]
    run: Callable[[bytes, Path], object]
    mutate: Mutate
    cost: int = 1
    greedy: bool = False


def case(target: Target, seeds: Sequence[bytes], seed: int, number: int) -> bytes:
    """The same input for the same numbers. The first ones are the seeds themselves."""
    if number < len(seeds):
        return seeds[number]
    return target.mutate(Random(f"{seed} {target.name} {number}"), seeds)


def _modules() -> Sequence[str]:
    """Tests of the command bring their own."""
    return os.environ.get("PANOPTIC_FUZZ_MODULES", ",".join(MODULES)).split(",")


def targets(modules: Sequence[str] = MODULES) -> tuple[Target, ...]:
    return tuple(target for module in modules for target in importlib.import_module(f"tests.fuzz.{module}").TARGETS)


def find(name: str) -> Target:
    """Imports no more than it takes. Raises KeyError."""
    for module in _modules():
        for target in targets([module]):
            if target.name == name:
                return target
    raise KeyError(name)
