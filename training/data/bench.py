"""Does data loading keep up? Samples per second of the loader against those of training, each by itself.

    python -m training.data.bench RECIPE [key=value ...] [--workers N] [--seconds S]

Where both share the cores, as on a CPU, the sum of both times is what a step takes.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from panoptic_ros.core import PanopticError
from training import recipe as recipes
from training.data.frames import read_frames
from training.recipe import Recipe
from training.train import batches
from training.trainer import Trainer

WARM = 3
"""Batches that are not timed: workers start, caches fill."""


@dataclass(frozen=True)
class Rates:
    """Samples per second of a stage."""

    loading: float
    training: float


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.data.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", help="a name from training/recipes, or a YAML file")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--workers", type=int, default=1, help="processes that load data (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement (default: %(default)s)")
    args = parser.parse_intermixed_args(arguments)
    try:
        recipe = recipes.load(args.recipe, args.overrides)
        for number, stage in enumerate(recipe.stages):
            # without end, so that it is the time that ends it
            found = measure(replace(recipe, stages=[replace(stage, steps=1_000_000)]), args.workers, args.seconds)
            what = f"stage {number}: {'x'.join(map(str, stage.size))}, batch {stage.batch}"
            loading = f"loading {found.loading:.1f} samples/s with {args.workers} workers"
            ratio = f"loading is {found.loading / found.training:.1f} times as fast"
            print(f"{what}: {loading}, training {found.training:.1f} samples/s; {ratio}")
    except PanopticError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def measure(recipe: Recipe, workers: int, seconds: float) -> Rates:
    """Of the recipe's only stage. Training gets one batch again and again."""
    labels, _ = read_frames(Path(recipe.data.root), recipe.data.train)
    trainer = Trainer(recipe, labels)
    source = batches(recipe, 0, trainer.method.grid_stride, workers)
    batch = next(source)
    loading = timed(lambda: next(source), seconds)
    source.close()
    training = timed(lambda: trainer.update(batch), seconds)
    share = len(batch[0])
    return Rates(loading * share, training * share)


def timed(step: Callable[[], object], seconds: float) -> float:
    """How often `step` can be called in a second."""
    for _ in range(WARM):
        step()
    began, count = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        step()
        count += 1
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return count / (time.monotonic() - began)


if __name__ == "__main__":
    sys.exit(main())
