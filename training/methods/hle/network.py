"""Hierarchical Lovász Embeddings (Kerola et al. 2021): the network and what its output channels mean."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize

from training.nets.deeplab import DeepLabV3Plus, coordinates


@dataclass
class NetworkSettings:
    """backbone: mobilenet_v2, resnet50 or resnet101. embedding: E (paper, section 4.2: 12 for Cityscapes, 128 for COCO).

    skips, aspp_rates: as in `DeepLabV3Plus`; the smallest stride is that of the network's output. thomson: initialise the
    class means by eq. 17. Ablations of table 6: split (half of the embedding for semantics, half for instances),
    semantic_branch (a softmax classifier of its own).
    """

    backbone: str = "mobilenet_v2"
    output_stride: int = 16
    aspp_width: int = 128
    aspp_rates: list[int] = field(default_factory=lambda: [6, 12, 18])
    skips: list[list[int]] = field(default_factory=lambda: [[8, 32, 128], [4, 24, 128], [2, 16, 32]])
    embedding: int = 12
    split: bool = False
    semantic_branch: bool = False
    thomson: bool = True


@dataclass(frozen=True)
class Fields:
    """The network's output, interpreted, on a grid of P cells in row order; all float32.

    embedding: (B,E,P) unit vectors. log_sigma: (B,2,P), the channels behind both variances. seed: (B,1,P) logits.
    position: (1,2,P), (x, y) of the cells in image heights. class_logits: (B,C,P) or None.
    """

    embedding: Tensor
    log_sigma: Tensor
    seed: Tensor
    position: Tensor
    class_logits: Tensor | None

    def at(self, cells: Tensor) -> "Fields":
        """Only the cells with these indices (P',)."""
        return Fields(*(None if field is None else field[..., cells] for field in vars(self).values()))


class Network(nn.Module):
    """Image (B,3,h,w), values 0..255 -> raw (B,E+3[+C],h/s,w/s), s = trunk.stride.

    Channels: embedding, two variances, seed[, class logits].
    """

    def __init__(self, settings: NetworkSettings, classes: int) -> None:
        super().__init__()
        self.settings = settings
        channels = settings.embedding + 3 + (classes if settings.semantic_branch else 0)
        s = settings
        self.trunk = DeepLabV3Plus(s.backbone, s.output_stride, s.aspp_width, s.skips, s.aspp_rates)
        self.head = nn.Conv2d(self.trunk.channels, channels, 1)
        self.means = nn.Parameter(initial_means(classes, settings))
        self.log_precision = nn.Parameter(torch.full((classes,), math.log(10.0)))
        self.register_buffer("pixel_mean", torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1))
        self.register_buffer("pixel_std", torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.trunk((image - self.pixel_mean) / self.pixel_std))

    def fields(self, raw: Tensor, size: Sequence[int] | None = None) -> Fields:
        """raw: the output of `forward`. size: (h',w') of the grid, bilinear from the network's, which is the default."""
        raw = raw.float()
        if size is not None:
            raw = interpolate(raw, size=size, mode="bilinear", align_corners=False)
        position, raw = coordinates(raw).flatten(2), raw.flatten(2)
        e = self.settings.embedding
        logits = raw[:, e + 3 :] if self.settings.semantic_branch else None
        return Fields(normalize(raw[:, :e], dim=1), raw[:, e : e + 2], raw[:, e + 2 : e + 3], position, logits)

    def semantic_part(self, embedding: Tensor) -> Tensor:
        """The channels (dim 1) of an embedding that tell classes apart: all of them, or half when split, as unit vectors."""
        return normalize(embedding[:, : embedding.shape[1] // 2], dim=1) if self.settings.split else embedding

    def instance_part(self, embedding: Tensor) -> Tensor:
        """The channels (dim 1) of an embedding that tell instances apart, as unit vectors."""
        return normalize(embedding[:, embedding.shape[1] // 2 :], dim=1) if self.settings.split else embedding

    def semantic_logits(self, fields: Fields) -> Tensor:
        """(B,C,P) logits whose softmax is psi (eq. 9): -d_cos(e, mu_k) / (2 sigma_k^2)."""
        if fields.class_logits is not None:
            return fields.class_logits
        precision = self.log_precision.clamp(-1, 5).exp().unsqueeze(1)  # C,1
        return (normalize(self.means, dim=1) * precision) @ self.semantic_part(fields.embedding) - precision


def precisions(log_sigma: Tensor) -> tuple[Tensor, Tensor]:
    """1 / (2 sigma^2) of the instance kernel (eq. 7) and 1 / (2 sigma_spatial^2) (eq. 8). log_sigma: (..,2,P); results (..,1,P).

    exp(5 x), because one step of the optimiser has to move a variance much further than an embedding (Neven et al. use 10).
    The spatial kernel starts narrow, 0.03 image heights: the pull that widens it for a large object is strong, while the push
    that would narrow a wide one for a small object fades with the square of the object's size.
    """
    embedding = (-5 * log_sigma[..., :1, :] + math.log(10.0)).clamp(-3, 7).exp()
    spatial = (-5 * log_sigma[..., 1:, :] + math.log(600.0)).clamp(-3, 9).exp()
    return embedding, spatial


def initial_means(classes: int, settings: NetworkSettings, steps: int = 1000) -> Tensor:
    """(C,E) unit vectors, spread over the sphere (generalised Thomson problem, eq. 17), or random where that is off."""
    dimension = settings.embedding // 2 if settings.split else settings.embedding
    generator = torch.Generator().manual_seed(torch.initial_seed())  # the recipe's, in training
    points = normalize(torch.randn(classes, dimension, generator=generator), dim=1)
    if not settings.thomson or classes < 2:
        return points
    points.requires_grad_()
    optimiser = torch.optim.Adam([points], lr=0.02)
    others = ~torch.eye(classes, dtype=torch.bool)
    with torch.enable_grad():
        for _ in range(steps):
            unit = normalize(points, dim=1)
            energy = (1 / (1 - unit @ unit.T)[others].clamp_min(1e-6)).sum()
            optimiser.zero_grad()
            energy.backward()
            optimiser.step()
    return normalize(points.detach(), dim=1)
