"""What the losses of HLE compare the fields with."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot


@dataclass(frozen=True)
class Targets:
    """semantic: (B,P) class index, -1 void. instance: (B,L,P) bool masks of the things, of which `exists` (B,L) are real.

    ignored: (B,P) bool, cells of crowds: their class is known, their instances are not.
    """

    semantic: Tensor
    instance: Tensor
    exists: Tensor
    ignored: Tensor


def targets(semantic: Tensor, instance: Tensor, things: Tensor) -> Targets:
    """semantic: (B,P) int, -1 void. instance: (B,P) int from 0 within an image, -1 none. things: (C,) bool."""
    count = int(instance.max()) + 1
    masks = one_hot(instance + 1, count + 1)[..., 1:].transpose(1, 2).bool()  # (B,L,P)
    ignored = (instance < 0) & (semantic >= 0) & things[semantic.clamp_min(0)]
    return Targets(semantic, masks, masks.any(2), ignored)


def pool_means(values: Tensor, masks: Tensor) -> Tensor:
    """Mean of values (B,D,P) under each of masks (B,L,P): (B,L,D), zero under an empty mask."""
    return pool_sums(values, masks) / masks.sum(2, keepdim=True).clamp_min(1)


def pool_sums(values: Tensor, masks: Tensor) -> Tensor:
    """(B,L,D): sum of values (B,D,P) under each of masks (B,L,P)."""
    return torch.einsum("bdp,blp->bld", values, masks.to(values.dtype))
