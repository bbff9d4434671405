"""`panoptic_ros bench`: the report has what it promises, and its sums add up."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny_engine

from panoptic_ros import manifest
from panoptic_ros.__main__ import main
from panoptic_ros.commands.bench import Crowded, mosaic, summary
from panoptic_ros.engine import BACKENDS, open_engine


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Two frames: one without and one with objects."""
    folder = tmp_path / "frames"
    folder.mkdir()
    cv2.imwrite(str(folder / "0.png"), np.full((64, 96, 3), tiny_engine.SKY, np.uint8)[..., ::-1])
    cv2.imwrite(str(folder / "1.png"), tiny_engine.scene()[..., ::-1])
    return folder


def bench(tiny_folder: Path, clip: Path, *arguments: str) -> tuple[int, dict]:
    file = clip.parent / "reports" / "bench.json"
    status = main(["bench", "--model", str(tiny_folder), "--input", str(clip), "--frames", "20", "--json", str(file), *arguments])
    return status, json.loads(file.read_text())


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_report_measures_network_engine_and_pipeline(
    tiny_folder: Path, clip: Path, backend: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip(backend)
    status, report = bench(tiny_folder, clip, "--backend", backend, "--size", "64x128")
    assert status == 0
    for name in ("network_only_ms", "engine_ms", "pipeline_ms"):
        assert set(report[name]) == {"p50", "p90", "p99", "mean"}
        assert 0 < report[name]["p50"] <= report[name]["p90"] <= report[name]["p99"]
    assert list(report["stages"]) == ["preprocess", "engine", "segments", "tracker", "paint"]
    assert report["ratios"]["engine/network"] == pytest.approx(
        report["engine_ms"]["p50"] / report["network_only_ms"]["p50"], rel=0.1
    )
    assert (report["size"], report["frame_size"], report["frames"]) == ([64, 128], [64, 96], 20)
    assert report["engine"]["backend"] == backend
    assert {"cpu", "cores", "memory_gib", "os"} <= set(report["machine"])
    table = capsys.readouterr().out
    assert all(f"\n{row}" in table for row in ("network only", "engine", "pipeline", "  tracker", "pipeline/network"))


def test_objects_compares_an_empty_frame_with_a_crowd(tiny_folder: Path, clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    objects = bench(tiny_folder, clip, "--objects")[1]["objects"]
    assert (objects["least"]["objects"], objects["most"]["objects"]) == (0, 2)
    for case, name in (("most", "engine"), ("most", "pipeline"), ("full", "pipeline")):
        least, most = objects["least"][f"{name}_ms"], objects[case][f"{name}_ms"]
        assert objects[case][f"{name}_growth"] == pytest.approx((most - least) / least, abs=1e-3)
    assert "engine_ms" not in objects["full"]  # its engine sees the grey frame
    table = capsys.readouterr().out
    assert "\n2 objects: engine" in table and f"\n{objects['full']['objects']} objects drawn: pipeline" in table


def test_the_drawn_crowd_fills_the_slots(tiny_folder: Path) -> None:
    """As many things as there are slots for, each in one piece."""
    model = manifest.load(tiny_folder)
    slots = Crowded(open_engine(model), model).run(np.zeros((1, *model.size, 3), np.uint8))
    stuff = sum(not label.thing for label in model.labels)
    assert set(np.unique(slots.ids).tolist()) == {0, *range(stuff + 1, model.slots + 1)}
    assert all(cv2.connectedComponents((slots.ids == i).astype(np.uint8))[0] == 2 for i in range(stuff + 1, model.slots + 1))


def test_a_mosaic_is_made_of_all_frames() -> None:
    frames = [np.full((12, 12, 3), value, np.uint8) for value in range(9)]
    assert mosaic(frames, 3, (12, 12))[::4, ::4, 0].tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert mosaic(frames, 2, (12, 12))[[0, 0, 11, 11], [0, 11, 0, 11], 0].tolist() == [0, 2, 4, 6]


def test_soak_reports_the_memory(tiny_folder: Path, clip: Path) -> None:
    _, report = bench(tiny_folder, clip, "--soak", "500")
    soak = report["soak"]
    assert (soak["frames"], len(soak["resident_mib"])) == (500, 10)
    assert soak["growth_mib"] == pytest.approx(soak["resident_mib"][-1] - soak["resident_mib"][0], abs=0.02)
    assert soak["growth_mib"] < 8


def test_percentiles_are_those_of_the_samples() -> None:
    assert summary([float(value) for value in range(101)]) == {"p50": 50.0, "p90": 90.0, "p99": 99.0, "mean": 50.0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--frames", "0"], "frames=0"), (["--input", "nothing.mp4"], "cannot read nothing.mp4: expected a video clip")],
)
def test_impossible_choices_are_one_line(
    tiny_folder: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "--model", str(tiny_folder), *arguments]) == 2
    assert message in capsys.readouterr().err
