"""The table of ablations on a drawn data set: measured once, and again only when what it depends on has changed."""

import dataclasses
import json
from pathlib import Path

import pytest

from tests.data import tiny_dataset
from training import ablation
from training.methods.hle import ablate

SMALL = ["stages.0.size=[64,96]", "engine_size=[64,96]", "settings.network.aspp_width=8",
         "settings.network.skips=[[8,4,8],[2,4,8]]"]  # fmt: skip


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs two variants for one step."""
    for split in ("train", "val"):
        tiny_dataset.write(tmp_path / "data" / "street", split)
    monkeypatch.chdir(tmp_path)
    few = {name: [*ablate.VARIANTS[name], *SMALL] for name in ("associative embedding", "Lovász, hierarchical (the paper's)")}
    monkeypatch.setattr(ablate, "ABLATION", dataclasses.replace(ablate.ABLATION, variants=few))
    return lambda *more: ablate.main(["--out", "out", "--steps", "1", "--batch", "1", "--frames", "1", "--seeds", "3", *more])


def test_every_variant_is_measured_once_and_tabled(
    command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    assert command() == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.strip().splitlines()]
    assert [row[0] for row in rows[2:]] == ["| associative embedding", "| Lovász, hierarchical (the paper's)"]
    assert [row[-1] for row in rows[2:]] == ["38.8 |", "59.1 |"] and rows[0][1] == "PQ, seed 3"
    files = sorted((tmp_path / "out").glob("*.json"))
    found = [json.loads(file.read_text()) for file in files]
    assert [f["name"] for f in found] == ["associative embedding", "Lovász, hierarchical (the paper's)"]
    assert all(0 <= f["all"] <= 1 and f["recipe"]["seed"] == 3 for f in found)
    measured: list[str] = []
    monkeypatch.setattr(ablation, "measure", lambda name, *_: measured.append(name) or found[0] | {"name": name})
    for file, content in zip(files, found):  # as written before there was this key
        file.write_text(json.dumps(content | {"recipe": {k: v for k, v in content["recipe"].items() if k != "norm"}}))
    assert command() == 0
    assert measured == []
    assert command("--lr", "0.003") == 0
    assert len(measured) == 2


def test_variants_differ_in_more_than_their_name() -> None:
    args = ablate.ABLATION.parser("").parse_args([])
    recipes = [json.dumps(ablation.settings(ablate.ABLATION.variant(name, 0, args))) for name in ablate.VARIANTS]
    assert len(set(recipes)) == len(recipes)


def test_missing_data_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    assert ablate.main(["--out", str(tmp_path / "out"), "--steps", "1"]) == 2
    assert capsys.readouterr().err.startswith("error: ")
