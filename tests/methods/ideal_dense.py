"""The output of an ideal network of dense detections for a scene: what training aims at, from the ground truth alone."""

from functools import cache

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.nn.functional import one_hot

from tests.methods.scene import LABELS, THINGS, Scene
from training.methods.dense.decode import Decoder, DecoderSettings
from training.methods.dense.network import LEVELNESS_STRIDE, Output
from training.methods.dense.targets import levelness_targets, truth_of
from training.nets.boxes import cell_centres
from training.nets.detector_targets import cell_targets
from training.nets.fpn import STRIDES

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


def output(scene: Scene, stride: int = STRIDE, ranges: list[int] = RANGES) -> Output:
    """Boxes on all cells of objects, classes as sure as the scene says, levelness and semantics beyond doubt.

    stride: pixels per cell of the scene. ranges: which boxes belong to which level. Cells beside an object have its box too, as a
    network would, whose maps are smooth.
    """
    semantic, instance = (torch.from_numpy(part).unsqueeze(0) for part in (scene.semantic, scene.instance))
    things = torch.tensor(THINGS)
    truth = truth_of(semantic, instance, things, stride, weak=False)
    height, width = (stride * side for side in scene.semantic.shape)
    sizes = [(-(-height // step), -(-width // step)) for step in STRIDES]
    cells = cell_targets(truth, sizes, ranges)
    positive, owner = cells.instance >= 0, cells.instance.clamp_min(0)
    confidence = torch.tensor([*scene.confidence, 0.0])[owner].float()  # a number for scenes without objects
    category = torch.cat([truth.category[0], torch.zeros(1, dtype=torch.long)])[owner]
    thing = one_hot((things.long().cumsum(0)[category] - 1).clamp_min(0), int(things.sum())).transpose(1, 2)
    logits = torch.where((thing > 0) & positive.unsqueeze(1), torch.logit(confidence).unsqueeze(1), -SURE)
    level = levelness_targets(truth, (height // LEVELNESS_STRIDE, width // LEVELNESS_STRIDE), ranges).clamp_min(0)
    owners = [owner[0, 0].numpy() for owner in split(cells.instance.unsqueeze(1), sizes)]
    known = one_hot(semantic + 1, len(LABELS) + 1)[..., 1:].permute(0, 3, 1, 2)  # void: no class is surer than another
    return Output(
        split(logits, sizes),
        [distances(around, truth.box[0], step) for around, step in zip(owners, STRIDES)],
        split(torch.logit(cells.centerness.clamp(1e-5, 1 - 1e-5)).unsqueeze(1), sizes),
        SURE * one_hot(level, 6).permute(0, 3, 1, 2).float(),
        SURE * known.float(),
        embedding(truth.instance + len(LABELS), semantic),
    )


def distances(owner: np.ndarray, box: Tensor, stride: int) -> Tensor:
    """(1,4,h,w) to the sides of the box of each cell's object, or of the nearest one, at least a pixel.

    owner: (h,w) the object that a cell of the level is a positive of, -1 none. box: (L,4).
    """
    if not (owner >= 0).any():
        return torch.ones(1, 4, *owner.shape)
    nearest = distance_transform_edt(owner < 0, return_distances=False, return_indices=True)
    sides = box[torch.from_numpy(owner[tuple(nearest)])]  # h,w,4
    x, y = (centre.view(owner.shape) for centre in cell_centres(*owner.shape, stride, box.device))
    found = [x - sides[..., 0], y - sides[..., 1], sides[..., 2] - x, sides[..., 3] - y]
    return torch.stack(found).unsqueeze(0).clamp_min(1)


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
