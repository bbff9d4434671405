"""The raw output of an ideal HLE network for a scene: what training aims at, from the ground truth alone."""

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from tests.methods.scene import LABELS, Scene
from training.methods.hle.decode import DecoderSettings
from training.methods.hle.loss import LossSettings
from training.methods.hle.method import Method, Settings
from training.methods.hle.network import NetworkSettings
from training.methods.hle.targets import Targets, pool_means, targets

PRECISION, SPATIAL = 400.0, 0.5
"""1 / (2 sigma^2) of embeddings and of positions in image heights."""

AT_ZERO = 10.0, 600.0
"""The same of a network whose variance channels are 0; they are exp(5) times smaller where the channels are 1."""

OFFSET = 0.3
"""How far an object's embedding lies from its class mean."""


@cache
def method() -> Method:
    """HLE for `LABELS` with the smallest trunk, whose output is at stride 2."""
    return variant()


def variant(**network: bool) -> Method:
    """The same with other settings of the network."""
    settings = NetworkSettings(aspp_width=8, skips=[[2, 4, 8]], **network)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Method(Settings(settings, LossSettings(grid_stride=2, block=1), DecoderSettings()), LABELS)


def decode(scene: Scene) -> tuple[np.ndarray, ...]:
    """ids (h,w), category (K,), score (K,), embedding (K,E) of the ideal output."""
    hle = method()
    with torch.no_grad():
        return tuple(part.numpy() for part in hle.graph().decoder(raw(hle, scene)))


def truth_of(hle: Method, scene: Scene) -> Targets:
    return targets(*(torch.from_numpy(part).flatten().unsqueeze(0) for part in (scene.semantic, scene.instance)), hle.things)


def raw(hle: Method, scene: Scene) -> Tensor:
    """(1,E+3,h,w): embeddings at the class means plus an offset of each object, its variances, and seeds that equal phi."""
    truth, (height, width) = truth_of(hle, scene), scene.semantic.shape
    means = normalize(hle.network.means.detach(), dim=1)
    # void: orthogonal to all class means, so that no class is sure of it
    home = torch.cat([means, torch.linalg.svd(means)[2][-1:]])[truth.semantic[0]]  # P,E; -1 is the last
    count = truth.instance.shape[1]
    offsets = normalize(torch.randn(count, means.shape[1], generator=torch.Generator().manual_seed(1)), dim=1)
    own = truth.instance[0].float()  # L,P
    embedding = normalize(home + OFFSET * (own.T @ offsets), dim=1).T
    seed = own.T @ torch.from_numpy(scene.confidence).float() * phi(truth, height, width)
    logit = torch.logit(seed.clamp(1e-5, 1 - 1e-5)).unsqueeze(0)
    variances = torch.tensor(channels(PRECISION, SPATIAL)).unsqueeze(1).expand(2, height * width)
    return torch.cat([embedding, variances, logit]).view(1, -1, height, width)


def channels(precision: float, spatial: float) -> list[float]:
    """The raw values of the two variance channels."""
    return [math.log(zero / value) / 5 for zero, value in zip(AT_ZERO, (precision, spatial))]


def phi(truth: Targets, height: int, width: int) -> Tensor:
    """(P,): the kernel of each cell's own object, which depends on the distance to its middle alone; 0 elsewhere."""
    y, x = torch.meshgrid((torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / height, indexing="ij")
    position = torch.stack([x.flatten(), y.flatten()])  # 2,P
    center = pool_means(position.unsqueeze(0), truth.instance)[0]  # L,2
    squared = ((position.unsqueeze(0) - center.unsqueeze(2)) ** 2).sum(1)  # L,P
    return (torch.exp(-SPATIAL * squared) * truth.instance[0]).sum(0)
