"""Learning rates and optimisers by hand."""

import math

import pytest
import torch

from panoptic_ros.core import PanopticError
from training.optimiser import optimiser_of, rate
from training.recipe import Optimiser, Recipe, Schedule, Stage


def recipe(schedule: Schedule, warmup: int = 2) -> Recipe:
    stages = [Stage(steps=3, batch=2), Stage(steps=3, batch=2)]
    return Recipe("m", "m", "hle", stages=stages, lr=1.0, warmup=warmup, schedule=schedule, settings=None)


def rates(schedule: Schedule, warmup: int = 2) -> list[float]:
    return [rate(recipe(schedule, warmup), step) for step in range(6)]


def test_the_cosine_warms_up_and_falls_to_zero() -> None:
    falling = [0.5 * (1 + math.cos(math.pi * part / 4)) for part in (0, 1, 2, 3)]
    assert rates(Schedule()) == pytest.approx([0.5, 1.0, *falling])


def test_a_polynomial_of_power_one_is_a_line() -> None:
    assert rates(Schedule("poly", power=1.0)) == pytest.approx([0.5, 1.0, 1.0, 0.75, 0.5, 0.25])
    assert rates(Schedule("poly", power=2.0), warmup=0) == pytest.approx([(1 - step / 6) ** 2 for step in range(6)])


def test_steps_fall_at_their_milestones() -> None:
    assert rates(Schedule("step", milestones=[3, 5], gamma=0.1), warmup=0) == pytest.approx([1, 1, 1, 0.1, 0.1, 0.01])


def test_a_warm_up_can_start_higher() -> None:
    assert rates(Schedule("step", warmup_start=0.5), warmup=4) == pytest.approx([0.625, 0.75, 0.875, 1, 1, 1])


@pytest.mark.parametrize(
    ("kind", "moved"),
    [("sgd", [-0.1 * 3, -0.1 * (3 + 0.5 * 3)]), ("adam", [-0.1, -0.1]), ("adamw", [-0.1, -0.1])],
)
def test_optimisers_step_as_theirs_does(kind: str, moved: list[float]) -> None:
    """A weight of 0 with gradient 3, twice, at rate 0.1 and momentum 0.5."""
    network = torch.nn.Linear(1, 1)
    torch.nn.init.zeros_(network.weight)
    chosen = Recipe("m", "m", "hle", lr=0.1, weight_decay=0.0, optimiser=Optimiser(kind, 0.5), settings=None)
    optimiser, places = optimiser_of(network, (), chosen), [0.0]
    for _ in range(2):
        network.weight.grad = torch.tensor([[3.0]])
        optimiser.step()
        places.append(network.weight.item())
    assert [after - before for before, after in zip(places, places[1:])] == pytest.approx(moved, rel=1e-5)


@pytest.mark.parametrize(("choice", "message"), [
    (lambda: Schedule("linear"), "unknown schedule.kind 'linear'; there are cosine, poly, step"),
    (lambda: Optimiser("lion"), "unknown optimiser.kind 'lion'; there are adamw, adam, sgd"),
])  # fmt: skip
def test_what_does_not_exist_is_refused(choice: object, message: str) -> None:
    with pytest.raises(PanopticError, match=message):
        choice()
