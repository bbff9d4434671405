"""The costs of AMWC: which cells an edge joins, what is learned of it, and which errors count."""

import numpy as np
import pytest
import torch

from training.data.street.labels import LABELS
from training.methods.amwc.loss import LossSettings, affinity_loss, embedding_loss, losses
from training.methods.amwc.method import Method, Settings
from training.methods.amwc.network import FarEdges, Network, NetworkSettings, Output, begin, differences
from training.methods.amwc.targets import edges_of, small_object_weights
from training.nets.top_k import top_k_mean

ROAD, CAR = 0, 1
THINGS = torch.tensor([False, True])
SMALL = {"aspp_width": 8, "semantic_skips": [[4, 4, 8]], "affinity_skips": [[4, 4, 8]], "joined": 8, "embedding": 4}


def test_differences_by_hand() -> None:
    """Eq. 9 for d = 3: f(j + 1) - f(j - 2), with zeros beyond the image; eq. 10 the same down the columns."""
    x = torch.tensor([[[[1.0, 2, 4, 8, 16]]]])
    assert differences(x, 3)[0].tolist() == [[[2, 4, 8 - 1, 16 - 2, -4]], [[0, 0, 0, 0, 0]]]
    assert differences(x.transpose(2, 3), 3)[0, 1].flatten().tolist() == [2, 4, 7, 14, -4]


def test_costs_move_from_the_middle_of_an_edge_to_its_begin() -> None:
    """For d = 3 the edge from cell 0 has its middle at 2 (eq. 10: i - ceil(3/2) = 0)."""
    column = torch.arange(5.0).view(1, 1, 5, 1)
    assert begin(column, 3).flatten().tolist() == [2, 3, 4, 0, 0]


@pytest.mark.parametrize("distance", [2, 3, 5])
def test_the_cost_of_an_edge_depends_on_its_two_ends(distance: int) -> None:
    """With kernels that see the middle of an edge only, and not what the other direction has there."""
    torch.manual_seed(0)
    edges, x = FarEdges(2, distance).eval(), torch.randn(1, 2, 8, 8)
    with torch.no_grad():
        edges.mix[0].weight[:, :, torch.arange(9).view(3, 3) != 4] = 0
        edges.cost.weight[0, 2:] = edges.cost.weight[1, :2] = 0
        for end, begins in (((1, 1), ([1, 1], [1, 1])), ((6, 7), ([6, 7 - distance], [6 - distance, 7]))):
            before, moved = edges(x), x.clone()
            moved[0, :, end[0], end[1]] += 9
            changed = edges(moved)[0] != before[0]
            assert changed[0, begins[0][0], begins[0][1]] and changed[1, begins[1][0], begins[1][1]]
            assert changed[0, :, : 8 - distance].sum() == 1 and changed[1, : 8 - distance].sum() == 1


def test_affinities_teach_the_classes_nothing() -> None:
    torch.manual_seed(0)
    network = Network(NetworkSettings(**SMALL), 3)
    network(torch.rand(2, 3, 64, 64) * 255).edge_cost.sum().backward()
    assert network.semantic.weight.grad is None
    assert network.trunk.backbone.features[0][0].weight.grad is not None


def test_class_costs_are_logs_of_probabilities_at_a_quarter() -> None:
    network = Network(NetworkSettings(**SMALL), 3).eval()
    with torch.no_grad():
        output = network(torch.rand(1, 3, 64, 96) * 255)
    assert [tuple(part.shape) for part in output] == [(1, 3, 16, 24), (1, 8, 16, 24), (1, 4, 16, 24)]
    np.testing.assert_allclose((-output.class_cost).exp().sum(1), 1, rtol=1e-5)


def test_only_the_last_layers_learn_end_to_end() -> None:
    settings = Settings(network=NetworkSettings(**SMALL))
    settings.end_to_end.enabled = True
    network = Method(settings, LABELS).network
    learning = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert learning == {
        "semantic.weight", "semantic.bias",
        *(f"classifiers.0.{part}" for part in ("0.0.weight", "0.3.weight", "1.weight", "1.bias")),
        *(f"classifiers.{n}.{part}" for n in (1, 2, 3) for part in ("mix.0.weight", "mix.3.weight", "cost.weight", "cost.bias")),
    }  # fmt: skip


def test_edges_by_hand() -> None:
    """Two cars, one cell of road, void, and a crowd of two cells."""
    semantic = torch.tensor([[[CAR, CAR, CAR, ROAD, -1, CAR, CAR]]])
    instance = torch.tensor([[[0, 0, 1, -1, -1, -1, -1]]])
    weight = torch.tensor([[[1.0, 1, 3, 1, 1, 1, 1]]])
    found = edges_of(semantic, instance, THINGS, weight, [1, 4])
    assert found.together.shape == (1, 4, 1, 7)
    right, _, far, _ = found.together[0, :, 0].int().tolist()
    known, down, known_far, _ = found.known[0, :, 0].int().tolist()
    assert known == [1, 1, 1, 0, 0, 0, 0] and [right[j] for j in (0, 1, 2)] == [1, 0, 0]
    assert down == [0] * 7
    # distance 4: car - void, car - crowd of the same class (which car it is, nobody knows), car - crowd, road - nothing
    assert known_far == [0] * 7 and far[1] == 0
    assert found.thing[0, 0, 0, :3].all()
    assert found.weight[0, 0, 0].tolist() == [1, 3, 3, 1, 1, 1, 1]


def test_a_crowd_is_known_to_be_apart_from_other_classes() -> None:
    semantic, instance = torch.tensor([[[ROAD, CAR]]]), torch.tensor([[[-1, -1]]])
    found = edges_of(semantic, instance, THINGS, torch.ones(1, 1, 2), [1])
    assert found.known[0, 0, 0].tolist() == [True, False] and not found.together.any()


def test_small_objects_weigh_more() -> None:
    instance = torch.tensor([[[0, 0, 0, 1, -1]], [[-1, -1, -1, -1, -1]]])
    weight = small_object_weights(instance, 2, 3.0)
    assert weight[:, 0].tolist() == [[1, 1, 1, 3, 1], [1, 1, 1, 1, 1]]


def test_the_worst_part_of_what_is_known_counts() -> None:
    values, known = torch.tensor([5.0, 1, 2, 3, 4, 9]), torch.tensor([1, 1, 1, 1, 1, 0]).bool()
    assert top_k_mean(values, known, 0.4).item() == 4.5
    assert top_k_mean(values, known, 0.01).item() == 5.0
    assert top_k_mean(values, torch.zeros(6).bool(), 0.4).item() == 0


def test_the_affinity_loss_by_hand() -> None:
    """One row of car, car, road at costs of 0: log 2 for the edge within the car and the one at its side, times 4."""
    semantic, instance = torch.tensor([[[CAR, CAR, ROAD]]]), torch.tensor([[[0, 0, -1]]])
    edges = edges_of(semantic, instance, THINGS, torch.ones(1, 1, 3), [1])
    found = affinity_loss(torch.zeros(1, 2, 1, 3), edges, LossSettings(top_k=1.0))
    assert found.item() == pytest.approx(4 * np.log(2))


def test_losses_fall_for_what_the_truth_says_and_void_counts_nothing() -> None:
    semantic, instance = torch.tensor([[[CAR, CAR, ROAD, -1]]]), torch.tensor([[[0, 0, -1, -1]]])
    generator = torch.Generator().manual_seed(0)
    output = Output(*(torch.randn(1, c, 1, 4, generator=generator).requires_grad_() for c in (2, 2, 3)))
    terms = losses(output, semantic, instance, THINGS, [1], LossSettings())
    assert set(terms) == {"semantic", "affinity", "embedding"} and all(term.isfinite() for term in terms.values())
    sum(terms.values()).backward()
    assert not output.class_cost.grad[..., 3].any() and not output.edge_cost.grad[..., 2:].any()
    void = torch.full_like(semantic, -1)
    assert sum(losses(output, void, void, THINGS, [1], LossSettings()).values()).item() == 0


def test_the_embedding_loss_is_low_where_objects_differ() -> None:
    instance = torch.tensor([[[0, 0, 1, 1, -1]]])
    apart = torch.tensor([[1.0, 1, 0, 0, 1], [0, 0, 1, 1, 1]]).view(1, 2, 1, 5)
    assert embedding_loss(apart, instance, 0.1).item() == pytest.approx(np.log(1 + np.exp(-10)), rel=1e-3)
    assert embedding_loss(torch.ones(1, 2, 1, 5), instance, 0.1).item() == pytest.approx(np.log(2), rel=1e-5)
