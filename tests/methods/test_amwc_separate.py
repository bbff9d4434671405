"""The separate losses of section A.4: their values, and their gradients through the cut, by hand."""

import numpy as np
import pytest
import torch

from training.methods.amwc.end_to_end import EndToEndSettings, Solved, cuts_of
from training.methods.amwc.loss import LossSettings
from training.methods.amwc.network import Output
from training.methods.amwc.separate import ThroughAsymmetricCut, class_loss, edge_loss, separate_losses
from training.methods.amwc.targets import edges_of

ROAD, CAR = 0, 1
THINGS = torch.tensor([False, True])


def test_eq_7_counts_both_channels_of_a_wrong_cell() -> None:
    """Of three known cells the second is wrong, |x - x_g| = 2, and of a small object, times 3."""
    x = torch.tensor([[[[1.0, 1, 0, 1]], [[0, 0, 1, 0]]]])
    semantic, weight = torch.tensor([[[ROAD, CAR, CAR, -1]]]), torch.tensor([[[1.0, 3, 1, 1]]])
    assert class_loss(x, semantic, weight).item() == pytest.approx(2 * 3 / 3)


def test_eq_8_by_hand() -> None:
    """Car, car, other car, road, void in a row: edges 1 and 2 are cut in truth, 0 and 2 in the answer; 3 is not known.

    One right, one wrong, one missed, all at things: 1 - 4 / (4 + 0.5 (4 + 4)). Down the columns there are no edges.
    """
    semantic, instance = torch.tensor([[[CAR, CAR, CAR, ROAD, -1]]]), torch.tensor([[[0, 0, 1, -1, -1]]])
    edges = edges_of(semantic, instance, THINGS, torch.ones(1, 1, 5), [1])
    y = torch.tensor([[[[1.0, 0, 1, 1, 1]], [[0, 0, 0, 0, 0]]]])
    assert edge_loss(y, edges, 4.0).item() == pytest.approx(0.5)
    assert edge_loss(y[:, :, :, :1], edges_of(semantic[..., :1], instance[..., :1], THINGS, torch.ones(1, 1, 1), [1]), 4.0) == 0


def test_the_gradient_is_the_mean_of_eq_3_over_lambda_by_hand() -> None:
    """Two cells of car with an edge of 0.5. dL/dx says road for the second, -0.1; dL/dy asks for the cut, -0.05.

    With lambda 5, road costs 1 - 0.5 and the edge 0.25, too much. With lambda 20, -1 and -0.5: both change, by 1/20, and the mean
    with that of lambda 5 is half of it.
    """
    class_cost = torch.tensor([[[[1.0, 1.0]], [[0.0, 0.0]]]]).requires_grad_()
    edge_cost = torch.tensor([[[[0.5, 0.0]], [[0.0, 0.0]]]]).requires_grad_()
    batch = Solved(class_cost, edge_cost, [1], cuts_of(class_cost, edge_cost, [1], THINGS.numpy()), [5.0, 20.0])
    x, y = ThroughAsymmetricCut.apply(class_cost, edge_cost, batch, np.array([CAR]))
    assert (x.flatten().tolist(), y.flatten().tolist()) == ([0, 0, 1, 1], [0, 0, 0, 0])
    (-0.1 * x[0, ROAD, 0, 1] - 0.05 * y[0, 0, 0, 0]).backward()
    np.testing.assert_allclose(class_cost.grad[0], [[[0, 0.025]], [[0, -0.025]]])
    np.testing.assert_allclose(edge_cost.grad[0], [[[0.025, 0]], [[0, 0]]])


def test_descent_finds_the_truth() -> None:
    generator = torch.Generator().manual_seed(0)
    semantic, instance = torch.zeros(1, 12, 12, dtype=torch.long), torch.full((1, 12, 12), -1)
    semantic[0, 3:9, 2:10] = CAR
    instance[0, 3:9, 2:6], instance[0, 3:9, 6:10] = 0, 1
    costs = [torch.randn(1, 2, 12, 12, generator=generator), torch.randn(1, 4, 12, 12, generator=generator)]
    costs = [cost.requires_grad_() for cost in costs]
    optimiser, seen = torch.optim.Adam(costs, lr=0.1), []
    settings, weights = EndToEndSettings(True, separate=True, drop=0.0), LossSettings(small_area=0)
    for step in range(60):
        torch.manual_seed(step)
        optimiser.zero_grad()
        terms = separate_losses(Output(*costs, torch.zeros(1, 2, 12, 12)), semantic, instance, THINGS, [1, 4], settings, weights)
        sum(terms.values()).backward()
        optimiser.step()
        seen.append(sum(terms.values()).item())
    assert set(terms) == {"classes", "edges"}
    assert seen[-1] < 0.1 * seen[0]
