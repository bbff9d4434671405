"""What the losses of the costs compare with: affinities of each distance, and the weights of small objects."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot, pad


@dataclass(frozen=True)
class Edges:
    """Of each distance and direction, in the order of `Output.edge_cost`; (B,2D,H,W).

    together: bool, both ends are in one segment. known: bool, within the image and neither end void or in a crowd, but where
    the classes differ. thing: bool, at least one end is of a thing class. weight: the larger one of the ends.
    """

    together: Tensor
    known: Tensor
    thing: Tensor
    weight: Tensor


def edges_of(semantic: Tensor, instance: Tensor, things: Tensor, weight: Tensor, distances: Sequence[int]) -> Edges:
    """semantic, instance: (B,H,W) int, -1 none. things: (C,) bool. weight: (B,H,W) of the cells."""
    thing = things[semantic.clamp_min(0)] & (semantic >= 0)
    crowd = thing & (instance < 0)
    parts = []
    for distance in distances:
        for far in (lambda x: pad(x[:, :, distance:], (0, min(distance, x.shape[2]))),
                    lambda x: pad(x[:, distance:], (0, 0, 0, min(distance, x.shape[1])))):  # fmt: skip
            there = far(semantic + 1) - 1  # beyond the image is void
            same = semantic == there
            known = (semantic >= 0) & (there >= 0) & ~(same & (crowd | far(crowd)))
            together = same & (instance == far(instance + 1) - 1)
            parts.append((together, known, thing | far(thing), torch.maximum(weight, far(weight))))
    return Edges(*(torch.stack(part, 1) for part in zip(*parts)))


def small_object_weights(instance: Tensor, limit: float, factor: float) -> Tensor:
    """(B,H,W) float: `factor` on objects of fewer than `limit` cells, 1 elsewhere. instance: (B,H,W), -1 none."""
    area = one_hot(instance.flatten(1) + 1).sum(1)  # B,1+L
    area[:, 0] = torch.iinfo(area.dtype).max
    small = (area < limit).gather(1, (instance + 1).flatten(1)).view_as(instance)
    return torch.where(small, factor, 1.0)
