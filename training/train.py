"""Train a recipe: `python -m training.train RECIPE [key=value ...] [--out DIR] [--resume]`.

On several GPUs, or in several processes: `torchrun --nproc-per-node N -m training.train RECIPE ...`.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Subset

from panoptic_ros.core import PanopticError
from training import distributed
from training import recipe as recipes
from training.checkpoint import left
from training.checkpoint import read_checkpoint as read_checkpoint  # export_trt takes it from here
from training.data.frames import TrueFrame, read_frames
from training.data.panoptic import PanopticDataset, stages_with_start
from training.dry_run import dry_run
from training.journal import Journal
from training.pictures import pictures
from training.recipe import Recipe
from training.stop import Stop, ignore_interrupts
from training.trainer import Batch, Trainer
from training.validation import quality, spread

LAST = "last.pt"
"""The newest checkpoint of a run, the one to resume and to export."""

INTERRUPTED = 130
"""Exit status, as shells have it after Ctrl-C."""


@dataclass(frozen=True)
class Run:
    """How a recipe is trained. workers: processes that load data, 0 loads in between. save_every, log_every, picture_every:
    steps; picture_every 0 draws none. keep: checkpoints of earlier steps. validate_every: steps, 0 never: PQ on so many frames of
    the val split."""

    out: Path
    resume: bool = False
    workers: int = 1
    save_every: int = 250
    keep: int = 2
    log_every: int = 20
    picture_every: int = 500
    validate_every: int = 0
    validate_frames: int = 50

    def __post_init__(self) -> None:
        least = {"workers": 0, "save_every": 1, "keep": 0, "log_every": 1, "picture_every": 0, "validate_every": 0,
                 "validate_frames": 1}  # fmt: skip
        for name, smallest in least.items():
            if getattr(self, name) < smallest:
                raise PanopticError(f"--{name.replace('_', '-')} is {getattr(self, name)}; it is {smallest} or more")


def main(arguments: list[str] | None = None) -> int:
    args = parser().parse_intermixed_args(arguments)
    try:
        recipe = recipes.load(args.recipe, args.overrides)
        if args.dry_run:
            dry_run(recipe)
            return 0
        out = args.out or Path("runs") / recipe.model
        run = Run(out, **{field.name: getattr(args, field.name) for field in fields(Run) if field.name != "out"})
        done = train(recipe, run)
        distributed.meet()
        return 0 if done else INTERRUPTED
    except PanopticError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("error: interrupted at once; continue from the last checkpoint with --resume", file=sys.stderr)
        return INTERRUPTED
    finally:
        distributed.leave()


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="python -m training.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    found.add_argument("recipe", help="a name from training/recipes, or a YAML file")
    found.add_argument("overrides", nargs="*", metavar="key=value", help="e.g. lr=2e-3 data.root=data/street stages.0.steps=100")
    found.add_argument("--out", type=Path, help="folder for checkpoints and the log; default runs/<model>")
    found.add_argument("--resume", action="store_true", help="continue from the folder's last checkpoint")
    found.add_argument("--dry-run", action="store_true", help="try the recipe with made-up files: shapes, memory; no data needed")
    found.add_argument("--workers", type=int, default=Run.workers, help="processes that load data (default: %(default)s)")
    found.add_argument("--save-every", type=int, default=Run.save_every, metavar="STEPS", help="default: %(default)s")
    found.add_argument("--keep", type=int, default=Run.keep, help="checkpoints of earlier steps (default: %(default)s)")
    found.add_argument("--log-every", type=int, default=Run.log_every, metavar="STEPS", help="default: %(default)s")
    found.add_argument(
        "--picture-every", type=int, default=Run.picture_every, metavar="STEPS", help="0: none; default: %(default)s"
    )
    found.add_argument(
        "--validate-every", type=int, default=Run.validate_every, metavar="STEPS", help="PQ; 0, the default: never"
    )
    found.add_argument(
        "--validate-frames", type=int, default=Run.validate_frames, metavar="N", help="of val; default: %(default)s"
    )
    return found


def train(recipe: Recipe, run: Run) -> bool:
    """Train `recipe` and leave `last.pt` (to resume and to export), `log.jsonl` and `tensorboard/` in `run.out`.

    Returns whether it came to its end; after Ctrl-C it did not, but nothing of it is lost.
    """
    labels, frames = read_frames(Path(recipe.data.root), recipe.data.train)
    trainer = Trainer(recipe, labels)
    check_shares(recipe)
    checkpoint = run.out / LAST
    if run.resume:
        trainer.load(checkpoint)
    elif os.path.exists(checkpoint):
        raise PanopticError(f"{checkpoint} exists: continue it with --resume, or choose another --out")
    size = f"{trainer.parameter_count() / 1e6:.2f} M parameters"
    if distributed.rank() == 0:
        processes = f", {distributed.count()} processes" if distributed.count() > 1 else ""
        print(f"{recipe.model}: {len(frames)} images, {trainer.total} steps, {size}, on {trainer.device}{processes}")
    held_out = frames_to_look_at(recipe) if run.picture_every or run.validate_every else []
    try:
        run.out.mkdir(parents=True, exist_ok=True)
        return steps(trainer, run, held_out)
    except OSError as error:
        raise PanopticError(f"cannot write into {run.out}: {error}; {left(checkpoint)}; continue it with --resume") from error


def frames_to_look_at(recipe: Recipe) -> list[TrueFrame]:
    """The val split, or the train split where that is missing."""
    try:
        return read_frames(Path(recipe.data.root), recipe.data.val)[1]
    except PanopticError:
        return read_frames(Path(recipe.data.root), recipe.data.train)[1]


def steps(trainer: Trainer, run: Run, held_out: list[TrueFrame]) -> bool:
    """The steps that are left. Returns whether they were all done. held_out: frames for pictures and validation."""
    recipe, first, writes = trainer.recipe, trainer.step, distributed.rank() == 0
    with Stop() as stop, Journal(run.out, first, trainer.total, run.log_every, quiet=not writes) as journal:
        for batch in batches(recipe, first, trainer.method.grid_stride, run.workers):
            terms = trainer.update(batch)
            journal.step(trainer.step, trainer.rate(), terms, trainer.device)
            ended = distributed.any_process(stop.asked)
            if writes and (is_due(trainer, run.save_every) or ended):
                trainer.save(run.out / LAST, run.keep)
            if writes and is_due(trainer, run.picture_every):
                journal.pictures(trainer.step, pictures(trainer, spread(held_out, 2)))
            if writes and is_due(trainer, run.validate_every):
                journal.validated(trainer.step, quality(trainer, spread(held_out, run.validate_frames)))
            if ended and trainer.step < trainer.total:
                journal.say(f"stopped and saved at step {trainer.step} of {trainer.total}; continue with --resume")
                return False
    return True


def is_due(trainer: Trainer, every: int) -> bool:
    """Whether what is done every so many steps, and at the end, is to be done after this one; 0: never."""
    return every > 0 and (trainer.step % every == 0 or trainer.step == trainer.total)


def check_shares(recipe: Recipe) -> None:
    """Raises PanopticError unless every batch can be shared out equally."""
    shares = distributed.count() * recipe.accumulate
    for number, stage in enumerate(recipe.stages):
        if stage.batch % shares:
            raise PanopticError(
                f"stages.{number}.batch is {stage.batch}: {distributed.count()} processes with accumulate={recipe.accumulate} "
                f"need a multiple of {shares}"
            )


def batches(recipe: Recipe, start: int, grid_stride: int, workers: int) -> Iterator[Batch]:
    """This process's shares of all batches from step `start` on, in an order that depends on the recipe alone."""
    for stage, first_step, first_sample in stages_with_start(recipe):
        skip = max(0, start - first_step)
        if skip >= stage.steps:
            continue
        data = PanopticDataset(recipe, stage, first_sample, grid_stride)
        share = stage.batch // distributed.count()
        mine = range(distributed.rank() * share, (distributed.rank() + 1) * share)
        rest = Subset(data, [step * stage.batch + number for step in range(skip, stage.steps) for number in mine])
        prefetch = 4 if workers else None
        try:
            yield from DataLoader(
                rest, share, num_workers=workers, prefetch_factor=prefetch, worker_init_fn=ignore_interrupts,
                pin_memory=torch.cuda.is_available(),
            )  # fmt: skip
        except PanopticError as error:  # of a worker process it comes with that one's traceback in its text
            raise PanopticError(str(error).strip().rpartition("PanopticError: ")[2]) from error


if __name__ == "__main__":
    sys.exit(main())
