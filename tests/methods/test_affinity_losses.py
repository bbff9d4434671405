"""The losses: what they move, double-precision gradients, and images that lack what a term is about."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from panoptic_ros.core import PanopticError
from tests.methods import ideal_affinity
from tests.methods.scene import CAR, MIXED, PICTURES, THINGS, Scene, draw
from training.methods.affinity import loss
from training.methods.affinity.loss import LossSettings, losses
from training.methods.affinity.network import Network, Output
from training.nets.detector import Detections, DetectionSettings
from training.nets.detector_targets import Truth, truth_of

THING_CLASSES = torch.tensor(THINGS)
SETTINGS = LossSettings(ranges=[16, 32, 64, 128])
DETECTIONS = DetectionSettings(detections=10, candidates=20)
TERMS = ("semantic", "category", "box", "centerness", "panoptic")


def network(mask: int = 0) -> Network:
    return ideal_affinity.method(affinity=8, mask=mask).network


def maps(scene: Scene) -> tuple[Tensor, Tensor]:
    return tuple(torch.from_numpy(part).unsqueeze(0) for part in (scene.semantic, scene.instance))


def noise(likely: float = 0.0, thing: int | None = None, mask: int = 0, seed: int = 0) -> Output:
    """Of an image of 32 x 64 pixels, differentiable. likely: the logits of things; thing: of which one alone, if of one."""
    generator = torch.Generator().manual_seed(seed)

    def map_(channels: int, size: tuple[int, int], shift: float = 0.0) -> Tensor:
        return (torch.randn(1, channels, *size, generator=generator) + shift).requires_grad_()

    sizes = [(4, 8), (2, 4), (1, 2), (1, 1), (1, 1)]
    near = [(20 * torch.rand(1, 4, *size, generator=generator) + 1).requires_grad_() for size in sizes]
    things = [map_(2, size, likely) for size in sizes]
    if thing is not None:
        for logits in things:
            logits.data[:, 1 - thing] = -20
    pyramid = [map_(8, (8 // step, 16 // step)) for step in (1, 2, 4, 8)] if mask else []
    return Output(
        things, near, [map_(1, size) for size in sizes], map_(4, (8, 16)), [map_(8, (8, 16)), map_(8, (8, 16))], pyramid
    )


def leaves(output: Output) -> list[Tensor]:
    return [leaf for part in output for leaf in (part if isinstance(part, list) else [part])]


def ideal(scene: Scene) -> Output:
    """At twice the size, so that a cell of the scene is one of P3."""
    return ideal_affinity.output(scene)


OUTPUTS = {
    "many detections": {"likely": 1.0},
    "zero detections": {"likely": -20.0},
    "every detection of one class": {"likely": 1.0, "thing": 1},
}


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("outputs", OUTPUTS)
@pytest.mark.parametrize("boxes", ["predicted", "ground_truth"])
@pytest.mark.parametrize("mask", [0, 8])
def test_losses_and_their_gradients_are_finite(name: str, outputs: str, boxes: str, mask: int) -> None:
    net, output = network(mask), noise(**OUTPUTS[outputs], mask=mask)
    net.zero_grad()
    terms = losses(net, output, *maps(PICTURES[name]), THING_CLASSES, replace(SETTINGS, boxes=boxes), DETECTIONS)
    assert set(terms) == {*TERMS, *(["mask"] if mask else [])}
    assert all(value.ndim == 0 and torch.isfinite(value) and value >= 0 for value in terms.values())
    sum(terms.values()).backward()
    assert all(torch.isfinite(leaf.grad).all() for leaf in leaves(output) if leaf.grad is not None)
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)
    if name == "all void":
        assert terms["panoptic"] == 0 and terms["semantic"] == 0


@pytest.mark.parametrize(("outputs", "classes"), [("zero detections", set()), ("every detection of one class", {3})])
def test_the_outputs_are_what_their_names_say(outputs: str, classes: set[int]) -> None:
    found, _ = loss.queries(network(), noise(**OUTPUTS[outputs]), truth(PICTURES["no things"]), 0, SETTINGS, DETECTIONS)
    assert set(found.category.tolist()) == classes


def truth(scene: Scene) -> Truth:
    return truth_of(*maps(scene), THING_CLASSES, SETTINGS.grid_stride)


def queried(box: list[list[float]], category: list[int]) -> Detections:
    return Detections(torch.tensor(box).view(-1, 4).T, torch.ones(len(box)), torch.tensor(category).long())


@pytest.mark.parametrize("sharpness", [1.0, 8.0])
def test_panoptic_loss_by_hand(sharpness: float) -> None:
    """Without affinity, one row: road, car A found, car B not found. Logits of V are 0: 1/4 for each class, inside a box too."""
    scene = draw("rrAABBrr rrAABBrr")
    net = ideal_affinity.method(affinity=0).network
    output = noise()._replace(semantic=torch.zeros(1, 4, 2, 8))
    owner = torch.tensor([0, -1])
    settings = replace(SETTINGS, sharpness=sharpness)
    found = loss.panoptic_loss(net, output, truth(scene), [(queried([[8, 0, 16, 8]], [CAR]), owner)], settings)
    # channels: road and sky, 1/4 everywhere; the car, 1/4 in its box and 0 elsewhere
    inside, outside = (sharpness * torch.tensor([0.25, 0.25, last]) for last in (0.25, 0.0))
    each = [cross_entropy(outside, torch.tensor(0)), cross_entropy(inside, torch.tensor(2))]
    assert found.item() == pytest.approx((8 * each[0].item() + 4 * each[1].item()) / 12)


def test_detections_that_match_nothing_are_pushed_down() -> None:
    """The score of a box on the sky falls, that of the car's own rises."""
    score = torch.tensor([0.5, 0.5], requires_grad=True)
    boxes = replace(queried([[0, 0, 64, 4], [8, 4, 32, 20]], [CAR, CAR]), score=score)
    net, output = ideal_affinity.method(affinity=0).network, noise()
    loss.panoptic_loss(net, output, truth(MIXED), [(boxes, torch.tensor([1, -1, -1]))], SETTINGS).backward()
    assert score.grad[0] > 0 > score.grad[1]


def test_gradients_of_the_panoptic_loss_reach_scores_classes_features_and_weights() -> None:
    net, output = network(), noise(likely=1.0)
    net.zero_grad()
    term = losses(net, output, *maps(MIXED), THING_CLASSES, SETTINGS, DETECTIONS)["panoptic"]
    term.backward()
    reached = {name: any(leaf.grad is not None and leaf.grad.abs().sum() > 0 for leaf in part if leaf.requires_grad)
               for name, part in zip(Output._fields, ([*x] if isinstance(x, list) else [x] for x in output))}  # fmt: skip
    assert reached == {
        "thing_logits": True, "distances": False, "centerness": True, "semantic": True, "affinity": True, "pyramid": False,
    }  # fmt: skip


def test_with_true_boxes_no_gradient_reaches_the_detector() -> None:
    output = noise(likely=1.0)
    settings = replace(SETTINGS, boxes="ground_truth")
    losses(network(), output, *maps(MIXED), THING_CLASSES, settings, DETECTIONS)["panoptic"].backward()
    assert all(leaf.grad is None for leaf in (*output.thing_logits, *output.centerness)) and output.semantic.grad is not None


def test_gradients_of_the_panoptic_loss_in_double_precision() -> None:
    net, whole = network(), truth(draw("ssssssss rAArBBrr rAArBBrr rrrrrrrr"))
    boxes = queried([[4, 4, 14, 12], [14, 2, 26, 12]], [CAR, CAR])
    generator = torch.Generator().manual_seed(1)
    maps_ = [torch.randn(1, n, 4, 8, generator=generator, dtype=torch.float64).requires_grad_() for n in (4, 8, 8)]
    score = torch.tensor([0.6, 0.8], dtype=torch.float64, requires_grad=True)

    def value(v: Tensor, collects: Tensor, gives: Tensor, s: Tensor) -> Tensor:
        output = noise()._replace(semantic=v, affinity=[collects, gives.exp()])
        found = replace(boxes, box=boxes.box.double(), score=s)
        return loss.panoptic_loss(net, output, whole, [(found, torch.tensor([0, 1]))], SETTINGS)

    assert torch.autograd.gradcheck(value, (*maps_, score))


def test_targets_of_masks() -> None:
    """Of a car, whose box it fills, and of a box with its lower half."""
    boxes = torch.tensor([[8.0, 4, 32, 20], [8, 12, 32, 28]]).T
    inside = loss.mask_targets(truth(MIXED), 0, boxes, torch.tensor([0, 0])).view(2, 28, 28)
    assert inside[0].all() and inside[1, :14].all() and not inside[1, 14:].any()


class _Masks(nn.Module):
    """A mask head that is sure of the true masks, or as sure of the opposite."""

    def __init__(self, logit: float) -> None:
        super().__init__()
        self.logit = logit

    def forward(self, pyramid: list[Tensor], box: Tensor, thing: Tensor) -> Tensor:
        inside = loss.mask_targets(truth(MIXED), 0, box, torch.arange(len(thing)))
        return self.logit * (2.0 * inside.view(-1, 28, 28) - 1)


@pytest.mark.parametrize(("logit", "expected"), [(2.0, 0.0), (-2.0, 3.0)])
def test_the_mask_loss_is_the_hinge_of_sure_masks(logit: float, expected: float) -> None:
    net, output, whole = deepcopy(network(mask=8)), noise(mask=8), truth(MIXED)
    net.mask = _Masks(logit)
    nothing = torch.full((whole.box.shape[1],), -1)
    found = [(loss.queries(net, output.image(0), whole, 0, SETTINGS, DETECTIONS)[0], nothing)]
    assert loss.mask_loss(net, output, whole, found).item() == pytest.approx(expected)


def test_the_mask_loss_reaches_the_mask_head() -> None:
    whole = truth(MIXED)
    net, output = network(mask=8), noise(mask=8)
    net.zero_grad()
    loss.mask_loss(net, output, whole, [loss.queries(net, output.image(0), whole, 0, SETTINGS, DETECTIONS)]).backward()
    assert all(p.grad.abs().sum() > 0 for p in net.mask.logits.parameters())


def test_predicted_masks_take_part_in_the_panoptic_loss() -> None:
    net, output = network(mask=8), noise(likely=1.0, mask=8)
    net.zero_grad()
    losses(net, output, *maps(MIXED), THING_CLASSES, SETTINGS, DETECTIONS)["panoptic"].backward()
    assert net.mask.logits.weight.grad.abs().sum() > 0 and output.pyramid[0].grad.abs().sum() > 0


@pytest.mark.parametrize("segmentation", ["cross_entropy", "lovasz"])
def test_the_ideal_output_has_next_to_no_semantic_loss(segmentation: str) -> None:
    """V is at stride 4, a scene cell 8 pixels: its targets come at stride 4 as well."""
    output, (semantic, instance) = ideal(MIXED), maps(MIXED)
    fine = [x.repeat_interleave(2, 1).repeat_interleave(2, 2) for x in (semantic, instance)]
    settings = replace(SETTINGS, segmentation=segmentation, ranges=ideal_affinity.RANGES)
    terms = losses(ideal_affinity.method().network, output, *fine, THING_CLASSES, settings, DETECTIONS)
    assert terms["semantic"] < 1e-3 and terms["box"] < 1e-3


def test_panoptic_zero_trains_nothing_end_to_end() -> None:
    settings = replace(SETTINGS, panoptic=0.0)
    assert set(losses(network(), noise(1.0), *maps(MIXED), THING_CLASSES, settings, DETECTIONS)) == set(TERMS) - {"panoptic"}


@pytest.mark.parametrize("grid_stride", [4, 2, 1])
def test_targets_of_any_grid(grid_stride: int) -> None:
    """The same scene drawn finer has the same panoptic and semantic targets."""
    factor = 4 // grid_stride
    fine = [x.repeat_interleave(factor, 1).repeat_interleave(factor, 2) for x in maps(MIXED)]
    settings = replace(SETTINGS, grid_stride=grid_stride)
    assert torch.equal(loss.coarse(fine[0], settings), maps(MIXED)[0])


def test_a_dataset_without_stuff_classes_has_a_finite_loss() -> None:
    """P has no channels where nothing is found."""
    net = Network(ideal_affinity.method(affinity=8).settings.network, torch.tensor([True, True]))
    semantic, instance = torch.zeros(1, 8, 16, dtype=torch.long), torch.zeros(1, 8, 16, dtype=torch.long)
    output = noise(likely=-20.0)
    output = output._replace(semantic=output.semantic[:, :2])
    terms = losses(net, output, semantic, instance, torch.tensor([True, True]), SETTINGS, DETECTIONS)
    assert terms["panoptic"] == 0
    sum(terms.values()).backward()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"grid_stride": 8}, "grid_stride is 8; it can be 4, 2, 1"),
        ({"ranges": [64, 64, 128, 256]}, "expected 4 rising numbers"),
        ({"segmentation": "dice"}, "unknown settings.loss.segmentation 'dice'; there are cross_entropy, lovasz"),
        ({"boxes": "proposed"}, "unknown settings.loss.boxes 'proposed'; there are predicted, ground_truth"),
        ({"match_threshold": 0.0}, "match_threshold is 0.0"),
        ({"sharpness": 0.0}, "settings.loss.sharpness is 0.0"),
        ({"panoptic": -1.0}, "settings.loss.panoptic is -1.0; weights are 0 or more"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(PanopticError, match=message):
        LossSettings(**settings)
