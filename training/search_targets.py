"""What can be searched: the decoder's settings by PQ, the tracker's by HOTA; their ranges, and what a trial costs."""

import argparse
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from panoptic_ros import manifest
from panoptic_ros.core import Label, PanopticError, Slots
from panoptic_ros.engine import open_engine
from panoptic_ros.manifest import Manifest
from panoptic_ros.tracker import TrackerSettings
from training import onnx_export
from training.data.frames import TrueFrame, locate, read_frames
from training.evaluate import check_labels
from training.replay import Replay
from training.torch_engine import manifest_of

Space = Mapping[str, tuple[float, float]]
"""Setting -> lowest and highest value; whole numbers where both are."""

TRACKER_SPACE: Space = {
    "recent_s": (0.1, 1.0), "max_looks": (0.1, 0.8), "embedding_memory": (0.5, 0.98), "reach_per_s": (0.05, 1.0),
    "category_penalty": (0.0, 1.0),
}  # fmt: skip
"""Without `min_hits` and `max_lost_s`: how soon a thing is reported, and how long it is remembered, are for the robot to say."""


@dataclass(frozen=True, slots=True)
class Target:
    """before: the present values of what is in `space`. score: values -> 0..1, called `measure`, over `frames` frames."""

    measure: str
    space: Space
    before: dict[str, float]
    score: Callable[[dict[str, float]], float]
    frames: int


def decoder_target(args: argparse.Namespace) -> Target:
    """A trial decodes what the checkpoint's network gave. Its DecoderSettings have the ranges, `SEARCH`."""
    recipe, method = onnx_export.load_method(args.checkpoint or Path("runs") / args.model / "last.pt", _present(args))
    model, start = manifest_of(recipe, method), method.settings.decoder
    space: Space = getattr(start, "SEARCH", {})
    if not space:
        raise PanopticError(f"method {recipe.method} says no ranges to search: its DecoderSettings have no SEARCH")
    labels, frames = _frames(args, model)
    frames = frames[:: max(1, len(frames) // (args.frames or len(frames)))][: args.frames]
    graph = method.graph().eval()
    replay = Replay(frames, labels, model, lambda image: _network_output(graph, image), graph.slots)

    def score(values: dict[str, float]) -> float:
        method.settings.decoder = replace(start, **values)
        replay.decode = method.graph().slots
        return replay.panoptic_quality()

    return Target("PQ", space, {key: getattr(start, key) for key in space}, score, len(frames))


def tracker_target(args: argparse.Namespace) -> Target:
    """A trial tracks what the exported engine found."""
    folder, start = args.engines / args.model, TrackerSettings()
    model = manifest.load(folder if os.path.isdir(folder) else args.model)
    labels, frames = _frames(args, model)
    frames = frames[: args.frames]
    if not all(frame.sequence for frame in frames):
        raise PanopticError(f"{args.data} has images without a sequence: --tracker needs `sequence` and `frame` for each image")
    engine = open_engine(model)
    replay = Replay(frames, labels, model, lambda image: _copied(engine.run(image)), lambda slots: slots)

    def score(values: dict[str, float]) -> float:
        return replay.tracking_quality(replace(start, **values))

    return Target("HOTA", TRACKER_SPACE, {key: getattr(start, key) for key in TRACKER_SPACE}, score, len(frames))


def _present(args: argparse.Namespace) -> list[str]:
    """The decoder settings of the model as it is exported, as overrides of its checkpoint's; none if it is not."""
    folder = args.engines / args.model
    return onnx_export.decoder_settings(manifest.load(folder)) if os.path.isfile(folder / "manifest.json") else []


def _frames(args: argparse.Namespace, model: Manifest) -> tuple[tuple[Label, ...], list[TrueFrame]]:
    labels, frames = read_frames(*locate(args.data))
    check_labels(model, labels, args.data)
    return labels, frames


@torch.no_grad()
def _network_output(graph: nn.Module, image: np.ndarray) -> Any:
    return graph.network_output(torch.from_numpy(image))


def _copied(slots: Slots) -> Slots:
    """An engine's answer is valid until the next call only."""
    return Slots(slots.ids.copy(), slots.category.copy(), slots.score.copy(), slots.embedding.copy())
