"""A network in training in the robot's pipeline: its panoptic quality on some frames."""

import copy
from collections.abc import Sequence
from typing import Any

import torch

from panoptic_ros.pipeline import Pipeline
from training.data.frames import TrueFrame, read_pair
from training.metrics.panoptic_quality import PanopticQuality
from training.torch_engine import TorchEngine, manifest_of
from training.trainer import Trainer


def averaged(trainer: Trainer) -> tuple[Any, Pipeline]:
    """The trainer's method with the averaged weights on the CPU, and the pipeline that runs it."""
    method = copy.deepcopy(trainer.method)
    method.network.load_state_dict(trainer.average.module.state_dict())
    method.network.cpu().eval()
    engine = TorchEngine(method.graph(), tuple(trainer.recipe.engine_size))
    return method, Pipeline(engine, manifest_of(trainer.recipe, method))


@torch.no_grad()
def quality(trainer: Trainer, frames: Sequence[TrueFrame]) -> dict[str, float]:
    """PQ in 0..1 of the averaged network over all classes that occur, of things and of stuff where there are any."""
    _, pipeline = averaged(trainer)
    found = PanopticQuality(trainer.labels)
    for frame in frames:
        image, ids = read_pair(frame.image, frame.ids)
        panoptic = pipeline(image, 0)
        found.add(ids, frame.truth, panoptic.ids, {segment.id: segment.category for segment in panoptic.segments})
    means = {"pq": found.mean(), "pq_things": found.mean(thing=True), "pq_stuff": found.mean(thing=False)}
    return {name: score.pq for name, score in means.items() if score}


def spread(frames: Sequence[TrueFrame], count: int) -> list[TrueFrame]:
    """So many frames, evenly spaced, or all if there are fewer."""
    return [frames[number * len(frames) // count] for number in range(count)] if count < len(frames) else list(frames)
