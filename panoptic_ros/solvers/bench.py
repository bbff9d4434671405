"""Measure the multiway cut solver on made-up scenes: `python -m panoptic_ros.solvers.bench`, one thread."""

import argparse
import json
import math
import sys
from pathlib import Path
from time import perf_counter, thread_time

import numpy as np

from panoptic_ros.commands.machine import describe_machine
from panoptic_ros.core import PanopticError
from panoptic_ros.solvers.instances import DISTANCES, Instance, scene_instance
from panoptic_ros.solvers.multiway_cut import Cut, Mode, asymmetric_multiway_cut

TARGETS_MS = {"128x256": 8, "256x512": 18, "512x1024": 60}
"""Of the fast mode on one core, by the size of the costs."""
REPEATS = 3


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="panoptic_ros.solvers.bench", description=__doc__)
    parser.add_argument("--sizes", nargs="+", default=list(TARGETS_MS), metavar="HxW", help="of the costs (default: %(default)s)")
    parser.add_argument("--instances", type=int, default=10, metavar="N", help="scenes for each size (default: %(default)s)")
    parser.add_argument("--noise", type=float, default=0.5, help="in units of the true margins (default: %(default)s)")
    parser.add_argument("--without-greedy", action="store_true", help="measure the time only, not the energy against greedy")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report here")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw CPU time over pixels here; needs matplotlib")
    args = parser.parse_args(arguments)
    try:
        if args.instances < 1:
            raise PanopticError(f"instances={args.instances}: at least 1")
        modes: tuple[Mode, ...] = ("fast",) if args.without_greedy else ("fast", "greedy")
        report = {"machine": describe_machine(), "instances": args.instances, "noise": args.noise, "distances": DISTANCES}
        report["sizes"] = {size: measure(_size(size), args.instances, args.noise, modes) for size in args.sizes}
        print(table(report))
        if args.json:
            args.json.write_text(json.dumps(report, indent=1) + "\n")
        if args.plot:
            plot(report, args.plot)
    except (PanopticError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def measure(size: tuple[int, int], instances: int, noise: float, modes: tuple[Mode, ...]) -> dict:
    """Milliseconds of each mode, of this thread and on the clock, and how much worse than greedy the energy is.

    The time of a scene is the least of REPEATS in "fast"; the percentiles are over the scenes.
    """
    times: dict[Mode, list[tuple[float, float]]] = {mode: [] for mode in modes}
    gaps = []
    for seed in range(instances):
        instance = scene_instance(*size, seed, noise)
        cuts = {}
        for mode in modes:
            if seed == 0:
                asymmetric_multiway_cut(*instance, mode)
            runs = [_timed(instance, mode) for _ in range(REPEATS if mode == "fast" else 1)]
            times[mode].append(tuple(np.min([run[:2] for run in runs], axis=0)))
            cuts[mode] = runs[0][2]
        if "greedy" in cuts:
            gaps.append(100 * (cuts["fast"].energy - cuts["greedy"].energy) / abs(cuts["greedy"].energy))
    results: dict = {mode: _summary(np.array(samples)) for mode, samples in times.items()}
    if gaps:
        results["gap_percent"] = {"median": round(float(np.median(gaps)), 4), "worst": round(max(gaps), 4)}
    return results


def table(report: dict) -> str:
    """The report for people."""
    lines = [
        f"{report['machine']['cpu']}, load {report['machine']['load_average']}, {report['instances']} scenes a size",
        f"{'':10}{'mode':8}{'CPU ms p50':>12}{'p99':>10}{'wall ms p50':>13}{'p99':>10}{'gap % median':>14}{'worst':>9}",
    ]
    for size, results in report["sizes"].items():
        for mode in ("fast", "greedy"):
            if mode in results:
                cpu, wall = results[mode]["cpu_ms"], results[mode]["wall_ms"]
                line = f"{size:10}{mode:8}{cpu['p50']:12.2f}{cpu['p99']:10.2f}{wall['p50']:13.2f}{wall['p99']:10.2f}"
                gap = results.get("gap_percent", {}) if mode == "fast" else {}
                lines.append(line + "".join(f"{value:{width}.4f}" for value, width in zip(gap.values(), (14, 9))))
    return "\n".join(lines)


def plot(report: dict, file: Path) -> None:
    """CPU time of each mode over the pixels, with the targets. Raises PanopticError without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise PanopticError("a plot needs matplotlib: run `pip install matplotlib`") from error
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.set(xscale="log", yscale="log", xlabel="cells of the grid", ylabel="CPU time, ms (median; bar: p99)")
    for mode in ("fast", "greedy"):
        points = [
            (math.prod(_size(size)), *results[mode]["cpu_ms"].values())
            for size, results in report["sizes"].items()
            if mode in results
        ]
        if points:
            pixels, p50, p99 = np.array(sorted(points)).T
            axes.errorbar(pixels, p50, (np.zeros_like(p50), p99 - p50), marker="o", capsize=3, label=mode)
    axes.plot([math.prod(_size(size)) for size in TARGETS_MS], list(TARGETS_MS.values()), "k_", markersize=14, label="target")
    axes.set_title(f"asymmetric multiway cut, 19 classes, one thread of {report['machine']['cpu']}", fontsize=9)
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(file, dpi=120)


def _timed(instance: Instance, mode: Mode) -> tuple[float, float, Cut]:
    """CPU milliseconds of this thread, milliseconds on the clock, and the result."""
    cpu, wall = thread_time(), perf_counter()
    cut = asymmetric_multiway_cut(*instance, mode)
    return (thread_time() - cpu) * 1e3, (perf_counter() - wall) * 1e3, cut


def _summary(times_ms: np.ndarray) -> dict[str, dict[str, float]]:
    """times_ms: (instances, 2), CPU and wall."""
    percentiles = np.percentile(times_ms, (50, 99), axis=0)
    return {
        name: {"p50": round(p50, 3), "p99": round(p99, 3)} for name, p50, p99 in zip(("cpu_ms", "wall_ms"), *percentiles.tolist())
    }


def _size(text: str) -> tuple[int, int]:
    height, cross, width = text.partition("x")
    if not (cross and height.isdecimal() and width.isdecimal()):
        raise PanopticError(f"size {text!r}: HxW, such as 128x256")
    return int(height), int(width)


if __name__ == "__main__":
    sys.exit(main())
