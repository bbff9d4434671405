"""The solver's benchmark runs, and writes what it prints."""

import json
from pathlib import Path

import cv2
import pytest

pytest.importorskip("numba", reason="the multiway cut solver needs numba (pip install 'panoptic_ros[amwc]')")

from panoptic_ros.solvers import bench  # noqa: E402


def test_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, plot = tmp_path / "report.json", tmp_path / "plot.png"
    assert bench.main(["--sizes", "40x40", "--instances", "2", "--json", str(file), "--plot", str(plot)]) == 0
    report = json.loads(file.read_text())
    assert set(report["sizes"]["40x40"]) == {"fast", "greedy", "gap_percent"}
    assert report["machine"]["cores"] >= 1
    assert "40x40" in capsys.readouterr().out
    picture = cv2.imread(str(plot))
    assert min(picture.shape[:2]) > 300
    for blue, green, red in ((180, 119, 31), (14, 127, 255)):  # the first two of matplotlib's colours: fast, greedy
        assert (picture == (blue, green, red)).all(2).sum() > 20


@pytest.mark.parametrize("arguments", (["--sizes", "40"], ["--instances", "0"], ["--sizes", "20x20"]))
def test_bad_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(arguments) == 2
    assert "error: " in capsys.readouterr().err
