"""Backbones: torchvision's parameters by name and shape, so that its ImageNet weights load; strides and dilations."""

import pytest
import torch
from torch import Tensor, nn

from panoptic_ros.core import PanopticError
from training.nets.deeplab import DeepLabV3Plus, backbone, coordinates
from training.nets.fpn import FPN

# Of torchvision 0.29's state dicts without the classifier (and without MobileNetV2's features.18): entries, and numbers in them.
SIZES = {"mobilenet_v2": (306, 1843315), "resnet50": (318, 23561205), "resnet101": (624, 42605608)}

SHAPES = {
    "mobilenet_v2": {
        "features.0.0.weight": (32, 3, 3, 3),
        "features.0.1.running_var": (32,),
        "features.1.conv.0.0.weight": (32, 1, 3, 3),
        "features.1.conv.0.1.bias": (32,),
        "features.1.conv.1.weight": (16, 32, 1, 1),
        "features.1.conv.2.running_mean": (16,),
        "features.2.conv.0.0.weight": (96, 16, 1, 1),
        "features.2.conv.1.0.weight": (96, 1, 3, 3),
        "features.2.conv.2.weight": (24, 96, 1, 1),
        "features.2.conv.3.num_batches_tracked": (),
        "features.4.conv.2.weight": (32, 144, 1, 1),
        "features.7.conv.2.weight": (64, 192, 1, 1),
        "features.11.conv.2.weight": (96, 384, 1, 1),
        "features.14.conv.2.weight": (160, 576, 1, 1),
        "features.17.conv.1.0.weight": (960, 1, 3, 3),
        "features.17.conv.2.weight": (320, 960, 1, 1),
        "features.17.conv.3.weight": (320,),
    },
    "resnet50": {
        "conv1.weight": (64, 3, 7, 7),
        "bn1.running_mean": (64,),
        "layer1.0.conv1.weight": (64, 64, 1, 1),
        "layer1.0.downsample.0.weight": (256, 64, 1, 1),
        "layer1.0.downsample.1.weight": (256,),
        "layer1.2.conv3.weight": (256, 64, 1, 1),
        "layer2.3.conv2.weight": (128, 128, 3, 3),
        "layer3.0.downsample.0.weight": (1024, 512, 1, 1),
        "layer3.5.bn3.bias": (1024,),
        "layer4.0.conv1.weight": (512, 1024, 1, 1),
        "layer4.2.bn3.num_batches_tracked": (),
        "layer4.2.conv3.weight": (2048, 512, 1, 1),
    },
    "resnet101": {
        "layer2.3.conv2.weight": (128, 128, 3, 3),
        "layer3.22.conv2.weight": (256, 256, 3, 3),
        "layer4.0.downsample.1.running_var": (2048,),
        "layer4.2.conv3.weight": (2048, 512, 1, 1),
    },
}

TOPS = {
    "mobilenet_v2": {"features"},
    "resnet50": {"conv1", "bn1", "layer1", "layer2", "layer3", "layer4"},
    "resnet101": {"conv1", "bn1", "layer1", "layer2", "layer3", "layer4"},
}


@pytest.fixture(scope="module", params=SIZES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_parameters_have_torchvisions_names_and_shapes(name: str) -> None:
    with torch.device("meta"):
        state = backbone(name, 16).state_dict()
    assert (len(state), sum(value.numel() for value in state.values())) == SIZES[name]
    assert {key.partition(".")[0] for key in state} == TOPS[name]
    assert {key: tuple(state[key].shape) for key in SHAPES[name]} == SHAPES[name]


def test_no_parameter_depends_on_the_output_stride(name: str) -> None:
    with torch.device("meta"):
        found = [{key: value.shape for key, value in backbone(name, stride).state_dict().items()} for stride in (16, 32)]
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("name_", "output_stride"),
    [("mobilenet_v2", 8), ("mobilenet_v2", 16), ("mobilenet_v2", 32), ("resnet50", 16), ("resnet50", 32)],
)
def test_features_come_at_their_strides(name_: str, output_stride: int) -> None:
    with torch.device("meta"):
        net = backbone(name_, output_stride)
        found = net(torch.zeros(1, 3, 64, 96))
    assert set(found) == set(net.channels) == {stride for stride in (2, 4, 8, 16, 32) if stride <= output_stride}
    assert {stride: tuple(x.shape) for stride, x in found.items()} == {
        stride: (1, channels, 64 // stride, 96 // stride) for stride, channels in net.channels.items()
    }


CHANNELS = {"mobilenet_v2": {2: 16, 4: 24, 8: 32, 16: 320}, "resnet50": {2: 64, 4: 256, 8: 512, 16: 2048}}
BEFORE_32 = {"mobilenet_v2": {16: 96, 32: 320}, "resnet50": {16: 1024, 32: 2048}}


@pytest.mark.parametrize("name_", CHANNELS)
def test_channels(name_: str) -> None:
    with torch.device("meta"):
        assert backbone(name_, 16).channels == CHANNELS[name_]
        assert backbone(name_, 32).channels == CHANNELS[name_] | BEFORE_32[name_]


def dilations(net: nn.Module) -> list[tuple[str, int]]:
    """(module, dilation) of each dilated convolution."""
    found = [(key, m.dilation[0]) for key, m in net.named_modules() if isinstance(m, nn.Conv2d)]
    return [(key, dilation) for key, dilation in found if dilation > 1]


def test_what_is_beyond_the_output_stride_is_dilated() -> None:
    """As torchvision's replace_stride_with_dilation=(False, False, True): not yet in the block that lost its stride."""
    with torch.device("meta"):
        assert dilations(backbone("resnet50", 16)) == [("layer4.1.conv2", 2), ("layer4.2.conv2", 2)]
        assert dilations(backbone("resnet50", 32)) == []
        assert dilations(backbone("mobilenet_v2", 16)) == [(f"features.{i}.conv.1.0", 2) for i in (15, 16, 17)]
        assert dilations(backbone("mobilenet_v2", 32)) == []
        eighth = dict(dilations(backbone("mobilenet_v2", 8)))
    assert eighth == {f"features.{i}.conv.1.0": 2 for i in range(8, 15)} | {f"features.{i}.conv.1.0": 4 for i in (15, 16, 17)}


@pytest.mark.parametrize("name_", ["mobilenet_v2", "resnet50"])
def test_dilation_keeps_what_the_strides_saw(name_: str) -> None:
    """At every second cell, the features at stride 16 are those at stride 32: the same weights see the same pixels."""
    torch.manual_seed(0)
    fine, coarse = backbone(name_, 16).eval(), backbone(name_, 32).eval()
    coarse.load_state_dict(fine.state_dict())
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(fine(image)[16][..., ::2, ::2], coarse(image)[32], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name_", "stride", "message"),
    [
        ("vgg", 16, "unknown backbone 'vgg'; there are mobilenet_v2, resnet50, resnet101"),
        ("resnet50", 8, "output stride 8 of resnet50; there are 16, 32"),
        ("mobilenet_v2", 4, "output stride 4 of mobilenet_v2; there are 8, 16, 32"),
    ],
)
def test_a_backbone_that_does_not_exist_is_refused(name_: str, stride: int, message: str) -> None:
    with pytest.raises(PanopticError, match=message):
        backbone(name_, stride)


@pytest.mark.parametrize(
    ("skips", "shape"), [([[4, 8, 24]], (2, 24, 16, 24)), ([[8, 8, 24], [4, 8, 16], [2, 4, 8]], (2, 8, 32, 48))]
)
def test_deeplab_ends_at_the_finest_skip(skips: list[list[int]], shape: tuple[int, ...]) -> None:
    with torch.device("meta"):
        net = DeepLabV3Plus("mobilenet_v2", 16, 16, skips)
        assert tuple(net(torch.zeros(2, 3, 64, 96)).shape) == shape
    assert (net.stride, net.channels) == (skips[-1][0], shape[1])


def test_coordinates_are_cell_centres_in_image_heights() -> None:
    x, y = coordinates(torch.zeros(1, 1, 2, 4))[0]
    expected: list[tuple[Tensor, list[list[float]]]] = [
        (x, [[0.25, 0.75, 1.25, 1.75], [0.25, 0.75, 1.25, 1.75]]),
        (y, [[0.25] * 4, [0.75] * 4]),
    ]
    for found, literal in expected:
        assert found.tolist() == literal


def test_a_pyramid_has_the_levels_3_to_7_of_sizes_that_do_not_divide() -> None:
    with torch.device("meta"):
        levels = FPN("mobilenet_v2", 24)(torch.zeros(2, 3, 96, 160))
    assert [tuple(level.shape) for level in levels] == [
        (2, 24, 12, 20), (2, 24, 6, 10), (2, 24, 3, 5), (2, 24, 2, 3), (2, 24, 1, 2),
    ]  # fmt: skip
