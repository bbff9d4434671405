"""The solver's benchmark runs, and writes what it prints."""

import json
from pathlib import Path

import pytest

pytest.importorskip("numba", reason="the multiway cut solver needs numba (pip install 'panoptic_ros[amwc]')")

from panoptic_ros.solvers import bench  # noqa: E402


def test_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "report.json"
    assert bench.main(["--sizes", "40x40", "--instances", "2", "--json", str(file)]) == 0
    report = json.loads(file.read_text())
    assert set(report["sizes"]["40x40"]) == {"fast", "greedy", "gap_percent"}
    assert report["machine"]["cores"] >= 1
    assert "40x40" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", (["--sizes", "40"], ["--instances", "0"], ["--sizes", "20x20"]))
def test_bad_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(arguments) == 2
    assert "error: " in capsys.readouterr().err
