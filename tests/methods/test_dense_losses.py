"""The losses of dense detections: values by hand, gradients, and images that lack what a term is about."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, interpolate

from panoptic_ros.core import PanopticError
from tests.methods.scene import MIXED, PICTURES, THINGS, Scene, draw
from training.methods.dense import loss
from training.methods.dense.loss import WEIGHTS, LossSettings, losses
from training.methods.dense.network import Output
from training.methods.dense.targets import truth_of
from training.nets.detector_targets import Cells, Truth

THING_CLASSES = torch.tensor(THINGS)
RANGES = [16, 32, 64, 128]
SETTINGS = LossSettings(ranges=RANGES)


def maps(scene: Scene) -> tuple[Tensor, Tensor]:
    return tuple(torch.from_numpy(part).unsqueeze(0) for part in (scene.semantic, scene.instance))


def noise(seed: int = 0, batch: int = 1) -> Output:
    """Of an image of 32 x 64 pixels, differentiable."""
    generator = torch.Generator().manual_seed(seed)

    def map_(channels: int, size: tuple[int, int], scale: float = 1.0) -> Tensor:
        return (scale * torch.randn(batch, channels, *size, generator=generator)).requires_grad_()

    sizes = [(4, 8), (2, 4), (1, 2), (1, 1), (1, 1)]
    near = [(20 * torch.rand(batch, 4, *size, generator=generator) + 1).requires_grad_() for size in sizes]
    return Output(
        [map_(2, size) for size in sizes], near, [map_(1, size) for size in sizes],
        map_(6, (8, 16)), map_(4, (4, 8)), map_(5, (4, 8)),
    )  # fmt: skip


def leaves(output: Output) -> list[Tensor]:
    return [*output.thing_logits, *output.distances, *output.centerness, output.levelness, output.semantic, output.embedding]


def cells(instance: list[int], distances: list[list[float]], central: list[float], counted: list[bool] | None = None) -> Cells:
    return Cells(
        torch.tensor([instance]),
        torch.tensor(distances).float().T.unsqueeze(0),
        torch.tensor([central]),
        torch.tensor([counted or [True] * len(instance)]),
    )


def truth(scene: Scene = MIXED) -> Truth:
    return truth_of(*maps(scene), THING_CLASSES, 4, weak=False)


def test_box_loss_by_hand() -> None:
    """Boxes of 4 x 4 around the cell, and one of 8 x 4 found where 4 x 4 is right: I = 16, U = 32; the last is no positive."""
    goal = cells([0, 1, -1], [[2, 2, 2, 2], [2, 2, 2, 2], [0, 0, 0, 0]], [1, 1, 0])
    found = torch.tensor([[2, 2, 2, 2], [2, 2, 6, 2], [9, 9, 9, 9]]).float().T.unsqueeze(0)
    assert loss.box_loss(found, goal).item() == pytest.approx(-math.log(17 / 33) / 2)


def test_box_loss_gradient() -> None:
    goal = cells([0, 1, -1], [[2, 3, 4, 5], [5, 2, 2, 6], [0, 0, 0, 0]], [1, 1, 0])
    goal = replace(goal, distances=goal.distances.double())
    found = (torch.rand(1, 4, 3, generator=torch.Generator().manual_seed(0)).double() * 6 + 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda d: loss.box_loss(d, goal), found)
    loss.box_loss(found, goal).backward()
    assert found.grad[..., 2].abs().max() == 0


def test_category_loss_by_hand() -> None:
    """Logits 0: p = 1/2 everywhere. A positive pays 0.25 log(2) / 4, each of the 3 others 0.75 log(2) / 4; one is not counted."""
    goal = cells([1, -1, -1], [[1] * 4] * 3, [1, 0, 0], [True, True, False])
    found = loss.category_loss(torch.zeros(1, 2, 3), goal, truth(), THING_CLASSES)
    assert found.item() == pytest.approx((0.25 + 3 * 0.75) * math.log(2) / 4)


def test_category_loss_knows_the_class_of_a_positive() -> None:
    """Object 2 is the person, the second thing class."""
    goal = cells([2], [[1] * 4], [1])
    right, wrong = (torch.tensor([[[-s], [s]]]) for s in (9.0, -9.0))
    assert loss.category_loss(right, goal, truth(), THING_CLASSES) < 1e-6
    assert loss.category_loss(wrong, goal, truth(), THING_CLASSES) > 5


def test_centerness_loss_by_hand() -> None:
    goal = cells([0, -1], [[1] * 4] * 2, [0.25, 0.0])
    expected = -(0.25 * math.log(0.5) + 0.75 * math.log(0.5))
    assert loss.centerness_loss(torch.tensor([[[0.0, 7.0]]]), goal).item() == pytest.approx(expected)


def test_semantic_loss_counts_the_worst_cells() -> None:
    """Four cells of one P3 cell; two are right by 2 nats and two wrong; half of the known ones are the wrong ones."""
    logits, semantic = torch.tensor([2.0, 0, 0, 0]).view(1, 4, 1, 1), torch.tensor([[[0, 1], [1, 0]]])
    right, wrong = math.log(1 + 3 * math.exp(-2)), math.log(math.exp(2) + 3)
    half, whole = (loss.semantic_loss(logits, 8, semantic, LossSettings(bootstrap=part)).item() for part in (0.5, 1.0))
    assert (half, whole) == pytest.approx((wrong, (right + wrong) / 2))
    semantic[0, 0, 0] = -1  # void
    assert loss.semantic_loss(logits, 8, semantic, LossSettings(bootstrap=1.0)).item() == pytest.approx((right + 2 * wrong) / 3)


def test_levelness_loss_by_hand() -> None:
    """Uniform over six, and void is not counted."""
    logits = torch.zeros(1, 6, 8, 16, requires_grad=True)
    found = loss.levelness_loss(logits, truth(), SETTINGS)
    assert found.item() == pytest.approx(math.log(6))
    found.backward()
    assert logits.grad[0, :, 6:, 11:].abs().max() == 0 and logits.grad[0, :, 1, 2].abs().min() > 0


def flat_output(distance: float, likely: int) -> Output:
    """An image of 16 x 16 pixels on whose every cell of every level the box reaches as far, of the class `likely`."""
    sizes = [(2, 2)] + [(1, 1)] * 4
    semantic = torch.zeros(1, 4, 2, 2)
    semantic[:, likely] = math.log(3)  # 1/2 against three times 1/6
    return Output(
        [torch.zeros(1, 2, *size) for size in sizes], [torch.full((1, 4, *size), distance) for size in sizes],
        [torch.zeros(1, 1, *size) for size in sizes], torch.zeros(1, 6, 4, 4), semantic, torch.zeros(1, 5, 2, 2),
    )  # fmt: skip


def test_mask_loss_by_hand() -> None:
    """A car in the upper left 8 x 8 pixels. The boxes of cells at (2,2), (6,2), (2,6), (6,6) reach 4 px: at (2,2) from -2 to 6.

    IoU at (2,2): 36 / (64 + 64 - 36); at (6,2) and (2,6) with 6 x 6 the same; the class is certain to 1/2. No stranger reaches
    the threshold: the nearest, at (10,2), has 2 x 6 of 116.
    """
    scene = draw("AArr AArr rrrr rrrr")
    found = loss.mask_loss(flat_output(4.0, likely=1), truth(scene), LossSettings(mask_threshold=0.3))
    assert found.item() == pytest.approx(-math.log(0.5 * 36 / 92))
    low = loss.mask_loss(flat_output(4.0, likely=1), truth(scene), LossSettings(mask_threshold=0.05))
    strangers = [0.5 * 12 / 116] * 4  # (10,2), (10,6), (2,10), (6,10)
    expected = (4 * -math.log(0.5 * 36 / 92) - sum(math.log(1 - p) for p in strangers)) / 8
    assert low.item() == pytest.approx(expected)


def test_mask_loss_reaches_boxes_and_classes_but_not_the_levelness() -> None:
    output = noise()
    loss.mask_loss(output, truth(), SETTINGS).backward()
    assert all(d.grad.abs().sum() > 0 for d in output.distances[:2]) and output.semantic.grad.abs().sum() > 0
    assert output.levelness.grad is None


def test_embedding_loss_by_hand() -> None:
    """Two objects of two cells each, at right angles: log(1 + exp(-1/t)). All alike: log(2)."""
    scene = draw("AAAABBBB AAAABBBB")
    apart = torch.zeros(1, 2, 1, 4)
    apart[0, 0, 0, :2], apart[0, 1, 0, 2:] = 3, 5
    found = loss.embedding_loss(apart, 8, truth(scene), LossSettings(temperature=0.5))
    assert found.item() == pytest.approx(math.log(1 + math.exp(-2)))
    assert loss.embedding_loss(torch.ones(1, 2, 1, 4), 8, truth(scene), SETTINGS).item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("weak", [False, True])
def test_losses_and_their_gradients_are_finite(name: str, weak: bool) -> None:
    output = noise()
    terms = losses(output, *maps(PICTURES[name]), THING_CLASSES, replace(SETTINGS, weak=weak))
    assert tuple(terms) == WEIGHTS
    assert all(value.ndim == 0 and torch.isfinite(value) and value >= 0 for value in terms.values())
    sum(terms.values()).backward()
    assert all(torch.isfinite(leaf.grad).all() for leaf in leaves(output) if leaf.grad is not None)
    if name in ("no things", "all void"):
        assert {key for key in WEIGHTS if terms[key] == 0} >= {"box", "centerness", "mask", "embedding"}


@pytest.mark.parametrize("term", WEIGHTS)
def test_a_term_of_weight_zero_is_left_out_and_others_scale(term: str) -> None:
    without = {"mask": 0.0, "levelness": 0.0} if term == "levelness" else {term: 0.0}
    full = losses(noise(), *maps(MIXED), THING_CLASSES, SETTINGS)
    less = losses(noise(), *maps(MIXED), THING_CLASSES, replace(SETTINGS, **without))
    assert set(full) - set(less) == set(without)
    double = losses(noise(), *maps(MIXED), THING_CLASSES, replace(SETTINGS, **{term: 2.0}))
    assert double[term].item() == pytest.approx(2 * full[term].item())


def test_an_image_without_objects_changes_no_loss_of_objects() -> None:
    alone = losses(noise(), *maps(MIXED), THING_CLASSES, SETTINGS)
    pair = [torch.cat(both) for both in zip(maps(MIXED), maps(PICTURES["no things"]))]
    one, other = noise(), noise(seed=1)
    joined = Output(*(
        [torch.cat(two) for two in zip(a, b)] if isinstance(a, list) else torch.cat([a, b]) for a, b in zip(one, other)
    ))  # fmt: skip
    together = losses(joined, *pair, THING_CLASSES, SETTINGS)
    for term in ("box", "centerness", "mask", "embedding"):
        torch.testing.assert_close(together[term], alone[term])


def test_what_is_ignored_moves_nothing() -> None:
    """A crowd and void: of the void nothing is learned, of the crowd its class."""
    semantic, instance = maps(MIXED)
    instance = torch.where(instance == 2, -1, instance)  # the person is a crowd
    output = noise()
    terms = losses(output, semantic, instance, THING_CLASSES, replace(SETTINGS, bootstrap=1.0))
    semantics = terms.pop("semantic")
    sum(terms.values()).backward()
    assert output.levelness.grad[0, :, 5:, 5:8].abs().max() == 0
    assert output.thing_logits[0].grad[0, :, 3, 3].abs().max() == 0  # the cell of P3 whose centre is in the crowd
    assert output.thing_logits[0].grad[0, :, 3, 6].abs().max() == 0  # and in void
    assert output.thing_logits[0].grad[0, :, 3, 1].abs().min() > 0  # on road
    crowd = (semantic[0] >= 0) & (maps(MIXED)[1][0] == 2)
    assert crowd.any()
    # the mean over all cells but void, those of the crowd among them
    finer = interpolate(output.semantic, scale_factor=2, mode="bilinear", align_corners=False)
    assert semantics.item() == pytest.approx(cross_entropy(finer, semantic, ignore_index=-1).item(), rel=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"grid_stride": 8}, "grid_stride is 8; it can be 4, 2, 1"),
        ({"ranges": [64, 128, 256]}, "expected 4 rising numbers"),
        ({"ranges": [64, 64, 128, 256]}, "expected 4 rising numbers"),
        ({"bootstrap": 0.0}, "bootstrap is 0.0"),
        ({"box": -1.0}, "settings.loss.box is -1.0; weights are 0 or more"),
        ({"embedding": math.nan}, "settings.loss.embedding is nan"),
        ({"temperature": 0.0}, "temperature is 0.0"),
        ({"mask_threshold": -1.0}, "mask_threshold is -1.0"),
        ({"levelness": 0.0}, "mask needs settings.loss.levelness"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(PanopticError, match=message):
        LossSettings(**settings)
