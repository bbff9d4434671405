"""The decoder of dense detections as the runtimes run it: any output against the loop, bad boxes and ties against the scene."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from tests.methods import ideal_dense
from tests.methods.scene import PICTURE, found_segments
from tests.methods.test_dense_decode import looped, noise, run
from tests.nets.exported import Run, runtimes
from training.methods.dense.decode import DecoderSettings
from training.methods.dense.network import Output

SETTINGS = {"stride": 8, "candidates": 30, "detections": 12}
SEEDS = range(4)


def sure_of(number: list[float]) -> Callable[[Output], None]:
    """A cell of P4 that nothing beats has these distances to the sides of its box."""

    def change(output: Output) -> None:
        output.thing_logits[1][0, 0, 0, 0] = output.centerness[1][0, 0, 0, 0] = 30.0
        output.distances[1][0, :, 0, 0] = torch.tensor(number)

    return change


def saturated(output: Output) -> None:
    """All cells of objects have a score of exactly one, and so do their equal boxes."""
    for logits, centerness in zip(output.thing_logits, output.centerness):
        logits[logits > 0], centerness[:] = 40.0, 40.0


CHANGES: dict[str, Callable[[Output], None]] = {
    "nothing": lambda output: None,
    "a box without area": sure_of([0, 0, 0, 0]),
    "a box inside out": sure_of([-8, -8, -8, -8]),
    "a box outside the image": sure_of([900, 900, -800, -800]),
    "a box far beyond the image": sure_of([1e9, 1e9, 1e9, 1e9]),
    "a box without numbers": sure_of([math.nan] * 4),
    "a box of one side": sure_of([4, math.nan, 4, math.inf]),
    "scores without a difference": saturated,
}
"""What is done to the ideal output of PICTURE, which must come back."""


def changed(name: str) -> Output:
    output = ideal_dense.output(PICTURE)
    CHANGES[name](output)
    return output


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Of the outputs of CHANGES, and behind them noise of SEEDS."""
    outputs = [changed(name) for name in CHANGES]
    outputs += [output._replace(embedding=output.embedding.repeat(1, 2, 1, 1)[:, :8]) for output in map(any_output, SEEDS)]
    stacked = tree_map(lambda *parts: torch.stack(parts), *outputs)

    def call(*parts: list[Tensor] | Tensor) -> tuple[Tensor, ...]:
        return ideal_dense.decoder(**SETTINGS)(Output(*parts))

    return runtimes(call, tuple(stacked), tmp_path_factory.mktemp("dense"))


def any_output(seed: int) -> Output:
    return noise(seed, *PICTURE.semantic.shape)


@pytest.mark.parametrize("name", CHANGES)
def test_the_scene_comes_back_whatever_is_beside_it(engines: dict[str, Run], name: str) -> None:
    for ids, category, *_ in [
        run(changed(name), **SETTINGS),
        *(engine(list(CHANGES).index(name)) for engine in engines.values()),
    ]:
        assert found_segments(np.asarray(ids), np.asarray(category)) == PICTURE.segments()


@pytest.mark.parametrize("seed", SEEDS)
def test_any_output_decodes_as_one_by_one(engines: dict[str, Run], seed: int) -> None:
    expected, _, expected_score = looped(any_output(seed), 8, DecoderSettings(**SETTINGS))
    for engine in engines.values():
        ids, _, score, _ = engine(len(CHANGES) + seed)
        np.testing.assert_array_equal(ids, expected)
        assert score[: len(expected_score)].tolist() == pytest.approx(expected_score, abs=1e-5)
