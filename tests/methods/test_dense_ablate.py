"""The table of what levelness, mask loss and full supervision are worth: which network each row trains, and how it is decoded."""

import dataclasses
from pathlib import Path

import pytest

from tests.data import tiny_dataset
from training.ablation import training_digest
from training.methods.dense import ablate

SMALL = [
    "backbone_weights=null",
    "stages.0.size=[64,96]",
    "engine_size=[64,96]",
    *(f"settings.network.{key}=8" for key in ("pyramid", "semantic_tower", "location_tower", "merge")),
]


def test_levelness_is_judged_without_the_mask_loss() -> None:
    args = ablate.ABLATION.parser("").parse_args([])
    found = {name: ablate.ABLATION.variant(name, 0, args) for name in ablate.VARIANTS}
    assert len({training_digest(recipe) for recipe in found.values()}) == 4
    terms = {name: (r.settings.loss.mask, r.settings.loss.levelness, r.settings.decoder.levelness) for name, r in found.items()}
    assert terms["without mask loss"] == (0, 1, True) and terms["without mask loss and levelness"] == (0, 0, False)
    assert [name for name, recipe in found.items() if recipe.settings.loss.weak] == ["weakly supervised"]
    assert set(ablate.ABLATION.paper_pq) <= set(found)


def test_a_row_without_levelness_is_trained_and_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    for split in ("train", "val"):
        tiny_dataset.write(tmp_path / "data" / "street", split)
    monkeypatch.chdir(tmp_path)
    few = {name: [*change, *SMALL] for name, change in ablate.VARIANTS.items() if name.endswith("levelness")}
    monkeypatch.setattr(ablate, "ABLATION", dataclasses.replace(ablate.ABLATION, variants=few))
    assert ablate.main(["--out", "out", "--steps", "1", "--batch", "1", "--frames", "1", "--seeds", "3"]) == 0
    row = capsys.readouterr().out.strip().splitlines()[2].split(" | ")
    assert row[0] == "| without mask loss and levelness" and 0 <= float(row[1]) <= 100
