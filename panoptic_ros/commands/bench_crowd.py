"""What objects cost: an empty frame against crowds."""

import math
from collections.abc import Callable

import cv2
import numpy as np

from panoptic_ros.commands.bench_measure import FRAME_NS, engine_input, interleaved, tracked
from panoptic_ros.core import Engine, Panoptic, Slots
from panoptic_ros.manifest import Manifest
from panoptic_ros.preprocess import GREY

MAX_OBJECTS = 100
MAX_TILES = 6
"""Crowds are looked for in mosaics of up to this many frames each way."""


def measure_objects(model: Manifest, engine: Engine, frames: list[np.ndarray], rounds: int) -> dict:
    """Median milliseconds of engine and pipeline on a grey frame and on crowds, interleaved, and the growth.

    `most` is the frame, or the mosaic of frames at the engine's size, in which the model finds most objects; `full` is the grey
    frame with as many objects as the engine can give, up to MAX_OBJECTS, drawn into its answer: of the pipeline alone.
    """
    crowds = [*frames, *(mosaic(frames, tiles, model.size) for tiles in range(2, MAX_TILES + 1))]
    crowd = max(crowds, key=lambda frame: _objects(tracked(model, engine)(frame, 0), model))
    cases = {"least": np.full_like(crowd, GREY), "most": crowd}
    pipelines = {case: tracked(model, engine) for case in cases} | {"full": tracked(model, Crowded(engine, model))}
    cases["full"] = cases["least"]
    report: dict = {case: {"objects": _objects(pipelines[case](frame, 0), model)} for case, frame in cases.items()}
    inputs = {case: engine_input(frame, model) for case, frame in cases.items()}
    runs: dict[tuple[str, str], Callable[[int], object]] = {}
    for case in cases:
        if case != "full":
            runs[case, "engine"] = lambda _, case=case: engine.run(inputs[case])
        runs[case, "pipeline"] = lambda number, case=case: pipelines[case](cases[case], (number + 1) * FRAME_NS)
    for (case, name), times in interleaved(runs, rounds).items():
        report[case][f"{name}_ms"] = round(float(np.median(times)), 3)
        if case != "least":
            growth = report[case][f"{name}_ms"] / report["least"][f"{name}_ms"] - 1
            report[case][f"{name}_growth"] = round(growth, 4)
    return report


class Crowded:
    """An engine that works as ever, but answers with a grid of small things, whatever it sees."""

    def __init__(self, engine: Engine, model: Manifest) -> None:
        self.size, self.description, self._engine = engine.size, engine.description, engine
        things, stuff = ([label.id for label in model.labels if label.thing is kind] for kind in (True, False))
        count = min(MAX_OBJECTS, model.slots - len(stuff))
        height, width = model.grid_size
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


def _objects(panoptic: Panoptic, model: Manifest) -> int:
    things = {label.id for label in model.labels if label.thing}
    return sum(segment.category in things for segment in panoptic.segments)
