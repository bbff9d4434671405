"""Unifying training and inference for panoptic segmentation (Li et al. 2020): the network and what its outputs mean."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from panoptic_ros.core import PanopticError
from training.methods.affinity.affinity import InstanceAffinity, gather, propagate
from training.methods.affinity.masks import MaskHead, paste
from training.methods.affinity.potential import KINDS, potential
from training.nets.detector import Boxes, Detections, DetectionSettings, Detector, corner_of, detect
from training.nets.fpn import FPN, resample, tower

STRIDE = 4
"""d: pixels per cell of V and Q."""

_LEVELS = (4, 8, 16, 32)
"""Pixels per cell of P2 to P5, which V, Q and masks are made from."""


@dataclass
class NetworkSettings:
    """backbone: mobilenet_v2, resnet50 or resnet101. pyramid: channels of P2 to P7. tower, depth: channels and convolutions of
    the detector's two towers. subnet, subnet_depth: the same of the subnets that V and Q come from. Channels: multiples of 8.

    affinity: C, the channels of Q; 0 leaves the affinity head out (P = Psi). mask: channels of the mask head; 0 for none.
    potential: variant A, B or C of the dynamic potential head.
    """

    backbone: str = "mobilenet_v2"
    pyramid: int = 64
    tower: int = 64
    depth: int = 4
    subnet: int = 64
    subnet_depth: int = 2
    affinity: int = 128
    mask: int = 0
    potential: str = "B"

    def __post_init__(self) -> None:
        if self.potential not in KINDS:
            raise PanopticError(f"unknown settings.network.potential {self.potential!r}; there are {', '.join(KINDS)}")


class Output(NamedTuple):
    """What the network says of an image (B,3,h,w). The first three are those of `detector.Boxes`.

    semantic: V, (B,C,h/4,w/4) logits. affinity: phi0(Q) and phi1(Q), (B,C',h/4,w/4), if there is an affinity head, else none.
    pyramid: P2 to P5 if there is a mask head, else none.
    """

    thing_logits: list[Tensor]
    distances: list[Tensor]
    centerness: list[Tensor]
    semantic: Tensor
    affinity: list[Tensor]
    pyramid: list[Tensor]

    def image(self, b: int) -> "Output":
        """Image b alone, with its batch dimension."""
        return Output(*([x[b : b + 1] for x in part] if isinstance(part, list) else part[b : b + 1] for part in self))


class Network(nn.Module):
    """Image (B,3,h,w), values 0..255, h and w multiples of 32 -> `Output`; and the panoptic submodule, image by image.

    things: (C,) bool.
    """

    def __init__(self, settings: NetworkSettings, things: Tensor) -> None:
        super().__init__()
        self.settings = s = settings
        classes, thing_classes = len(things), int(things.sum())
        self.trunk = FPN(s.backbone, s.pyramid, finest=STRIDE, excite=True)
        self.detector = Detector(s.pyramid, s.tower, s.tower, s.depth, thing_classes)
        self.semantic = FeatureDecoder(s.pyramid, s.subnet, s.subnet_depth, classes)
        self.features = FeatureDecoder(s.pyramid, s.subnet, s.subnet_depth, s.affinity) if s.affinity else None
        self.affinity = InstanceAffinity(s.affinity) if s.affinity else None
        self.mask = MaskHead(s.pyramid, s.mask, thing_classes) if s.mask else None
        self.register_buffer("stuff", torch.nonzero(~things).flatten(), persistent=False)  # class indices
        self.register_buffer("things", torch.nonzero(things).flatten(), persistent=False)
        stuff_number = torch.where(things, -1, (~things).long().cumsum(0) - 1)
        self.register_buffer("channel_of_class", stuff_number, persistent=False)  # of Psi and P; -1 for things
        self.register_buffer("thing_of_class", (things.long().cumsum(0) - 1).clamp_min(0), persistent=False)
        self.register_buffer("pixel_mean", torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1))
        self.register_buffer("pixel_std", torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1))

    def forward(self, image: Tensor) -> Output:
        levels = self.trunk((image - self.pixel_mean) / self.pixel_std)  # P2 to P7
        boxes, _, _ = self.detector(levels[1:])
        pyramid = levels[: len(_LEVELS)]
        semantic = self.semantic(pyramid)
        affinity = self.affinity(self.features(pyramid)) if self.affinity else []
        return Output(*boxes, semantic, affinity, pyramid if self.mask else [])

    def detections(self, output: Output, s: DetectionSettings) -> Detections:
        """Of one image. The score s_k is the root of class probability times centerness, near one for sure boxes."""
        found = detect(Boxes(*output[:3]), corner_of(output.semantic, STRIDE), self.things, s)
        real = found.score > 0  # the root has no gradient at 0
        return replace(found, score=torch.where(real, found.score, 1).sqrt() * real)

    def masks(self, output: Output, found: Detections, stride: int = STRIDE) -> Tensor | None:
        """(D,h,w) mask probabilities of one image, on the grid of `output.semantic` with `stride` pixels a cell."""
        if not self.mask:
            return None
        box = found.box.detach()
        logits = self.mask(output.pyramid, box, self.thing_of_class.index_select(0, found.category))
        return paste(logits.sigmoid(), box, output.semantic, stride)

    def panoptic(self, output: Output, found: Detections, masks: Tensor | None, stride: int = STRIDE) -> tuple[Tensor, Tensor]:
        """P (N_st+D,cells) of one image, in training as in inference, and (N_st+D,E) what the head knows of each segment:
        its affinity features weighted by its potential, without an affinity head its class probabilities.

        masks: those of `masks`.
        """
        probability = output.semantic[0].softmax(0)
        psi = potential(probability, found, masks, self.stuff, self.settings.potential, stride).flatten(1)
        if not self.affinity:
            return psi, gather(psi, probability.flatten(1))
        collects, gives = (x[0].flatten(1) for x in output.affinity)
        gathered = gather(psi, gives)
        return propagate(psi, collects, gathered), gathered


class FeatureDecoder(nn.Module):
    """P2 to P5 -> (B,outputs,h/4,w/4): each through one subnet, upsampled, concatenated, projected by a 1x1 convolution (A.1).

    A 1x1 convolution of a concatenation is the sum of one for each part, and it may come before the upsampling; here it does,
    which gives the same with fewer channels to upsample.
    """

    def __init__(self, inputs: int, width: int, depth: int, outputs: int) -> None:
        super().__init__()
        self.subnet = tower(inputs, width, depth)
        self.project = nn.ModuleList(nn.Conv2d(width, outputs, 1, bias=stride == STRIDE) for stride in _LEVELS)

    def forward(self, levels: list[Tensor]) -> Tensor:
        maps = [project(self.subnet(level)) for project, level in zip(self.project, levels, strict=True)]
        whole = maps[0]
        for coarse, stride in zip(maps[1:], _LEVELS[1:]):
            whole = whole + resample(coarse, stride, STRIDE, tuple(maps[0].shape[-2:]))
        return whole
