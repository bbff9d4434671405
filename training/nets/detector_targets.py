"""What the losses of the detector compare its boxes with, all of it from class and instance maps."""

from dataclasses import dataclass

import torch
from torch import Tensor

from training.nets.boxes import cell_centres
from training.nets.fpn import STRIDES


@dataclass(frozen=True)
class Truth:
    """Maps on a grid of `stride` pixels a cell, and the L objects of each image; P cells in row order.

    semantic: (B,h,w) class index, -1 void. instance: (B,h,w) the object that a cell belongs to, -1 none. ignored: (B,h,w) bool,
    void, and things whose object is not known (crowds). box: (B,L,4) pixels. category: (B,L) class index. exists: (B,L) bool.
    """

    stride: int
    semantic: Tensor
    instance: Tensor
    ignored: Tensor
    box: Tensor
    category: Tensor
    exists: Tensor


@dataclass(frozen=True)
class Cells:
    """The targets of all cells of P3 to P7, N in total, level by level.

    instance: (B,N) the object that a cell is a positive of, -1 none. distances: (B,4,N) to the sides of its box, pixels.
    centerness: (B,N). counted: (B,N) bool, not ignored.
    """

    instance: Tensor
    distances: Tensor
    centerness: Tensor
    counted: Tensor


def truth_of(semantic: Tensor, instance: Tensor, things: Tensor, stride: int) -> Truth:
    """semantic, instance: (B,h,w) int, -1 none; instances from 0 within an image. things: (C,) bool. stride: pixels per cell."""
    box, exists = boxes_of(instance, stride)
    category = categories_of(semantic, instance, box.shape[1])
    return Truth(stride, semantic, instance, ignored(semantic, instance, things), box, category, exists)


def ignored(semantic: Tensor, instance: Tensor, things: Tensor) -> Tensor:
    """(B,h,w) bool, see `Truth`."""
    return (semantic < 0) | ((instance < 0) & things[semantic.clamp_min(0)])


def boxes_of(instance: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """(B,L,4) the boxes of the objects of an instance map (B,h,w), pixels, and (B,L) which of them have cells."""
    count = int(instance.max()) + 1
    index = (instance + 1).flatten(1)  # 0 collects what is no object
    x0, y0 = cell_centres(*instance.shape[1:], stride, instance.device) - stride / 2
    sides = []
    for value, reduce in ((x0, "amin"), (y0, "amin"), (x0 + stride, "amax"), (y0 + stride, "amax")):
        empty = torch.zeros(len(instance), count + 1, device=instance.device)
        sides.append(empty.scatter_reduce(1, index, value.expand(index.shape), reduce, include_self=False)[:, 1:])
    cells = torch.zeros(len(instance), count + 1, device=instance.device).scatter_add(1, index, torch.ones_like(index).float())
    return torch.stack(sides, 2), cells[:, 1:] > 0


def categories_of(semantic: Tensor, instance: Tensor, count: int) -> Tensor:
    """(B,L) class index of each object, 0 for those without cells. An object has one class."""
    category = torch.zeros(len(instance), count + 1, dtype=semantic.dtype, device=semantic.device)
    return category.scatter(1, (instance + 1).flatten(1), semantic.flatten(1))[:, 1:].clamp_min(0)


def cell_targets(truth: Truth, sizes: list[tuple[int, int]], ranges: list[int]) -> Cells:
    """sizes: (h,w) of P3 to P7. ranges: pixels, the upper bounds of all levels but the last.

    A cell is a positive if its centre lies on an object whose box reaches, from there, at most as far as its level's range and
    further than that of the level below (FCOS, section 3.2; there any centre in the box counts, here those on the mask).
    """
    parts = []
    for level, (stride, (height, width)) in enumerate(zip(STRIDES, sizes, strict=True)):
        centre = cell_centres(height, width, stride, truth.box.device)
        instance, known = sample(truth, centre)
        distances = distances_to(truth, instance, centre)
        instance = torch.where(level_of(distances, ranges) == level, instance, -1)
        parts.append((instance, distances, centerness(distances), known))
    return Cells(*(torch.cat(part, -1) for part in zip(*parts)))


def sample(truth: Truth, centre: Tensor) -> tuple[Tensor, Tensor]:
    """(B,N) the object under each point, -1 none, and (B,N) bool, where that is known. centre: (2,N) pixels.

    A point between cells belongs to the one below and to the right. Beyond the image, where coarse levels reach, is nothing.
    """
    height, width = truth.instance.shape[1:]
    x, y = (centre / truth.stride).long()
    outside = (x >= width) | (y >= height)
    index = y.clamp_max(height - 1) * width + x.clamp_max(width - 1)
    known = ~truth.ignored.flatten(1)[:, index] | outside
    return torch.where(known & ~outside, truth.instance.flatten(1)[:, index], -1), known


def distances_to(truth: Truth, instance: Tensor, centre: Tensor) -> Tensor:
    """(B,4,N) from each point to the left, top, right and bottom of its object's box, pixels; 0 where it has none."""
    if not truth.box.shape[1]:
        return torch.zeros(len(instance), 4, instance.shape[1], device=instance.device)
    index = instance.clamp_min(0).unsqueeze(2).expand(-1, -1, 4)
    box = truth.box.gather(1, index).transpose(1, 2)  # B,4,N
    distances = torch.cat([centre - box[:, :2], box[:, 2:] - centre], 1)
    return distances.clamp_min(0) * (instance >= 0).unsqueeze(1)


def level_of(distances: Tensor, ranges: list[int]) -> Tensor:
    """(B,N) 0 for P3 to 4 for P7, by the largest of the distances (B,4,N)."""
    return torch.bucketize(distances.amax(1), torch.tensor(ranges, device=distances.device))


def centerness(distances: Tensor) -> Tensor:
    """(B,N) FCOS eq. 3 of the distances (B,4,N): 1 in the middle of the box, 0 on its sides and where there is no box."""
    left, top, right, bottom = distances.unbind(1)
    ratio = [torch.minimum(a, b) / torch.maximum(a, b).clamp_min(1e-6) for a, b in ((left, right), (top, bottom))]
    return (ratio[0] * ratio[1]).sqrt()
