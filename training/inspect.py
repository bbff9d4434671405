"""Look at a data set before training on it: a contact sheet of samples with their targets, class counts, and faults.

    python -m training.inspect DATASET:SPLIT [--recipe R]

Exit status 1 if there are faults.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from panoptic_ros.core import Label, PanopticError
from training import recipe as recipes
from training.data.faults import Census, census
from training.data.frames import TrueFrame, locate, read_frames, read_pair
from training.data.panoptic import PanopticDataset
from training.data.picture import sample_picture, sheet, true_picture

TILE = 360, 480
"""Height and width, pixels."""

SHOWN = 5
"""Faults of a kind that are printed; the JSON has all."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.inspect", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", metavar="DATASET:SPLIT", help="such as street:val, or a folder and a split")
    parser.add_argument("--recipe", help="draw what training gets: this recipe's windows, flips and colours")
    parser.add_argument("--samples", type=int, default=8, help="on the sheet (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("out/inspect"), help="folder (default: %(default)s)")
    args = parser.parse_args(arguments)
    try:
        root, split = locate(args.data)
        found = census(root, split, progress=lambda frames: tqdm(frames, unit="image", disable=None))
        args.out.mkdir(parents=True, exist_ok=True)
        print(table(found))
        print(fault_list(found))
        (args.out / "report.json").write_text(json.dumps(found.as_dict(), indent=1))
        picture = args.out / "samples.png"
        cv2.imwrite(str(picture), drawn(root, split, args.recipe, args.samples)[..., ::-1])
        print(f"{args.samples} samples: {picture}; all of the above: {args.out / 'report.json'}")
    except PanopticError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 1 if found.faults else 0


def drawn(root: Path, split: str, recipe: str | None, count: int) -> np.ndarray:
    """The contact sheet. Raises PanopticError for a data set that cannot be trained on."""
    labels, frames = read_frames(root, split)
    if recipe:
        tiles = [sample_picture(sample, labels) for sample in training_samples(root, split, recipe, count)]
    else:
        tiles = [frame_picture(frame, labels) for frame in frames[:: max(1, len(frames) // count)][:count]]
    return sheet(tiles, 2, TILE)


def training_samples(root: Path, split: str, name: str, count: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The first samples of each of the recipe's stages."""
    recipe = recipes.load(name, [f"data.root={root}", f"data.train={split}"])
    stride = recipe.settings.loss.grid_stride
    share = -(-count // len(recipe.stages))
    return [PanopticDataset(recipe, stage, 0, stride)[number] for stage in recipe.stages for number in range(share)][:count]


def frame_picture(frame: TrueFrame, labels: tuple[Label, ...]) -> np.ndarray:
    image, ids = read_pair(frame.image, frame.ids)
    return true_picture(image, ids, frame.truth, labels)


def table(found: Census) -> str:
    """A line for each class: how many images and segments it has, crowds among them, and its part of all pixels."""
    lines = [f"{found.images} images", f"{'class':24} {'':6} {'images':>8} {'segments':>9} {'crowds':>7} {'pixels':>8}"]
    whole = max(1, sum(count.pixels for count in found.classes.values()) + found.void)
    for label in found.labels:
        count = found.classes[label.id]
        kind = "thing" if label.thing else "stuff"
        part = f"{100 * count.pixels / whole:7.3f}%"
        lines.append(f"{label.name[:24]:24} {kind:6} {count.images:8} {count.segments:9} {count.crowds:7} {part}")
    return "\n".join([*lines, f"{'void':58} {100 * found.void / whole:7.3f}%"])


def fault_list(found: Census) -> str:
    if not found.faults:
        return "no faults"
    lines = []
    for kind, texts in found.faults.items():
        lines += [f"{kind}: {len(texts)}", *(f"  {text}" for text in texts[:SHOWN])]
        lines += [f"  and {len(texts) - SHOWN} more"] if len(texts) > SHOWN else []
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
