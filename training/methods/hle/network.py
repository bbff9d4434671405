"""Hierarchical Lovász Embeddings (Kerola et al. 2021): the network and what its output channels mean."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize

from training.nets.deeplab import DeepLabV3Plus


@dataclass
class NetworkSettings:
    """backbone: mobilenet_v2, resnet50 or resnet101. embedding: E (paper, section 4.2: 12 for Cityscapes, 128 for COCO).

    split: the ablation of table 6, half of the embedding for semantics, half for instances. semantic_branch: the ablation
    with a softmax classifier of its own. thomson: initialise the class means by eq. 17.
    """

    backbone: str = "mobilenet_v2"
    output_stride: int = 16
    aspp_width: int = 128
    width: int = 128
    skips: dict[int, int] = field(default_factory=lambda: {8: 32, 4: 24})
    embedding: int = 12
    split: bool = False
    semantic_branch: bool = False
    thomson: bool = True


@dataclass(frozen=True)
class Fields:
    """The network's output, interpreted, on a grid of (h, w) cells; all float32.

    embedding: (B,E,h,w) unit vectors. precision: (B,1,h,w), 1 / (2 sigma^2) of the instance kernel (eq. 7).
    spatial_precision: (B,1,h,w), 1 / (2 sigma_spatial^2) (eq. 8), positions in image heights. seed: (B,1,h,w) logits.
    log_sigma: (B,2,h,w), the channels behind both precisions. class_logits: (B,C,h,w) or None.
    """

    embedding: Tensor
    precision: Tensor
    spatial_precision: Tensor
    seed: Tensor
    log_sigma: Tensor
    class_logits: Tensor | None


class Network(nn.Module):
    """Image (B,3,h,w), values 0..255 -> raw (B,E+3[+C],h/4,w/4): embedding, two variances, seed[, class logits]."""

    def __init__(self, settings: NetworkSettings, classes: int) -> None:
        super().__init__()
        self.settings = settings
        channels = settings.embedding + 3 + (classes if settings.semantic_branch else 0)
        self.trunk = DeepLabV3Plus(
            settings.backbone, settings.output_stride, settings.aspp_width, settings.width, dict(settings.skips)
        )
        self.head = nn.Conv2d(settings.width, channels, 1)
        self.means = nn.Parameter(initial_means(classes, settings))
        self.log_precision = nn.Parameter(torch.full((classes,), math.log(10.0)))
        self.register_buffer("pixel_mean", torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1))
        self.register_buffer("pixel_std", torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.trunk((image - self.pixel_mean) / self.pixel_std))

    def fields(self, raw: Tensor, upsample: int) -> Fields:
        """raw: the output of `forward`. upsample: how many times finer than stride 4 the grid is (1, 2 or 4)."""
        raw = raw.float()
        if upsample > 1:
            raw = interpolate(raw, scale_factor=float(upsample), mode="bilinear", align_corners=False)
        e = self.settings.embedding
        log_sigma = raw[:, e : e + 2]
        # exp(5 x): one step of the optimiser moves a variance much further than an embedding (Neven et al. use 10)
        precision = (-5 * log_sigma[:, :1] + math.log(10.0)).clamp(-3, 7).exp()
        spatial = (-5 * log_sigma[:, 1:] + math.log(20.0)).clamp(-3, 9).exp()
        logits = raw[:, e + 3 :] if self.settings.semantic_branch else None
        return Fields(normalize(raw[:, :e], dim=1), precision, spatial, raw[:, e + 2 : e + 3], log_sigma, logits)

    def semantic_part(self, embedding: Tensor) -> Tensor:
        """The channels (dim 1) of an embedding that tell classes apart: all of them, or half when split, as unit vectors."""
        return normalize(embedding[:, : embedding.shape[1] // 2], dim=1) if self.settings.split else embedding

    def instance_part(self, embedding: Tensor) -> Tensor:
        """The channels (dim 1) of an embedding that tell instances apart, as unit vectors."""
        return normalize(embedding[:, embedding.shape[1] // 2 :], dim=1) if self.settings.split else embedding

    def semantic_logits(self, fields: Fields) -> Tensor:
        """(B,C,h,w) logits whose softmax is psi (eq. 9): -d_cos(e, mu_k) / (2 sigma_k^2)."""
        if fields.class_logits is not None:
            return fields.class_logits
        precision = self.log_precision.clamp(-1, 5).exp().view(-1, 1, 1, 1)
        weight = normalize(self.means, dim=1)[..., None, None] * precision
        return torch.conv2d(self.semantic_part(fields.embedding), weight, -precision.flatten())


def initial_means(classes: int, settings: NetworkSettings, steps: int = 1000) -> Tensor:
    """(C,E) unit vectors, spread over the sphere (generalised Thomson problem, eq. 17), or random where that is off."""
    dimension = settings.embedding // 2 if settings.split else settings.embedding
    generator = torch.Generator().manual_seed(0)
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
