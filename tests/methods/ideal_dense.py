"""The output of an ideal network of dense detections for a scene: what training aims at, from the ground truth alone."""

from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from tests.methods.scene import LABELS, THINGS, Scene
from training.methods.dense.decode import Decoder, DecoderSettings
from training.methods.dense.network import Output
from training.methods.dense.targets import levelness_targets, truth_of
from training.nets.detector_targets import cell_targets

STRIDE = 8
"""Pixels per cell of a scene: those of P3, so that no box is interpolated between two objects."""

RANGES = [10**4, 10**5, 10**6, 10**7]
"""All boxes belong to P3."""

SURE = 20.0


@cache
def decoder(**settings: float) -> Decoder:
    ids, things = torch.tensor([label.id for label in LABELS]), torch.tensor(THINGS)
    return Decoder(ids, things, DecoderSettings(**{"stride": STRIDE} | settings))


def decode(scene: Scene, **settings: float) -> tuple[np.ndarray, ...]:
    """ids (h,w), category (K,), score (K,), embedding (K,E) of the ideal output."""
    with torch.no_grad():
        return tuple(part.numpy() for part in decoder(**settings)(output(scene)))


def output(scene: Scene) -> Output:
    """Boxes on all cells of objects, classes as sure as the scene says, levelness and semantics beyond doubt."""
    semantic, instance = (torch.from_numpy(part).unsqueeze(0) for part in (scene.semantic, scene.instance))
    things = torch.tensor(THINGS)
    truth = truth_of(semantic, instance, things, STRIDE, weak=False)
    height, width = scene.semantic.shape
    sizes = [(-(-height // step), -(-width // step)) for step in (1, 2, 4, 8, 16)]
    cells = cell_targets(truth, sizes, RANGES)
    positive, owner = cells.instance >= 0, cells.instance.clamp_min(0)
    confidence = torch.tensor([*scene.confidence, 0.0])[owner].float()  # a number for scenes without objects
    category = torch.cat([truth.category[0], torch.zeros(1, dtype=torch.long)])[owner]
    thing = one_hot((things.long().cumsum(0)[category] - 1).clamp_min(0), int(things.sum())).transpose(1, 2)
    logits = torch.where((thing > 0) & positive.unsqueeze(1), torch.logit(confidence).unsqueeze(1), -SURE)
    level = levelness_targets(truth, (2 * height, 2 * width), RANGES).clamp_min(0)
    known = one_hot(semantic + 1, len(LABELS) + 1)[..., 1:].permute(0, 3, 1, 2)  # void: no class is surer than another
    return Output(
        split(logits, sizes),
        split(torch.where(cells.distances > 0, cells.distances, 1.0), sizes),
        split(torch.logit(cells.centerness.clamp(1e-5, 1 - 1e-5)).unsqueeze(1), sizes),
        SURE * one_hot(level, 6).permute(0, 3, 1, 2).float(),
        SURE * known.float(),
        embedding(truth.instance + len(LABELS), semantic),
    )


def split(cells: Tensor, sizes: list[tuple[int, int]]) -> list[Tensor]:
    """(B,D,N), all levels in one row -> a map for each level."""
    parts = cells.split([height * width for height, width in sizes], 2)
    return [part.unflatten(2, size) for part, size in zip(parts, sizes)]


def embedding(instance: Tensor, semantic: Tensor, channels: int = 8) -> Tensor:
    """(1,E,h,w): a random vector for each object and each stuff class."""
    number = torch.where(instance >= len(LABELS), instance, semantic.clamp_min(0))
    table = torch.randn(int(number.max()) + 1, channels, generator=torch.Generator().manual_seed(0))
    return table[number].permute(0, 3, 1, 2)


def finer(scene: Scene, factor: int) -> Scene:
    """The same scene with factor x factor cells for each."""
    parts = (np.repeat(np.repeat(part, factor, 0), factor, 1) for part in (scene.semantic, scene.instance))
    return Scene(*parts, scene.confidence)
