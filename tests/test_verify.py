"""Agreement of two engines, on drawings small enough to count by hand."""

import dataclasses
from itertools import islice

import numpy as np
import pytest

from panoptic_ros import manifest, verify
from panoptic_ros.core import PanopticError, Slots
from panoptic_ros.engine import BACKENDS, open_engine
from panoptic_ros.images import frames
from panoptic_ros.manifest import Manifest
from panoptic_ros.preprocess import geometry, letterbox
from panoptic_ros.sources import STREET_CLIP
from panoptic_ros.verify import Agreement, agreement, check, compare

EAST, NORTH = (1.0, 0.0), (0.0, 1.0)


def slots(ids: list[list[int]], category: tuple[int, ...], embedding: tuple[tuple[float, float], ...]) -> Slots:
    return Slots(
        np.array(ids, np.uint8), np.array(category, np.int32), np.ones(len(category), np.float32), np.array(embedding, np.float32)
    )


ROAD_AND_TWO_CARS = slots([[1, 1, 2, 2], [1, 1, 3, 3], [0, 0, 0, 3]], (7, 26, 26), (EAST, EAST, NORTH))


class Replay:
    """An engine that answers one image after the other from a list."""

    size, description = (3, 4), {"precision": "fp32"}

    def __init__(self, *answers: Slots) -> None:
        self._answers = iter(answers)

    def run(self, image: np.ndarray) -> Slots:
        return next(self._answers)

    def run_network_only(self, image: np.ndarray) -> None: ...


def test_the_same_answer_agrees_entirely() -> None:
    assert compare(ROAD_AND_TWO_CARS, ROAD_AND_TWO_CARS) == (1.0, 0.0)


def test_the_order_of_slots_does_not_matter() -> None:
    swapped = slots([[1, 1, 3, 3], [1, 1, 2, 2], [0, 0, 0, 2]], (7, 26, 26), (EAST, NORTH, EAST))
    assert compare(ROAD_AND_TWO_CARS, swapped) == (1.0, 0.0)


def test_a_segment_of_another_category_disagrees() -> None:
    """The 2 of 12 cells of the first car, now a person."""
    other = dataclasses.replace(ROAD_AND_TWO_CARS, category=np.array([7, 24, 26], np.int32))
    assert compare(ROAD_AND_TWO_CARS, other) == (pytest.approx(10 / 12), 0.0)


def test_a_segment_that_lost_half_of_itself_disagrees() -> None:
    """A car of two cells keeps one: half of the union is not more than half, so neither of its cells agrees."""
    smaller = dataclasses.replace(ROAD_AND_TWO_CARS, ids=np.array([[1, 1, 2, 0], [1, 1, 3, 3], [0, 0, 0, 3]], np.uint8))
    assert compare(ROAD_AND_TWO_CARS, smaller)[0] == pytest.approx(10 / 12)


def test_the_angle_is_the_largest_of_the_matched() -> None:
    turned = dataclasses.replace(ROAD_AND_TWO_CARS, embedding=np.array([EAST, (0.8660254, 0.5), NORTH], np.float32))
    assert compare(ROAD_AND_TWO_CARS, turned) == (1.0, pytest.approx(30.0, abs=1e-3))
    away = dataclasses.replace(turned, category=np.array([7, 24, 26], np.int32))  # no match, so no angle
    assert compare(ROAD_AND_TWO_CARS, away)[1] == 0.0


def test_many_images_give_mean_worst_and_largest() -> None:
    void = dataclasses.replace(ROAD_AND_TWO_CARS, ids=np.zeros((3, 4), np.uint8))
    found = agreement(Replay(ROAD_AND_TWO_CARS, ROAD_AND_TWO_CARS), Replay(ROAD_AND_TWO_CARS, void), [np.zeros(0)] * 2)
    assert found == Agreement(pytest.approx((1 + 3 / 12) / 2), 0.25, 0.0, 0.0)


@pytest.mark.parametrize(("turned", "usual"), [(1, 0.0), (2, 30.0)])
def test_of_twenty_images_one_may_have_an_odd_embedding(turned: int, usual: float) -> None:
    odd = dataclasses.replace(ROAD_AND_TWO_CARS, embedding=np.array([EAST, (0.8660254, 0.5), NORTH], np.float32))
    found = Replay(*[odd] * turned, *[ROAD_AND_TWO_CARS] * (20 - turned))
    both = agreement(Replay(*[ROAD_AND_TWO_CARS] * 20), found, [np.zeros(0)] * 20)
    assert (both.angle, both.worst_angle) == (pytest.approx(usual, abs=1e-3), pytest.approx(30.0, abs=1e-3))


def test_past_a_limit_is_an_error() -> None:
    check(Agreement(0.9991, 0.9, 0.9, 50.0), "fp32", "tiny")
    with pytest.raises(
        PanopticError, match=r"tiny fp32: 99.80 % .* 0.5 degrees, 0.6 in the worst; the limits are 99.9 % and 1 d"
    ):
        check(Agreement(0.998, 0.9, 0.5, 0.6), "fp32", "tiny")
    with pytest.raises(PanopticError, match="31.0 in the worst; the limits are 94.0 % and 30 degrees"):
        check(Agreement(1.0, 1.0, 31.0, 31.0), "int8", "tiny")


def test_an_engine_is_verified_against_the_fp32_file(tiny: Manifest) -> None:
    pytest.importorskip("openvino")
    image = np.full((1, *tiny.size, 3), 255, np.uint8)
    answer = verify.open_engine(tiny).run(image)
    kept = dataclasses.replace(answer, ids=answer.ids.copy())
    assert verify.verify_engine(tiny, Replay(kept), "fp32", [image]).pixels == 1.0
    wrong = dataclasses.replace(answer, ids=(answer.ids % 5 + 1).astype(np.uint8))
    with pytest.raises(PanopticError, match="the limits are 99.9 %"):
        verify.verify_engine(tiny, Replay(wrong), "fp32", [image])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", sorted(manifest.models()))
def test_the_bundled_int8_answers_as_fp32_within_its_limits(name: str, backend: str) -> None:
    pytest.importorskip(backend)
    model = manifest.load(name).with_size(128, 256)
    images = [letterbox(frame, geometry(frame.shape[:2], model.size, 1)) for frame in islice(frames(STREET_CLIP), 0, 60, 20)]
    found = verify.verify_engine(model, open_engine(model, backend, precision="int8"), "int8", images)
    assert found.pixels < 1.0  # or it was not rounded at all
