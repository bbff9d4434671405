"""Training through the cut: Algorithm 1 and eq. 4 by hand, the surrogate of PQ, and what is matched with what."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from panoptic_ros.core import Label
from panoptic_ros.solvers.multiway_cut import Cut, asymmetric_multiway_cut
from training.methods.amwc import surrogate
from training.methods.amwc.end_to_end import (
    EndToEndSettings,
    ThroughCut,
    algorithm_1,
    boundaries,
    cuts_of,
    in_threads,
    panoptic_loss,
    solve,
)
from training.methods.amwc.lifting import Lifting, lift
from training.methods.amwc.network import Output
from training.methods.amwc.surrogate import Pairs, soft_match, surrogate_quality
from training.metrics.panoptic_quality import PanopticQuality, Truth

ROAD, CAR = 0, 1
THINGS = np.array([False, True])


def row(*values: int) -> np.ndarray:
    return np.array([values])


def two_cars() -> tuple[np.ndarray, np.ndarray, Lifting]:
    """Three cells in a row, all car: edges of 0.5 and 0.25 make one cluster of them, but in truth the last one is another car."""
    class_cost = np.array([[[1.0, 1, 1]], [[0.0, 0, 0]]], np.float32)
    edge_cost = np.array([[[0.5, 0.25, 0]], [[0.0, 0, 0]]], np.float32)
    cut = asymmetric_multiway_cut(class_cost, edge_cost, [1], [CAR])
    return class_cost, edge_cost, lift(cut, row(CAR, CAR, CAR), row(0, 0, 1), THINGS)


def gradient_of_two_cars() -> np.ndarray:
    """dL/dz: label 0 should keep its first two cells and give up the last one."""
    gradient = np.zeros((2, 1, 3), np.float32)
    gradient[0, 0] = [-0.1, -0.1, 0.1]
    return gradient


def test_algorithm_1_by_hand() -> None:
    """Label 0 has all three cells, label 1 none.

    Lambda 1: all to label 0 costs -0.1; the last one to label 1 costs -0.2 and a cut edge, 0.05. So nothing changes.
    Lambda 5: -0.5 against -1 + 0.25. The edge is cut, y_p - y = 1, and its gradient 1/5; all remain cars, no other gradient.
    """
    class_cost, edge_cost, lifting = two_cars()
    assert lifting.category.tolist() == [CAR, CAR]
    assert lifting.found.astype(int).tolist() == [[[1, 1, 1]], [[0, 0, 0]]]
    for lam, expected in ((1.0, 0.0), (5.0, 0.2)):
        classes, edges = algorithm_1(gradient_of_two_cars(), class_cost, edge_cost, lifting, [1], lam)
        assert not classes.any()
        np.testing.assert_allclose(edges, [[[0, expected, 0]], [[0, 0, 0]]])


def test_algorithm_1_moves_classes_by_hand() -> None:
    """Two cells found to be car, the second is road in truth. With lambda 20, road costs 1 + 20 (-0.1) = -1 there.

    That is 1 less than car, more than the edge: x_p is road, so x_p - x is 1 for road, -1 for car; and the edge is cut.
    """
    class_cost = np.array([[[1.0, 1.0]], [[0.0, 0.0]]], np.float32)
    edge_cost = np.array([[[0.5, 0]], [[0.0, 0]]], np.float32)
    cut = asymmetric_multiway_cut(class_cost, edge_cost, [1], [CAR])
    lifting = lift(cut, row(CAR, ROAD), row(0, -1), THINGS)
    assert lifting.category.tolist() == [ROAD, CAR]
    gradient = np.zeros((2, 1, 2), np.float32)
    gradient[0, 0, 1] = -0.1
    classes, edges = algorithm_1(gradient, class_cost, edge_cost, lifting, [1], 20.0)
    np.testing.assert_allclose(classes, [[[0, 0.05]], [[0, -0.05]]])
    np.testing.assert_allclose(edges, [[[0.05, 0]], [[0, 0]]])


def test_eq_4_is_the_mean_of_eq_3_over_lambda() -> None:
    """Of lambda 1, 4 and 5 the last two cut the edge (4: -0.4 against -0.55): (0 + 1/4 + 1/5) / 3 = 0.15."""
    class_cost, edge_cost, lifting = two_cars()
    costs = [torch.from_numpy(cost).unsqueeze(0).requires_grad_() for cost in (class_cost, edge_cost)]
    found = ThroughCut.apply(*costs, [lifting], [1], [1.0, 4.0, 5.0])
    found.backward(torch.from_numpy(gradient_of_two_cars()))
    assert costs[0].grad.abs().max() == 0
    np.testing.assert_allclose(costs[1].grad[0], [[[0, 0.15, 0]], [[0, 0, 0]]], rtol=1e-6)


def test_unknown_cells_and_their_edges_get_no_gradient() -> None:
    class_cost, edge_cost, _ = two_cars()
    cut = asymmetric_multiway_cut(class_cost, edge_cost, [1], [CAR])
    lifting = lift(cut, row(ROAD, -1, CAR), row(-1, -1, -1), THINGS)  # void, and a crowd
    assert lifting.known.tolist() == [[True, False, False]]
    classes, edges = algorithm_1(np.full((1, 1, 3), -9, np.float32), class_cost, edge_cost, lifting, [1], 1.0)
    np.testing.assert_array_equal(classes, [[[1, 0, 0]], [[-1, 0, 0]]])
    assert not edges.any()


def test_images_of_a_batch_keep_their_gradients_apart() -> None:
    """The second image is all void: no labels, no gradient."""
    class_cost, edge_cost, lifting = two_cars()
    void = lift(lifting.cut, row(-1, -1, -1), row(-1, -1, -1), THINGS)
    costs = [torch.from_numpy(np.stack([cost, cost])).requires_grad_() for cost in (class_cost, edge_cost)]
    found = ThroughCut.apply(*costs, [lifting, void], [1], [5.0])
    assert found.shape == (2, 1, 3)
    found.backward(torch.from_numpy(gradient_of_two_cars()))
    assert costs[1].grad[0].any() and not costs[1].grad[1].any()


def test_boundaries_are_placed_where_edges_begin() -> None:
    cells = np.array([[0, 0, 1], [2, 0, 1]])
    found = boundaries(cells, [1, 2], np.not_equal)
    np.testing.assert_array_equal(found[0], [[0, 1, 0], [1, 1, 0]])
    np.testing.assert_array_equal(found[1], [[1, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(found[2], [[1, 0, 0], [1, 0, 0]])
    assert not found[3].any()


def test_labels_are_matched_within_their_class_and_for_the_best_sum() -> None:
    """Clusters: 0 0 0 0 1 1 of cars, then one of road on what is half car. The crowd at the end is not known."""
    classes, clusters = row(1, 1, 1, 1, 1, 1, 0, 0, 1), row(0, 0, 0, 0, 1, 1, 2, 2, 3)
    cut = Cut(classes.astype(np.int32), clusters.astype(np.int32), 0.0, True)
    semantic, instance = row(1, 1, 1, 1, 1, 1, 1, 0, 1), row(0, 0, 0, 1, 1, 1, 1, -1, -1)
    lifting = lift(cut, semantic, instance, THINGS)
    assert lifting.category.tolist() == [ROAD, CAR, CAR]
    assert lifting.found[:, 0].astype(int).tolist() == [
        [0, 0, 0, 0, 0, 0, 1, 1, 0],
        [1, 1, 1, 1, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 1, 1, 0, 0, 0],
    ]
    assert lifting.false_area.size == 0
    other = lift(cut, np.where(clusters == 1, -1, semantic), np.where(clusters == 0, 0, -1), THINGS)
    assert other.false_category.tolist() == [] and other.known.sum() == 5


def test_clusters_without_a_label_are_false() -> None:
    cut = Cut(row(1, 1, 1, 0).astype(np.int32), row(0, 0, 1, 2).astype(np.int32), 0.0, True)
    lifting = lift(cut, row(0, 0, 1, 0), row(-1, -1, 0, -1), THINGS)
    assert (lifting.false_category.tolist(), lifting.false_area.tolist()) == ([CAR], [2])


def pairs(iou: list[float], keep: list[float], category: list[int], false: list[int]) -> Pairs:
    """false: categories, all kept."""
    false_category = torch.tensor(false, dtype=torch.long)
    return Pairs(torch.tensor(iou), torch.tensor(keep), torch.tensor(category), torch.ones(len(false)), false_category)


def test_the_surrogate_by_hand() -> None:
    """One class: IoU 0.75 (h = 81/82) kept by 0.5, one missed, one false: (81/82 0.5 0.75) / (81/82 0.5 + 0.5 + 0.5)."""
    found = surrogate_quality(pairs([0.75, 0.0], [0.5, 0.0], [0, 0], [0]), 3, soft_misses=False)
    assert found.item() == pytest.approx((81 / 82 * 0.375) / (81 / 82 * 0.5 + 1))
    half = 0.5 * (0.5 + 1 - 2 * 81 / 82 * 0.5)
    found = surrogate_quality(pairs([0.75, 0.0], [0.5, 0.0], [0, 0], [0]), 3, soft_misses=True)
    assert found.item() == pytest.approx((81 / 82 * 0.375) / (81 / 82 * 0.5 + half + 1))


def test_soft_match() -> None:
    assert soft_match(torch.tensor([0.0, 0.5, 1.0])).tolist() == [0.0, 0.5, 1.0]


LABELS = (Label(1, "road", False, (0, 0, 0)), Label(2, "sky", False, (0, 0, 0)), Label(3, "car", True, (0, 0, 0)))


def true_quality(cut: Cut, semantic: np.ndarray, instance: np.ndarray) -> float:
    quality, ids = PanopticQuality(LABELS), 1 + np.where(instance >= 0, 3 + instance, semantic)
    truth = {value: Truth(min(value, 3), False) for value in np.unique(ids).tolist()}
    found = {int(value) + 1: int(cut.classes[cut.clusters == value][0]) + 1 for value in np.unique(cut.clusters)}
    quality.add(ids.astype(np.int32), truth, (cut.clusters + 1).astype(np.int32), found)
    return quality.mean().pq


def limit_quality(lifting: Lifting, monkeypatch: pytest.MonkeyPatch) -> float:
    """The surrogate with a hard threshold in the place of h, and all segments far above the rejected areas."""
    monkeypatch.setattr(surrogate, "soft_match", lambda iou: (iou > 0.5).float())
    found = torch.from_numpy(lifting.found).float()
    chosen = surrogate.pairs_of(found, [lifting], torch.full((3,), -1e6), 16, 0.1)
    return surrogate_quality(chosen, 3, soft_misses=True).item()


@pytest.mark.parametrize("seed", range(20))
def test_the_surrogate_tends_to_pq(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random truths and cuts that share much with them, poor matches included. Every class is in the truth."""
    rng = np.random.default_rng(seed)
    blocks = np.kron(rng.permutation(16).reshape(4, 4), np.ones((4, 4), int))
    semantic = np.minimum(blocks // 3, 2)
    instance = np.where(semantic == 2, blocks - 6, -1)
    moved = np.where(rng.random((16, 16)) < 0.4, np.roll(blocks, 1, 1), blocks)
    kinds = np.minimum(moved // 3, 2)
    kinds = np.where(moved == 15, rng.integers(0, 3), kinds)
    clusters = np.unique(np.where(kinds == 2, 3 + moved, kinds), return_inverse=True)[1].reshape(16, 16)
    cut = Cut(kinds.astype(np.int32), clusters.astype(np.int32), 0.0, True)
    lifting = lift(cut, semantic, instance, np.array([False, False, True]))
    assert limit_quality(lifting, monkeypatch) == pytest.approx(true_quality(cut, semantic, instance), abs=1e-6)


def truth_and_costs(noise: float) -> tuple[Output, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two touching cars on a road, the edge between them noisy. 16x16 cells."""
    semantic, instance = torch.zeros(1, 16, 16, dtype=torch.long), torch.full((1, 16, 16), -1)
    semantic[0, 4:12, 2:14] = CAR
    instance[0, 4:12, 2:8], instance[0, 4:12, 8:14] = 0, 1
    probability = torch.where(torch.stack([semantic == k for k in range(2)], 1), 0.9, 0.1)
    index = torch.where(instance >= 0, instance + 1, 0)[0].numpy()
    cut = boundaries(index, [1, 4], np.not_equal)
    cut = torch.from_numpy(np.where(cut, -1.0, 1.0).astype(np.float32)).unsqueeze(0)
    generator = torch.Generator().manual_seed(0)
    edges = cut + noise * torch.randn(cut.shape, generator=generator)
    return Output(-probability.log(), edges, torch.zeros(1, 2, 16, 16)), semantic, instance, torch.from_numpy(THINGS)


SETTINGS = EndToEndSettings(enabled=True, drop=0.0, min_thing_area=20, min_stuff_area=20)


def test_a_perfect_cut_has_no_loss_and_no_gradient() -> None:
    output, *truth = truth_and_costs(noise=0.0)
    costs = Output(*(part.clone().requires_grad_() for part in output))
    loss = panoptic_loss(costs, *truth, [1, 4], replace(SETTINGS, slope=0.1))  # no segment is near its least area
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-4)
    assert not costs.class_cost.grad.any() and not costs.edge_cost.grad.any()


def test_descent_on_the_costs_parts_what_was_merged() -> None:
    output, *truth = truth_and_costs(noise=0.0)
    index = truth[1][0].numpy()
    between = boundaries(index, [1, 4], lambda a, b: (a != b) & (a >= 0) & (b >= 0))
    edges = torch.where(torch.from_numpy(between), 1.0, output.edge_cost)  # the two cars attract each other
    costs = Output(output.class_cost.clone().requires_grad_(), edges.requires_grad_(), output.features)
    optimiser = torch.optim.Adam(costs[:2], lr=0.05)
    seen = []
    for step in range(40):
        torch.manual_seed(step)
        optimiser.zero_grad()
        loss = panoptic_loss(costs, *truth, [1, 4], SETTINGS)
        loss.backward()
        optimiser.step()
        seen.append(loss.item())
    assert seen[0] > 3 and seen[-1] < 0.1


def test_all_void_costs_nothing_and_has_a_gradient_of_zero() -> None:
    output, semantic, instance, things = truth_and_costs(noise=0.0)
    costs = Output(*(part.clone().requires_grad_() for part in output))
    void = torch.full_like(semantic, -1)
    loss = panoptic_loss(costs, void, void, things, [1, 4], SETTINGS)
    loss.backward()
    assert loss.item() == 0 and not costs.class_cost.grad.any()


def test_dropped_costs_are_zero_and_get_no_gradient() -> None:
    output, *truth = truth_and_costs(noise=1.0)
    costs = Output(*(part.clone().requires_grad_() for part in output))
    torch.manual_seed(0)
    panoptic_loss(costs, *truth, [1, 4], EndToEndSettings(True, drop=0.99, min_thing_area=1, min_stuff_area=1)).backward()
    assert (costs.edge_cost.grad == 0).float().mean() > 0.98


@pytest.mark.parametrize("least", [200, 480, 600])
def test_a_segment_near_its_least_area_spoils_no_other(least: int) -> None:
    """The lower 18 cells of a car look like road: they shall move, and none of those that are right. 480 pixels are its rest."""
    output, *truth = truth_and_costs(noise=0.0)
    output.class_cost[0, :, 9:12, 2:8] = output.class_cost[0, :, 9:12, 2:8].flip(0)
    costs = Output(*(part.clone().requires_grad_() for part in output))
    cut = cuts_of(costs.class_cost, costs.edge_cost, [1, 4], THINGS)[0]
    torch.manual_seed(0)
    panoptic_loss(costs, *truth, [1, 4], replace(SETTINGS, min_thing_area=least)).backward()
    wrong = torch.from_numpy(cut.classes) != truth[0][0]
    true_class = costs.class_cost.grad[0].gather(0, truth[0])[0]
    assert wrong.sum() == 18 and (true_class[wrong] > 0).all() and (true_class[~wrong] >= 0).all()


def test_a_cell_loses_the_costs_of_all_classes_or_of_none() -> None:
    output, _, _, things = truth_and_costs(noise=1.0)
    torch.manual_seed(0)
    batch = solve(output, things.numpy(), [1, 4], EndToEndSettings(True, drop=0.3))
    gone = (batch.class_cost == 0) & (output.class_cost != 0)
    assert (gone.all(1) == gone.any(1)).all() and 0.2 < gone.float().mean() < 0.4
    assert 0.2 < (batch.edge_cost == 0).float().mean() < 0.6


def test_cuts_in_threads_are_those_one_after_the_other() -> None:
    output, *_ = truth_and_costs(noise=1.0)
    batch = [torch.cat([part, part.flip(-1), part.roll(3, -2)]) for part in output[:2]]
    found = cuts_of(*batch, [1, 4], THINGS)
    for cut, class_cost, edge_cost in zip(found, *batch, strict=True):
        alone = asymmetric_multiway_cut(class_cost.numpy(), edge_cost.numpy(), [1, 4], [CAR])
        np.testing.assert_array_equal(cut.clusters, alone.clusters)
    assert in_threads(lambda value: value * value, range(50)) == [value * value for value in range(50)]
