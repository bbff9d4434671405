"""The costs of an asymmetric multiway cut (Abbas and Swoboda 2021, sections 3.1 and A.6): the network and its outputs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, pad

from panoptic_ros.core import PanopticError
from training.nets.deeplab import ASPP, DecoderStep, backbone, conv, separable_conv

STRIDE = 4
"""Pixels per cell of the costs (section 4.2)."""


@dataclass
class NetworkSettings:
    """backbone: mobilenet_v2, resnet50 or resnet101. aspp_width, aspp_rates: of both branches.

    semantic_skips, affinity_skips: (stride, channels of the projected skip, width of the step), coarse to fine, down to 4.
    distances: of the edges, in cells of stride 4, increasing from 1 (section 3.1). joined: channels after features and class
    costs are joined, from which every classifier starts (section A.6). embedding: E.
    """

    backbone: str = "mobilenet_v2"
    output_stride: int = 16
    aspp_width: int = 128
    aspp_rates: list[int] = field(default_factory=lambda: [6, 12, 18])
    semantic_skips: list[list[int]] = field(default_factory=lambda: [[8, 32, 128], [4, 24, 128]])
    affinity_skips: list[list[int]] = field(default_factory=lambda: [[8, 16, 64], [4, 8, 64]])
    distances: list[int] = field(default_factory=lambda: [1, 4, 16, 32])
    joined: int = 64
    embedding: int = 16

    def __post_init__(self) -> None:
        for key in ("semantic_skips", "affinity_skips"):
            if not getattr(self, key) or getattr(self, key)[-1][0] != STRIDE:
                raise PanopticError(f"settings.network.{key} is {getattr(self, key)}; its last stride must be {STRIDE}")
        if self.distances[:1] != [1] or self.distances != sorted(set(self.distances)):
            raise PanopticError(f"settings.network.distances is {self.distances}; expected whole numbers that increase from 1")


class Output(NamedTuple):
    """What the network says of an image (B,3,h,w), at stride 4.

    class_cost: (B,C,h/4,w/4), -log of the class probabilities. edge_cost: (B,2D,h/4,w/4) logits of being in one segment; channel
    2d joins (i,j) to (i,j+distances[d]), 2d+1 to (i+distances[d],j); what leaves the image means nothing. features:
    (B,E,h/4,w/4) unit vectors, pooled into embeddings.
    """

    class_cost: Tensor
    edge_cost: Tensor
    features: Tensor


class Network(nn.Module):
    """Image (B,3,h,w), values 0..255, h and w multiples of 32 -> `Output`. classes: C."""

    def __init__(self, settings: NetworkSettings, classes: int) -> None:
        super().__init__()
        self.settings = s = settings
        self.trunk = Trunk(s)
        self.semantic = nn.Conv2d(s.semantic_skips[-1][2], classes, 1)
        width = s.affinity_skips[-1][2] + classes
        self.join = nn.Sequential(conv(width, s.joined), separable_conv(s.joined, s.joined, 3))
        self.classifiers = nn.ModuleList([NearEdges(s.joined), *(FarEdges(s.joined, d) for d in s.distances[1:])])
        self.features = nn.Conv2d(s.joined, s.embedding, 1)
        self.register_buffer("pixel_mean", torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1))
        self.register_buffer("pixel_std", torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1))

    def forward(self, image: Tensor) -> Output:
        semantic, affinity = self.trunk((image - self.pixel_mean) / self.pixel_std)
        class_cost = -self.semantic(semantic).float().log_softmax(1)
        # no gradient from affinities to semantics (section 3.1)
        joined = self.join(torch.cat([affinity, class_cost.detach()], 1))
        edge_cost = torch.cat([classifier(joined) for classifier in self.classifiers], 1)
        return Output(class_cost, edge_cost, normalize(self.features(joined), dim=1))


class Trunk(nn.Module):
    """Normalised image -> features of the semantic and of the affinity branch, at stride 4 (Panoptic-DeepLab's two decoders)."""

    def __init__(self, s: NetworkSettings) -> None:
        super().__init__()
        self.backbone = backbone(s.backbone, s.output_stride)
        self.semantic, self.affinity = (
            Branch(self.backbone.channels, s.output_stride, s.aspp_width, s.aspp_rates, skips)
            for skips in (s.semantic_skips, s.affinity_skips)
        )

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        features = self.backbone(image)
        return self.semantic(features), self.affinity(features)


class Branch(nn.Module):
    """ASPP and decoder of DeepLabV3+ on the features of a backbone. channels: of the features by stride."""

    def __init__(
        self, channels: dict[int, int], output_stride: int, width: int, rates: Sequence[int], skips: Sequence[Sequence[int]]
    ) -> None:
        super().__init__()
        self.aspp, self.output_stride = ASPP(channels[output_stride], width, rates), output_stride
        self.strides = [stride for stride, _, _ in skips]
        inputs = [width, *(step for _, _, step in skips)]
        self.steps = nn.ModuleList(
            DecoderStep(before, channels[stride], skip, step) for before, (stride, skip, step) in zip(inputs, skips)
        )

    def forward(self, features: dict[int, Tensor]) -> Tensor:
        x = self.aspp(features[self.output_stride])
        for stride, step in zip(self.strides, self.steps, strict=True):
            x = step(x, features[stride])
        return x


class NearEdges(nn.Sequential):
    """Features (B,N,H,W) -> costs (B,2,H,W) of the edges to the right and down neighbour (figure 6, Q_1)."""

    def __init__(self, width: int) -> None:
        super().__init__(separable_conv(width, width, 3), nn.Conv2d(width, 2, 1))


class FarEdges(nn.Module):
    """Features (B,N,H,W) -> costs (B,2,H,W) of the edges of a distance > 1, from differences of features (figure 6).

    A separable convolution sees the two directions apart, the last layer both together where their middles are, because an
    oblique boundary cuts both; then each cost moves to the cell where its edge begins.
    """

    def __init__(self, width: int, distance: int) -> None:
        super().__init__()
        self.distance, both = distance, 2 * width
        self.mix = nn.Sequential(
            nn.Conv2d(both, both, 3, padding=1, groups=both, bias=False), nn.BatchNorm2d(both), nn.ReLU(),
            nn.Conv2d(both, both, 1, groups=2, bias=False), nn.BatchNorm2d(both), nn.ReLU(),
        )  # fmt: skip
        self.cost = nn.Conv2d(both, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        right, down = self.cost(self.mix(differences(x, self.distance))).split(1, 1)
        return torch.cat([begin(right.transpose(2, 3), self.distance).transpose(2, 3), begin(down, self.distance)], 1)


def differences(x: Tensor, distance: int) -> Tensor:
    """(B,2N,H,W) eq. 9 and 10: f(.. + floor(d/2)) - f(.. - ceil(d/2)) along rows, then along columns; 0 beyond the image."""
    before, behind = (distance + 1) // 2, distance // 2
    height, width = x.shape[-2:]
    along, across = pad(x, (before, behind)), pad(x, (0, 0, before, behind))
    right = along[..., distance : distance + width] - along[..., :width]
    down = across[..., distance : distance + height, :] - across[..., :height, :]
    return torch.cat([right, down], 1)


def begin(cost: Tensor, distance: int) -> Tensor:
    """(B,1,H,W) of vertical edges, from the cells of their middles, as in eq. 10, to those where they begin; 0 at the end."""
    half, height = (distance + 1) // 2, cost.shape[2]
    return pad(cost, (0, 0, 0, half))[:, :, half : half + height]
