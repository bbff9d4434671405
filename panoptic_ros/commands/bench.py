"""Measure a model on this machine: the bare network, the whole engine and the pipeline with tracking, interleaved in one run."""

import argparse
import json
import math
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from time import perf_counter

import cv2
import numpy as np

from panoptic_ros import images
from panoptic_ros.commands.machine import describe_machine, resident_bytes
from panoptic_ros.commands.model_arguments import add_model_arguments, open_model
from panoptic_ros.core import Engine, Panoptic, PanopticError, Slots
from panoptic_ros.manifest import Manifest
from panoptic_ros.pipeline import STAGES, Pipeline
from panoptic_ros.preprocess import GREY, geometry, letterbox
from panoptic_ros.sources import STREET_CLIP
from panoptic_ros.tracker import Tracker

MAX_FRAMES = 64
"""Different frames held in memory; more rounds go through them again."""

MAX_OBJECTS = 100
MAX_TILES = 6
"""Crowds are looked for in mosaics of up to this many frames each way."""

WARM_UP = 10
FRAME_NS = 100_000_000
MIB = 1 << 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_arguments(parser)
    parser.add_argument(
        "--input", type=Path, default=STREET_CLIP, metavar="FILE", help="clip, image or folder (default: the bundled clip)"
    )
    parser.add_argument("--frames", type=int, default=200, metavar="N", help="rounds to measure (default: %(default)s)")
    parser.add_argument("--objects", action="store_true", help="also compare an empty frame with a crowd")
    parser.add_argument("--soak", type=int, default=0, metavar="N", help="also watch the memory over N frames")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report here")


def main(args: argparse.Namespace) -> int:
    if args.frames < 1 or args.soak < 0:
        raise PanopticError(f"frames={args.frames}, soak={args.soak}: at least 1 frame, and no negative numbers")
    model, engine = open_model(args)
    frames = list(islice(images.frames(args.input), MAX_FRAMES))
    report = {
        "model": model.model, "size": list(model.size), "frame_size": list(frames[0].shape[:2]), "frames": args.frames,
        "input": args.input.name, "engine": engine.description, "machine": describe_machine(),
    }  # fmt: skip
    report |= measure(model, engine, frames, args.frames)
    if args.objects:
        report["objects"] = measure_objects(model, engine, frames, args.frames)
    if args.soak:
        report["soak"] = soak(model, engine, frames, args.soak)
    print(table(report))
    if args.json:
        _write(args.json, report)
    return 0


def measure(model: Manifest, engine: Engine, frames: list[np.ndarray], rounds: int) -> dict:
    """Milliseconds of network, engine and pipeline, of the pipeline's stages, and how the first three compare.

    A round runs each of the three once on one frame. Their order is drawn anew in every round, so that none of them always finds
    the caches as another left them.
    """
    pipeline = _tracked(model, engine)
    inputs = [engine_input(frame, model) for frame in frames]
    times: dict[str, list[float]] = {name: [] for name in ("network_only_ms", "engine_ms", "pipeline_ms", *STAGES)}
    random = np.random.default_rng(0)
    for number in range(WARM_UP + rounds):
        frame, image = frames[number % len(frames)], inputs[number % len(frames)]
        runs: dict[str, Callable[[], object]] = {
            "network_only_ms": lambda: engine.run_network_only(image),
            "engine_ms": lambda: engine.run(image),
            "pipeline_ms": lambda: pipeline(frame, number * FRAME_NS),
        }
        for name in random.permutation(list(runs)):
            times[name].append(_milliseconds(runs[name]))
        for stage in STAGES:
            times[stage].append(pipeline.timings_ms[stage])
    results = {name: summary(samples[WARM_UP:]) for name, samples in times.items()}
    network = results["network_only_ms"]["p50"]
    ratios = {f"{name}/network": round(results[f"{name}_ms"]["p50"] / network, 4) for name in ("engine", "pipeline")}
    stages = {stage: results.pop(stage) for stage in STAGES}
    return results | {"stages": stages, "ratios": ratios}


def measure_objects(model: Manifest, engine: Engine, frames: list[np.ndarray], rounds: int) -> dict:
    """Median milliseconds of engine and pipeline on a grey frame and on crowds, interleaved as in `measure`, and the growth.

    `most` is the frame, or the mosaic of frames at the engine's size, in which the model finds most objects; `full` is the grey
    frame with as many objects as the engine can give, up to MAX_OBJECTS, drawn into its answer: of the pipeline alone.
    """
    crowds = [*frames, *(mosaic(frames, tiles, model.size) for tiles in range(2, MAX_TILES + 1))]
    crowd = max(crowds, key=lambda frame: _objects(_tracked(model, engine)(frame, 0), model))
    cases = {"least": np.full_like(crowd, GREY), "most": crowd}
    pipelines = {case: _tracked(model, engine) for case in cases} | {"full": _tracked(model, Crowded(engine, model))}
    cases["full"] = cases["least"]
    report: dict = {case: {"objects": _objects(pipelines[case](frame, 0), model)} for case, frame in cases.items()}
    inputs = {case: engine_input(frame, model) for case, frame in cases.items()}
    runs: list[tuple[str, str, Callable[[int], object]]] = []
    for case in cases:
        if case != "full":
            runs.append((case, "engine_ms", lambda _, case=case: engine.run(inputs[case])))
        runs.append((case, "pipeline_ms", lambda stamp_ns, case=case: pipelines[case](cases[case], stamp_ns)))
    times = np.empty((WARM_UP + rounds, len(runs)))
    random = np.random.default_rng(0)
    for number in range(len(times)):
        for index in random.permutation(len(runs)):
            times[number, index] = _milliseconds(lambda: runs[index][2]((number + 1) * FRAME_NS))
    for (case, name, _), median_ms in zip(runs, np.median(times[WARM_UP:], axis=0)):
        report[case][name] = round(float(median_ms), 3)
    for case, name, _ in runs:
        if case != "least":
            growth = report[case][name] / report["least"][name] - 1
            report[case][name.replace("_ms", "_growth")] = round(growth, 4)
    return report


class Crowded:
    """An engine that works as ever, but answers with a grid of small things, whatever it sees."""

    def __init__(self, engine: Engine, model: Manifest) -> None:
        self.size, self.description, self._engine = engine.size, engine.description, engine
        things, stuff = ([label.id for label in model.labels if label.thing is kind] for kind in (True, False))
        count = min(MAX_OBJECTS, model.slots - len(stuff))
        height, width = (side // model.decode_stride for side in model.size)
        rows = columns = math.ceil(math.sqrt(count))
        cell = (np.arange(height) * rows // height)[:, None] * columns + np.arange(width) * columns // width
        edge = np.diff(cell, axis=0, append=-1).astype(bool) | np.diff(cell, axis=1, append=-1).astype(bool)
        ids = np.where((cell < count) & ~edge, len(stuff) + 1 + cell, 0).astype(np.uint8)
        category = np.resize(things, model.slots)
        category[: len(stuff)] = stuff
        embedding = np.random.default_rng(0).normal(size=(model.slots, model.embedding)).astype(np.float32)
        embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
        self._slots = Slots(ids, category.astype(np.int32), np.ones(model.slots, np.float32), embedding)

    def run(self, image: np.ndarray) -> Slots:
        self._engine.run(image)
        return self._slots

    def run_network_only(self, image: np.ndarray) -> None:
        self._engine.run_network_only(image)


def mosaic(frames: list[np.ndarray], tiles: int, size: tuple[int, int]) -> np.ndarray:
    """`tiles` x `tiles` frames, spread over all of `frames`, each resized, in a picture of `size` (h, w)."""
    ys, xs = (np.linspace(0, side, tiles + 1).astype(int) for side in size)
    picture = np.empty((*size, 3), np.uint8)
    for cell in range(tiles * tiles):
        (row, column), frame = divmod(cell, tiles), frames[cell * len(frames) // tiles**2]
        tile = picture[ys[row] : ys[row + 1], xs[column] : xs[column + 1]]
        if tile.size:
            tile[:] = cv2.resize(frame, tile.shape[1::-1], interpolation=cv2.INTER_AREA)
    return picture


def soak(model: Manifest, engine: Engine, frames: list[np.ndarray], count: int) -> dict:
    """Resident memory in MiB over `count` frames through the pipeline, read ten times, the first after a tenth of them."""
    pipeline, resident = _tracked(model, engine), []
    marks = {max(round(count * tenth / 10), 1) for tenth in range(1, 11)}
    for number in range(1, count + 1):
        pipeline(frames[number % len(frames)], number * FRAME_NS)
        if number in marks:
            resident.append(round(resident_bytes() / MIB, 2))
    return {"frames": count, "resident_mib": resident, "growth_mib": round(resident[-1] - resident[0], 2)}


def engine_input(frame: np.ndarray, model: Manifest) -> np.ndarray:
    """The frame as the pipeline gives it to the engine."""
    return letterbox(frame, geometry(frame.shape[:2], model.size, model.decode_stride))


def summary(samples_ms: list[float]) -> dict[str, float]:
    p50, p90, p99 = np.percentile(samples_ms, (50, 90, 99))
    return {"p50": round(p50, 3), "p90": round(p90, 3), "p99": round(p99, 3), "mean": round(float(np.mean(samples_ms)), 3)}


def table(report: dict) -> str:
    """The report for people."""
    engine, (height, width) = report["engine"], report["size"]
    lines = [
        f"{report['model']} {height}x{width}, frames {'x'.join(map(str, report['frame_size']))} from {report['input']}",
        ", ".join(f"{key} {value}" for key, value in engine.items()),
        f"{'ms':20}{'p50':>9}{'p90':>9}{'p99':>9}{'mean':>9}",
    ]
    rows = {"network only": report["network_only_ms"], "engine": report["engine_ms"], "pipeline": report["pipeline_ms"]}
    rows |= {f"  {stage}": values for stage, values in report["stages"].items()}
    lines += [f"{name:20}" + "".join(f"{value:9.2f}" for value in row.values()) for name, row in rows.items()]
    lines += [f"{name:20}{ratio:9.2f}" for name, ratio in report["ratios"].items()]
    for case in ("least", "most", "full") if "objects" in report else ():
        found = report["objects"][case]
        names = ("pipeline",) if case == "full" else ("engine", "pipeline")
        grown = {name: f" ({found[f'{name}_growth']:+.1%})" if case != "least" else "" for name in names}
        times = ", ".join(f"{name} {found[f'{name}_ms']:.2f} ms{growth}" for name, growth in grown.items())
        lines.append(f"{found['objects']} objects{' drawn' if case == 'full' else ''}: {times}")
    if "soak" in report:
        memory = report["soak"]
        lines.append(
            f"memory over {memory['frames']} frames: {memory['growth_mib']:+.1f} MiB, {memory['resident_mib'][-1]:.0f} at the end"
        )
    return "\n".join(lines)


def _tracked(model: Manifest, engine: Engine) -> Pipeline:
    return Pipeline(engine, model, Tracker(model.labels))


def _objects(panoptic: Panoptic, model: Manifest) -> int:
    things = {label.id for label in model.labels if label.thing}
    return sum(segment.category in things for segment in panoptic.segments)


def _milliseconds(run: Callable[[], object]) -> float:
    start = perf_counter()
    run()
    return (perf_counter() - start) * 1e3


def _write(file: Path, report: dict) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(report, indent=1) + "\n")
    except OSError as error:
        raise PanopticError(f"cannot write {file}: {error.strerror}") from error
