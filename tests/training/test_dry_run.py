"""Recipes tried without data: what passes says so, what does not fit or cannot be is refused; and the loader's benchmark."""

import itertools
import re
from pathlib import Path

import pytest

from tests.data import tiny_dataset
from training import dry_run, recipe, train
from training.data import bench, fabricate

RECIPE = """
model: tiny
method: hle
data: {root: nowhere}
stages: [{size: [32, 64], batch: 4}, {size: [64, 64], batch: 2}]
engine_size: [64, 96]
settings: {network: {aspp_width: 8, skips: [[8, 4, 8], [2, 4, 8]], thomson: false}}
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    return str(tmp_path / "tiny.yaml")


@pytest.mark.parametrize("layout", [name for name in fabricate.LAYOUTS if name not in ("vistas", "cityscapes_panoptic")])
def test_a_recipe_runs_on_made_up_files(layout: str, file: str, capsys: pytest.CaptureFixture) -> None:
    assert train.main([file, "--dry-run", f"data.layout={layout}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    labels = fabricate.LAYOUTS[layout].labels
    slots = 100 + sum(not label.thing for label in labels)
    assert lines[0].startswith(f"tiny: {layout} layout, {len(labels)} labels, ")
    assert f"engine: 64x96, {slots} slots, ids (32, 48), embedding ({slots}, 12)" in lines
    assert [line.split(",")[0] for line in lines if "loss" in line] == ["stage 0: 32x64", "stage 1: 64x64"]
    assert lines[-1] == "dry run passed"
    assert not Path("runs/tiny").exists()


@pytest.mark.slow
@pytest.mark.parametrize("file", sorted(recipe.RECIPES.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_recipe_of_the_project_runs_on_made_up_files(file: Path, capsys: pytest.CaptureFixture) -> None:
    """In its data set's layout and with its networks, losses and schedule, on small crops."""
    small = [f"stages.{n}.{part}" for n in range(len(recipe.load(str(file), []).stages)) for part in ("size=[64,96]", "batch=2")]
    assert train.main([str(file), "--dry-run", "engine_size=[64,96]", *small]) == 0, capsys.readouterr().err
    assert capsys.readouterr().out.splitlines()[-1] == "dry run passed"


@pytest.mark.parametrize(("override", "message"), [
    ("stages.0.size=[40,64]", "stage size 40x64: .* multiples of 32"),
    ("data.layout=ade", "unknown layout 'ade'; there are panoptic, coco, cityscapes"),
    ("settings.decoder.seeds=250", "tiny has 261 slots"),
])  # fmt: skip
def test_what_cannot_work_is_refused(override: str, message: str, file: str, capsys: pytest.CaptureFixture) -> None:
    assert train.main([file, "--dry-run", override]) == 2
    assert re.search(message, capsys.readouterr().err)


def test_the_weights_of_another_training_may_be_missing(file: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert train.main([file, "--dry-run", "backbone_weights=runs/nobody/last.pt", "init=https://nowhere.example/last.pt"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "note: backbone_weights runs/nobody/last.pt is no file here, and was not tried" in lines
    assert "note: init https://nowhere.example/last.pt is no file here, and was not tried" in lines
    (tmp_path / "junk.pt").write_bytes(b"junk")
    assert train.main([file, "--dry-run", f"init={tmp_path / 'junk.pt'}"]) == 2
    assert "cannot read the checkpoint" in capsys.readouterr().err


@pytest.mark.parametrize(("memory_gib", "status"), [(8, 0), (6, 2)])
def test_a_batch_has_to_fit_into_memory(
    memory_gib: int, status: int, file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """One image needs 1 GiB, two need 3: stage 0 with 4 at a time needs 7, with `accumulate=2` stage 1 has one at a time."""
    peaks = itertools.cycle([1, 3])
    monkeypatch.setattr(dry_run, "peak_bytes", lambda _: next(peaks) * 2**30)
    monkeypatch.setattr(dry_run, "memory_bytes", lambda _: memory_gib * 2**30)
    assert train.main([file, "--dry-run"]) == status
    out, error = capsys.readouterr()
    assert f"stage 0: about 7.0 GiB with 4 at a time, of {memory_gib}.0 GiB" in out
    if status:
        assert "stages.0: 4 images of 32x64 at a time need about 7.0 GiB, cpu has 6.0; take a higher accumulate" in error
        assert train.main([file, "--dry-run", "accumulate=2"]) == 0
        assert "stage 1: about 1.0 GiB with 1 at a time, of 6.0 GiB" in capsys.readouterr().out


def test_the_benchmark_names_both_rates(file: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    root = tiny_dataset.write(tmp_path / "data")
    assert bench.main([file, f"data.root={root}", "--seconds", "0.1", "--workers", "0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["stage 0", "stage 1"]
    assert all("loading is " in line and "times as fast" in line for line in lines)


def test_rates_are_calls_a_second() -> None:
    calls = []
    rate = bench.timed(lambda: calls.append(bench.time.sleep(0.01)), 0.2)
    assert len(calls) > bench.WARM and 20 < rate <= 100
