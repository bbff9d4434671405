"""Loss and PQ of runs over their steps, from their logs: `python -m training.curves RUN [RUN ...] --plot FILE.png`."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # a plot file needs no display

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from panoptic_ros.core import PanopticError
from training.journal import LOG, VALIDATION

SCORES = {"pq": "all", "pq_things": "things", "pq_stuff": "stuff"}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.curves", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a folder of training.train")
    parser.add_argument("--plot", type=Path, required=True, metavar="FILE", help="a picture, .png or .svg")
    args = parser.parse_args(arguments)
    try:
        draw(args.runs, args.plot)
    except PanopticError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def draw(runs: Sequence[Path], plot: Path) -> None:
    """Raises PanopticError, naming the file, if a log cannot be read or the picture not be written."""
    drawn = figure(runs)
    try:
        plot.parent.mkdir(parents=True, exist_ok=True)
        drawn.savefig(plot, dpi=110)
    except (OSError, ValueError) as error:  # ValueError: no such kind of picture
        raise PanopticError(f"cannot write {plot}: {error}") from error
    finally:
        plt.close(drawn)


def figure(runs: Sequence[Path]) -> Figure:
    """A row for each run: the loss, and PQ of the val split if it was trained with --validate-every."""
    logs = {run: (read(run / LOG, "loss"), read(run / VALIDATION, "pq") if (run / VALIDATION).exists() else []) for run in runs}
    drawn, rows = plt.subplots(len(logs), 2, figsize=(9, 2.6 * len(logs)), squeeze=False, layout="constrained")
    for (run, (log, validation)), (left, right) in zip(logs.items(), rows, strict=True):
        left.plot([entry["step"] for entry in log], [entry["loss"] for entry in log], color="tab:red", linewidth=1)
        left.set(title=run.resolve().name, xlabel="step", ylabel="loss", ylim=(0, None))
        draw_quality(validation, right)
    return drawn


def draw_quality(log: Sequence[dict], axes: Axes) -> None:
    """log: lines of `Journal.validated`."""
    for key, name in SCORES.items():
        points = [(entry["step"], 100 * entry[key]) for entry in log if key in entry]
        if points:
            axes.plot(*zip(*points, strict=True), marker="o", markersize=3, linewidth=1, label=name)
    axes.set(xlabel="step", ylabel="PQ, %", ylim=(0, None))
    if log:
        axes.legend()


def read(log: Path, key: str) -> list[dict]:
    """The entries of a run's log, each with its step and this key; a last line that is cut off is left out."""
    try:
        entries = [json.loads(line) for line in log.read_text(encoding="utf-8").split("\n")[:-1]]
    except OSError as error:
        raise PanopticError(f"cannot read {log}: {error}; expected a folder of training.train") from error
    except ValueError as error:
        raise PanopticError(f"{log} is not a log of training.train: {error}") from error
    if not all(isinstance(entry, dict) and {"step", key} <= entry.keys() for entry in entries):
        raise PanopticError(f"{log} is not a log of training.train: every line has a step and {key}")
    return entries


if __name__ == "__main__":
    sys.exit(main())
