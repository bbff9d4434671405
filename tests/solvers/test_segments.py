"""From costs to slots: literal answers, sums against numpy, and what is refused."""

import time

import numpy as np
import pytest

from panoptic_ros import trace
from panoptic_ros.core import Label, PanopticError
from panoptic_ros.solvers.segments import CutSettings, Solver, describe, pooled, settings_of

LABELS = (Label(7, "road", False, (0, 0, 0)), Label(26, "car", True, (0, 0, 0)), Label(23, "sky", False, (0, 0, 0)))
ROAD, CAR, SKY = range(3)
SURE, UNSURE = 0.1, 0.7
"""-log of the probability of a cell's class."""


def costs(classes: list[list[int]], objects: list[list[int]], sure: float = SURE) -> tuple[np.ndarray, ...]:
    """class_cost, edge_cost (2 or -2, distance 1) and features (the class as axes) of a drawing. objects: number of each cell."""
    grid, numbers = np.array(classes), np.array(objects)
    class_cost = np.where(np.arange(3).reshape(3, 1, 1) == grid, sure, 3.0).astype(np.float32)
    edge_cost = np.zeros((2, *grid.shape), np.float32)
    edge_cost[0, :, :-1] = np.where(numbers[:, :-1] == numbers[:, 1:], 2, -2)
    edge_cost[1, :-1] = np.where(numbers[:-1] == numbers[1:], 2, -2)
    return class_cost, edge_cost, np.eye(3, dtype=np.float32)[grid].transpose(2, 0, 1) * 5


PICTURE = costs([[2, 2, 2, 2], [1, 1, 1, 1], [0, 0, 0, 0]], [[0, 0, 0, 0], [1, 1, 2, 2], [3, 3, 3, 3]])
"""Sky above two cars above road."""


def solver(**settings: float) -> Solver:
    return Solver(LABELS, CutSettings(**{"distances": (1,), "things": 3} | settings))


def test_slots_by_hand() -> None:
    """Eq. 11 of a car: class 0.1, the edges out -2 on average, the one within 2; so its uncertainty is -3.9."""
    found = solver()(*PICTURE)
    assert found.ids.dtype == np.uint8 and found.ids.tolist() == [[2, 2, 2, 2], [3, 3, 4, 4], [1, 1, 1, 1]]
    assert (found.category.dtype, found.category.tolist()) == (np.int32, [7, 23, 26, 26, 0])
    stuff, thing = np.exp(-0.1), 1 / (1 + np.exp(-3.9))
    np.testing.assert_allclose(found.score, [stuff, stuff, thing, thing, 0], rtol=1e-6)
    assert found.embedding.dtype == np.float32
    np.testing.assert_allclose(found.embedding, [[1, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 0], [0, 0, 0]], atol=1e-6)


def test_small_segments_are_void() -> None:
    assert solver(min_thing_area=3)(*PICTURE).ids.tolist() == [[2, 2, 2, 2], [0, 0, 0, 0], [1, 1, 1, 1]]
    assert solver(min_stuff_area=5)(*PICTURE).ids.tolist() == [[0, 0, 0, 0], [3, 3, 4, 4], [0, 0, 0, 0]]


def test_cells_of_little_probability_are_void_and_count_for_no_area() -> None:
    class_cost = PICTURE[0].copy()
    class_cost[CAR, 1, 0] = 1.5  # still the cheapest
    found = solver(min_probability=0.5)(class_cost, *PICTURE[1:])
    assert found.ids[1].tolist() == [0, 3, 4, 4]
    assert solver(min_probability=0.5, min_thing_area=2)(class_cost, *PICTURE[1:]).ids[1].tolist() == [0, 0, 3, 3]


def test_of_too_many_things_the_surest_stay() -> None:
    class_cost = PICTURE[0].copy()
    class_cost[CAR, 1, :2] = UNSURE
    found = solver(things=1)(class_cost, *PICTURE[1:])
    assert found.ids.tolist() == [[2, 2, 2, 2], [0, 0, 3, 3], [1, 1, 1, 1]]
    assert found.category.tolist() == [7, 23, 26]


def test_things_are_numbered_by_where_they_begin_not_by_score() -> None:
    class_cost = PICTURE[0].copy()
    class_cost[CAR, 1, :2] = UNSURE
    found = solver()(class_cost, *PICTURE[1:])
    assert found.ids[1].tolist() == [3, 3, 4, 4] and found.score[2] < found.score[3]


def test_edges_longer_than_the_grid_are_left_out() -> None:
    class_cost, edge_cost, features = PICTURE
    longer = np.concatenate([edge_cost, np.full_like(edge_cost, 9)])
    found = solver(distances=(1, 4))(class_cost, longer, features)
    assert found.ids.tolist() == solver()(*PICTURE).ids.tolist()


def test_read_only_costs_of_an_engine_are_as_good() -> None:
    frozen = [part.copy() for part in PICTURE]
    for part in frozen:
        part.flags.writeable = False
    assert solver()(*frozen).ids.tolist() == solver()(*PICTURE).ids.tolist()


@pytest.mark.parametrize("seed", range(5))
def test_what_is_said_of_clusters_against_numpy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    clusters = np.unique(rng.integers(0, 6, (9, 11)), return_inverse=True)[1].reshape(9, 11).astype(np.int32)
    known, cost = rng.random((9, 11)) < 0.7, rng.random((9, 11)).astype(np.float32)
    edge_cost = rng.normal(size=(4, 9, 11)).astype(np.float32)
    found = describe(clusters, known, cost, edge_cost, [1, 3])
    for number in range(clusters.max() + 1):
        mine = clusters == number
        inside, outside = [], []
        for d, step in enumerate([1, 3]):
            for channel, a, b in ((2 * d, mine[:, :-step], mine[:, step:]), (2 * d + 1, mine[:-step], mine[step:])):
                values = edge_cost[channel, : a.shape[0], : a.shape[1]]
                inside.append(values[a & b])
                outside.append(values[a ^ b])
        assert found.area[number] == (mine & known).sum()
        assert found.first[number] == np.flatnonzero(mine)[0]
        assert found.class_cost[number] == pytest.approx(cost[mine & known].mean(), rel=1e-5)
        assert found.inside[number] == pytest.approx(np.concatenate(inside).mean(), rel=1e-5)
        assert found.outside[number] == pytest.approx(np.concatenate(outside).mean(), rel=1e-5)


def test_pooled_features_are_unit_vectors() -> None:
    ids = np.array([[1, 1, 0], [3, 3, 3]], np.uint8)
    features = np.array([[[1, 3, 9], [0, 0, 0]], [[0, 4, 9], [2, 2, 5]]], np.float32)
    root = np.sqrt(2)
    np.testing.assert_allclose(pooled(ids, features, 3), [[1 / root, 1 / root], [0, 0], [0, 1]], atol=1e-6)


@pytest.mark.parametrize("part", [0, 1])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_costs_that_are_no_numbers_are_refused(part: int, value: float) -> None:
    broken = [cost.copy() for cost in PICTURE]
    broken[part][0, 1, 1] = value
    with pytest.raises(PanopticError, match=("class_cost", "edge_cost")[part]):
        solver()(*broken)


def test_costs_of_other_shapes_are_refused() -> None:
    with pytest.raises(PanopticError, match="edge_cost has shape"):
        solver()(PICTURE[0], PICTURE[1][:, :2], PICTURE[2])
    with pytest.raises(PanopticError, match="too long for an image of 1x1"):
        solver()(*(part[:, :1, :1] for part in PICTURE))


def test_a_trace_has_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "current", trace.Trace())
    begin = time.monotonic_ns()
    solver()(*PICTURE)
    end = time.monotonic_ns()
    (span,) = [event for event in trace.current.events("solver") if event["ph"] == "X"]
    assert span["name"] == "solver" and span["dur"] > 0
    assert begin / 1e3 <= span["ts"] and span["ts"] + span["dur"] <= end / 1e3


@pytest.mark.parametrize("things", [(True, True, True), (False, False, False)])
def test_labels_of_one_kind_are_refused(things: tuple[bool, ...]) -> None:
    labels = [Label(label.id, label.name, thing, label.color) for label, thing in zip(LABELS, things)]
    with pytest.raises(PanopticError, match="labels of stuff and of things"):
        Solver(labels, CutSettings((1,)))


def test_settings_of_a_manifest() -> None:
    assert settings_of({"distances": [1, 4], "min_thing_area": 3}) == CutSettings((1, 4), min_thing_area=3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_thing_area": 3},
        {"distances": "14"},
        {"distances": []},
        {"distances": ["1"]},
        {"distances": [1], "speed": 1},
        {"distances": [1], "things": 0},
        {"distances": [1], "things": 2.5},
        {"distances": [1], "min_thing_area": "3"},
        {"distances": [1], "min_stuff_area": -1},
        {"distances": [1], "min_probability": 1.0},
    ],
)
def test_settings_that_are_none_are_refused(wrong: dict) -> None:
    with pytest.raises(PanopticError, match="solver"):
        settings_of(wrong)
