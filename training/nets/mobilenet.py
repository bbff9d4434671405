"""MobileNetV2 (Sandler et al. 2018) as a feature extractor, with torchvision's parameter names."""

from torch import Tensor, nn

_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""(expansion, channels, blocks, stride) of each stage: table 2 of the paper."""


def _conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1, groups: int = 1) -> list[nn.Module]:
    padding = (kernel - 1) // 2 * dilation
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs)]


class InvertedResidual(nn.Module):
    """Expand, depthwise convolution, project (paper, figure 3)."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int, dilation: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers.append(nn.Sequential(*_conv_bn(inputs, hidden, 1), nn.ReLU6()))
        layers.append(nn.Sequential(*_conv_bn(hidden, hidden, 3, stride, dilation, hidden), nn.ReLU6()))
        self.conv = nn.Sequential(*layers, *_conv_bn(hidden, outputs, 1))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNetV2(nn.Module):
    """Image (B,3,h,w) -> features by stride {2: (B,16,..), 4: (B,24,..), 8: (B,32,..), output_stride: (B,320,..)}.

    Strides beyond `output_stride` (8, 16 or 32) become dilations. With 32 there is also 16: (B,96,..).
    """

    def __init__(self, output_stride: int = 16) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Sequential(*_conv_bn(3, 32, 3, 2), nn.ReLU6())]
        inputs, stride, dilation = 32, 2, 1
        self.taps: dict[int, int] = {}
        for expansion, outputs, blocks, step in _STAGES:
            for block in range(blocks):
                first = step if block == 0 else 1
                applied = dilation  # the first block of a dilated stage still sees the old grid
                if first == 2 and stride == output_stride:
                    dilation, first = dilation * 2, 1
                stride *= first
                layers.append(InvertedResidual(inputs, outputs, first, expansion, applied))
                inputs = outputs
            self.taps[stride] = len(layers) - 1
        self.features = nn.Sequential(*layers)
        before = {2: 16, 4: 24, 8: 32, 16: 96}
        self.channels = {stride: width for stride, width in before.items() if stride < output_stride} | {output_stride: 320}

    def forward(self, image: Tensor) -> dict[int, Tensor]:
        found, x = {}, image
        stride_at = {index: stride for stride, index in self.taps.items()}
        for index, layer in enumerate(self.features):
            x = layer(x)
            if stride_at.get(index) in self.channels:
                found[stride_at[index]] = x
        return found
