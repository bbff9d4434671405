"""DeepLabV3+ (Chen et al. 2018): atrous spatial pyramid pooling and a decoder with skips, on any backbone."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from panoptic_ros.core import PanopticError
from training.nets.mobilenet import MobileNetV2
from training.nets.resnet import ResNet

_BACKBONES = {"mobilenet_v2": MobileNetV2, "resnet50": lambda s: ResNet(50, s), "resnet101": lambda s: ResNet(101, s)}
_OUTPUT_STRIDES = {"mobilenet_v2": (8, 16, 32), "resnet50": (16, 32), "resnet101": (16, 32)}


def backbone(name: str, output_stride: int) -> nn.Module:
    """A feature extractor: image (B,3,h,w) -> {stride: (B,C,h/stride,w/stride)}, with `channels` by stride."""
    if name not in _BACKBONES:
        raise PanopticError(f"unknown backbone {name!r}; there are {', '.join(_BACKBONES)}")
    if output_stride not in _OUTPUT_STRIDES[name]:
        raise PanopticError(f"output stride {output_stride} of {name}; there are {', '.join(map(str, _OUTPUT_STRIDES[name]))}")
    return _BACKBONES[name](output_stride)


def conv(inputs: int, outputs: int, kernel: int = 1, dilation: int = 1) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU."""
    padding = kernel // 2 * dilation
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


def separable_conv(inputs: int, outputs: int, kernel: int, dilation: int = 1) -> nn.Sequential:
    """Depthwise, then pointwise convolution, each with batch normalisation and ReLU."""
    padding = kernel // 2 * dilation
    depthwise = nn.Conv2d(inputs, inputs, kernel, padding=padding, dilation=dilation, groups=inputs, bias=False)
    return nn.Sequential(depthwise, nn.BatchNorm2d(inputs), nn.ReLU(), *conv(inputs, outputs))


def resize(x: Tensor, like: Tensor) -> Tensor:
    """Bilinear, to the height and width of `like`."""
    return interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


def coordinates(like: Tensor) -> Tensor:
    """(1,2,h,w) pixel centres as (x, y) in units of the image height, the origin at the top left corner."""
    height, width = like.shape[-2:]
    y = (torch.arange(height, device=like.device, dtype=like.dtype) + 0.5) / height
    x = (torch.arange(width, device=like.device, dtype=like.dtype) + 0.5) / height
    return torch.stack([x.view(1, -1).expand(height, width), y.view(-1, 1).expand(height, width)]).unsqueeze(0)


class ASPP(nn.Module):
    """(B,C,h,w) -> (B,width,h,w): 1x1, three atrous separable 3x3 and the image mean, concatenated and projected."""

    def __init__(self, inputs: int, width: int, rates: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList([conv(inputs, width), *(separable_conv(inputs, width, 3, rate) for rate in rates)])
        # no batch normalisation here: a batch has one value per image and channel
        self.pool = nn.Sequential(nn.Conv2d(inputs, width, 1), nn.ReLU())
        self.project = conv(width * (len(rates) + 2), width)

    def forward(self, x: Tensor) -> Tensor:
        found = [branch(x) for branch in self.branches]
        mean = self.pool(x.mean((2, 3), keepdim=True))
        return self.project(torch.cat([*found, mean.expand_as(found[0])], 1))


class DecoderStep(nn.Module):
    """Features of the stride above, upsampled to a skip's grid, joined with it and with the coordinates, and mixed.

    Coordinates, because a convolution cannot tell positions apart and an instance's embedding may depend on where it is.
    """

    def __init__(self, inputs: int, skip_inputs: int, skip: int, width: int) -> None:
        super().__init__()
        self.narrow = conv(inputs, width) if inputs > width else nn.Identity()  # before it costs four times as much
        self.skip = conv(skip_inputs, skip)
        self.mix = nn.Sequential(separable_conv(min(inputs, width) + skip + 2, width, 3), separable_conv(width, width, 3))

    def forward(self, x: Tensor, feature: Tensor) -> Tensor:
        skip = self.skip(feature)
        where = coordinates(skip).expand(skip.shape[0], -1, -1, -1)
        return self.mix(torch.cat([resize(self.narrow(x), skip), skip, where], 1))


class DeepLabV3Plus(nn.Module):
    """Image (B,3,h,w), normalised -> (B,C,h/s,w/s), s the smallest stride of `skips`; h and w multiples of 32.

    skips: (stride, channels of the projected skip, width of the step), coarse to fine; the paper has [(4, 48, 256)].
    aspp_rates: the paper's are for training windows of 33x33 cells or more at the output stride; a tap further from every cell
    than the window is high sees nothing but padding and learns nothing.
    """

    def __init__(
        self,
        backbone_name: str,
        output_stride: int,
        aspp_width: int,
        skips: Sequence[Sequence[int]],
        aspp_rates: Sequence[int] = (6, 12, 18),
    ) -> None:
        super().__init__()
        self.backbone = backbone(backbone_name, output_stride)
        self.output_stride = output_stride
        self.aspp = ASPP(self.backbone.channels[output_stride], aspp_width, aspp_rates)
        self.strides = [stride for stride, _, _ in skips]
        steps, inputs = [], aspp_width
        for stride, skip, width in skips:
            steps.append(DecoderStep(inputs, self.backbone.channels[stride], skip, width))
            inputs = width
        self.steps = nn.ModuleList(steps)
        self.channels, self.stride = inputs, self.strides[-1]

    def forward(self, image: Tensor) -> Tensor:
        features = self.backbone(image)
        x = self.aspp(features[self.output_stride])
        for stride, step in zip(self.strides, self.steps, strict=True):
            x = step(x, features[stride])
        return x
