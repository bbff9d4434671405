"""ResNet-50 and ResNet-101 (He et al. 2016) as feature extractors, with torchvision's parameter names."""

from torch import Tensor, nn

_BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 with the stride on the 3x3 (the "v1.5" of torchvision)."""

    def __init__(self, inputs: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        outputs = width * 4
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + shortcut)


class ResNet(nn.Module):
    """Image (B,3,h,w) -> features by stride {2: (B,64,..), 4: (B,256,..), 8: (B,512,..), output_stride: (B,2048,..)}.

    Strides beyond `output_stride` (16 or 32) become dilations. With 32 there is also 16: (B,1024,..).
    """

    def __init__(self, depth: int, output_stride: int = 16) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        dilated = output_stride == 16
        blocks = _BLOCKS[depth]
        self.layer1 = _layer(64, 64, blocks[0], stride=1)
        self.layer2 = _layer(256, 128, blocks[1], stride=2)
        self.layer3 = _layer(512, 256, blocks[2], stride=2)
        self.layer4 = _layer(1024, 512, blocks[3], stride=1 if dilated else 2, dilation=2 if dilated else 1)
        self.output_stride = output_stride
        self.channels = {2: 64, 4: 256, 8: 512, 16: 1024, output_stride: 2048}

    def forward(self, image: Tensor) -> dict[int, Tensor]:
        at2 = self.relu(self.bn1(self.conv1(image)))
        at4 = self.layer1(self.maxpool(at2))
        at8 = self.layer2(at4)
        at16 = self.layer3(at8)
        return {2: at2, 4: at4, 8: at8, 16: at16, self.output_stride: self.layer4(at16)}  # at 16, the last one


def _layer(inputs: int, width: int, blocks: int, stride: int, dilation: int = 1) -> nn.Sequential:
    first = Bottleneck(inputs, width, stride, 1)  # the first block of a dilated stage still sees the old grid
    rest = [Bottleneck(width * 4, width, 1, dilation) for _ in range(blocks - 1)]
    return nn.Sequential(first, *rest)
