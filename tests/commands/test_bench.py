"""`panoptic_ros bench`: the report has what it promises, and its sums add up."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from contextlib import suppress
from pathlib import Path
from threading import Thread

import cv2
import numpy as np
import pytest
import tiny_engine

from panoptic_ros import manifest
from panoptic_ros.__main__ import main
from panoptic_ros.commands import bench as command
from panoptic_ros.commands.bench_crowd import Crowded, mosaic
from panoptic_ros.commands.bench_measure import interleaved, measure, memory, summary
from panoptic_ros.commands.bench_plots import HEIGHT, LEFT, TOP, bars, curves
from panoptic_ros.commands.model_arguments import choices
from panoptic_ros.core import PanopticError
from panoptic_ros.engine import BACKENDS, open_engine
from panoptic_ros.pipeline import STAGES


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


def test_every_combination_is_measured(tiny_folder: Path, clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On both backends; in INT8, of which the tiny engine has no file, on none."""
    pytest.importorskip("onnxruntime")
    plots, trace = clip.parent / "plots", clip.parent / "trace.json"
    wanted = ["--backend", *BACKENDS, "--precision", "fp32", "--precision", "int8", "--size", "64x128"]
    status, report = bench(tiny_folder, clip, *wanted, "--plots", str(plots), "--trace", str(trace))
    assert status == 0
    measured = [(run["engine"]["backend"], run["engine"]["precision"], run["size"]) for run in report["runs"]]
    assert measured == [(backend, "fp32", [64, 128]) for backend in BACKENDS]
    assert len(report["refused"]) == 2 and all("has no int8 file" in reason for reason in report["refused"].values())
    assert {"cpu", "cores", "memory_gib", "os"} <= set(report["machine"])
    for run in report["runs"]:
        kinds = ("network_only_ms", "engine_ms", "pipeline_ms", "fixed_work_ms")
        for times in (*(run[kind] for kind in kinds), *run["stages"].values()):
            assert list(times) == ["p50", "p95", "p99", "max", "mean"]
            assert 0 < times["p50"] <= times["p95"] <= times["p99"] <= times["max"]
        assert list(run["stages"]) == ["preprocess", "engine", "segments", "tracker", "paint"]
        network = run["network_only_ms"]["p50"]
        assert run["ratios"]["engine/network"] == pytest.approx(run["engine_ms"]["p50"] / network, rel=0.1)
        assert (run["frame_size"], run["frames"]) == ([64, 96], 20)
        assert run["cpu_ms"]["mean"] > 0
        assert 20 < run["memory_mib"]["current"] <= run["memory_mib"]["peak"] + 1
    table = capsys.readouterr().out
    assert all(f"\n{row}" in table for row in ("network only", "engine", "pipeline", "  tracker", "pipeline/network"))
    assert "tiny 64x128 onnxruntime fp32" in table.partition("p50, ms")[2]
    for name in ("stages.svg", "percentiles.svg"):
        assert "tiny 64x128 openvino fp32" in "".join(ElementTree.parse(plots / name).getroot().itertext())
    assert "tiny openvino fp32" in "".join(ElementTree.parse(plots / "memory.svg").getroot().itertext())
    events = json.loads(trace.read_text())["traceEvents"]
    assert {event["pid"] for event in events} == {1, 3}  # of the four, in their order
    for pid in (1, 3):
        spans = [event for event in events if event["pid"] == pid and event["ph"] == "X"]
        assert [event["name"] for event in spans] == ["pipeline", *STAGES] * (10 + 20)


def test_a_curve_goes_through_its_points_in_the_order_of_x() -> None:
    drawing = ElementTree.fromstring(curves("memory", {"one": [(2.0, 30.0), (1.0, 15.0)]}))
    dots = [(float(dot.get("cx")), float(dot.get("cy"))) for dot in drawing.iter("{http://www.w3.org/2000/svg}circle")]
    (near, middle), (far, top) = dots
    assert (far - LEFT, TOP + HEIGHT - top) == (pytest.approx(2 * (near - LEFT)), pytest.approx(2 * (TOP + HEIGHT - middle)))
    assert {"one", "15", "30", "1", "2"} <= set(drawing.itertext())


def test_cpu_time_is_of_all_threads_and_memory_of_the_engine(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an engine that burns 40 ms of a processor, in a thread of its own, and takes 50 MiB."""
    model = manifest.load(tiny_folder)
    engine, held = open_engine(model), []

    def burn() -> None:
        end = time.thread_time() + 0.04
        while time.thread_time() < end:
            pass

    class Greedy:
        size, run_network_only = engine.size, engine.run_network_only

        def run(self, image: np.ndarray):
            if not held:
                held.append(np.ones(50 << 20, np.uint8))
            burning = Thread(target=burn)
            burning.start()
            burning.join()
            return engine.run(image)

    monkeypatch.setattr("panoptic_ros.commands.bench_measure.WARM_UP", 1)
    before = memory(model, engine, tiny_engine.scene())
    after = memory(model, Greedy(), tiny_engine.scene())
    assert 45 < after["current"] - before["current"] < 80
    assert measure(model, Greedy(), [tiny_engine.scene()], 3)["cpu_ms"]["p50"] >= 40


def test_rounds_run_each_once_in_a_drawn_order() -> None:
    calls: list[tuple[str, int]] = []
    times = interleaved({name: lambda number, name=name: calls.append((name, number)) for name in "abc"}, 40)
    assert [len(samples) for samples in times.values()] == [40] * 3
    rounds = [calls[start : start + 3] for start in range(0, len(calls), 3)]
    assert [{call[1] for call in calls} for calls in rounds] == [{number} for number in range(50)]
    orders = {"".join(name for name, _ in calls) for calls in rounds}
    assert orders == {"abc", "acb", "bac", "bca", "cab", "cba"}


def test_all_are_the_bundled_models_and_every_precision(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def refuse(choice, _pid):
        asked.append((choice.model, choice.backend, choice.precision))
        return PanopticError("not now")

    monkeypatch.setattr(command, "_in_own_process", refuse)
    assert main(["bench", "--model", "all", "--backend", "all", "--precision", "all"]) == 2
    assert "not now" in capsys.readouterr().err
    bundled = {path.parent.name for path in Path("engines").glob("*/manifest.json")}
    assert {model for model, _, _ in asked} >= bundled and {backend for _, backend, _ in asked} == set(BACKENDS)
    assert {precision for _, _, precision in asked} == {"fp32", "bf16", "fp16", "int8", "int8+bf16"}


def test_an_interrupt_keeps_what_was_measured(tiny_folder: Path, clip: Path) -> None:
    """The second combination takes for ever; SIGINT goes to all its processes, as from a terminal."""
    report = clip.parent / "bench.json"
    slow = f"""
import signal, sys, time
from panoptic_ros.__main__ import main
from panoptic_ros.commands import bench
measure = bench.measure
def patient(model, *rest):
    if model.size == (64, 128):
        print("begun", flush=True)
        time.sleep(600)
    return measure(model, *rest)
bench.measure = patient  # also in the processes that it starts
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has background jobs ignore it, and so the tests
    sys.exit(main(["bench", "--model", {str(tiny_folder)!r}, "--input", {str(clip)!r}, "--frames", "5", "--json", {str(report)!r},
                   "--size", "64x96", "64x128"]))
"""
    script = clip.parent / "slow.py"
    script.write_text(slow)
    environment = {"PYTHONPATH": str(Path(command.__file__).parents[2]), "PATH": "/usr/bin:/bin"}
    process = subprocess.Popen(
        [sys.executable, str(script)], env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == "begun\n"
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 130
        assert [run["size"] for run in json.loads(report.read_text())["runs"]] == [[64, 96]]
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def test_a_process_that_dies_is_no_end_of_all(tiny_folder: Path, clip: Path) -> None:
    """Its frames are no number, which is a bug and no PanopticError."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    choice = choices(parser.parse_args(["--model", str(tiny_folder), "--input", str(clip)]))[0]
    choice.frames = "many"
    answer = command._in_own_process(choice, 1)
    assert isinstance(answer, PanopticError) and str(answer) == "its process ended with status 1"


@pytest.mark.parametrize("option", ["--json", "--trace", "--plots"])
def test_what_cannot_be_written_is_said_before_it_is_measured(
    tmp_path: Path, option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "_in_own_process", lambda *_: pytest.fail("measured"))
    (tmp_path / "file").write_text("kept")
    assert main(["bench", option, str(tmp_path / "file" / "there")]) == 2
    assert f"cannot write {tmp_path / 'file' / 'there'}" in capsys.readouterr().err
    assert main(["bench", "--json", str(tmp_path)]) == 2
    assert "cannot write" in capsys.readouterr().err


def test_what_can_be_written_is(
    tiny_folder: Path, clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The disk of the report is gone after hours of measuring."""
    gone, trace, plots = clip.parent / "gone" / "bench.json", clip.parent / "trace.json", clip.parent / "plots"
    measured = command._in_own_process

    def measure_and_fail(*given: object) -> object:
        gone.parent.rmdir()
        gone.parent.write_text("a file")
        return measured(*given)

    monkeypatch.setattr(command, "_in_own_process", measure_and_fail)
    arguments = ["--model", str(tiny_folder), "--input", str(clip), "--frames", "2", "--json", str(gone)]
    assert main(["bench", *arguments, "--trace", str(trace), "--plots", str(plots)]) == 2
    said = capsys.readouterr()
    assert "pipeline" in said.out and f"cannot write {gone}" in said.err
    assert json.loads(trace.read_text())["traceEvents"] and len(list(plots.iterdir())) == 3


def test_a_reason_is_said_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(choice: argparse.Namespace, _: int) -> PanopticError:
        return PanopticError(f"this processor has no {choice.precision}")

    monkeypatch.setattr(command, "_in_own_process", refuse)
    sizes = ["--size", "64x96", "128x192"]
    assert main(["bench", "--model", "m", "--backend", "b", "--precision", "bf16", "int8", *sizes]) == 2
    said = capsys.readouterr().err
    assert "m 64x96 b bf16, m 128x192 b bf16: this processor has no bf16; m 64x96 b int8, m 128x192 b int8: this" in said
    assert said.count("no bf16") == 1


def test_bars_are_as_long_as_their_times() -> None:
    rows = {"a & b": {"engine": 30.0, "paint": 10.0}, "c": {"engine": 10.0, "paint": 10.0}}
    for stacked, ends in ((True, [3, 4, 1, 2]), (False, [3, 1, 1, 1])):
        shapes = ElementTree.fromstring(bars("ms", rows, stacked)).findall("{*}rect[@height='18']")
        boxes = [(float(shape.attrib["x"]), float(shape.attrib["width"])) for shape in shapes]
        unit = boxes[0][1] / 3
        assert [(x + width - boxes[0][0]) / unit for x, width in boxes] == pytest.approx(ends, abs=0.01)
        assert (len({shape.attrib["y"] for shape in shapes})) == (2 if stacked else 4)


def test_objects_compares_an_empty_frame_with_a_crowd(tiny_folder: Path, clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    objects = bench(tiny_folder, clip, "--objects")[1]["runs"][0]["objects"]
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
    soak = bench(tiny_folder, clip, "--soak", "500")[1]["runs"][0]["soak"]
    assert (soak["frames"], len(soak["resident_mib"])) == (500, 10)
    assert soak["growth_mib"] == pytest.approx(soak["resident_mib"][-1] - soak["resident_mib"][0], abs=0.02)
    assert soak["growth_mib"] < 8


def test_percentiles_are_those_of_the_samples() -> None:
    expected = {"p50": 50.0, "p95": 95.0, "p99": 99.0, "max": 100.0, "mean": 50.0}
    assert summary([float(value) for value in range(101)]) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--frames", "0"], "frames=0"), (["--input", "nothing.mp4"], "cannot read nothing.mp4: expected a video clip")],
)
def test_impossible_choices_are_one_line(
    tiny_folder: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "--model", str(tiny_folder), *arguments]) == 2
    assert message in capsys.readouterr().err
