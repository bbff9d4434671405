"""The output of an ideal affinity network for a scene: what training aims at, from the ground truth alone."""

from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from tests.methods.scene import LABELS, THINGS, Scene
from training.methods.affinity.decode import Decoder, DecoderSettings
from training.methods.affinity.method import Method, Settings
from training.methods.affinity.network import NetworkSettings, Output
from training.nets.detector_targets import Cells, Truth, cell_targets, truth_of

STRIDE = 8
"""Pixels per cell of a scene: those of P3, so that an object of one cell has a box."""

RANGES = [10**4, 10**5, 10**6, 10**7]
"""All boxes belong to P3."""

SURE = 20.0
CHANNELS = 128
"""Of the affinity: one for each stuff class and each object; with more segments than that, some share one."""


@cache
def method(**network: object) -> Method:
    """Affinity for `LABELS` with the smallest network."""
    small = dict(pyramid=8, tower=8, depth=1, subnet=8, subnet_depth=1, affinity=CHANNELS)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        found = Method(Settings(NetworkSettings(**small | network)), LABELS)
    found.network.eval()
    return found


@cache
def decoder(**settings: object) -> Decoder:
    ids, things = torch.tensor([label.id for label in LABELS]), torch.tensor(THINGS)
    known = {"stride": STRIDE, "void_threshold": 0.3} | settings
    return Decoder(method().network, ids, things, DecoderSettings(**known))


def decode(scene: Scene, **settings: object) -> tuple[np.ndarray, ...]:
    """ids (h,w), category (K,), score (K,), embedding (K,E) of the ideal output."""
    with torch.no_grad():
        return tuple(part.numpy() for part in decoder(**settings)(output(scene)))


def output(scene: Scene) -> Output:
    """Boxes on all cells of objects, classes as sure as the scene says, V beyond doubt, an affinity channel for each segment."""
    semantic, instance = (torch.from_numpy(part).unsqueeze(0) for part in (scene.semantic, scene.instance))
    truth = truth_of(semantic, instance, torch.tensor(THINGS), STRIDE)
    height, width = scene.semantic.shape
    sizes = [(-(-height // step), -(-width // step)) for step in (1, 2, 4, 8, 16)]
    cells = cell_targets(truth, sizes, RANGES)
    segment = torch.where(instance >= 0, len(LABELS) + instance, semantic) % CHANNELS
    known = one_hot(semantic + 1, len(LABELS) + 1)[..., 1:].permute(0, 3, 1, 2)  # void: no class is surer than another
    return Output(
        split(thing_logits(scene, truth, cells), sizes),
        split(torch.where(cells.distances > 0, cells.distances, 1.0), sizes),
        split(torch.logit(cells.centerness.clamp(1e-5, 1 - 1e-5)).unsqueeze(1), sizes),
        doubled(SURE * known.float()),
        [doubled(one_hot(segment, CHANNELS).permute(0, 3, 1, 2).float())] * 2,
        [],
    )


def thing_logits(scene: Scene, truth: Truth, cells: Cells) -> Tensor:
    """(1,T,N)."""
    things = torch.tensor(THINGS)
    positive, owner = cells.instance >= 0, cells.instance.clamp_min(0)
    confidence = torch.tensor([*scene.confidence, 0.0])[owner].float()  # a number for scenes without objects
    category = torch.cat([truth.category[0], torch.zeros(1, dtype=torch.long)])[owner]
    thing = one_hot((things.long().cumsum(0)[category] - 1).clamp_min(0), int(things.sum())).transpose(1, 2)
    return torch.where((thing > 0) & positive.unsqueeze(1), torch.logit(confidence).unsqueeze(1), -SURE)


def doubled(x: Tensor) -> Tensor:
    """A map at twice the resolution: that of V and Q."""
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def split(cells: Tensor, sizes: list[tuple[int, int]]) -> list[Tensor]:
    """(B,D,N), all levels in one row -> a map for each level."""
    parts = cells.split([height * width for height, width in sizes], 2)
    return [part.unflatten(2, size) for part, size in zip(parts, sizes)]
