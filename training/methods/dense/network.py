"""Panoptic segmentation from dense detections (Hou et al. 2020): the network and what its outputs mean."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from panoptic_ros.core import PanopticError
from training.nets.detector import Detector
from training.nets.fpn import FPN, STRIDES, resample

LEVELNESS_STRIDE = 4
"""Pixels per cell of the levelness map."""


@dataclass
class NetworkSettings:
    """backbone: mobilenet_v2, resnet50 or resnet101. pyramid, semantic_tower, location_tower: channels of P3 to P7 and of the two
    towers (the authors' code: 256, 128 and 256), multiples of 8. depth: convolutions of a tower (4).

    merge: channels of each level that are upsampled and joined for levelness and semantics; 0 takes all as the paper does,
    which at stride 4 is most of a small network's cost. embedding: E.

    semantic_stride: pixels per cell of the semantic and embedding maps, 8 as in the paper, or 4 for images of fewer pixels, where
    P2, without a tower, joins the levels that semantics and levelness are made of.
    """

    backbone: str = "mobilenet_v2"
    pyramid: int = 64
    semantic_tower: int = 64
    location_tower: int = 64
    depth: int = 4
    merge: int = 16
    embedding: int = 16
    semantic_stride: int = 8

    def __post_init__(self) -> None:
        for name in ("semantic_tower", "location_tower"):
            if getattr(self, name) < 8 or getattr(self, name) % 8:
                raise PanopticError(f"settings.network.{name} is {getattr(self, name)}; expected a multiple of 8")
        for name, least in (("pyramid", 1), ("depth", 1), ("merge", 0), ("embedding", 1)):
            if getattr(self, name) < least:
                raise PanopticError(f"settings.network.{name} is {getattr(self, name)}; expected at least {least}")
        if self.semantic_stride not in (8, 4):
            raise PanopticError(f"settings.network.semantic_stride is {self.semantic_stride}; it can be 8, 4")


class Output(NamedTuple):
    """What the network says of an image (B,3,h,w). The lists are those of `detector.Boxes`.

    levelness: (B,6,h/4,w/4) logits of background and P3 to P7. semantic: (B,C,h/s,w/s) logits, s = `semantic_stride`.
    embedding: (B,E,h/s,w/s).
    """

    thing_logits: list[Tensor]
    distances: list[Tensor]
    centerness: list[Tensor]
    levelness: Tensor
    semantic: Tensor
    embedding: Tensor

    @property
    def semantic_stride(self) -> int:
        """Pixels per cell of the semantic and embedding maps."""
        return LEVELNESS_STRIDE * self.levelness.shape[-2] // self.semantic.shape[-2]


class Network(nn.Module):
    """Image (B,3,h,w), values 0..255, h and w multiples of 32 -> `Output`. classes: C; things: T."""

    def __init__(self, settings: NetworkSettings, classes: int, things: int) -> None:
        super().__init__()
        self.settings = s = settings
        self.trunk = FPN(s.backbone, s.pyramid, finest=s.semantic_stride)
        self.detector = Detector(s.pyramid, s.semantic_tower, s.location_tower, s.depth, things)
        fine = [s.pyramid] * (len(self.trunk.strides) - 3)
        self.merge_semantic = Merge([*fine, *[s.semantic_tower] * len(STRIDES)], s.merge, s.semantic_stride)
        self.merge_location = Merge([*fine, *[s.location_tower] * len(STRIDES)], s.merge, LEVELNESS_STRIDE)
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
        *fine, p3, p4, p5, p6, p7 = self.trunk((image - self.pixel_mean) / self.pixel_std)
        boxes, what, where = self.detector([p3, p4, p5, p6, p7])
        stride = self.settings.semantic_stride
        merged = self.merge_semantic([*fine, *what], (height // stride, width // stride))
        located = self.merge_location([*fine, *where], (height // LEVELNESS_STRIDE, width // LEVELNESS_STRIDE))
        return Output(*boxes, self.levelness(located), self.semantic(merged), self.embedding(merged))


class Merge(nn.Module):
    """Maps of P3 to P7, or P2 to P7 -> one of `stride`: each projected to `merge` channels (0: left as it is), upsampled, joined.

    inputs: channels of each level.
    """

    def __init__(self, inputs: list[int], merge: int, stride: int) -> None:
        super().__init__()
        self.project = nn.ModuleList(nn.Conv2d(width, merge, 1) if merge else nn.Identity() for width in inputs)
        self.strides = (STRIDES[0] // 2, *STRIDES)[-len(inputs) :]
        self.stride, self.channels = stride, sum(merge or width for width in inputs)

    def forward(self, levels: list[Tensor], size: tuple[int, int]) -> Tensor:
        projected = [project(x) for project, x in zip(self.project, levels, strict=True)]
        return torch.cat([resample(x, s, self.stride, size) for x, s in zip(projected, self.strides)], 1)
