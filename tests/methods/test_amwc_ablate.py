"""The table of what training through the cut is worth: every row starts from one pre-trained network."""

import dataclasses
from pathlib import Path

import pytest
import torch

from panoptic_ros.core import PanopticError
from tests.data import tiny_dataset
from training import ablation, train
from training.methods.amwc import ablate

SMALL = ["settings.network.aspp_width=16", "settings.network.semantic_skips=[[8,4,16],[4,4,16]]",
         "settings.network.affinity_skips=[[4,4,16]]", "settings.network.joined=8", "settings.network.embedding=4"]  # fmt: skip


def test_rows_differ_in_what_they_learn_and_in_nothing_else() -> None:
    args = ablate.ABLATION.parser("").parse_args(["--steps", "7"])
    found = {name: ablate.ABLATION.variant(name, 0, args) for name in ablate.VARIANTS}
    learned = {
        name: (r.stages[0].steps, r.settings.end_to_end.enabled, r.settings.end_to_end.separate) for name, r in found.items()
    }
    assert learned == {
        "pre-training alone": (0, True, False),
        "pre-training continued": (7, False, False),
        "end to end": (7, True, False),
        "separate losses": (7, True, True),
    }
    for recipe in found.values():
        recipe.stages[0].steps, recipe.settings.end_to_end = 0, None
    assert len({str(recipe) for recipe in found.values()}) == 1
    assert set(ablate.ABLATION.paper_pq) <= set(found) and len(args.seeds) == 3


@pytest.fixture
def pretrained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint after one step."""
    for split in ("train", "val"):
        tiny_dataset.write(tmp_path / "data" / "street", split)
    monkeypatch.chdir(tmp_path)
    small = {name: [*change, "stages.0.size=[64,96]", "engine_size=[64,96]", *SMALL] for name, change in ablate.VARIANTS.items()}
    monkeypatch.setattr(ablate, "ABLATION", dataclasses.replace(ablate.ABLATION, variants=small))
    overrides = ["stages=[{size: [64, 96], steps: 1, batch: 1}]", "backbone_weights=null", *SMALL]
    assert train.main(["amwc_mnv2_street", *overrides, "--out", "runs/amwc_mnv2", "--workers", "0"]) == 0
    return tmp_path / "runs" / "amwc_mnv2" / "last.pt"


def test_every_row_starts_from_the_checkpoint(pretrained: Path, capsys: pytest.CaptureFixture) -> None:
    assert ablate.main(["--out", "out", "--steps", "1", "--batch", "1", "--frames", "1", "--seeds", "3"]) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][1:]
    assert [row[0][2:] for row in rows] == list(ablate.VARIANTS) and all(0 <= float(row[1]) <= 100 for row in rows)
    start = train.read_checkpoint(pretrained)["average"]
    args = ablate.ABLATION.parser("").parse_args(["--out", "out", "--steps", "1", "--batch", "1", "--seeds", "3"])
    args.init = ablation.starts(args)
    moved = {}
    for name in ablate.VARIANTS:
        digest = ablation.training_digest(ablate.ABLATION.variant(name, 3, args))
        weights = torch.load(Path("out") / f"{digest}.pt", weights_only=True)
        moved[name] = {key.split(".")[0] for key, value in weights.items() if not torch.equal(value, start[key])}
    assert moved["pre-training alone"] == set()
    assert "trunk" in moved["pre-training continued"]
    assert (
        moved["end to end"]
        and moved["separate losses"]
        and moved["end to end"] | moved["separate losses"] <= {"semantic", "classifiers"}
    )


def test_each_seed_may_have_its_own_checkpoint(pretrained: Path) -> None:
    files = ["runs/amwc_mnv2/last.pt", "other.pt"]
    Path("other.pt").write_bytes(b"other weights")
    args = ablate.ABLATION.parser("").parse_args(["--out", ".", "--seeds", "5", "9", "--init", *files])
    args.init = ablation.starts(args)
    starts = [Path(ablate.ABLATION.variant("end to end", seed, args).init) for seed in (5, 9)]
    assert [start.read_bytes() for start in starts] == [pretrained.read_bytes(), b"other weights"]
    Path("other.pt").write_bytes(b"trained further")
    args = ablate.ABLATION.parser("").parse_args(["--out", ".", "--seeds", "5", "9", "--init", *files])
    assert ablation.starts(args)[1] != starts[1] and starts[1].read_bytes() == b"other weights"
    args = ablate.ABLATION.parser("").parse_args(["--out", ".", "--init", *files])
    with pytest.raises(PanopticError, match="2 checkpoints for 3 seeds"):
        ablation.starts(args)


def test_a_missing_checkpoint_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert ablate.main(["--out", str(tmp_path), "--init", str(tmp_path / "no.pt")]) == 2
    assert capsys.readouterr().err.startswith("error: cannot read the checkpoint")
