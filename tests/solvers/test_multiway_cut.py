"""The solver against an enumeration of all labellings, Algorithm 2 written with dictionaries, and an energy computed apart."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.solvers import reference

pytest.importorskip("numba", reason="the multiway cut solver needs numba (pip install 'panoptic_ros[amwc]')")

from panoptic_ros.core import PanopticError  # noqa: E402
from panoptic_ros.solvers import linking  # noqa: E402
from panoptic_ros.solvers import multiway_cut as multiway_cut_module  # noqa: E402
from panoptic_ros.solvers.instances import Instance, random_instance, scene_instance  # noqa: E402
from panoptic_ros.solvers.multiway_cut import asymmetric_multiway_cut, multiway_cut  # noqa: E402
from tests.solvers.reference import check, feasible  # noqa: E402

MODES = ("greedy", "fast")
SEEDS = st.integers(0, 2**32 - 1)
EXTREMES = np.array([0, 1, -1, 1, -1, 1e-30, -1e-30, 1e30, -1e30], np.float32)
"""Costs that tie, vanish or swallow all others."""


def same(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two labellings are the same partition."""
    joint = len(np.unique(np.stack([first.ravel(), second.ravel()]), axis=1).T)
    return joint == len(np.unique(first)) == len(np.unique(second))


def test_by_hand() -> None:
    """Two things beside each other on a road: classes road, car; the edge between columns 1 and 2 repels."""
    class_cost = np.array([[[9, 9, 9, 9], [0, 0, 0, 0]], [[0, 0, 0, 0], [9, 9, 9, 9]]], np.float32)
    edge_cost = np.array([[[1, -2, 1, 0], [-1, 1, -1, 0]], [[-1, -1, -1, -1], [0, 0, 0, 0]]], np.float32)
    for mode in MODES:
        cut = asymmetric_multiway_cut(class_cost, edge_cost, [1], [1], mode)
        assert cut.classes.tolist() == [[1, 1, 1, 1], [0, 0, 0, 0]]
        assert same(cut.clusters, np.array([[1, 1, 2, 2], [0, 0, 0, 0]]))
        assert (cut.energy, cut.complete) == (-6.0, True)


@pytest.mark.parametrize("things", (1, 3))
@pytest.mark.parametrize("seed", range(3))
def test_greedy_is_algorithm_2(seed: int, things: int) -> None:
    instance = random_instance(6, 7, seed, classes=4, things=things, distances=(1, 2, 5))
    cut = asymmetric_multiway_cut(*instance, mode="greedy")
    classes, clusters = reference.algorithm_2(instance)
    assert np.array_equal(cut.classes, classes)
    assert same(cut.clusters, clusters)
    check(cut, instance)


@pytest.mark.parametrize(
    "shape,classes,things,count", [((2, 3), 2, 1, 30), ((2, 3), 3, 2, 10), ((2, 3), 3, 1, 10), ((3, 3), 2, 1, 2)]
)
def test_tiny_instances_against_all_labellings(shape: tuple[int, int], classes: int, things: int, count: int) -> None:
    """No energy is below the optimum; fast is never above greedy, so it is optimal where greedy is."""
    optimal = 0
    for seed in range(count):
        instance = random_instance(*shape, seed, classes, things)
        best = reference.optimum(instance)
        greedy, fast = (asymmetric_multiway_cut(*instance, mode=mode) for mode in MODES)
        for cut in (greedy, fast):
            check(cut, instance)
            assert cut.energy >= best - 1e-4
        assert fast.energy <= greedy.energy + 1e-4
        optimal += fast.energy < best + 1e-4
    assert optimal >= count / 3


def test_multiway_cut_against_all_labellings() -> None:
    optimal = 0
    for seed in range(20):
        instance = random_instance(2, 3, seed, things=0)
        cut, best = multiway_cut(*instance[:3]), reference.optimum(instance)
        check(cut, instance)
        assert same(cut.classes, cut.clusters)
        assert cut.energy >= best - 1e-4
        optimal += cut.energy < best + 1e-4
    assert optimal >= 7


@pytest.mark.parametrize("cut_cost", (-1.0, 0.0, 1.0))
@pytest.mark.parametrize("mode", MODES)
def test_ties_everywhere(mode: str, cut_cost: float) -> None:
    """Constant costs: the solver ends, with a labelling that is no worse than a single cluster, which costs nothing."""
    shape = (50, 60)
    instance = Instance(np.zeros((2, *shape), np.float32), np.full((4, *shape), cut_cost, np.float32), (1, 4), (1,))
    cut = asymmetric_multiway_cut(*instance, mode=mode)
    check(cut, instance)
    assert cut.energy <= 0


def test_stuff_takes_another_class_to_be_cut_by_hand() -> None:
    """Two pixels that repel by 5; road costs nothing, path 0.5, car 9. Greedy joins what is road, fast does not."""
    class_cost = np.array([[[0, 0]], [[0.5, 0.5]], [[9, 9]]], np.float32)
    greedy, fast = (asymmetric_multiway_cut(class_cost, np.full((2, 1, 2), -5, np.float32), [1], [2], mode) for mode in MODES)
    assert (greedy.classes.tolist(), greedy.energy) == ([[0, 0]], 0.0)
    assert (sorted(fast.classes[0].tolist()), fast.energy) == ([0, 1], -4.5)


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, height=st.integers(1, 20), width=st.integers(2, 20), things=st.integers(0, 4), extreme=st.booleans())
def test_no_costs_make_it_loop_or_answer_infeasibly(seed: int, height: int, width: int, things: int, extreme: bool) -> None:
    """With pixels linked even in images as small as these."""
    instance = random_instance(height, width, seed, 4, things, tuple(d for d in (1, 2, 5) if d <= min(height, width)))
    if extreme:
        random = np.random.default_rng(seed)
        instance = instance._replace(
            class_cost=random.choice(EXTREMES, instance.class_cost.shape),
            edge_cost=random.choice(EXTREMES, instance.edge_cost.shape),
        )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multiway_cut_module, "LINK_FROM_PIXELS", 0)
        patch.setattr(multiway_cut_module, "LEAST_REDUCTION", 1)
        for mode in MODES:
            found = asymmetric_multiway_cut(*instance, mode) if things else multiway_cut(*instance[:3], mode)
            feasible(found, instance)


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, exponent=st.integers(-40, 40))
def test_the_unit_of_the_costs_does_not_matter(mode: str, seed: int, exponent: int) -> None:
    instance = scene_instance(64, 96, seed % 8, 0.25, distances=(1, 4, 16))
    class_cost, edge_cost, *rest = instance
    cut = asymmetric_multiway_cut(*instance, mode)
    scaled = asymmetric_multiway_cut(class_cost * 2.0**exponent, edge_cost * 2.0**exponent, *rest, mode)
    assert np.array_equal(cut.clusters, scaled.clusters)
    assert np.array_equal(cut.classes, scaled.classes)
    assert scaled.energy == pytest.approx(cut.energy * 2.0**exponent)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, order=st.permutations(range(4)))
def test_the_order_of_the_classes_does_not_matter(seed: int, order: list[int]) -> None:
    instance = random_instance(5, 6, seed, classes=4, things=2)
    class_cost, edge_cost, distances, things = instance
    permuted = [order.index(thing) for thing in things]
    for mode in MODES:
        cut = asymmetric_multiway_cut(*instance, mode)
        other = asymmetric_multiway_cut(class_cost[order], edge_cost, distances, permuted, mode)
        assert np.array_equal(cut.classes, np.array(order)[other.classes])
        assert same(cut.clusters, other.clusters)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_greedy_on_the_mirrored_image(seed: int) -> None:
    instance = random_instance(5, 6, seed)
    class_cost, edge_cost, distances, things = instance
    mirrored = edge_cost[:, :, ::-1].copy()
    for d, step in enumerate(distances):
        mirrored[2 * d] = np.roll(mirrored[2 * d], -step, axis=1)
    cut = asymmetric_multiway_cut(*instance, "greedy")
    other = asymmetric_multiway_cut(class_cost[:, :, ::-1], mirrored, distances, things, "greedy")
    assert np.array_equal(cut.classes, other.classes[:, ::-1])
    assert same(cut.clusters, other.clusters[:, ::-1])


def test_float64_strided_and_read_only_costs() -> None:
    instance = random_instance(9, 12, 0)
    cut = asymmetric_multiway_cut(*instance)
    double = np.repeat(instance.class_cost.astype(np.float64), 2, axis=2)[:, :, ::2]
    double.flags.writeable = False
    other = asymmetric_multiway_cut(double, *instance[1:])
    assert np.array_equal(cut.clusters, other.clusters) and cut.energy == other.energy
    assert instance.class_cost.flags.writeable


@pytest.mark.parametrize("mode", MODES)
def test_without_time_the_labelling_is_feasible_and_flagged(mode: str) -> None:
    instance = scene_instance(48, 72, 0)
    hurried = asymmetric_multiway_cut(*instance, mode, time_budget_s=0)
    check(hurried, instance)
    assert not hurried.complete
    relaxed = asymmetric_multiway_cut(*instance, mode, time_budget_s=600)
    assert relaxed.complete
    assert relaxed.energy <= hurried.energy


def test_one_class_is_a_legal_multiway_cut() -> None:
    instance = random_instance(3, 4, 0, classes=1, things=0)
    assert not multiway_cut(*instance[:3]).classes.any()


@pytest.mark.parametrize("shape", ((1, 5), (5, 1), (2, 1)))
def test_images_of_one_row_or_column(shape: tuple[int, int]) -> None:
    instance = random_instance(*shape, 0, distances=(1,))
    for mode in MODES:
        check(asymmetric_multiway_cut(*instance, mode), instance)


VALID = random_instance(4, 5, 0)
NAN = VALID.edge_cost.copy()
NAN[3, -1, -1] = np.nan


@pytest.mark.parametrize(
    "changes,message",
    [
        ({"class_cost": VALID.class_cost.tolist()}, "class_cost is list"),
        ({"class_cost": VALID.class_cost.astype(int)}, "class_cost is int64"),
        ({"class_cost": VALID.class_cost[0]}, "class_cost has shape"),
        ({"class_cost": VALID.class_cost[:1]}, "class_cost has 1 classes"),
        ({"class_cost": VALID.class_cost[:, :0]}, "class_cost has shape .*none empty"),
        ({"class_cost": VALID.class_cost * np.inf}, "class_cost has values"),
        ({"class_cost": VALID.class_cost * np.float32(np.nan)}, "class_cost has values"),
        ({"edge_cost": NAN}, "edge_cost has values"),
        ({"edge_cost": np.where(np.isnan(NAN), -np.inf, NAN)}, "edge_cost has values"),
        ({"edge_cost": VALID.edge_cost[:3]}, r"edge_cost has shape \(3, 4, 5\)"),
        ({"edge_cost": VALID.edge_cost[:, 1:]}, r"edge_cost has shape \(4, 3, 5\)"),
        ({"distances": (1, 5)}, "distances=.*too long for an image of 4x5"),
        ({"distances": ()}, "distances"),
        ({"distances": (2, 4)}, "distances=.*increase from 1"),
        ({"distances": (1, 1)}, "distances=.*increase from 1"),
        ({"distances": (1, 1.5)}, "distances=.*whole"),
        ({"thing_classes": ()}, "thing_classes"),
        ({"thing_classes": (3,)}, "thing_classes=.*0 to 2"),
        ({"thing_classes": (-1,)}, "thing_classes=.*0 to 2"),
        ({"thing_classes": (True,)}, "thing_classes"),
        ({"class_cost": np.zeros((3, 1, 1)), "edge_cost": np.zeros((4, 1, 1))}, "distances=.*too long"),
        ({"mode": "best"}, "mode='best'"),
        ({"time_budget_s": -1}, "time_budget_s=-1"),
        ({"time_budget_s": float("nan")}, "time_budget_s=nan"),
    ],
)
def test_bad_input_is_named(changes: dict, message: str) -> None:
    with pytest.raises(PanopticError, match=message):
        asymmetric_multiway_cut(**(VALID._asdict() | changes))


def test_edges_of_pixels_are_those_of_clusters_of_one_pixel() -> None:
    instance = random_instance(6, 7, 0, distances=(1, 2, 5))
    labels, steps = np.arange(42, dtype=np.int32).reshape(6, 7), np.array(instance.distances)
    found = linking.pixel_edges(instance.edge_cost, steps), linking.cluster_edges(labels, 42, instance.edge_cost, steps)
    pixels, clusters = ({(*pair, value) for pair, value in zip(ends.tolist(), cost.tolist())} for ends, cost in found)
    assert pixels == clusters and len(pixels) == len(found[0][1])


@pytest.mark.parametrize(
    "changes,message",
    [
        ({"class_cost": VALID.class_cost[:0]}, "class_cost has shape .*none empty"),
        ({"class_cost": np.float32(1)}, "class_cost is float32|class_cost has shape"),
        ({"class_cost": VALID.class_cost[:, :, 1:]}, "edge_cost has shape"),
        ({"edge_cost": NAN}, "edge_cost has values"),
        ({"distances": (1, 5)}, "distances=.*too long"),
    ],
)
def test_bad_input_of_the_symmetric_cut_is_named(changes: dict, message: str) -> None:
    with pytest.raises(PanopticError, match=message):
        multiway_cut(**({"class_cost": VALID.class_cost, "edge_cost": VALID.edge_cost, "distances": VALID.distances} | changes))


def test_fast_links_pixels_before_it_contracts() -> None:
    """Or it would be greedy by another name, and every comparison with greedy would pass."""
    instance = scene_instance(96, 128, 0)
    labels, sums = multiway_cut_module._linked(instance.class_cost, instance.edge_cost, np.array(instance.distances))
    assert len(sums) == labels.max() + 1 <= labels.size / multiway_cut_module.LEAST_REDUCTION
