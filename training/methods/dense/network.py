"""Panoptic segmentation from dense detections (Hou et al. 2020): the network and what its outputs mean."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from training.nets.fpn import FPN, STRIDES

LEVELNESS_STRIDE, SEMANTIC_STRIDE = 4, 8
"""Pixels per cell of the levelness map, and of the semantic and embedding maps."""

_PRIOR = 0.01
"""Probability of any thing at the start of training (Lin et al. 2017, focal loss)."""


@dataclass
class NetworkSettings:
    """backbone: mobilenet_v2, resnet50 or resnet101. pyramid, semantic_tower, location_tower: channels of P3 to P7 and of the two
    towers (the authors' code: 256, 128 and 256), multiples of 8. depth: convolutions of a tower (4).

    merge: channels of each level that are upsampled and joined for levelness and semantics; 0 takes all as the paper does,
    which at stride 4 is most of a small network's cost. embedding: E.
    """

    backbone: str = "mobilenet_v2"
    pyramid: int = 64
    semantic_tower: int = 64
    location_tower: int = 64
    depth: int = 4
    merge: int = 16
    embedding: int = 16


class Output(NamedTuple):
    """What the network says of an image (B,3,h,w). Lists have a map for each of P3 to P7, (B,?,ceil(h/s),ceil(w/s)).

    thing_logits: T channels, the thing classes in the labels' order. distances: 4 channels, from the centre of a cell to the
    left, top, right and bottom of its box, pixels, positive. centerness: 1 channel, logits. levelness: (B,6,h/4,w/4) logits of
    background and P3 to P7. semantic: (B,C,h/8,w/8) logits. embedding: (B,E,h/8,w/8).
    """

    thing_logits: list[Tensor]
    distances: list[Tensor]
    centerness: list[Tensor]
    levelness: Tensor
    semantic: Tensor
    embedding: Tensor


class Network(nn.Module):
    """Image (B,3,h,w), values 0..255, h and w multiples of 32 -> `Output`. classes: C; things: T."""

    def __init__(self, settings: NetworkSettings, classes: int, things: int) -> None:
        super().__init__()
        self.settings = s = settings
        self.trunk = FPN(s.backbone, s.pyramid)
        self.semantic_tower = tower(s.pyramid, s.semantic_tower, s.depth)
        self.location_tower = tower(s.pyramid, s.location_tower, s.depth)
        self.thing_logits = nn.Conv2d(s.semantic_tower, things, 3, padding=1)
        self.distances = nn.Conv2d(s.location_tower, 4, 3, padding=1)
        self.centerness = nn.Conv2d(s.location_tower, 1, 3, padding=1)
        self.scales = nn.Parameter(torch.ones(len(STRIDES)))
        self.merge_semantic = Merge(s.semantic_tower, s.merge, SEMANTIC_STRIDE)
        self.merge_location = Merge(s.location_tower, s.merge, LEVELNESS_STRIDE)
        self.semantic = nn.Conv2d(self.merge_semantic.channels, classes, 3, padding=1)
        self.embedding = nn.Conv2d(self.merge_semantic.channels, s.embedding, 3, padding=1)
        self.levelness = nn.Conv2d(self.merge_location.channels, len(STRIDES) + 1, 3, padding=1)
        for head in (self.thing_logits, self.distances, self.centerness, self.semantic, self.levelness):
            nn.init.normal_(head.weight, std=0.01)
            nn.init.zeros_(head.bias)
        nn.init.constant_(self.thing_logits.bias, -math.log(1 / _PRIOR - 1))
        self.register_buffer("pixel_mean", torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1))
        self.register_buffer("pixel_std", torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1))

    def forward(self, image: Tensor) -> Output:
        height, width = image.shape[-2:]
        levels = self.trunk((image - self.pixel_mean) / self.pixel_std)
        what, where = [self.semantic_tower(p) for p in levels], [self.location_tower(p) for p in levels]
        merged = self.merge_semantic(what, (height // SEMANTIC_STRIDE, width // SEMANTIC_STRIDE))
        located = self.merge_location(where, (height // LEVELNESS_STRIDE, width // LEVELNESS_STRIDE))
        return Output(
            [self.thing_logits(x) for x in what],
            [self.to_pixels(self.distances(x), level) for level, x in enumerate(where)],
            [self.centerness(x) for x in where],
            self.levelness(located),
            self.semantic(merged),
            self.embedding(merged),
        )

    def to_pixels(self, raw: Tensor, level: int) -> Tensor:
        """exp(scale x) cells of the level, in pixels; bounded so that a wild step of training stays finite."""
        return (raw.float() * self.scales[level]).clamp(-8, 8).exp() * STRIDES[level]


def tower(inputs: int, width: int, depth: int) -> nn.Sequential:
    """`depth` times 3x3 convolution, group normalisation with 8 channels a group, ReLU. The levels share its weights."""
    layers: list[nn.Module] = []
    for step in range(depth):
        convolution = nn.Conv2d(inputs if step == 0 else width, width, 3, padding=1, bias=False)
        layers += [convolution, nn.GroupNorm(width // 8, width), nn.ReLU()]
    return nn.Sequential(*layers)


class Merge(nn.Module):
    """Maps of P3 to P7 -> one of `stride`: each projected to `merge` channels (0: left as it is), upsampled, concatenated."""

    def __init__(self, inputs: int, merge: int, stride: int) -> None:
        super().__init__()
        self.project = nn.ModuleList(nn.Conv2d(inputs, merge, 1) if merge else nn.Identity() for _ in STRIDES)
        self.stride, self.channels = stride, len(STRIDES) * (merge or inputs)

    def forward(self, levels: list[Tensor], size: tuple[int, int]) -> Tensor:
        projected = [project(x) for project, x in zip(self.project, levels, strict=True)]
        return torch.cat([resample(x, s, self.stride, size) for x, s in zip(projected, STRIDES)], 1)


def resample(x: Tensor, stride: int, to: int, size: tuple[int, int]) -> Tensor:
    """A map (B,C,..) of `stride` pixels per cell at `to` pixels per cell, bilinear, cut to `size` (h,w)."""
    if stride != to:
        x = interpolate(x, scale_factor=stride / to, mode="bilinear", align_corners=False)
    return x[..., : size[0], : size[1]]


def cell_centres(height: int, width: int, stride: int, device: torch.device) -> Tensor:
    """(2,P): x and y of the cells of a grid in row order, pixels."""
    return centres_of(torch.empty(height, width, device=device), stride)


def centres_of(like: Tensor, stride: int) -> Tensor:
    """The same for the grid of a map (..,h,w); by sums over ones, which export without the numbers of rows and columns."""
    ones = torch.ones_like(like.flatten(0, -3)[0] if like.ndim > 2 else like)
    return stride * (torch.stack([ones.cumsum(1), ones.cumsum(0)]).flatten(1) - 0.5)


def boxes_around(centre: Tensor, distances: Tensor) -> Tensor:
    """(..,4,P) boxes x0, y0, x1, y1. centre: (2,P). distances: (..,4,P) to left, top, right, bottom."""
    return torch.cat([centre - distances[..., :2, :], centre + distances[..., 2:, :]], -2)


def iou(one: Tensor, other: Tensor) -> Tensor:
    """Intersection over union, 0 for empty boxes. one, other: x0, y0, x1, y1 in their first dimension; the others broadcast."""
    width = (torch.minimum(one[2], other[2]) - torch.maximum(one[0], other[0])).relu()
    height = (torch.minimum(one[3], other[3]) - torch.maximum(one[1], other[1])).relu()
    both = width * height
    return both / (area(one) + area(other) - both).clamp_min(1e-6)


def area(box: Tensor) -> Tensor:
    """box: x0, y0, x1, y1 in its first dimension."""
    return (box[2] - box[0]) * (box[3] - box[1])
