"""The affinity head, the dynamic potential and the masks, against matrices written down in full and values by hand."""

import pytest
import torch
from torch import Tensor

from panoptic_ros.core import PanopticError
from training.methods.affinity.affinity import InstanceAffinity, affinities, gather, propagate
from training.methods.affinity.masks import CROP, SIDE, MaskHead, crop, paste, points
from training.methods.affinity.network import NetworkSettings
from training.methods.affinity.potential import KINDS, potential
from training.nets.detector import Detections


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def explicit(collects: Tensor, gives: Tensor) -> Tensor:
    """A, (P,P), pair by pair of cells."""
    total = gives.sum(1)
    return torch.stack([torch.stack([(a * b / total).sum() for b in gives.T]) for a in collects.T])


def product(psi: Tensor, collects: Tensor, gives: Tensor) -> Tensor:
    return propagate(psi, collects, gather(psi, gives))


@pytest.mark.parametrize(("channels", "segments", "cells"), [(8, 3, 10), (128, 20, 42), (16, 1, 4)])
def test_the_product_is_that_of_the_whole_matrix(channels: int, segments: int, cells: int) -> None:
    collects, gives, psi = (random(n, cells, seed=n).abs() for n in (channels, channels + 1, segments))
    gives = gives[:channels]
    matrix = explicit(collects, gives)
    assert matrix.abs().max() > 0.1  # or it would say little
    torch.testing.assert_close(product(psi, collects, gives), psi + psi @ matrix.T, atol=1e-5, rtol=1e-5)
    single = product(psi.float(), collects.float(), gives.float())
    torch.testing.assert_close(single.double(), psi + psi @ matrix.T, atol=1e-5, rtol=1e-5)


def test_a_row_of_affinities_is_that_of_the_whole_matrix() -> None:
    collects, gives = random(8, 12).abs(), random(8, 12, seed=1).abs()
    torch.testing.assert_close(affinities(collects, gives, 7), explicit(collects, gives)[7])


def test_gradients_of_the_product() -> None:
    psi, collects, gives = (random(n, 6, seed=n).abs().requires_grad_() for n in (3, 4, 5))
    assert torch.autograd.gradcheck(lambda a, b, c: product(a, b, c[:4]), (psi, collects, gives))


def test_both_features_are_not_negative_and_learn() -> None:
    head, features = InstanceAffinity(8), random(2, 8, 3, 4).float()
    collects, gives = head(features)
    assert collects.shape == gives.shape == (2, 8, 3, 4) and collects.min() >= 0 and gives.min() >= 0
    (collects.sum() + gives.sum()).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in head.parameters())


def test_channels_that_give_nothing_stay_finite() -> None:
    gives = torch.zeros(4, 6, dtype=torch.float64, requires_grad=True)
    psi, collects = random(3, 6), random(4, 6, seed=1).abs()
    p = product(psi, collects, gives)
    torch.testing.assert_close(p, psi)
    p.sum().backward()
    assert torch.isfinite(gives.grad).all()


def test_no_segments_stay_none() -> None:
    assert product(torch.zeros(0, 6).double(), random(4, 6), random(4, 6).abs()).shape == (0, 6)


PROBABILITY = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64).view(4, 1, 1).expand(4, 2, 3)
"""Classes 0 and 2 are stuff, 1 and 3 things, on a map of 2 x 3 cells of 4 pixels."""
STUFF = torch.tensor([0, 2])
FOUND = Detections(
    torch.tensor([[0.0, 0, 8, 4], [4, 0, 12, 8], [0, 0, 0, 0]], dtype=torch.float64).T,
    torch.tensor([0.5, 0.9, 0.0], dtype=torch.float64),
    torch.tensor([3, 1, 1]),
)
"""Two cells of the first row; four on the right; none."""
MASKS = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64).view(3, 1, 1).expand(3, 2, 3)


@pytest.mark.parametrize(
    ("kind", "masks", "first", "second"),
    [
        ("A", None, 0.4, 0.2), ("B", None, 0.5 * 0.4, 0.9 * 0.2), ("C", None, 0.5 * 0.4, 0.9 * 0.2),
        ("A", MASKS, 0.4 + 0.25, 0.2 + 0.5), ("B", MASKS, 0.5 * 0.4 * 0.25, 0.9 * 0.2 * 0.5),
        ("C", MASKS, 0.5 * (0.4 + 0.25), 0.9 * (0.2 + 0.5)),
    ],
)  # fmt: skip
def test_the_potential_by_hand(kind: str, masks: Tensor | None, first: float, second: float) -> None:
    psi = potential(PROBABILITY, FOUND, masks, STUFF, kind, stride=4)
    expected = torch.zeros(5, 2, 3, dtype=torch.float64)
    expected[0], expected[1] = 0.1, 0.3
    expected[2, 0, :2], expected[3, :, 1:] = first, second
    torch.testing.assert_close(psi, expected)


def test_without_detections_there_is_stuff_only() -> None:
    none = Detections(FOUND.box[:, :0], FOUND.score[:0], FOUND.category[:0])
    torch.testing.assert_close(potential(PROBABILITY, none, None, STUFF, "B", 4), PROBABILITY[STUFF])


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_the_potential(kind: str) -> None:
    probability, score, masks = (x.clone().requires_grad_() for x in (PROBABILITY, FOUND.score, MASKS))

    def psi(v: Tensor, s: Tensor, m: Tensor) -> Tensor:
        return potential(v, Detections(FOUND.box, s, FOUND.category), m, STUFF, kind, 4)

    assert torch.autograd.gradcheck(psi, (probability, score, masks))


def test_an_unknown_variant_is_refused() -> None:
    with pytest.raises(PanopticError, match="unknown settings.network.potential 'D'; there are A, B, C"):
        NetworkSettings(potential="D")


def test_a_mask_is_pasted_into_its_box() -> None:
    """The left half of a box of 56 x 28 pixels at (8, 4); a cell of the grid is 4 pixels, one of the mask two by one."""
    mask = torch.zeros(1, SIDE, SIDE)
    mask[:, :, : SIDE // 2] = 1
    pasted = paste(mask, torch.tensor([[8.0, 4, 64, 32]]).T, torch.zeros(1, 10, 20), stride=4)[0]
    assert (pasted[1:8, 2:8] > 0.99).all() and (pasted[1:8, 10:16] < 0.01).all()
    rows, columns = torch.arange(10).view(-1, 1), torch.arange(20)
    outside = (rows < 1) | (rows > 7) | (columns < 2) | (columns > 15)
    assert (pasted[outside] == 0).all()
    middle = pasted[4, 8:10]  # at x = 34 and 38 where the edge is at 36: half a cell of the mask on both sides
    torch.testing.assert_close(middle, torch.tensor([1.0, 0.0]), atol=0.01, rtol=0)


def test_a_ramp_is_pasted_where_it_was_cut_out() -> None:
    """Mask values x + 2 y at the points of the box come back at the cells in it."""
    box = torch.tensor([[10.0, 20, 122, 132]]).T
    x, y = points(box, SIDE)
    pasted = paste(x.unsqueeze(1) + 2 * y.unsqueeze(2), box, torch.zeros(1, 40, 40), stride=4)[0]
    cells = 4 * (torch.arange(40) + 0.5)
    expected = cells.view(1, -1) + 2 * cells.view(-1, 1)
    torch.testing.assert_close(pasted[6:32, 4:29], expected[6:32, 4:29], atol=1e-3, rtol=1e-4)


def test_crops_read_the_level_of_their_size() -> None:
    """Maps of x + 2 y, plus 1000 for each level; bilinear reading gives the points of the box."""
    box = torch.tensor([[20.0, 30, 60, 70], [30, 30, 150, 140], [10, 10, 300, 240], [40, 30, 500, 480]]).T
    pyramid = []
    for level, stride in enumerate((4, 8, 16, 32)):
        cells = stride * (torch.arange(512 // stride) + 0.5)
        pyramid.append((cells.view(1, -1) + 2 * cells.view(-1, 1) + 1000 * level)[None, None])
    x, y = points(box, CROP)
    expected = x.unsqueeze(1) + 2 * y.unsqueeze(2) + 1000 * torch.arange(4).view(4, 1, 1)
    torch.testing.assert_close(crop(pyramid, box)[:, 0], expected, atol=0.01, rtol=1e-4)


def test_the_mask_head_answers_for_the_class_of_each_box() -> None:
    net = MaskHead(8, 8, things=3).eval()
    pyramid = [torch.randn(1, 8, 128 // stride, 128 // stride) for stride in (4, 8, 16, 32)]
    box = torch.tensor([[4.0, 4, 60, 60], [4, 4, 60, 60]]).T
    both = [net(pyramid, box, torch.tensor(things)) for things in ([0, 2], [2, 0])]
    assert both[0].shape == (2, SIDE, SIDE)
    torch.testing.assert_close(both[0], both[1].flip(0))
    assert not torch.allclose(both[0][0], both[0][1])
