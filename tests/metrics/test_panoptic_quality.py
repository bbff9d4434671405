"""PQ on drawn arrays with literal answers, on panopticapi's numbers, and properties."""

import json
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from panoptic_ros import coco
from panoptic_ros.core import Label
from training.metrics.overlap import ids_in, iou_matrix, joint_histogram
from training.metrics.panoptic_quality import PanopticQuality, Score, Tally, Truth

SKY, CAR, BUS = 1, 2, 3
LABELS = tuple(Label(i, name, i != SKY, (0, 0, 0)) for i, name in ((SKY, "sky"), (CAR, "car"), (BUS, "bus")))


def measure(truth: list, true_segments: dict, predicted: list, predicted_segments: dict) -> PanopticQuality:
    quality = PanopticQuality(LABELS)
    quality.add(np.array(truth), true_segments, np.array(predicted), predicted_segments)
    return quality


def test_a_match_a_miss_and_a_false_alarm() -> None:
    """The car is found with IoU 3/4, one bus is missed, another is invented; the sky is exact."""
    truth = [[1, 1, 1, 1], [2, 2, 2, 2], [3, 3, 3, 3]]
    predicted = [[1, 1, 1, 1], [5, 5, 5, 6], [6, 7, 7, 7]]
    quality = measure(truth, {1: Truth(SKY), 2: Truth(CAR), 3: Truth(BUS)}, predicted, {1: SKY, 5: CAR, 6: BUS, 7: CAR})
    assert quality.tallies == {SKY: Tally(1.0, 1, 0, 0), CAR: Tally(0.75, 1, 1, 0), BUS: Tally(0.0, 0, 1, 1)}
    assert quality.per_class() == {SKY: Score(1, 1, 1), CAR: Score(0.5, 0.75, 2 / 3), BUS: Score(0, 0, 0)}
    assert astuple(quality.mean()) == pytest.approx((0.5, 1.75 / 3, 5 / 9, 3))
    assert astuple(quality.mean(thing=True)) == pytest.approx((0.25, 0.375, 1 / 3, 2))
    assert quality.mean(thing=False) == Score(1, 1, 1, 1)


def test_half_an_overlap_is_no_match() -> None:
    quality = measure([[1, 1, 0, 0]], {1: Truth(CAR)}, [[1, 0, 0, 0]], {1: CAR})
    assert quality.tallies[CAR] == Tally(0.0, 0, 1, 1)


def test_what_lies_on_void_does_not_enlarge_the_union() -> None:
    quality = measure([[1, 1, 0, 0]], {1: Truth(CAR)}, [[1, 1, 1, 0]], {1: CAR})
    assert quality.tallies[CAR] == Tally(1.0, 1, 0, 0)


def test_a_prediction_mostly_on_void_or_crowd_is_ignored_and_a_crowd_need_not_be_found() -> None:
    truth = [[0, 0, 2, 3, 3, 3], [1, 1, 1, 1, 1, 1]]
    segments = {1: Truth(SKY), 2: Truth(CAR), 3: Truth(BUS, crowd=True)}
    predicted = [[4, 4, 4, 5, 5, 5], [1, 1, 1, 1, 1, 6]]
    assert measure(truth, segments, predicted, {1: SKY, 4: BUS, 5: BUS, 6: BUS}).tallies[BUS] == Tally(0, 0, 1, 0)
    assert measure(truth, segments, predicted, {1: SKY, 4: BUS, 5: CAR, 6: BUS}).tallies[CAR] == Tally(0, 0, 1, 1)


def test_a_data_set_without_stuff() -> None:
    quality = PanopticQuality(LABELS[1:])
    quality.add(np.array([[1, 0]]), {1: Truth(CAR)}, np.array([[9, 0]]), {9: CAR})
    assert quality.mean(thing=False) is None
    assert quality.mean() == Score(1, 1, 1, 1)
    assert PanopticQuality(LABELS).mean() is None


def test_joint_histogram_and_iou() -> None:
    first, second = np.array([[1, 1, 2], [2, 2, 2]]), np.array([[5, 0, 0], [5, 5, 5]])
    assert [v.tolist() for v in joint_histogram(first, second)] == [[1, 1, 2, 2], [0, 5, 0, 5], [1, 1, 1, 3]]
    assert iou_matrix(first, second, np.array([2, 1, 7]), np.array([5])).tolist() == [[0.6], [0.2], [0.0]]


def test_ids_of_a_map() -> None:
    assert ids_in(np.array([[3, 3, 0], [0, 7, 3]])) == {0, 3, 7}
    assert ids_in(np.zeros((0, 4), int)) == set()


maps = arrays.arrays(np.int32, (5, 6), elements=st.integers(0, 4))


@settings(max_examples=100, deadline=None)
@given(maps, maps, st.permutations(range(1, 5)))
def test_scores_lie_in_their_range_and_names_of_segments_do_not_matter(
    truth: np.ndarray, predicted: np.ndarray, renamed: list[int]
) -> None:
    category = {i: 1 + i % 3 for i in range(1, 5)}

    def tallies(ids: np.ndarray, categories: dict[int, int]) -> dict[int, Tally]:
        present = {i: c for i, c in categories.items() if (ids == i).any()}
        return measure(
            truth.tolist(), {i: Truth(c) for i, c in category.items() if (truth == i).any()}, ids.tolist(), present
        ).tallies

    straight = tallies(predicted, category)
    other = tallies(np.array([0, *renamed])[predicted], {renamed[i - 1]: c for i, c in category.items()})
    assert {c: (t.tp, t.fp, t.fn, round(t.iou, 9)) for c, t in straight.items()} == {
        c: (t.tp, t.fp, t.fn, round(t.iou, 9)) for c, t in other.items()
    }
    for tally in straight.values():
        assert 0.5 * tally.tp <= tally.iou <= tally.tp + 1e-9
        assert tally.tp + tally.fn == sum(1 for i, c in category.items() if straight[c] is tally and (truth == i).any())


@settings(max_examples=30, deadline=None)
@given(maps)
def test_the_truth_itself_scores_one(truth: np.ndarray) -> None:
    category = {i: 1 + i % 3 for i in np.unique(truth[truth > 0]).tolist()}
    mean = measure(truth.tolist(), {i: Truth(c) for i, c in category.items()}, truth.tolist(), category).mean()
    assert mean is None if not category else (mean.pq, mean.sq, mean.rq) == (1, 1, 1)


def score_files(truth_json: Path, predicted_json: Path) -> PanopticQuality:
    truth, predicted = coco.read_json(truth_json), coco.read_json(predicted_json)
    quality = PanopticQuality(coco.labels_of(truth))
    of_image = {annotation["image_id"]: annotation for annotation in predicted["annotations"]}
    for true in truth["annotations"]:
        guess = of_image[true["image_id"]]
        quality.add(
            coco.read_ids(truth_json.with_suffix("") / true["file_name"]),
            {s["id"]: Truth(s["category_id"], bool(s["iscrowd"])) for s in true["segments_info"]},
            coco.read_ids(predicted_json.with_suffix("") / guess["file_name"]),
            {s["id"]: s["category_id"] for s in guess["segments_info"]},
        )
    return quality


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "truth"),
    [("coco128_val", "coco128_panoptic/panoptic_val"), ("camvid_val", "camvid_panoptic/panoptic_val"),
     ("coco_panopticapi2", "coco_panoptic_sample/panoptic_examples")],
)  # fmt: skip
@pytest.mark.parametrize("against", ["gt_vs_gt", "gt_vs_perturbed"])
def test_panopticapi_numbers(shared_data: Path, name: str, truth: str, against: str) -> None:
    reference = shared_data / "metrics" / "pq_reference"
    expected = json.loads((reference / "expected.json").read_text())[name][against]
    truth_json = shared_data / f"{truth}.json"
    quality = score_files(truth_json, truth_json if against == "gt_vs_gt" else reference / f"{name}_pred.json")
    for group, thing in (("All", None), ("Things", True), ("Stuff", False)):
        mean = quality.mean(thing)
        if expected[group] is None:
            assert mean is None
        else:
            assert (mean.classes, mean.pq, mean.sq, mean.rq) == pytest.approx(
                tuple(expected[group][key] for key in ("n", "pq", "sq", "rq")), abs=1e-9
            )
    ours = {str(category): [s.pq, s.sq, s.rq] for category, s in quality.per_class().items()}
    theirs = {category: [s["pq"], s["sq"], s["rq"]] for category, s in expected["per_class"].items()}  # without classes of PQ 0
    assert set(theirs) <= set(ours)
    for category, scores in ours.items():
        assert scores == pytest.approx(theirs.get(category, [0.0] * 3), abs=1e-9), category
