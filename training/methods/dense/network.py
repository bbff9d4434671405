"""Panoptic segmentation from dense detections (Hou et al. 2020): the network and what its outputs mean."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from training.nets.detector import Detector
from training.nets.fpn import FPN, STRIDES, resample

LEVELNESS_STRIDE, SEMANTIC_STRIDE = 4, 8
"""Pixels per cell of the levelness map, and of the semantic and embedding maps."""


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
    """What the network says of an image (B,3,h,w). The lists are those of `detector.Boxes`.

    levelness: (B,6,h/4,w/4) logits of background and P3 to P7. semantic: (B,C,h/8,w/8) logits. embedding: (B,E,h/8,w/8).
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
        self.detector = Detector(s.pyramid, s.semantic_tower, s.location_tower, s.depth, things)
        self.merge_semantic = Merge(s.semantic_tower, s.merge, SEMANTIC_STRIDE)
        self.merge_location = Merge(s.location_tower, s.merge, LEVELNESS_STRIDE)
        self.semantic = nn.Conv2d(self.merge_semantic.channels, classes, 3, padding=1)
        self.embedding = nn.Conv2d(self.merge_semantic.channels, s.embedding, 3, padding=1)
        self.levelness = nn.Conv2d(self.merge_location.channels, len(STRIDES) + 1, 3, padding=1)
        for head in (self.semantic, self.levelness):
            nn.init.normal_(head.weight, std=0.01)
            nn.init.zeros_(head.bias)
        self.register_buffer("pixel_mean", torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1))
        self.register_buffer("pixel_std", torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1))

    def forward(self, image: Tensor) -> Output:
        height, width = image.shape[-2:]
        levels = self.trunk((image - self.pixel_mean) / self.pixel_std)
        boxes, what, where = self.detector(levels)
        merged = self.merge_semantic(what, (height // SEMANTIC_STRIDE, width // SEMANTIC_STRIDE))
        located = self.merge_location(where, (height // LEVELNESS_STRIDE, width // LEVELNESS_STRIDE))
        return Output(*boxes, self.levelness(located), self.semantic(merged), self.embedding(merged))


class Merge(nn.Module):
    """Maps of P3 to P7 -> one of `stride`: each projected to `merge` channels (0: left as it is), upsampled, concatenated."""

    def __init__(self, inputs: int, merge: int, stride: int) -> None:
        super().__init__()
        self.project = nn.ModuleList(nn.Conv2d(inputs, merge, 1) if merge else nn.Identity() for _ in STRIDES)
        self.stride, self.channels = stride, len(STRIDES) * (merge or inputs)

    def forward(self, levels: list[Tensor], size: tuple[int, int]) -> Tensor:
        projected = [project(x) for project, x in zip(self.project, levels, strict=True)]
        return torch.cat([resample(x, s, self.stride, size) for x, s in zip(projected, STRIDES)], 1)
