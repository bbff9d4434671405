"""The dynamic potential head (section 3.4.1): a channel for each detection and each stuff class, without parameters."""

import torch
from torch import Tensor

from training.nets.boxes import axes_of
from training.nets.detector import Detections

KINDS = ("A", "B", "C")
"""A: without detection scores (UPSNet). B: class probability times mask. C: their sum. Without masks B and C are one."""


def potential(probability: Tensor, found: Detections, masks: Tensor | None, stuff: Tensor, kind: str, stride: int) -> Tensor:
    """Psi (N_st+D,h,w), eq. 1, and with masks eq. 2. The box of a stuff class is the whole image, with score 1.

    probability: V, (C,h,w), `stride` pixels a cell. masks: (D,h,w). stuff: (N_st,) class indices. A cell is in a box if its
    centre is. Gradients reach V, the scores and the masks; a box is either around a cell or not.
    """
    x, y = axes_of(probability, stride)
    x0, y0, x1, y1 = found.box.detach().unsqueeze(2)  # D,1
    across, down = ((x0 < x) & (x < x1)).to(x.dtype), ((y0 < y) & (y < y1)).to(x.dtype)  # D,w and D,h
    if kind != "A":
        down = down * found.score.unsqueeze(1)
    things = probability.index_select(0, found.category)
    if masks is not None:
        things = things * masks if kind == "B" else things + masks
    return torch.cat([probability.index_select(0, stuff), things * down.unsqueeze(2) * across.unsqueeze(1)])
