"""Cards and the README's table, from an evaluation of the tiny engine and made-up times."""

import json
from pathlib import Path

import pytest

from tests import tiny_engine
from tests.training.test_evaluate import write_dataset
from training import card, evaluate

README = f"# Robot\n\nbefore\n\n{card.MARKERS[0]}\nold\n{card.MARKERS[1]}\n\nafter\n"


def bench(size: list[int], milliseconds: float, model: str = "tiny", precision: str = "fp32") -> dict:
    times = {"p50": milliseconds, "p95": 9.0, "p99": 2 * milliseconds, "max": 9.0, "mean": 9.0}
    run = {
        "model": model, "size": size, "engine": {"backend": "openvino", "version": "2", "precision": precision}, "ratios": {
            "engine/network": 1.25, "pipeline/network": 1.5}, "network_only_ms": times, "engine_ms": times, "pipeline_ms": times,
    }  # fmt: skip
    return {"machine": {"cpu": "Abacus", "cores": 2, "os": "of no interest"}, "runs": [run]}


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the evaluation says of the tiny engine."""
    folder = tmp_path_factory.mktemp("scores")
    engine, root = tiny_engine.write(folder / "tiny"), write_dataset(folder / "drawn")
    assert evaluate.main(["--engine", str(engine), "--data", f"{root}:val", "--tracking", "--json", str(folder / "s.json")]) == 0
    return folder / "s.json"


def write_engine(folder: Path) -> Path:
    """The tiny engine under its folder's name."""
    file = tiny_engine.write(folder) / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"model": folder.name}))
    return folder


def write_times(folder: Path) -> list[str]:
    reports = {"small": bench([64, 96], 2.0), "large": bench([128, 192], 7.0), "rounded": bench([64, 96], 1.0, precision="int8")}
    for name, report in reports.items():
        (folder / f"{name}.json").write_text(json.dumps(report))
    return [str(folder / f"{name}.json") for name in reports]


def test_card_and_table(tmp_path: Path, scores: Path) -> None:
    engines, readme = tmp_path / "engines", tmp_path / "README.md"
    for name in ("tiny", "unmeasured"):
        write_engine(engines / name)
    readme.write_text(README)
    times = write_times(tmp_path)
    assert card.main(["--model", str(engines / "tiny"), "--scores", str(scores), "--bench", *times]) == 0
    text = (engines / "tiny" / "card.md").read_text()
    assert "| car | 100.0 | 100.0 | 100.0 | 100.0 | 100.0 | 100.0 | 100.0 |" in text
    assert "| tracked | " in text and "| 64x96 | openvino fp32 | 2.0 (4.0) |" in text
    assert "of no interest" not in (engines / "tiny" / "measured.json").read_text()
    for _ in range(2):  # the second time replaces what the first one wrote
        assert card.main(["--compare", "--engines", str(engines), "--readme", str(readme)]) == 0
    before, _, rest = readme.read_text().partition(card.MARKERS[0])
    table, _, after = rest.partition(card.MARKERS[1])
    assert (before, after) == ("# Robot\n\nbefore\n\n", "\n\nafter\n")
    head, _, *rows = table.strip().split("\n")
    assert (
        head == "| model | method | PQ | things | stuff | PQ† | mIoU | AP | STQ | VPQ | HOTA | network | engine | pipeline | MB |"
    )
    assert rows[0].startswith("| [tiny](engines/tiny/card.md) | colours | 100.0 | 100.0 | 100.0 | 100.0 | 100.0 | 100.0 |")
    assert rows[0].endswith(" | 2.0 | 2.0 | 2.0 | 0.0 |")  # of the size and precision of the scores; a file of 1 KB
    assert rows[1] == "| unmeasured | colours |" + "  |" * 12 + " 0.0 |"
    assert rows[3].endswith(":val at 64x96, openvino fp32; times are the median in milliseconds on Abacus, 2 cores.")


def test_times_of_other_models_are_left_out(tmp_path: Path, scores: Path, capsys: pytest.CaptureFixture) -> None:
    engine = write_engine(tmp_path / "engines" / "tiny")
    other, own = bench([64, 96], 5.0, "other"), bench([64, 96], 2.0)
    (tmp_path / "both.json").write_text(json.dumps(own | {"runs": other["runs"] + own["runs"]}))
    (tmp_path / "other.json").write_text(json.dumps(other))
    command = ["--model", str(engine), "--scores", str(scores), "--bench"]
    assert card.main([*command, str(tmp_path / "both.json")]) == 0
    assert [speed["engine_ms"]["p50"] for speed in json.loads((engine / "measured.json").read_text())["speed"]] == [2.0]
    assert card.main([*command, str(tmp_path / "other.json")]) == 2
    assert "the times are of 'other', not of 'tiny'" in capsys.readouterr().err


def test_without_tracking_and_times(tmp_path: Path, scores: Path) -> None:
    report = json.loads(scores.read_text())
    file = tmp_path / "scores.json"
    file.write_text(json.dumps(report | {"tracking": {}}))
    engine = tiny_engine.write(tmp_path / "engines" / "tiny")
    assert card.main(["--model", str(engine), "--scores", str(file)]) == 0
    assert "STQ" not in (engine / "card.md").read_text()
    assert card.comparison(tmp_path / "engines").split("\n")[2].count("100.0") == 6


def test_scores_of_an_earlier_export_are_not_compared(tmp_path: Path, scores: Path, capsys: pytest.CaptureFixture) -> None:
    engine, readme = write_engine(tmp_path / "engines" / "tiny"), tmp_path / "README.md"
    assert card.main(["--model", str(engine), "--scores", str(scores)]) == 0
    changed = tiny_engine.graph()
    changed.doc_string = "another export"
    tiny_engine.write(engine, changed)
    readme.write_text(README)
    assert card.main(["--compare", "--engines", str(tmp_path / "engines"), "--readme", str(readme)]) == 2
    assert "tiny/measured.json are of another" in capsys.readouterr().err
    assert readme.read_text() == README


def test_what_does_not_fit_is_refused(tmp_path: Path, scores: Path, capsys: pytest.CaptureFixture) -> None:
    engines, readme = tmp_path / "engines", tmp_path / "README.md"
    other = write_engine(engines / "other")
    assert card.main(["--model", str(other), "--scores", str(scores)]) == 2
    assert "the scores are of 'tiny', not of 'other'" in capsys.readouterr().err
    changed = tmp_path / "changed.json"
    changed.write_text(json.dumps(json.loads(scores.read_text()) | {"model": "other", "sha256": "0" * 64}))
    assert card.main(["--model", str(other), "--scores", str(changed)]) == 2
    assert "the scores are of another" in capsys.readouterr().err
    readme.write_text("no markers")
    assert card.main(["--compare", "--engines", str(engines), "--readme", str(readme)]) == 2
    assert "lacks the lines between which the table goes" in capsys.readouterr().err
    assert readme.read_text() == "no markers"
    readme.write_text(README)
    assert card.main(["--compare", "--engines", str(tmp_path / "nowhere"), "--readme", str(readme)]) == 2
    assert readme.read_text() == README
    for arguments in ([], ["--model", "tiny"], ["--scores", str(scores), "--compare"]):
        with pytest.raises(SystemExit, match="2"):
            card.main(arguments)
