"""The pyramid's levels, squeeze-and-excitation, and group normalisation in its two forms."""

import pytest
import torch
from torch import nn

from training.nets.fpn import FPN, GroupNorm, SqueezeExcitation


@pytest.mark.parametrize(("finest", "strides"), [(8, (8, 16, 32, 64, 128)), (4, (4, 8, 16, 32, 64, 128))])
def test_levels_of_the_pyramid(finest: int, strides: tuple[int, ...]) -> None:
    with torch.no_grad():
        levels = FPN("mobilenet_v2", 8, finest, excite=finest == 4).eval()(torch.zeros(1, 3, 64, 96))
    assert [tuple(level.shape[1:]) for level in levels] == [(8, -(-64 // s), -(-96 // s)) for s in strides]


def test_a_gate_scales_whole_channels_by_what_all_of_them_mean() -> None:
    gate = SqueezeExcitation(32, reduction=16)
    x = torch.rand(2, 32, 3, 5) + 0.1
    factor = gate(x) / x
    assert factor.min() > 0 and factor.max() < 1
    torch.testing.assert_close(factor, factor[..., :1, :1].expand_as(factor))
    other = gate(x + torch.eye(32)[0].view(1, 32, 1, 1)) / (x + torch.eye(32)[0].view(1, 32, 1, 1))
    assert (other[:, 1:] - factor[:, 1:]).abs().max() > 0  # one channel's mean moves the others' gates


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (16, 24)])
@pytest.mark.parametrize("shift", [0.0, 10.0])
def test_both_forms_of_group_normalisation_are_one(size: tuple[int, int], shift: float) -> None:
    torch.manual_seed(0)
    norm, reference = GroupNorm(3, 24), nn.GroupNorm(3, 24)
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    reference.load_state_dict(norm.state_dict())
    x = torch.randn(2, 24, *size) + shift
    torch.testing.assert_close(norm.eval()(x), reference(x), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(norm.train()(x), reference(x))


def test_group_normalisation_of_a_constant_is_its_bias() -> None:
    norm = GroupNorm(1, 8).eval()
    torch.testing.assert_close(norm(torch.full((1, 8, 4, 4), 3.0)), torch.zeros(1, 8, 4, 4), atol=1e-2, rtol=0)
