"""The losses of the detector, those of FCOS (Tian et al. 2019) but for what their docstrings say."""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot

from training.distributed import mean_count
from training.nets.detector_targets import Cells, Truth


def flat(levels: list[Tensor]) -> Tensor:
    """(B,D,N): the cells of all levels in one row."""
    return torch.cat([level.flatten(2) for level in levels], 2)


def category_loss(logits: Tensor, cells: Cells, truth: Truth, things: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Focal loss (Lin et al. 2017) of each thing class at each counted cell, over the number of positives. logits: (B,T,N)."""
    positive = cells.instance >= 0
    index_of_class = things.long().cumsum(0) - 1  # C -> T
    category = index_of_class[gather_instances(truth.category, cells.instance)]
    goal = one_hot(torch.where(positive, category, -1) + 1, logits.shape[1] + 1)[..., 1:].transpose(1, 2).to(logits.dtype)
    entropy = binary_cross_entropy_with_logits(logits, goal, reduction="none")
    probability = logits.sigmoid()
    wrong = goal * (1 - probability) + (1 - goal) * probability
    weight = goal * alpha + (1 - goal) * (1 - alpha)
    return (weight * wrong**gamma * entropy * cells.counted.unsqueeze(1)).sum() / mean_count(positive.sum())


def gather_instances(values: Tensor, instance: Tensor) -> Tensor:
    """(B,N) values (B,L) of the object of each cell, those of object 0 where there is none (0 where no image has any)."""
    return values.gather(1, instance.clamp_min(0)) if values.shape[1] else torch.zeros_like(instance)


def box_loss(distances: Tensor, cells: Cells) -> Tensor:
    """-log IoU, mean over the positives. Unlike in FCOS all weigh the same: masks need good boxes up to an object's rim.

    distances: (B,4,N) pixels. IoU is (intersection + 1) / (union + 1), as in FCOS's code, so that it is never 0.
    """
    positive = cells.instance >= 0
    found, goal = (part.transpose(1, 2)[positive].T for part in (distances, cells.distances))  # 4,positives
    both = torch.minimum(found[0], goal[0]) + torch.minimum(found[2], goal[2])
    both = both * (torch.minimum(found[1], goal[1]) + torch.minimum(found[3], goal[3]))
    areas = [(d[0] + d[2]) * (d[1] + d[3]) for d in (found, goal)]
    return -torch.log((both + 1) / (areas[0] + areas[1] - both + 1)).sum() / mean_count(positive.sum())


def centerness_loss(logits: Tensor, cells: Cells) -> Tensor:
    """Binary cross entropy, mean over the positives. logits: (B,1,N)."""
    positive = cells.instance >= 0
    entropy = binary_cross_entropy_with_logits(logits[:, 0][positive], cells.centerness[positive], reduction="sum")
    return entropy / mean_count(positive.sum())
