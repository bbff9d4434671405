"""A model's precisions side by side on this machine: milliseconds, interleaved, and what each loses.

    python -m training.precision.compare --model hle_mnv2 --json out/precisions.json

The times are worth something on an idle machine only; the load average is printed with them. PQ is `training.verify --data`'s.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from panoptic_ros import manifest
from panoptic_ros import verify as verification
from panoptic_ros.commands.bench_measure import interleaved
from panoptic_ros.commands.machine import describe_machine
from panoptic_ros.commands.model_arguments import size
from panoptic_ros.core import Engine, PanopticError
from panoptic_ros.engine import open_engine
from panoptic_ros.manifest import Manifest
from panoptic_ros.sources import STREET_CLIP
from training.data.samples import sample_images

CANDIDATES = (
    *(("openvino", precision) for precision in ("fp32", "bf16", "int8", "int8+bf16")),
    *(("onnxruntime", precision) for precision in ("fp32", "int8")),
)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.precision.compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True)
    parser.add_argument("--size", type=size, metavar="HxW", help="of the engine input (default: the model's)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: the backend decides)")
    parser.add_argument("--frames", type=int, default=100, help="rounds to measure (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report here")
    args = parser.parse_args(arguments)
    try:
        report = compare(args)
    except PanopticError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table(report))
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0


def compare(args: argparse.Namespace) -> dict:
    """Every candidate that this machine can run: p50 and p99 of engine and network, and `verify.Agreement` with the first."""
    model = manifest.load(args.model)
    model = model.with_size(*args.size) if args.size else model
    engines, refused = _open(model, args.threads)
    images = sample_images(str(STREET_CLIP), 24, model.size)
    times = measure(engines, images, args.frames)
    reference = next(iter(engines.values()))
    rows = {}
    for name, engine in engines.items():
        found = verification.agreement(reference, engine, images)
        rows[name] = {"engine": engine.description, "pixels": found.pixels, "worst": found.worst, "angle": found.angle} | {
            f"{part}_ms": {"p50": float(p50), "p99": float(p99)} for part, (p50, p99) in times[name].items()
        }
    return {
        "model": model.model, "size": list(model.size), "frames": args.frames, "machine": describe_machine(),
        "load_average_before": round(os.getloadavg()[0], 2), "rows": rows, "refused": refused,
    }  # fmt: skip


def _open(model: Manifest, threads: int) -> tuple[dict[str, Engine], dict[str, str]]:
    """The engines by name, and why others are not among them."""
    engines, refused = {}, {}
    for backend, precision in CANDIDATES:
        try:
            engines[f"{backend} {precision}"] = open_engine(model, backend, precision=precision, threads=threads)
        except PanopticError as error:
            refused[f"{backend} {precision}"] = str(error)
    if not engines:
        raise PanopticError(f"nothing runs {model.model} here: {refused}")
    return engines, refused


def measure(engines: dict[str, Engine], images: list[np.ndarray], rounds: int) -> dict[str, dict[str, np.ndarray]]:
    """p50 and p99 in milliseconds of `engine` and `network` of each, all of them in every round in an order drawn anew."""
    calls = {(name, "engine"): engine.run for name, engine in engines.items()}
    calls |= {(name, "network"): engine.run_network_only for name, engine in engines.items()}
    samples = interleaved(
        {key: lambda number, call=call: call(images[number % len(images)]) for key, call in calls.items()}, rounds
    )
    found: dict[str, dict[str, np.ndarray]] = {name: {} for name in engines}
    for (name, part), taken in samples.items():
        found[name][part] = np.percentile(taken, (50, 99))
    return found


def table(report: dict) -> str:
    """The report for people."""
    machine, (height, width) = report["machine"], report["size"]
    cores = f"{machine['cores']} cores, load {report['load_average_before']}"
    lines = [
        f"{report['model']} {height}x{width}, {report['frames']} rounds on {machine['cpu']}, {cores}",
        f"{'':20}{'engine p50':>12}{'p99':>8}{'network p50':>13}{'pixels':>9}{'worst':>8}{'angle':>7}",
    ]
    for name, row in report["rows"].items():
        engine, network = row["engine_ms"], row["network_ms"]
        lines.append(
            f"{name:20}{engine['p50']:12.1f}{engine['p99']:8.1f}{network['p50']:13.1f}{100 * row['pixels']:9.2f}"
            f"{100 * row['worst']:8.2f}{row['angle']:7.1f}"
        )
    return "\n".join(lines + [f"{name}: {reason}" for name, reason in report["refused"].items()])


if __name__ == "__main__":
    sys.exit(main())
