"""Variants of a recipe, trained alike and compared: what the ablation commands of the methods share.

Every variant gets the same frames and steps; what was measured already is read back, so that a run can be continued.
"""

import argparse
import dataclasses
import hashlib
import json
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from panoptic_ros.core import Label, PanopticError
from training import recipe as recipes
from training.data.frames import read_frames
from training.evaluate import PER_FRAME, evaluate_engine
from training.recipe import Recipe
from training.torch_engine import TorchEngine, manifest_of
from training.train import batches
from training.trainer import Trainer


@dataclass(frozen=True)
class Ablation:
    """A table of a paper. recipe: what variants differ from, by the overrides in `variants`, name by name in the table's order.

    decoder: overrides of all variants, since a recipe's own thresholds were searched for a longer training. paper_pq: what the
    paper found, by name. choices: overrides of which each variant takes the one that is best on frames of the test split. out,
    lr, steps, seeds: defaults of the command. init: that of --init, which there is only if variants do not start from random
    weights.
    """

    command: str
    recipe: str
    variants: dict[str, list[str]]
    decoder: list[str]
    paper_pq: dict[str, float]
    out: Path
    lr: float
    steps: int = 800
    seeds: tuple[int, ...] = (0, 1)
    init: str | None = None
    choices: tuple[str, ...] = ()

    def main(self, description: str, arguments: list[str] | None) -> int:
        """The command: the exit status."""
        return self.run(self.parser(description).parse_args(arguments))

    def run(self, args: argparse.Namespace) -> int:
        """Measures what is not measured yet, prints the table. A PanopticError becomes one line on stderr and status 2."""
        args.out.mkdir(parents=True, exist_ok=True)
        try:
            args.init = starts(args)
            for seed in args.seeds:
                for name in self.variants:
                    file, recipe = result_file(args, name, seed), self.variant(name, seed, args)
                    if not is_measured(file, recipe):
                        choices = {choice: self.variant(name, seed, args, choice) for choice in self.choices}
                        file.write_text(json.dumps(measure(name, recipe, choices, args), indent=1))
                        (args.out / "table.md").write_text(self.table(args))
        except PanopticError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        print(self.table(args))
        return 0

    def parser(self, description: str) -> argparse.ArgumentParser:
        parser = argparse.ArgumentParser(prog=f"python -m {self.command}", description=description)
        few = "" if self.init else "250 are too few to find things at all "
        parser.add_argument("--out", type=Path, default=self.out)
        parser.add_argument("--steps", type=int, default=self.steps, help=f"{few}(default: %(default)s)")
        parser.add_argument("--batch", type=int, default=8)
        parser.add_argument("--lr", type=float, default=self.lr, help="higher than for a long training (default: %(default)s)")
        parser.add_argument("--seeds", type=int, nargs="+", default=list(self.seeds))
        parser.add_argument("--frames", type=int, default=60, help="of the val split, evenly spaced (default: %(default)s)")
        parser.set_defaults(init=[])
        if self.init:
            text = "checkpoint that all variants start from, or one for each seed (default: %(default)s)"
            parser.add_argument("--init", type=Path, nargs="+", default=[Path(self.init)], help=text)
        return parser

    def variant(self, name: str, seed: int, args: argparse.Namespace, *choice: str) -> Recipe:
        """The recipe of a variant, made short; with one of `choices`, if one is given."""
        stage = f"stages=[{{size: [128, 256], batch: {args.batch}, steps: {args.steps}, crop: [0.4, 0.8]}}]"
        common = [stage, f"seed={seed}", "warmup=50", "ema=0.98", f"lr={args.lr}", *self.decoder]
        init = [f"init={args.init[args.seeds.index(seed) % len(args.init)]}"] if args.init else []
        return recipes.load(self.recipe, [*common, *init, *self.variants[name], *choice])

    def table(self, args: argparse.Namespace) -> str:
        """Markdown: PQ of each variant and seed, in percent, beside the paper's."""
        columns = ["variant", *(f"PQ, seed {seed}" for seed in args.seeds), "things", "stuff", "paper"]
        lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
        for name in self.variants:
            files = [result_file(args, name, seed) for seed in args.seeds]
            found = [json.loads(file.read_text()) if file.exists() else None for file in files]
            done = [scores for scores in found if scores]
            cells = [f"{100 * scores['all']:.1f}" if scores else "" for scores in found]
            cells += [f"{100 * np.mean([s[group] for s in done]):.1f}" if done else "" for group in ("things", "stuff")]
            lines.append(" | ".join([f"| {name}", *cells, str(self.paper_pq.get(name, ""))]) + " |")
        return "\n".join(lines) + "\n"


def decoder_defaults(decoder: Any) -> list[str]:
    """Overrides that set every setting of a decoder to that of `decoder`, a dataclass."""
    return [f"settings.decoder.{key}={value}" for key, value in dataclasses.asdict(decoder).items()]


def starts(args: argparse.Namespace) -> list[Path]:
    """The checkpoints of --init as copies in the folder, named by what is in them: the originals may be trained on.

    Raises PanopticError if one is missing, or there are neither one nor as many as seeds.
    """
    if len(args.init) not in (0, 1, len(args.seeds)):
        raise PanopticError(f"--init has {len(args.init)} checkpoints for {len(args.seeds)} seeds; expected one, or one for each")
    copies = []
    for file in args.init:
        try:
            content = file.read_bytes()
        except OSError as error:
            raise PanopticError(
                f"cannot read the checkpoint {file}: {error}; train it first, or name another with --init"
            ) from error
        copies.append(args.out / f"init_{hashlib.sha256(content).hexdigest()[:16]}.pt")
        copies[-1].write_bytes(content)
    return copies


def settings(recipe: Recipe) -> dict:
    """What a result depends on, as JSON reads it back."""
    return json.loads(json.dumps(dataclasses.asdict(recipe)))


def result_file(args: argparse.Namespace, name: str, seed: int) -> Path:
    return args.out / f"{re.sub('[^a-z0-9]+', '_', name.lower().replace('á', 'a'))}_{seed}_{args.steps}_{args.frames}.json"


def is_measured(file: Path, recipe: Recipe) -> bool:
    """Whether a file has the result of this recipe; keys that it lacks, being older, have their defaults."""
    return file.exists() and settings(recipes.from_dict(json.loads(file.read_text())["recipe"])) == settings(recipe)


def measure(name: str, recipe: Recipe, choices: dict[str, Recipe], args: argparse.Namespace) -> dict:
    """PQ on val frames of one variant, trained first; of the best of `choices` on test frames, if there are any."""
    began = time.monotonic()
    on_test = {choice: quality(name, other, "test", args)["all"] for choice, other in choices.items()}
    chosen = max(on_test, key=on_test.__getitem__, default=None)
    pq = quality(name, choices[chosen] if chosen else recipe, recipe.data.val, args)
    note = {"chosen": chosen, "on_test": on_test, "seconds": round(time.monotonic() - began)}
    return pq | note | {"name": name, "recipe": settings(recipe)}


def quality(name: str, recipe: Recipe, split: str, args: argparse.Namespace) -> dict[str, float]:
    """PQ on evenly spaced frames of a split: all, things, stuff."""
    labels, frames = read_frames(Path(recipe.data.root), split)
    method = trained(name, recipe, labels, args)
    engine = TorchEngine(method.graph(), tuple(recipe.engine_size))
    chosen = frames[:: max(1, len(frames) // args.frames)][: args.frames]
    scores = evaluate_engine(engine, manifest_of(recipe, method), labels, chosen, {})["quality"][PER_FRAME]
    return {group: scores[group]["pq"] for group in ("all", "things", "stuff")}


def trained(name: str, recipe: Recipe, labels: tuple[Label, ...], args: argparse.Namespace) -> Any:
    """The method with a trained network on the CPU. One that differs from an earlier one in its decoder alone has its weights."""
    trainer = Trainer(recipe, labels)
    weights = args.out / f"{training_digest(recipe)}.pt"
    if weights.exists():
        trainer.network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    else:
        steps = sum(stage.steps for stage in recipe.stages)
        for batch in tqdm(batches(recipe, 0, trainer.method.grid_stride, 1), total=steps, desc=f"{name}, {recipe.seed}"):
            trainer.update(batch)
        trainer.network.load_state_dict(trainer.average.module.state_dict())
        torch.save(trainer.network.state_dict(), weights)
    trainer.network.cpu()
    return trainer.method


def training_digest(recipe: Recipe) -> str:
    """Of all that a recipe says but of its decoder."""
    content = settings(recipe)
    del content["settings"]["decoder"]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
