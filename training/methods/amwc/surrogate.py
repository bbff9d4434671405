"""A smooth stand-in for panoptic quality (section 3.3, eq. 6)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training.distributed import Sum
from training.methods.amwc.lifting import Lifting


@dataclass(frozen=True)
class Pairs:
    """What eq. 6 adds up, of all images, with their class indices. iou, keep: (J,) of the labels, keep is 0 without a cluster.

    category: (J,). false_keep, false_category: (F,), of the clusters without a label. keep: sigma, 0 rejected to 1 kept.
    """

    iou: Tensor
    keep: Tensor
    category: Tensor
    false_keep: Tensor
    false_category: Tensor


def soft_match(iou: Tensor) -> Tensor:
    """h(u): 0 for u = 0, 1 for u = 1, one half at 0.5."""
    return iou**4 / (iou**4 + (1 - iou) ** 4)


def pairs_of(found: Tensor, liftings: Sequence[Lifting], least_area: Tensor, cell_area: int, slope: float) -> Pairs:
    """found: (J,H,W) z of all images' labels, 0..1. least_area: (C,) pixels. cell_area: pixels of a cell.
    slope: of the soft rejection of small segments, per pixel."""
    device = found.device
    truth = torch.from_numpy(np.concatenate([lifting.truth for lifting in liftings])).to(device)
    category = torch.from_numpy(np.concatenate([lifting.category for lifting in liftings])).to(device)
    both, area = (found * truth).sum((1, 2)), found.sum((1, 2))
    iou = both / (area + truth.sum((1, 2)) - both)
    keep = torch.sigmoid(slope * (cell_area * area - least_area[category])) * (area > 0)
    false_category = torch.from_numpy(np.concatenate([lifting.false_category for lifting in liftings])).to(device)
    false_area = torch.from_numpy(np.concatenate([lifting.false_area for lifting in liftings])).to(device)
    false_keep = torch.sigmoid(slope * (cell_area * false_area - least_area[false_category]))
    return Pairs(iou, keep, category, false_keep, false_category)


def surrogate_quality(pairs: Pairs, classes: int, soft_misses: bool) -> Tensor:
    """The mean of eq. 6 over the classes that have a label, in any process; 1 where none has.

    soft_misses: what a pair lacks of a match, 1 - h, counts as half a miss and half a false positive, as a pair below an IoU of
    0.5 does in PQ. In eq. 6 as it is printed such a pair counts nowhere, so that a class gains when a poor match gets worse.
    """
    matched = soft_match(pairs.iou) * pairs.keep
    missed = (pairs.keep == 0).float()  # |FN|
    loss = 0.5 * (pairs.keep - matched + 1 - missed - matched) if soft_misses else torch.zeros_like(matched)

    def total(values: Tensor, category: Tensor) -> Tensor:
        return Sum.apply(torch.zeros(classes, device=values.device).index_add(0, category, values.float()))

    numerator = total(matched * pairs.iou, pairs.category)
    denominator = total(matched + loss + 0.5 * missed, pairs.category) + total(0.5 * pairs.false_keep, pairs.false_category)
    present = total(torch.ones_like(pairs.iou), pairs.category) > 0
    lost = (1 - numerator / denominator.clamp_min(1e-6))[present]
    return 1 - lost.sum() / max(1, len(lost))
