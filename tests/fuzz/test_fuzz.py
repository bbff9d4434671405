"""A few inputs for every entry point; `python -m tests.fuzz` has a million more. And it finds what it must find."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz import guided
from tests.fuzz.__main__ import fuzz, main
from tests.fuzz.broken_targets import faulty, hungry
from tests.fuzz.guided import taker
from tests.fuzz.mutation import octets
from tests.fuzz.report import table
from tests.fuzz.target import Target, case, find, targets
from tests.fuzz.worker import Status, fault_of, save, work

ALL = {target.name: target for target in targets()}


@pytest.mark.parametrize("name", ALL)
def test_an_input_is_taken_or_refused(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    target, folder = ALL[name], tmp_path_factory.mktemp(name)
    seeds = target.seeds()

    @settings(max_examples=max(10, 400 // target.cost), deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.binary(max_size=300) | st.integers(len(seeds), 2**40).map(lambda number: case(target, seeds, 1, number)))
    def hold(data: bytes) -> None:
        assert fault_of(target, data, folder) in ("", "refused")

    hold()


@pytest.mark.parametrize("name", [name for name in ALL if name != "checkpoint"])
def test_valid_inputs_are_taken(name: str, tmp_path: Path) -> None:
    """Else nothing behind the first check would be tested."""
    faults = {fault_of(ALL[name], seed, tmp_path) for seed in ALL[name].seeds()}
    some = name in ("arguments", "bag_metadata")  # the last argument is $ROS_DOMAIN_ID too; the second metadata is of another bag
    assert faults == ({"", "refused"} if some else {""})


def test_a_checkpoint_is_never_executed(tmp_path: Path) -> None:
    faults = [fault_of(ALL["checkpoint"], seed, tmp_path) for seed in ALL["checkpoint"].seeds()]
    assert faults == ["", "refused", "refused", "refused"], "ours; torch's format before 1.6, which ours never had; two bombs"


def test_the_same_numbers_make_the_same_input() -> None:
    target, seeds = ALL["image"], ALL["image"].seeds()
    inputs = [case(target, seeds, 3, number) for number in range(100)]
    assert inputs == [case(target, seeds, 3, number) for number in range(100)]
    assert inputs[: len(seeds)] == seeds and inputs[50:] != [case(target, seeds, 4, number) for number in range(50, 100)]


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        (0, ""),
        (1, "refused"),
        (2, "IndexError at broken_targets.py"),
        (4, "SystemExit"),
        (5, "MemoryError"),
        (6, "5000 characters"),
    ],
)
def test_faults_are_found(kind: int, fault: str, tmp_path: Path) -> None:
    found = fault_of(Target("faulty", lambda: [], faulty, octets), bytes([kind]), tmp_path)
    assert fault in found and bool(found) == bool(fault)


def test_memory_is_watched_after_a_large_input(tmp_path: Path) -> None:
    target = Target("hungry", lambda: [], hungry, octets)
    faults = [fault_of(target, bytes([hundreds]), tmp_path) for hundreds in (9, 1, 8)]
    assert faults[1] == "" and all(fault.endswith("MiB of memory") for fault in (faults[0], faults[2]))


def test_findings_are_kept_with_their_reason(tmp_path: Path) -> None:
    target = Target("faulty", lambda: [b"\0", b"\2", b"\1"], faulty, octets)
    work(target, 0, range(3), Status.create(tmp_path / "status"), tmp_path / "found")
    status = Status.read(tmp_path / "status")
    assert (status.number, status.taken, status.refused) == (-1, 1, 1)
    assert [file.name for file in sorted((tmp_path / "found").iterdir())] == ["faulty_1.bin", "faulty_1.txt"]
    assert (tmp_path / "found" / "faulty_1.bin").read_bytes() == b"\2"
    assert "IndexError" in (tmp_path / "found" / "faulty_1.txt").read_text()


def test_guided_findings_are_kept_with_their_reason(tmp_path: Path) -> None:
    """What libFuzzer calls; a refusal is none, and neither ends the run."""
    take = taker(Target("faulty", lambda: [], faulty, octets), tmp_path, tmp_path / "found")
    for data in (b"\0", b"\2", b"\1", b"\6"):
        take(data)
    files = {file.name: file.read_bytes() for file in (tmp_path / "found").iterdir()}
    assert {name: data for name, data in files.items() if name.endswith(".bin")} == {"faulty_0.bin": b"\2", "faulty_1.bin": b"\6"}
    assert files["faulty_0.txt"].startswith(b"IndexError at broken_targets.py") and b"5000 characters" in files["faulty_1.txt"]


@pytest.mark.skipif(not guided.installed(), reason="atheris is optional")
def test_a_guided_run_finds_what_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANOPTIC_FUZZ_MODULES", "broken_targets")
    assert guided.fuzz("faulty", 500, tmp_path / "corpus", tmp_path / "found") == 1
    assert any("IndexError" in file.read_text() for file in (tmp_path / "found").glob("*.txt"))


def test_findings_of_a_longer_name_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANOPTIC_FUZZ_MODULES", "broken_targets")
    save(tmp_path, Target("faulty_too", lambda: [], faulty, octets), 3, b"kept", "of another target")
    result = fuzz(find("faulty"), 1, 0, 1.0, tmp_path)
    assert not result.findings and (tmp_path / "faulty_too_3.bin").exists()


def test_a_process_that_dies_or_hangs_is_found_and_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANOPTIC_FUZZ_MODULES", "broken_targets")
    result = fuzz(find("deadly"), 5, 0, 1.0, tmp_path)
    assert (result.cases, result.taken) == (5, 3)
    found = {Path(file).read_bytes(): fault for file, fault in result.findings.items()}
    assert found == {
        b"die": "ended with SIGSEGV", b"hang": "no end after 1 s",
    }  # fmt: skip
    assert "| deadly | 5 | 3 | 0 |" in table([result]) and json.dumps(result.findings)


def test_the_report_has_command_table_and_findings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANOPTIC_FUZZ_MODULES", "broken_targets")
    monkeypatch.setattr("signal.signal", lambda *_: None)
    file = tmp_path / "kept" / "fuzz.md"
    arguments = ["--target", "deadly", "--cases", "2", "--out", str(tmp_path), "--report", str(file)]
    assert main(arguments) == 1
    text = file.read_text()
    assert "`python -m tests.fuzz --target deadly --cases 2 " in text and "2 inputs in " in text and "Machine: cpu " in text
    assert "| deadly | 2 | 1 | 0 |" in text
    assert f"**Findings: 1**\n\n- ended with SIGSEGV: `python -m tests.fuzz --target deadly --replay {tmp_path}" in text
    again = json.loads((tmp_path / "report.json").read_text())
    assert main([*arguments, "--resume"]) == 1
    assert json.loads((tmp_path / "report.json").read_text()) == again  # to the microsecond: not run once more
    assert main([*arguments, "--resume", "--cases", "1"]) == 0
    assert "**No finding**" in file.read_text()


def test_a_finding_does_not_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The target after one with a finding runs too, and its results are added to the same report."""
    monkeypatch.setenv("PANOPTIC_FUZZ_MODULES", "broken_targets")
    monkeypatch.setattr("signal.signal", lambda *_: None)
    file = tmp_path / "fuzz.md"
    wanted = ["--target", "faulty", "--target", "deadly"]
    assert main([*wanted, "--cases", "4", "--out", str(tmp_path), "--report", str(file)]) == 1
    results = json.loads((tmp_path / "report.json").read_text())
    assert [(result["target"], result["cases"], len(result["findings"])) for result in results] == [
        ("faulty", 2, 1),
        ("deadly", 2, 1),
    ]
    assert "**Findings: 2**" in file.read_text()
