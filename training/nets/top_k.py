"""The mean of the worst cells."""

import torch
from torch import Tensor

from training.distributed import mean_count


def top_k_mean(values: Tensor, known: Tensor, part: float) -> Tensor:
    """The mean of the largest `part` of the known values, none of them negative; 0 where none is known. known: bool.

    Of several processes each takes the largest of its own, so that only a part of 1 is what one process with all images takes.
    """
    all_known = int(known.sum())
    count = max(min(1, all_known), round(part * all_known))
    return (values * known).flatten().topk(count).values.sum() / mean_count(torch.tensor(count, device=values.device))
