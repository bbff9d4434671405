"""The losses of HLE against literal values and against implementations that follow the paper's words instead of its algebra."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from panoptic_ros.core import PanopticError
from tests.methods import ideal_hle
from tests.methods.scene import CAR, PERSON, ROAD, SKY, THINGS, Scene, draw
from training.methods.hle import loss
from training.methods.hle.loss import INSTANCE_LOSSES, SEMANTIC_LOSSES, LossSettings
from training.methods.hle.network import Fields, Network, NetworkSettings, initial_means, precisions
from training.methods.hle.targets import Targets, pool_means, targets

THING_CLASSES = torch.tensor(THINGS)
MIXED = draw(
    """
    ssssssss
    ssAABBss
    rrAABBrr
    rrrrNrr.
    """
)


def maps(scene: Scene) -> tuple[Tensor, Tensor]:
    """semantic, instance (1,h,w)."""
    return torch.tensor(scene.semantic)[None], torch.tensor(scene.instance)[None]


def some_targets() -> Targets:
    """Two cells of one car, one of another, road, void, and one of a crowd of cars."""
    semantic = torch.tensor([[CAR, CAR, CAR, ROAD, -1, CAR]])
    return targets(semantic, torch.tensor([[0, 0, 1, -1, -1, -1]]), THING_CLASSES)


def test_targets_by_hand() -> None:
    truth = some_targets()
    assert truth.instance.int().tolist() == [[[1, 1, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0]]]
    assert truth.exists.tolist() == [[True, True]]
    assert truth.ignored.tolist() == [[False] * 5 + [True]]


def test_targets_of_images_with_different_counts_of_objects() -> None:
    truth = targets(torch.tensor([[CAR, PERSON], [ROAD, SKY]]), torch.tensor([[0, 1], [-1, -1]]), THING_CLASSES)
    assert truth.exists.tolist() == [[True, True], [False, False]]
    assert not truth.instance[1].any() and not truth.ignored.any()


def test_pool_means_by_hand() -> None:
    masks = torch.tensor([[[1, 1, 0], [0, 0, 1], [0, 0, 0]]]).bool()
    assert pool_means(torch.tensor([[[1.0, 3.0, 7.0]]]), masks).tolist() == [[[2.0], [7.0], [0.0]]]


def some_fields(cells: int, embedding: int = 4, seed: int = 0) -> Fields:
    """Random fields in double precision on one row of cells, all leaves that require gradients."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    unit = torch.nn.functional.normalize(random(1, embedding, cells), dim=1).requires_grad_()
    position = torch.stack([torch.arange(cells, dtype=torch.float64) / cells, torch.full((cells,), 0.5)]).unsqueeze(0)
    log_sigma, logits = (0.1 * random(1, 2, cells)).requires_grad_(), random(1, 1, cells).requires_grad_()
    return Fields(unit, log_sigma, logits, position, None)


def test_the_exponent_is_that_of_equation_8() -> None:
    fields, truth = some_fields(6), some_targets()
    found = loss.instance_exponent(fields, fields.embedding, truth).detach()[0].numpy()
    e, raw, rho = (x.detach()[0].numpy() for x in (fields.embedding, fields.log_sigma, fields.position))
    for number, members in enumerate([[0, 1], [2]]):
        mean = e[:, members].mean(1) / np.linalg.norm(e[:, members].mean(1))
        variance, spatial = ideal_hle.AT_ZERO * np.exp(-5 * raw[:, members].mean(1))
        expected = [
            variance * (1 - mean @ e[:, i]) + spatial * ((rho[:, i] - rho[:, members].mean(1)) ** 2).sum() for i in range(6)
        ]
        np.testing.assert_allclose(found[number], expected, rtol=1e-4, atol=1e-6)


def test_sigmas_by_hand() -> None:
    """Where 1 / (2 sigma^2) is 50 and 2, and 12.5 and 8."""
    raw = torch.tensor([ideal_hle.channels(50, 2), ideal_hle.channels(12.5, 8)]).T.unsqueeze(0)
    assert torch.allclose(loss.sigmas(raw), torch.tensor([[[0.1, 0.2], [0.5, 0.25]]]))


def test_variances_have_bounds() -> None:
    """1 / (2 sigma^2) stays within exp(-3) and exp(7), of positions exp(9), whatever the network says."""
    found = precisions(torch.tensor([[[-50.0, 50.0], [-50.0, 50.0]]]))
    assert torch.cat(found, 1).log().flatten().tolist() == pytest.approx([7, -3, 9, -3], abs=1e-5)


def test_variances_are_pulled_together_and_their_mean_stands_still() -> None:
    """Eq. 14 with the stop gradient: |0 - 1|^2 + |2 - 1|^2 over two cells, the gradient 2 (x - mean) / n."""
    sigma = torch.tensor([[[0.0, 2.0, 5.0, 1.0, 1.0, 9.0], [3.0, 3.0, 4.0, 0.0, 0.0, 0.0]]], requires_grad=True)
    value = loss.variance_smoothness(sigma, some_targets())
    value.backward()
    assert value.item() == pytest.approx(2 / 3)  # three cells of objects; the crowd, road and void do not count
    assert torch.allclose(sigma.grad, torch.tensor([[[-2 / 3, 2 / 3, 0, 0, 0, 0], [0.0] * 6]]))


def test_seeds_aim_at_phi_and_at_zero_on_stuff() -> None:
    """Eq. 13: cells of the two cars, and the road; void and the crowd are unknown."""
    fields, truth = some_fields(6), some_targets()
    phi = torch.tensor([[[0.9, 0.6, 0.1, 0.1, 0.1, 0.1], [0.2, 0.2, 0.8, 0.2, 0.2, 0.2]]], dtype=torch.float64)
    s = fields.seed.detach().sigmoid().flatten().tolist()
    stuff, foreground = s[3] ** 2, (s[0] - 0.9) ** 2 + (s[1] - 0.6) ** 2 + (s[2] - 0.8) ** 2
    for weight in (1.0, 10.0):
        found = loss.seed_loss(fields, -phi.log(), truth, THING_CLASSES, LossSettings(seed_foreground=weight))
        assert found.item() == pytest.approx((weight * foreground + stuff) / 4, abs=1e-6)


def test_the_seed_loss_moves_nothing_but_seeds() -> None:
    fields, truth = some_fields(6), some_targets()
    exponent = loss.instance_exponent(fields, fields.embedding, truth)
    loss.seed_loss(fields, exponent, truth, THING_CLASSES, LossSettings()).backward()
    assert fields.embedding.grad is None and fields.log_sigma.grad is None
    moved = fields.seed.grad.flatten() != 0
    assert moved.tolist() == [True, True, True, True, False, False]


def network(**changes: bool) -> Network:
    return Network(NetworkSettings(aspp_width=8, skips=[[2, 4, 8]], thomson=False, **changes), len(THINGS))


def test_the_regression_of_class_means_by_hand() -> None:
    means = torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, 0.0]], requires_grad=True)
    embedding = torch.tensor([[[1.0, 0.0, 0.6, 1.0], [0.0, 1.0, 0.8, 0.0]]])
    value = loss.class_mean_regression(means, embedding, torch.tensor([[0, 0, 1, -1]]))
    # class 0: (1,0) against (1,1)/sqrt 2; class 1: (0,1) against (0.6,0.8); class 2 is not there
    expected = ((1 - math.sqrt(0.5)) ** 2 + 0.5 + 0.6**2 + 0.2**2) / 2
    assert value.item() == pytest.approx(expected)


def test_equation_15_moves_only_the_means_of_classes_that_are_there() -> None:
    net = network()
    raw = torch.randn(1, 15, 4, 8, requires_grad=True)
    semantic, instance = (part.flatten(1) for part in maps(MIXED))
    truth = targets(torch.where(semantic == PERSON, -1, semantic), instance, THING_CLASSES)
    loss.semantic_terms(net, net.fields(raw), truth, LossSettings())["class_means"].backward()
    assert raw.grad is None and net.log_precision.grad is None
    assert (net.means.grad.abs().sum(1) > 0).tolist() == [True, True, True, False]


def test_the_class_means_can_be_left_alone() -> None:
    net = network()
    terms = loss.losses(net, torch.randn(1, 15, 4, 8), *maps(MIXED), THING_CLASSES, LossSettings(block=1, vq=0))
    assert "class_means" not in terms


def test_associative_embedding_by_hand() -> None:
    """Eq. 1-2 with hinges 0.1 and 1.0: means (0.2, 0) and (0.5, 0.1)."""
    embedding = torch.tensor([[[0.0, 0.4, 0.5, 9.0], [0.0, 0.0, 0.1, 9.0]]], dtype=torch.float64)
    masks = torch.tensor([[[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]]).bool()
    found = loss.associative(embedding, masks, masks.any(2), push=1.0).item()
    pull = ((0.2 - 0.1) ** 2 + (0.2 - 0.1) ** 2) / 2 / 2
    push = 2 * (1.0 - 0.4) ** 2 / 2
    assert found == pytest.approx(pull + push)


def test_associative_embedding_of_one_object_only_pulls() -> None:
    embedding = torch.tensor([[[0.0, 1.0]]])
    masks = torch.ones(1, 1, 2, dtype=torch.bool)
    assert loss.associative(embedding, masks, masks.any(2), push=1.0).item() == pytest.approx(0.4**2)


def test_associative_gradient() -> None:
    embedding = some_fields(6).embedding
    truth = some_targets()
    assert torch.autograd.gradcheck(lambda e: loss.associative(e, truth.instance, truth.exists, push=2.5), embedding)


@pytest.mark.parametrize("block", [1, 2, 4])
def test_one_cell_of_each_block_is_drawn(block: int) -> None:
    torch.manual_seed(0)
    drawn = [loss.draw_cells(torch.Size((3, 8, 12)), block, torch.device("cpu")) for _ in range(200)]
    for cells in drawn:
        rows, columns = cells // 12, cells % 12
        blocks = list(zip((rows // block).tolist(), (columns // block).tolist()))
        assert blocks == [(r, c) for r in range(8 // block) for c in range(12 // block)]
    assert set(torch.cat(drawn).tolist()) == set(range(96))  # none is left out for ever


def test_blocks_that_do_not_fit_are_left_out() -> None:
    cells = loss.draw_cells(torch.Size((1, 5, 7)), 2, torch.device("cpu"))
    assert len(cells) == 6 and (cells // 7).max() < 4 and (cells % 7).max() < 6


PICTURES = {
    "things and stuff": MIXED,
    "no things": draw("ssssssss ssssssss rrrrrrrr rrrrrr.."),
    "no stuff": draw("AAAABBBB AAAABBBB NNNNOOOO NNNN...."),
    "all void": draw("........ ........ ........ ........"),
}


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("kind", INSTANCE_LOSSES)
@pytest.mark.parametrize("semantic", SEMANTIC_LOSSES)
def test_losses_and_their_gradients_are_finite(name: str, kind: str, semantic: str) -> None:
    torch.manual_seed(0)
    net, raw = network(), torch.randn(1, 15, 4, 8, requires_grad=True)
    settings_ = LossSettings(block=1, instance=kind, semantic=semantic, semantic_cross_entropy=1.0)
    terms = loss.losses(net, raw, *maps(PICTURES[name]), THING_CLASSES, settings_)
    more = [f"{part}_embedding" for part, of in (("instance", kind), ("segmentation", semantic)) if of == "associative"]
    assert {"segmentation", "cross_entropy", "class_means", "instance", "variance", "seed", *more} == set(terms)
    assert all(value.ndim == 0 and torch.isfinite(value) and value >= 0 for value in terms.values())
    sum(terms.values()).backward()
    assert torch.isfinite(raw.grad).all()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in net.parameters())


def test_associative_embeddings_learn_from_equations_1_and_2_alone_and_variances_as_with_lovasz() -> None:
    net, raw = network(), torch.randn(1, 15, 4, 8, requires_grad=True)
    terms = loss.losses(
        net, raw, *maps(MIXED), THING_CLASSES, LossSettings(block=1, instance="associative", semantic="associative")
    )
    pulls_and_pushes = {"instance_embedding", "segmentation_embedding"}
    (embedding,) = torch.autograd.grad(sum(terms[name] for name in pulls_and_pushes), raw, retain_graph=True)
    assert embedding[:, :12].abs().max() > 0 and embedding[:, 12:].abs().max() == 0
    sum(value for name, value in terms.items() if name not in pulls_and_pushes).backward()
    assert raw.grad[:, :12].abs().max() == 0
    assert raw.grad[:, 12:14].abs().amax((0, 2, 3)).min() > 0 and net.log_precision.grad.abs().max() > 0


@pytest.mark.parametrize("changes", [{"split": True}, {"semantic_branch": True}])
def test_losses_of_the_ablations_are_finite(changes: dict[str, bool]) -> None:
    net = network(**changes)
    raw = torch.randn(1, net.head.out_channels, 4, 8, requires_grad=True)
    sum(loss.losses(net, raw, *maps(MIXED), THING_CLASSES, LossSettings(block=1)).values()).backward()
    assert torch.isfinite(raw.grad).all() and raw.grad.abs().sum() > 0


def test_an_image_without_objects_beside_one_with_objects() -> None:
    """Each image's part is what it is alone: the mean over instances does not change by an image that has none."""
    net, raw = network(), torch.randn(1, 15, 4, 8)
    alone = loss.losses(net, raw, *maps(MIXED), THING_CLASSES, LossSettings(block=1))
    pair = [torch.cat(both) for both in zip(maps(MIXED), maps(PICTURES["no things"]))]
    together = loss.losses(net, torch.cat([raw, torch.randn(1, 15, 4, 8)]), *pair, THING_CLASSES, LossSettings(block=1))
    torch.testing.assert_close(together["instance"], alone["instance"])
    torch.testing.assert_close(together["variance"], alone["variance"])


@pytest.mark.parametrize("kind", ["lovasz", "lovasz_hinge", "cross_entropy"])
def test_what_lies_in_a_crowd_or_in_void_moves_no_instance_and_no_seed(kind: str) -> None:
    """The crowd's class is known and learned, its objects are not; void is not learned at all."""
    semantic, instance = maps(MIXED)
    crowd = torch.zeros_like(semantic, dtype=torch.bool)
    crowd[0, 3, :3] = True
    semantic = torch.where(crowd, CAR, semantic)
    net, raw = network(), torch.randn(1, 15, 4, 8, requires_grad=True)
    terms = loss.losses(net, raw, semantic, instance, THING_CLASSES, LossSettings(block=1, instance=kind))
    (terms["instance"] + terms["variance"] + terms["seed"]).backward(retain_graph=True)
    silent = (crowd | (semantic < 0))[0]
    assert raw.grad[0][:, silent].abs().max() == 0
    assert raw.grad[0][:, ~silent].abs().sum() > 0
    raw.grad = None
    terms["segmentation"].backward()
    assert raw.grad[0][:12, crowd[0]].abs().sum() > 0
    assert raw.grad[0][:, (semantic < 0)[0]].abs().max() == 0


def test_the_ideal_output_has_next_to_no_loss() -> None:
    hle, scene = ideal_hle.method(), draw("ssssssss ssAAABBB rrAAABBB rrrrNrrr")
    terms = loss.losses(hle.network, ideal_hle.raw(hle, scene), *maps(scene), THING_CLASSES, LossSettings(block=1))
    assert {name: value.item() for name, value in terms.items()} == pytest.approx(dict.fromkeys(terms, 0.0), abs=0.05)


@pytest.mark.parametrize(("key", "value"), [("instance", "dice"), ("semantic", "lovasz_hinge")])
def test_an_unknown_loss_is_refused(key: str, value: str) -> None:
    with pytest.raises(PanopticError, match=f"settings.loss.{key} '{value}'; there are lovasz"):
        LossSettings(**{key: value})


def test_thomson_spreads_the_means() -> None:
    """As many means as corners: a simplex, whose cosines are all -1 / (C - 1); without eq. 17 they are anywhere."""
    spread = initial_means(5, NetworkSettings(embedding=12))
    cosines = (spread @ spread.T)[~torch.eye(5, dtype=torch.bool)]
    assert torch.allclose(cosines, torch.full((20,), -0.25), atol=0.01)
    anywhere = initial_means(5, NetworkSettings(embedding=12, thomson=False))
    assert (anywhere @ anywhere.T)[~torch.eye(5, dtype=torch.bool)].max() > 0
    assert torch.allclose(anywhere.norm(dim=1), torch.ones(5))


def test_half_of_a_split_embedding_is_spread() -> None:
    assert initial_means(3, NetworkSettings(embedding=12, split=True)).shape == (3, 6)
