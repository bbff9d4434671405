"""Feature pyramid network (Lin et al. 2017) with the levels P3 to P7 of RetinaNet and FCOS, or from P2 on, on any backbone."""

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu

from training.nets.deeplab import backbone, conv

STRIDES = (8, 16, 32, 64, 128)
"""Pixels per cell of P3 to P7."""


class FPN(nn.Module):
    """Image (B,3,h,w), normalised -> P3 to P7, each (B,width,ceil(h/s),ceil(w/s)), s of `STRIDES`; h and w multiples of 32.

    finest: 4 puts P2 before them. excite: squeeze-and-excitation on the top feature. P6 and P7 are convolutions of stride 2 on
    the level below. The other convolutions have batch normalisation, which FCOS does without since it starts from ImageNet
    weights, and ReLU.
    """

    def __init__(self, backbone_name: str, width: int, finest: int = 8, excite: bool = False) -> None:
        super().__init__()
        self.backbone = backbone(backbone_name, 32)
        self.strides = [stride for stride in (4, 8, 16, 32) if stride >= finest]
        self.excite = SqueezeExcitation(self.backbone.channels[32]) if excite else nn.Identity()
        self.lateral = nn.ModuleList(conv(self.backbone.channels[stride], width) for stride in self.strides)
        self.smooth = nn.ModuleList(conv(width, width, 3) for _ in self.strides)
        # no batch normalisation: at the size of a small image a level has one cell
        self.coarser = nn.ModuleList(nn.Conv2d(width, width, 3, 2, 1) for _ in STRIDES[3:])
        self.channels = width

    def forward(self, image: Tensor) -> list[Tensor]:
        features = self.backbone(image)
        features[32] = self.excite(features[32])
        levels = [lateral(features[stride]) for stride, lateral in zip(self.strides, self.lateral)]
        for fine in range(len(levels) - 2, -1, -1):
            levels[fine] = levels[fine] + interpolate(levels[fine + 1], scale_factor=2.0, mode="nearest")
        levels = [smooth(level) for smooth, level in zip(self.smooth, levels)]
        for coarser in self.coarser:
            levels.append(coarser(relu(levels[-1])))
        return levels


class SqueezeExcitation(nn.Module):
    """Each channel times a gate in 0..1 that depends on the means of all channels over the image (Hu et al. 2018)."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        narrow = channels // reduction
        self.gate = nn.Sequential(nn.Conv2d(channels, narrow, 1), nn.ReLU(), nn.Conv2d(narrow, channels, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x.mean((2, 3), keepdim=True))


def resample(x: Tensor, stride: int, to: int, size: tuple[int, int]) -> Tensor:
    """A map (B,C,..) of `stride` pixels per cell at `to` pixels per cell, bilinear, cut to `size` (h,w)."""
    if stride != to:
        x = interpolate(x, scale_factor=stride / to, mode="bilinear", align_corners=False)
    return x[..., : size[0], : size[1]]


def tower(inputs: int, width: int, depth: int) -> nn.Sequential:
    """`depth` times 3x3 convolution, group normalisation with 8 channels a group, ReLU. The levels share its weights."""
    layers: list[nn.Module] = []
    for step in range(depth):
        convolution = nn.Conv2d(inputs if step == 0 else width, width, 3, padding=1, bias=False)
        layers += [convolution, GroupNorm(width // 8, width), nn.ReLU()]
    return nn.Sequential(*layers)


class GroupNorm(nn.GroupNorm):
    """Group normalisation; when it does not train, from the moments of the channels, (B,C) numbers.

    Exported as it is in torch, it reshapes the map, and an engine that keeps channels last has to reorder it before and after.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return super().forward(x)
        moments = torch.stack([x.mean((2, 3)), (x * x).mean((2, 3))]).unflatten(2, (self.num_groups, -1))
        mean, square = moments.mean(3, keepdim=True)  # B,groups,1
        scale = self.weight.view(mean.shape[1], -1) * ((square - mean**2).relu() + self.eps).rsqrt()  # B,groups,channels of one
        shift = self.bias.view(mean.shape[1], -1) - mean * scale
        return x * scale.flatten(1)[..., None, None] + shift.flatten(1)[..., None, None]
