"""`panoptic_ros bench --compare`, and what one report says; of reports that are written by hand."""

import json
from pathlib import Path

import pytest

from panoptic_ros.__main__ import main
from panoptic_ros.commands.bench_report import table


def report_of(pipeline_ms: float, memory_mib: float = 100, size: tuple[int, int] = (64, 96), **machine: object) -> dict:
    times = {"p50": 2.0, "p95": 3.0, "p99": 4.0, "max": 5.0, "mean": 2.0}
    run = {
        "model": "tiny", "size": list(size), "input": "clip", "engine": {"backend": "b", "precision": "fp32", "version": "1"},
        "network_only_ms": times, "engine_ms": times, "pipeline_ms": times | {"p50": pipeline_ms}, "cpu_ms": times,
        "fixed_work_ms": times | {"p99": 6.0},
        "stages": {"tracker": times}, "memory_mib": {"current": 1.0, "peak": memory_mib},
    }  # fmt: skip
    return {"machine": {"cpu": "Abacus", "cores": 2, "memory_gib": 4, "load_average": 0.1} | machine, "runs": [run]}


def compared(folder: Path, before: dict, after: dict) -> int:
    for name, report in (("a", before), ("b", after)):
        (folder / f"{name}.json").write_text(json.dumps(report))
    return main(["bench", "--compare", str(folder / "a.json"), str(folder / "b.json")])


def test_a_comparison_has_the_worst_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    after = report_of(6, 150, load_average=3.0)
    after["runs"][0]["engine"]["version"] = "2"
    assert compared(tmp_path, report_of(4), after) == 0
    load, version, _, *rows = capsys.readouterr().out.splitlines()
    assert load == "load_average 0.1 -> 3.0" and version.endswith("version 1 -> 2")
    assert [row.split()[0] for row in rows] == ["1.500"] * 2 + ["1.000"] * 10
    assert {row.rpartition(": ")[2] for row in rows[:2]} == {"pipeline p50", "memory"}
    assert compared(tmp_path, after, report_of(4)) == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[0] == "0.667"


def test_the_tails_of_a_pipeline_stand_beside_those_of_fixed_work() -> None:
    report = report_of(2.5) | {"refused": {}}
    for run in report["runs"]:
        run |= {"ratios": {}, "frame_size": [64, 96]}
    report["runs"] *= 2
    block, _, overview = table(report).partition("p50, ms")
    assert "1.60 (3.00)" in overview.splitlines()[1]  # 4 / 2.5 and 6 / 2
    assert "\nfixed work               2.00     3.00     6.00     5.00     2.00" in block


def test_a_report_of_a_former_version_compares(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = report_of(4)
    del before["runs"][0]["fixed_work_ms"]
    assert compared(tmp_path, before, report_of(4)) == 0
    assert "fixed work" not in capsys.readouterr().out


def test_what_only_one_report_has_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = report_of(4)
    both["runs"] += report_of(4, size=(128, 192))["runs"]
    assert compared(tmp_path, both, report_of(4)) == 0
    assert "only in the first: tiny 128x192 b fp32" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("after", "message"),
    [
        (
            report_of(4, cpu="Slide rule", cores=1),
            "different machines, whose times cannot be compared: cpu Abacus -> Slide rule, cores",
        ),
        (report_of(4, size=(128, 192)), "nothing is in both reports: tiny 64x96"),
        ({"size": [64, 96]}, "is no report of `bench --json`"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    tmp_path: Path, after: dict, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compared(tmp_path, report_of(4), after) == 2
    assert message in capsys.readouterr().err


RUN = report_of(4)["runs"][0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"machine": {}, "runs": [{}]}, "runs[0] has no model and size and "),
        ({"machine": [], "runs": []}, "machine is of type list"),
        ({"machine": {}, "runs": 5}, "runs is of type int"),
        ({"machine": {}, "runs": [5]}, "runs[0] is of type int"),
        ({"machine": {"cpu": {}}, "runs": []}, "machine.cpu is not a text"),
        ({"machine": {}, "runs": [RUN | {"size": [64]}]}, "runs[0].size is not a height and a width"),
        ({"machine": {}, "runs": [RUN | {"model": "a\nb"}]}, "runs[0].model is not a text of one line"),
        ({"machine": {}, "runs": [RUN | {"engine": {"backend": "b"}}]}, "runs[0].engine has no precision"),
        ({"machine": {}, "runs": [RUN | {"stages": {"tracker": {"p50": 1}}}]}, "runs[0].stages.tracker has no p99"),
        ({"machine": {}, "runs": [RUN | {"engine_ms": {"p50": "1", "p99": 1}}]}, "runs[0].engine_ms.p50 is not a number"),
        ({"machine": {}, "runs": [RUN | {"cpu_ms": {"mean": float("nan")}}]}, "runs[0].cpu_ms.mean is not a number"),
        ({"machine": {}, "runs": [RUN | {"memory_mib": {"peak": 10**400}}]}, "runs[0].memory_mib.peak is not a number"),
        ("[" * 100_000, "cannot read "),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_a_report_of_another_shape_is_one_line(
    tmp_path: Path, content: dict | str, message: str, first: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / "wrong.json", tmp_path / "right.json"]
    files[0].write_text(content if isinstance(content, str) else json.dumps(content))
    files[1].write_text(json.dumps(report_of(4)))
    assert main(["bench", "--compare", *map(str, files if first else files[::-1])]) == 2
    said = capsys.readouterr().err
    assert message in said and str(files[0]) in said and said.count("\n") == 1
