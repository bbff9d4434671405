"""Every method: scene -> targets -> ideal network output -> decode = the scene.

A new method needs only `tests/methods/ideal_<method>.py` with `decode(scene) -> ids, category, score, embedding` (`core.Slots`),
which builds the ideal output of its network from the method's targets and decodes it.
"""

import importlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import training.methods
from tests.methods.scene import LABELS, Scene, draw, found_segments, grid

METHODS = sorted(file.parent.name for file in Path(next(iter(training.methods.__path__))).glob("*/method.py"))
SLOTS = sum(not label.thing for label in LABELS) + 100

EMPTY = """
    ................
    ................
    ................
    ................
    ................
    ................
    ................
    ................
    """
ROAD_AND_SKY = """
    ssssssssssssssss
    ssssssssssssssss
    ssssssssss......
    ssss............
    rrrrrrrrrrrrrrrr
    rrrrrrrrrrrrrrrr
    rrrrrrrrrrrrrrrr
    rrrrrrrrrrrrrrrr
    """
ONE_CAR = """
    ssssssssssssssss
    ssssssssssssssss
    ssssAAAAAsssssss
    ssAAAAAAAAArrrrr
    rrAAAAAAAAAArrrr
    rrrAArrrrAArrrrr
    rrrrrrrrrrrrrrrr
    ................
    """
TOUCHING = """
    ssssssssssssssss
    ssAAAAABBBBBssss
    rrAAAAABBBBBBrrr
    rAAAAAABBBBBBBrr
    rAAAAAABBBBBBBrr
    rrAArrrrrBBrrrrr
    rrrrrrrrrrrrrrrr
    rrrrrrrrrrrrrrrr
    """
ONE_CELL = """
    ssssssssssssssss
    sssssssNssssssss
    ssssssssssssssss
    rrrrrrrrrrrrrrrr
    rrrrrrrrrrrrAArr
    rrrrrrrrrrrrAArr
    rrrrrrrrrrrrrrrr
    rrrrrrrrrrrrrrrB
    """
BEHIND = """
    ssssssssssssssss
    sAAAAAAAAAAAAsss
    rAAAANNAAAAAArrr
    rAAAANNAAAAAArrr
    rAAAANNAAAAAArrr
    rrrrrNNrrrrOOrrr
    rrrrrNNrrrrOOrrr
    rrr..........rrr
    """
CUT_IN_TWO = """
    ssssssrsssssssss
    rAAAAArAAAArrrrr
    rAAAAArAAAArrrrr
    rAAAAArAAAArrrrr
    rrrrrrrrrrrrrrrr
    rrrrrrrrrrrrrrrr
    rrrrrrrrrrrrrrrr
    rrrrrrrrrrrrrrrr
    """
ONLY_THINGS = """
    AAAAAAAABBBBBBBB
    AAAAAAAABBBBBBBB
    AAAAAAAABBBBBBBB
    AAAAAAAABBBBBBBB
    NNNNNNNNOOOOOOOO
    NNNNNNNNOOOOOOOO
    NNNNNNNNOOOOOOOO
    NNNNNNNNOOOOOOOO
    """

SCENES = {
    "nothing is sure": draw(EMPTY),
    "stuff only": draw(ROAD_AND_SKY),
    "one object": draw(ONE_CAR),
    "two touching objects of one class": draw(TOUCHING),
    "objects of one cell": draw(ONE_CELL),
    "an object before another": draw(BEHIND),
    "an object in two parts": draw(CUT_IN_TWO),
    "only objects, side by side": draw(ONLY_THINGS),
    "60 objects": grid(6, 10, gap=2),
    "60 objects without gaps": grid(6, 10, gap=0),
    "100 objects": grid(10, 10, gap=1),
}

Decode = Callable[[Scene], tuple[np.ndarray, ...]]


@pytest.fixture(params=METHODS)
def decode(request: pytest.FixtureRequest) -> Decode:
    return importlib.import_module(f"tests.methods.ideal_{request.param}").decode


@pytest.mark.parametrize("name", SCENES)
def test_an_ideal_network_decodes_to_the_scene(decode: Decode, name: str) -> None:
    ids, category, *_ = decode(SCENES[name])
    assert found_segments(ids, category) == SCENES[name].segments()


def test_of_more_objects_than_slots_the_surest_are_kept(decode: Decode) -> None:
    crowded = grid(10, 12, gap=1)
    ids, category, *_ = decode(crowded)
    assert found_segments(ids, category) == crowded.keep(100).segments()


@pytest.mark.parametrize("name", SCENES)
def test_slots_keep_the_engine_contract(decode: Decode, name: str) -> None:
    ids, category, score, embedding = decode(SCENES[name])
    assert (ids.dtype, ids.shape) == (np.uint8, SCENES[name].semantic.shape)
    assert (category.dtype, category.shape) == (np.int32, (SLOTS,))
    assert (score.dtype, score.shape) == (np.float32, (SLOTS,))
    assert (embedding.dtype, embedding.shape[0], embedding.ndim) == (np.float32, SLOTS, 2)
    assert category[:2].tolist() == [7, 23]
    used = np.unique(ids[ids > 0]) - 1
    assert set(category[used].tolist()) <= {label.id for label in LABELS}
    assert np.all((score >= 0) & (score <= 1)) and np.all(score[used] > 0)
    assert np.allclose(np.linalg.norm(embedding[used], axis=1), 1, atol=1e-5)


def test_the_surest_object_comes_with_the_highest_score(decode: Decode) -> None:
    scene = grid(2, 2, gap=3)
    ids, _, score, _ = decode(scene)
    slots = [int(ids[scene.instance == i][0]) - 1 for i in range(4)]
    assert np.all(np.diff(score[slots]) > 0)
