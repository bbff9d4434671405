"""The measurements of one model with one engine: times, processor time and memory."""

from collections.abc import Callable, Mapping
from time import perf_counter, process_time
from typing import TypeVar

import numpy as np

from panoptic_ros.commands.machine import fixed_work, peak_bytes, resident_bytes
from panoptic_ros.core import Engine
from panoptic_ros.manifest import Manifest
from panoptic_ros.pipeline import STAGES, Pipeline
from panoptic_ros.preprocess import geometry, letterbox
from panoptic_ros.tracker import Tracker

WARM_UP = 10
FRAME_NS = 100_000_000
MIB = 1 << 20

Key = TypeVar("Key")


def measure(model: Manifest, engine: Engine, frames: list[np.ndarray], rounds: int) -> dict:
    """Milliseconds of network, engine and pipeline, of the pipeline's stages, and how the first three compare.

    cpu_ms: of the pipeline, over all threads of the process, those that spin while they wait included. fixed_work_ms: of what
    always takes the same time on a quiet machine.
    """
    pipeline = tracked(model, engine)
    inputs = [engine_input(frame, model) for frame in frames]
    noted: dict[str, list[float]] = {name: [] for name in ("cpu_ms", *STAGES)}

    def frame_through_pipeline(number: int) -> None:
        start = process_time()
        pipeline(frames[number % len(frames)], number * FRAME_NS)
        noted["cpu_ms"].append((process_time() - start) * 1e3)
        for stage in STAGES:
            noted[stage].append(pipeline.timings_ms[stage])

    runs: dict[str, Callable[[int], object]] = {
        "network_only_ms": lambda number: engine.run_network_only(inputs[number % len(inputs)]),
        "engine_ms": lambda number: engine.run(inputs[number % len(inputs)]),
        "pipeline_ms": frame_through_pipeline,
        "fixed_work_ms": lambda _: fixed_work(),
    }
    results = {name: summary(samples) for name, samples in interleaved(runs, rounds).items()}
    network = results["network_only_ms"]["p50"]
    ratios = {f"{name}/network": round(results[f"{name}_ms"]["p50"] / network, 4) for name in ("engine", "pipeline")}
    aside = {name: summary(samples[WARM_UP:]) for name, samples in noted.items()}
    return results | {"cpu_ms": aside.pop("cpu_ms"), "stages": aside, "ratios": ratios}


def interleaved(runs: Mapping[Key, Callable[[int], object]], rounds: int) -> dict[Key, list[float]]:
    """Milliseconds of each of `runs`, called with the number of the round; WARM_UP rounds go before.

    Every round has each of them once. Their order is drawn anew, so that none always finds the caches as another left them.
    """
    times: dict[Key, list[float]] = {key: [] for key in runs}
    random, keys = np.random.default_rng(0), list(runs)
    for number in range(WARM_UP + rounds):
        for index in random.permutation(len(keys)):
            start = perf_counter()
            runs[keys[index]](number)
            times[keys[index]].append((perf_counter() - start) * 1e3)
    return {key: samples[WARM_UP:] for key, samples in times.items()}


def memory(model: Manifest, engine: Engine, frame: np.ndarray) -> dict[str, float]:
    """MiB that the process holds with the pipeline at work, and the most that it held until now; opening an engine takes more."""
    pipeline = tracked(model, engine)
    for number in range(WARM_UP):
        pipeline(frame, number * FRAME_NS)
    return {"current": round(resident_bytes() / MIB, 1), "peak": round(peak_bytes() / MIB, 1)}


def soak(model: Manifest, engine: Engine, frames: list[np.ndarray], count: int) -> dict:
    """Resident memory in MiB over `count` frames through the pipeline, read ten times, the first after a tenth of them."""
    pipeline, resident = tracked(model, engine), []
    marks = {max(round(count * tenth / 10), 1) for tenth in range(1, 11)}
    for number in range(1, count + 1):
        pipeline(frames[number % len(frames)], number * FRAME_NS)
        if number in marks:
            resident.append(round(resident_bytes() / MIB, 2))
    return {"frames": count, "resident_mib": resident, "growth_mib": round(resident[-1] - resident[0], 2)}


def engine_input(frame: np.ndarray, model: Manifest) -> np.ndarray:
    """The frame as the pipeline gives it to the engine."""
    return letterbox(frame, geometry(frame.shape[:2], model.size, model.grid_stride(model.size[0])))


def summary(samples: list[float]) -> dict[str, float]:
    p50, p95, p99, most = np.percentile(samples, (50, 95, 99, 100))
    values = {"p50": p50, "p95": p95, "p99": p99, "max": most, "mean": np.mean(samples)}
    return {name: round(float(value), 3) for name, value in values.items()}


def tracked(model: Manifest, engine: Engine) -> Pipeline:
    return Pipeline(engine, model, Tracker(model.labels))
