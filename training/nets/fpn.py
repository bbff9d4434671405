"""Feature pyramid network (Lin et al. 2017) with the levels P3 to P7 of RetinaNet and FCOS, on any backbone."""

from torch import Tensor, nn
from torch.nn.functional import interpolate, relu

from training.nets.deeplab import backbone, conv

STRIDES = (8, 16, 32, 64, 128)
"""Pixels per cell of P3 to P7."""


class FPN(nn.Module):
    """Image (B,3,h,w), normalised -> P3 to P7, each (B,width,ceil(h/s),ceil(w/s)), s of `STRIDES`; h and w multiples of 32.

    P6 and P7 are convolutions of stride 2 on the level below. The other convolutions have batch normalisation, which FCOS
    does without since it starts from ImageNet weights, and ReLU.
    """

    def __init__(self, backbone_name: str, width: int) -> None:
        super().__init__()
        self.backbone = backbone(backbone_name, 32)
        self.lateral = nn.ModuleList(conv(self.backbone.channels[stride], width) for stride in STRIDES[:3])
        self.smooth = nn.ModuleList(conv(width, width, 3) for _ in STRIDES[:3])
        # no batch normalisation: at the size of a small image a level has one cell
        self.coarser = nn.ModuleList(nn.Conv2d(width, width, 3, 2, 1) for _ in STRIDES[3:])
        self.channels = width

    def forward(self, image: Tensor) -> list[Tensor]:
        features = self.backbone(image)
        p3, p4, p5 = (lateral(features[stride]) for stride, lateral in zip(STRIDES, self.lateral))
        p4 = p4 + interpolate(p5, scale_factor=2.0, mode="nearest")
        p3 = p3 + interpolate(p4, scale_factor=2.0, mode="nearest")
        levels = [smooth(level) for smooth, level in zip(self.smooth, (p3, p4, p5))]
        for coarser in self.coarser:
            levels.append(coarser(relu(levels[-1])))
        return levels
