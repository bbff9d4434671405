"""Table 6 of the paper at small scale: `python -m training.methods.hle.ablate --out out/ablation [--steps N] [--seeds 0 1]`.

Every variant gets the same frames, steps and decoder; what was measured already is read back, so that a run can be continued.
"""

import argparse
import dataclasses
import json
import re
import sys
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from panoptic_ros.core import PanopticError
from training import recipe as recipes
from training.data.frames import read_frames
from training.evaluate import PER_FRAME, evaluate_engine
from training.methods.hle.decode import DecoderSettings
from training.recipe import Recipe
from training.torch_engine import TorchEngine, manifest_of
from training.train import Trainer, batches

LOVASZ = ["settings.loss.instance=lovasz", "settings.loss.semantic=lovasz", "settings.loss.semantic_cross_entropy=0"]

VARIANTS = {
    # eq. 15 stays on: eq. 1-2 have class means of their own, which no decoder could use
    "associative embedding": ["settings.loss.instance=associative", "settings.loss.semantic=associative",
                              "settings.loss.semantic_cross_entropy=0", "settings.network.thomson=false"],
    "cross entropy": ["settings.loss.instance=cross_entropy", "settings.loss.semantic=cross_entropy",
                      "settings.loss.semantic_cross_entropy=0"],
    "Lovász, split space": [*LOVASZ, "settings.network.split=true"],
    "Lovász, separate semantic branch": [*LOVASZ, "settings.loss.semantic=cross_entropy",
                                         "settings.network.semantic_branch=true"],
    "Lovász, no VQ means": [*LOVASZ, "settings.loss.vq=0"],
    "Lovász, no Thomson": [*LOVASZ, "settings.network.thomson=false"],
    "Lovász, hierarchical (the paper's)": LOVASZ,
    "shipped: plus cross entropy on psi": [],
    "hinge on the exponent, plus cross entropy on psi": ["settings.loss.instance=lovasz_hinge"],
}  # fmt: skip
"""Name -> what differs from the recipe hle_mnv2_street; the first seven in the order of table 6."""

PAPER_PQ = (38.8, 45.0, 50.2, 57.0, 57.0, 58.6, 59.1)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.methods.hle.ablate", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/ablation"))
    parser.add_argument("--steps", type=int, default=800, help="250 are too few to find things at all (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--lr", type=float, default=1e-2, help="higher than for a long training (default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--frames", type=int, default=60, help="of the val split, evenly spaced (default: %(default)s)")
    args = parser.parse_args(arguments)
    args.out.mkdir(parents=True, exist_ok=True)
    try:
        for seed in args.seeds:
            for name, overrides in VARIANTS.items():
                file, recipe = result_file(args, name, seed), variant(overrides, seed, args)
                if not is_measured(file, recipe):
                    file.write_text(json.dumps(measure(name, recipe, args), indent=1))
                    (args.out / "table.md").write_text(table(args))
    except PanopticError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table(args))
    return 0


def variant(overrides: list[str], seed: int, args: argparse.Namespace) -> Recipe:
    """The recipe hle_mnv2_street, but short and with the decoder's defaults: its thresholds were searched for a long training."""
    stage = f"stages=[{{size: [128, 256], batch: {args.batch}, steps: {args.steps}, crop: [0.4, 0.8]}}]"
    decoder = [f"settings.decoder.{key}={value}" for key, value in dataclasses.asdict(DecoderSettings()).items()]
    common = [stage, f"seed={seed}", "warmup=50", "ema=0.98", f"lr={args.lr}", *decoder]
    return recipes.load("hle_mnv2_street", [*common, *overrides])


def settings(recipe: Recipe) -> dict:
    """What a result depends on, as JSON reads it back."""
    return json.loads(json.dumps(dataclasses.asdict(recipe)))


def result_file(args: argparse.Namespace, name: str, seed: int) -> Path:
    return args.out / f"{re.sub('[^a-z]+', '_', name.lower().replace('á', 'a'))}_{seed}_{args.steps}_{args.frames}.json"


def is_measured(file: Path, recipe: Recipe) -> bool:
    """Whether a file has the result of this recipe; keys that it lacks, being older, have their defaults."""
    return file.exists() and settings(recipes.from_dict(json.loads(file.read_text())["recipe"])) == settings(recipe)


def measure(name: str, recipe: Recipe, args: argparse.Namespace) -> dict:
    """PQ on evenly spaced val frames of one variant, trained from random weights."""
    root, began = Path(recipe.data.root), time.monotonic()
    labels, frames = read_frames(root, recipe.data.val)
    trainer = Trainer(recipe, labels)
    for batch in tqdm(batches(recipe, 0, trainer.method.grid_stride, 1), total=args.steps, desc=f"{name}, {recipe.seed}"):
        trainer.update(batch)
    trainer.network.load_state_dict(trainer.average.module.state_dict())
    trainer.network.cpu()
    engine = TorchEngine(trainer.method.graph(), tuple(recipe.engine_size))
    chosen = frames[:: max(1, len(frames) // args.frames)][: args.frames]
    scores = evaluate_engine(engine, manifest_of(recipe, trainer.method), labels, chosen, {})["quality"][PER_FRAME]
    pq = {group: scores[group]["pq"] for group in ("all", "things", "stuff")}
    return pq | {"name": name, "seconds": round(time.monotonic() - began), "recipe": settings(recipe)}


def table(args: argparse.Namespace) -> str:
    """Markdown: PQ of each variant and seed, in percent, beside the paper's."""
    columns = ["variant", *(f"PQ, seed {seed}" for seed in args.seeds), "things", "stuff", "paper"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for number, name in enumerate(VARIANTS):
        files = [result_file(args, name, seed) for seed in args.seeds]
        found = [json.loads(file.read_text()) if file.exists() else None for file in files]
        done = [scores for scores in found if scores]
        cells = [f"{100 * scores['all']:.1f}" if scores else "" for scores in found]
        cells += [f"{100 * np.mean([s[group] for s in done]):.1f}" if done else "" for group in ("things", "stuff")]
        lines.append(" | ".join([f"| {name}", *cells, str(PAPER_PQ[number]) if number < len(PAPER_PQ) else ""]) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
