"""Lovász extensions and the losses of instances against literal values and against sets, as the paper's words have them."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.methods.hle import loss


def iou(predicted: set[int], true: set[int]) -> float:
    return len(predicted & true) / len(predicted | true) if predicted | true else 1.0


def lovasz_by_sets(errors: list[float], positive: list[bool]) -> float:
    """Eq. 3-5: the IoU left over when the i pixels of largest error are predicted wrongly, its loss weighted by the errors."""
    true = {i for i, value in enumerate(positive) if value}
    order = sorted(range(len(errors)), key=lambda i: -errors[i])
    total, before = 0.0, 1.0
    for rank, pixel in enumerate(order):
        wrong = set(order[: rank + 1])
        after = iou(true ^ wrong, true)
        total, before = total + errors[pixel] * (before - after), after
    return total


@pytest.mark.parametrize(
    ("errors", "positive", "expected"),
    [
        ([0, 0, 0, 0], [1, 1, 0, 0], 0.0),  # all right
        ([1, 1, 1, 1], [1, 1, 0, 0], 1.0),  # all wrong
        ([1, 0, 0, 0], [1, 1, 0, 0], 0.5),  # one of two missed: IoU 1/2
        ([0, 0, 1, 0], [1, 1, 0, 0], 1 / 3),  # one too many: IoU 2/3
        ([0, 0, 1, 1], [1, 1, 0, 0], 0.5),  # two too many: IoU 2/4
        ([0.5, 0, 0.25, 0], [1, 1, 0, 0], 0.5 * 0.5 + 0.25 * (0.5 - 1 / 3)),
        ([0.2, 0.4, 0.6], [0, 0, 0], 0.6),  # nothing there: the largest error counts
    ],
)
def test_lovasz_by_hand(errors: list[float], positive: list[int], expected: float) -> None:
    found = loss.lovasz(torch.tensor([errors], dtype=torch.float64), torch.tensor([positive]).bool())
    assert found.tolist() == pytest.approx([expected])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.floats(0, 2, width=32), st.booleans()), min_size=1, max_size=12), st.integers(0, 11))
def test_lovasz_equals_intersections_and_unions_of_sets(pixels: list[tuple[float, bool]], one: int) -> None:
    pixels[one % len(pixels)] = (pixels[one % len(pixels)][0], True)  # an instance or class has at least a pixel
    errors, positive = map(list, zip(*pixels))
    found = loss.lovasz(torch.tensor([errors], dtype=torch.float64), torch.tensor([positive]))
    assert found.item() == pytest.approx(lovasz_by_sets(errors, positive), abs=1e-6)


def test_lovasz_is_one_minus_iou_of_decided_pixels() -> None:
    rng = np.random.default_rng(0)
    true, predicted = rng.random((20, 30)) < 0.4, rng.random((20, 30)) < 0.5
    found = loss.lovasz(torch.from_numpy((true != predicted).astype(np.float32)), torch.from_numpy(true))
    expected = 1 - (true & predicted).sum(1) / (true | predicted).sum(1)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_lovasz_gradient() -> None:
    errors = torch.tensor([[0.9, 0.1, 0.5, 0.3, 0.7]], dtype=torch.float64, requires_grad=True)
    positive = torch.tensor([[True, False, True, False, False]])
    assert torch.autograd.gradcheck(lambda e: loss.lovasz(e, positive), errors)


def test_lovasz_softmax_by_hand() -> None:
    """Image 1 has classes 0 and 1, image 2 class 0 alone, and a void pixel that must not count."""
    semantic = torch.tensor([[0, 0, 1, 1], [0, 0, 0, -1]])
    hard = torch.tensor([[0, 1, 1, 1], [0, 0, 1, 2]])  # 1: IoU 1/2 and 2/3; 2: IoU 2/3
    probability = torch.nn.functional.one_hot(hard, 3).transpose(1, 2).double()
    assert loss.lovasz_softmax(probability, semantic).item() == pytest.approx((1 / 2 + 1 / 3 + 1 / 3) / 3)


def test_lovasz_softmax_of_soft_scores_averages_the_classes_that_are_there() -> None:
    generator = torch.Generator().manual_seed(0)
    probability = torch.randn(2, 4, 9, generator=generator, dtype=torch.float64).softmax(1)
    semantic = torch.tensor([[0, 0, 1, 1, 1, -1, 2, 2, -1], [3, 3, 3, 3, 3, 3, 3, 3, -1]])
    expected = []
    for p, t in zip(probability, semantic):
        for k in set(t.tolist()) - {-1}:
            known = [i for i in range(9) if t[i] >= 0]
            positive = [t[i].item() == k for i in known]
            errors = [1 - p[k, i].item() if yes else p[k, i].item() for i, yes in zip(known, positive)]
            expected.append(lovasz_by_sets(errors, positive))
    assert loss.lovasz_softmax(probability, semantic).item() == pytest.approx(np.mean(expected))


def test_lovasz_of_instances_compares_phi_with_the_mask() -> None:
    phi = torch.tensor([[0.9, 0.5, 0.25, 0.125]], dtype=torch.float64)
    mask, known = torch.tensor([[True, True, False, False]]), torch.tensor([[True, True, True, False]])
    found = loss.instance_loss(-phi.log(), mask, known, "lovasz").item()
    assert found == pytest.approx(lovasz_by_sets([0.1, 0.5, 0.25], [True, True, False]))


def test_hinge_of_instances_is_measured_in_halvings_of_phi() -> None:
    """The logit is 1 at the mean, 0 where phi = 1/2, -1 where phi = 1/4; beyond the margin nothing is pushed."""
    phi = torch.tensor([[1.0, 0.5, 0.25, 0.125, 0.5, 0.5]], dtype=torch.float64)
    mask = torch.tensor([[True, True, False, False, False, True]])
    known = torch.tensor([[True, True, True, True, True, False]])
    errors = [0.0, 1.0, 0.0, 0.0, 1.0]
    found = loss.instance_loss(-phi.log(), mask, known, "lovasz_hinge").item()
    # the pixel without a known instance counts in the union of the mask, which is drawn around it, but has no error
    assert found == pytest.approx(lovasz_by_sets([*errors, 0.0], mask[0].tolist()))


def test_cross_entropy_of_instances_is_that_of_phi() -> None:
    phi = torch.tensor([[0.9, 0.5, 0.25, 0.2]], dtype=torch.float64)
    mask, known = torch.tensor([[True, True, False, False]]), torch.tensor([[True, True, True, False]])
    found = loss.instance_loss(-phi.log(), mask, known, "cross_entropy").item()
    assert found == pytest.approx(-(math.log(0.9) + math.log(0.5) + math.log(0.75)) / 3)


@pytest.mark.parametrize("kind", ["lovasz", "lovasz_hinge", "cross_entropy"])
def test_instance_loss_gradient(kind: str) -> None:
    exponent = torch.tensor([[0.2, 1.1, 0.5, 2.3], [1.7, 0.3, 2.9, 0.8]], dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[True, False, True, False], [False, True, False, False]])
    known = torch.tensor([[True, True, True, True], [True, True, True, False]])
    assert torch.autograd.gradcheck(lambda x: loss.instance_loss(x, mask, known, kind), exponent)
