"""The benchmark of PQ: what it compares is there to be compared, and a difference is found out."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from training.metrics import bench
from training.metrics.frame_quality import Pair
from training.metrics.panoptic_quality import PanopticQuality, Tally, Truth

SMALL = ["--images", "3", "--size", "96x192", "--things", "12"]


def test_both_agree_on_matches_misses_and_false_alarms(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert bench.main([*SMALL, "--json", str(tmp_path / "bench.json")]) == 0
    assert "the results are equal" in capsys.readouterr().out
    assert json.loads((tmp_path / "bench.json").read_text())["equal"] is True
    tallies = {label.id: Tally() for label in bench.LABELS}
    for number in range(3):
        bench.segment_by_segment(tallies, bench.make_pair(number, (96, 192), 12))
    assert all(sum(getattr(tally, count) for tally in tallies.values()) >= 5 for count in ("tp", "fp", "fn"))


def test_a_difference_is_found_out(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(bench, "segment_by_segment", lambda tallies, pair: None)
    assert bench.main(SMALL) == 1
    assert "THE RESULTS DIFFER" in capsys.readouterr().out


def test_segment_by_segment_on_a_drawing() -> None:
    """Stuff with IoU 2/3 beside void, a thing that is taken for another class, and one that lies on void and is forgiven."""
    tallies = {label.id: Tally() for label in bench.LABELS}
    truth, predicted = np.array([[1, 1, 1, 7, 7, 0, 0]]), np.array([[1, 1, 2, 8, 8, 8, 9]])
    pair = Pair("drawing", truth, {1: Truth(1), 7: Truth(7)}, predicted, {1: 1, 2: 2, 8: 8, 9: 9})
    bench.segment_by_segment(tallies, pair)
    found = {i: tally for i, tally in tallies.items() if tally != Tally()}
    assert found == {1: Tally(2 / 3, 1, 0, 0), 2: Tally(0, 0, 1, 0), 7: Tally(0, 0, 0, 1), 8: Tally(0, 0, 1, 0)}


maps = arrays.arrays(np.int32, (5, 6), elements=st.integers(0, 4))


@settings(max_examples=50, deadline=None)
@given(maps, maps)
def test_both_agree_on_anything(truth: np.ndarray, predicted: np.ndarray) -> None:
    """Segments in pieces, half matches and void everywhere, which the made-up streets have less of."""
    true = {i: Truth(1 + i % 2) for i in np.unique(truth).tolist() if i}
    guessed = {i: 1 + i % 2 for i in np.unique(predicted).tolist() if i}
    quality, slow = PanopticQuality(bench.LABELS), {label.id: Tally() for label in bench.LABELS}
    quality.add(truth, true, predicted, guessed)
    bench.segment_by_segment(slow, Pair("", truth, true, predicted, guessed))
    assert bench.equal(quality.tallies, slow)


def test_the_maps_are_the_same_each_time() -> None:
    first, second = (bench.make_pair(5, (96, 192), 12) for _ in range(2))
    assert (first.truth_ids == second.truth_ids).all() and (first.predicted_ids == second.predicted_ids).all()
    assert (first.truth_ids != bench.make_pair(6, (96, 192), 12).truth_ids).any()
