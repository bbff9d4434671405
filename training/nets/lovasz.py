"""The Lovász extension of the Jaccard loss (Yu and Blaschko 2015; Berman et al. 2018), and cross entropy with void."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from training.distributed import mean_count


def lovasz(errors: Tensor, positive: Tensor) -> Tensor:
    """(N,): of each row (HLE, eq. 3-5). errors: (N,P), not negative, 0 where a pixel does not count. positive: (N,P) bool."""
    ordered, index = errors.sort(dim=1, descending=True)
    hits = positive.gather(1, index).float()
    total = hits.sum(1, keepdim=True)
    jaccard = 1 - (total - hits.cumsum(1)) / (total + (1 - hits).cumsum(1)).clamp_min(1)
    steps = torch.cat([jaccard[:, :1], jaccard[:, 1:] - jaccard[:, :-1]], 1)
    return (ordered * steps).sum(1)


def lovasz_softmax(probability: Tensor, semantic: Tensor) -> Tensor:
    """HLE, eq. 6, over the classes that each image has. probability: (B,C,P). semantic: (B,P), -1 void."""
    masks, present = class_masks(semantic, probability.shape[1])
    known = (semantic >= 0).unsqueeze(1)
    errors = (masks.float() - probability).abs() * known
    return lovasz(errors[present], masks[present]).sum() / mean_count(present.sum())


def class_masks(semantic: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """(B,C,P) bool masks and (B,C) bool, which are not empty."""
    masks = one_hot(semantic + 1, classes + 1)[..., 1:].transpose(1, 2).bool()
    return masks, masks.any(2)


def masked_cross_entropy(logits: Tensor, semantic: Tensor) -> Tensor:
    """Mean over the pixels that are not void; 0 where all are."""
    total = cross_entropy(logits, semantic, ignore_index=-1, reduction="sum")
    return total / mean_count((semantic >= 0).sum())
