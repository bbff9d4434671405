"""How much worse than greedy the fast mode's energies are: `python -m panoptic_ros.solvers.gaps [--ground-truth PANOPTIC.json]`.

The instances come from `panoptic_ros.solvers.families` in turn, and from the images of the ground truth.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import numpy as np

from panoptic_ros.commands.model_arguments import size
from panoptic_ros.core import PanopticError
from panoptic_ros.solvers.families import FAMILIES, truth_instances
from panoptic_ros.solvers.instances import Instance
from panoptic_ros.solvers.multiway_cut import asymmetric_multiway_cut

WORST_PERCENT, MEDIAN_PERCENT = 0.5, 0.02
"""What the fast mode may lose."""


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 1 if a limit is exceeded, 2 for files that cannot be used."""
    parser = argparse.ArgumentParser(prog="panoptic_ros.solvers.gaps", description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=size, default=(64, 128), metavar="HxW", help="of made-up instances (default: 64x128)")
    parser.add_argument("--instances", type=int, default=200, metavar="N", help="of all families together (default: %(default)s)")
    parser.add_argument("--ground-truth", type=Path, nargs="+", default=[], metavar="JSON", help="COCO panoptic, with its PNGs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all gaps here")
    args = parser.parse_args(arguments)
    try:
        if args.instances < 1:
            raise PanopticError(f"instances={args.instances}: at least 1")
        found = measure(sources(args.size, args.ground_truth), args.instances)
        print(table(found))
        if args.json:
            args.json.write_text(json.dumps(found, indent=1) + "\n")
    except (PanopticError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    every = sum(found.values(), [])
    return int(max(every) > WORST_PERCENT or np.median(every) > MEDIAN_PERCENT)


def sources(size: tuple[int, int], ground_truth: list[Path]) -> dict[str, Iterator[Instance]]:
    """Name -> instances without end. Raises PanopticError for sizes that the longest edges do not fit in."""
    if min(size) < 32:
        raise PanopticError(f"size {size[0]}x{size[1]}: at least 32x32, the longest edges")

    def endless(family: Callable[..., Instance]) -> Iterator[Instance]:
        return (family(*size, seed) for seed in count())

    found = {name: endless(family) for name, family in FAMILIES.items()}
    return found | {f"{file.parent.name}/{file.stem}": truth_instances(file) for file in ground_truth}


def measure(sources: dict[str, Iterator[Instance]], instances: int) -> dict[str, list[float]]:
    """Gaps by source, percent of greedy's energy, positive where fast is worse. The sources take turns."""
    gaps: dict[str, list[float]] = {name: [] for name in list(sources)[:instances]}
    for number in range(instances):
        name = list(gaps)[number % len(gaps)]
        instance = next(sources[name])
        fast, greedy = (asymmetric_multiway_cut(*instance, mode).energy for mode in ("fast", "greedy"))
        gaps[name].append(100 * (fast - greedy) / max(abs(greedy), 1e-9))
    return gaps


def table(gaps: dict[str, list[float]]) -> str:
    """The report for people."""
    rows = {**gaps, "all": sum(gaps.values(), [])}
    lines = [f"{'gap to greedy, %':40}{'instances':>10}{'median':>10}{'worst':>10}"]
    return "\n".join(lines + [f"{name:40}{len(gap):10}{np.median(gap):10.4f}{max(gap):10.4f}" for name, gap in rows.items()])


if __name__ == "__main__":
    sys.exit(main())
