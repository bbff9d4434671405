"""The mask head of Mask R-CNN (He et al. 2017) with static shapes, for the models with masks."""

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample, relu

from training.nets.boxes import area, axes_of
from training.nets.detector import corner_of
from training.nets.fpn import tower

CROP, SIDE = 14, 28
"""Cells of a box's features, and of its mask, in each direction."""

STRIDES = (4, 8, 16, 32)
"""Pixels per cell of P2 to P5."""

_CANONICAL = 224
"""Pixels: the side of a box that is read from P4 (Lin et al. 2017, eq. 1)."""


class MaskHead(nn.Module):
    """The features of each box -> mask logits of each thing class. inputs: channels of the pyramid; width: of the head."""

    def __init__(self, inputs: int, width: int, things: int) -> None:
        super().__init__()
        self.tower = tower(inputs, width, 4)
        self.finer = nn.ConvTranspose2d(width, width, 2, 2)
        self.logits = nn.Conv2d(width, things, 1)

    def forward(self, pyramid: list[Tensor], box: Tensor, thing: Tensor) -> Tensor:
        """(J,28,28) logits. pyramid: P2 to P5 of one image, (1,C,..). box: (4,J). thing: (J,) number of the thing class."""
        logits = self.logits(relu(self.finer(self.tower(crop(pyramid, box)))))  # J,T,28,28
        return logits.gather(1, thing.view(-1, 1, 1, 1).expand(-1, 1, SIDE, SIDE))[:, 0]


def crop(pyramid: list[Tensor], box: Tensor) -> Tensor:
    """(J,C,14,14): RoIAlign with one point a cell, of the level that fits the size of each box (4,J)."""
    x, y = points(box, CROP)  # J,14
    level = torch.log2(area(box).clamp_min(1).sqrt() / _CANONICAL).floor().clamp(-2, 1) + 2  # 0 for P2
    found = []
    for number, (features, stride) in enumerate(zip(pyramid, STRIDES, strict=True)):
        width, height = corner_of(features, stride)
        u, v = 2 * x / width - 1, 2 * y / height - 1  # from -1 to 1 over the map
        grid = torch.stack([u.unsqueeze(1).expand(-1, CROP, -1), v.unsqueeze(2).expand(-1, -1, CROP)], 3)  # J,14,14,2
        values = grid_sample(features, grid.flatten(0, 1).unsqueeze(0), padding_mode="border", align_corners=False)
        values = values[0].unflatten(1, (-1, CROP)).transpose(0, 1)  # 1,C,J*14,14 -> J,C,14,14
        found.append(values * (level == number).to(values.dtype).view(-1, 1, 1, 1))
    return torch.stack(found).sum(0)


def points(box: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """x and y, (J,count) pixels: the centres of `count` equal parts of each box (4,J) in each direction."""
    part = (torch.arange(count, device=box.device) + 0.5) / count
    x0, y0, x1, y1 = box.unsqueeze(2)  # J,1
    return x0 + part * (x1 - x0), y0 + part * (y1 - y0)


def paste(mask: Tensor, box: Tensor, like: Tensor, stride: int) -> Tensor:
    """(J,h,w): each mask (J,28,28) bilinear in its box (4,J), on the grid of `like` (..,h,w); 0 in cells with centres outside."""
    x, y = axes_of(like, stride)
    x0, y0, x1, y1 = box.unsqueeze(2)  # J,1
    return weights((y - y0) / (y1 - y0).clamp_min(1)) @ mask @ weights((x - x0) / (x1 - x0).clamp_min(1)).transpose(1, 2)


def weights(position: Tensor) -> Tensor:
    """(J,n,28) linear interpolation between the cells of a mask. position: (J,n), 0 to 1 from one side of it to the other."""
    inside = ((position > 0) & (position < 1)).to(position.dtype).unsqueeze(2)
    cell = (position * SIDE - 0.5).clamp(0, SIDE - 1).unsqueeze(2)
    return inside * relu(1 - (cell - torch.arange(SIDE, device=cell.device)).abs())
