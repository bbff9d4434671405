"""Temporal stability of embeddings: literal cosines, and the command on a drawn data set."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from panoptic_ros.core import Panoptic, Segment
from tests import tiny_engine
from tests.training.test_evaluate import write_dataset
from training.metrics.panoptic_quality import Truth
from training.stability import Objects, compare, found, main, measure, summary


def objects(*entries: tuple[int, int, list[float]]) -> Objects:
    """Of (identity, category, embedding)."""
    identity, category, embedding = zip(*entries)
    return Objects(np.array(identity), np.array(category), np.array(embedding, float))


EARLY = objects((1, 26, [1, 0]), (2, 26, [0, 1]), (3, 24, [0, 1]), (4, 26, [0.6, 0.8]))
LATE = objects((1, 26, [0.8, 0.6]), (2, 26, [0.6, 0.8]), (3, 24, [0, 1]))


def test_each_object_is_compared_with_itself_and_with_others_of_its_class_in_the_later_frame() -> None:
    got = compare(EARLY, LATE)
    assert got.same == pytest.approx([0.8, 0.8, 1.0])
    assert got.others == pytest.approx([0.6, 0.6])
    assert got.margin == pytest.approx([0.2, 0.2])
    assert summary(got)["rank1"] == 1.0


def test_gaps_beyond_the_video_have_no_pairs() -> None:
    measured = measure([[EARLY, LATE], [EARLY]], gaps=(1, 2))
    assert len(measured[1].same) == 3
    assert summary(measured[2]) == {"same": None, "others": None, "rank1": None, "ranked": 0}


def test_only_what_is_covered_by_more_than_half_is_found() -> None:
    truth_ids, predicted_ids = np.array([[1, 1, 2, 2]]), np.array([[5, 5, 6, 0]], np.int32)
    segments = tuple(Segment(i, 26, 1.0, 1, (0, 0, 1, 1), np.array([1.0, 0.0])) for i in (5, 6))
    got = found(truth_ids, {1: Truth(26), 2: Truth(26)}, Panoptic(predicted_ids, segments, 0))
    assert got.identity.tolist() == [1]


def test_the_command_writes_numbers_and_a_plot(tmp_path: Path) -> None:
    engine, data = tiny_engine.write(tmp_path / "tiny"), write_dataset(tmp_path / "street", frames=3)
    out = tmp_path / "out"
    assert main(["--engine", str(engine), "--data", f"{data}:val", "--out", str(out)]) == 0
    gaps = json.loads((out / "stability.json").read_text())["gaps"]
    assert (gaps["1"]["same"]["count"], gaps["1"]["same"]["mean"]) == (4, 1.0)
    assert gaps["10"]["same"] is None
    assert min(cv2.imread(str(out / "stability.png")).shape[:2]) > 200


def test_a_missing_data_set_is_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["--engine", "tiny", "--data", "nowhere:val", "--out", str(tmp_path)]) == 2
    assert "nowhere" in capsys.readouterr().err
