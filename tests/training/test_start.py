"""What a run may start from: checkpoints, averaged weights and ImageNet weights; and what it refuses."""

import shutil
from pathlib import Path

import pytest
import torch

from panoptic_ros.core import Label, PanopticError
from tests.training.tiny import LABELS, batch, refusal, run, trained
from training import recipe as recipes
from training import train
from training.backbone import main as command
from training.nets.deeplab import backbone
from training.recipe import Recipe


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "run")


def test_a_finished_run_is_not_overwritten(file: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "last.pt").write_bytes(b"precious")
    assert run(file, data, tmp_path) == 2
    assert "last.pt exists: continue it with --resume, or choose another --out" in refusal(capsys)
    assert (tmp_path / "last.pt").read_bytes() == b"precious"


def test_a_checkpoint_of_another_network_is_refused(file: Path, data: Path, copied: Path, capsys: pytest.CaptureFixture) -> None:
    """As another version of this code may have written it."""
    state = torch.load(copied / "last.pt", weights_only=True)
    state["network"].popitem()
    torch.save(state, copied / "last.pt")
    assert run(file, data, copied, "--resume") == 2
    assert "last.pt is a checkpoint of another network than tiny's" in refusal(capsys)


@pytest.mark.parametrize(("change", "name"), [("seed=1", "seed"), ("fast_lr=50", "fast_lr"), ("settings.loss.vq=0", "settings")])
def test_a_checkpoint_of_another_recipe_is_refused(
    file: Path, data: Path, copied: Path, capsys: pytest.CaptureFixture, change: str, name: str
) -> None:
    before = (copied / "last.pt").read_bytes()
    assert run(file, data, copied, change, "--resume") == 2
    assert f"last.pt was trained with another value of {name};" in refusal(capsys)
    assert (copied / "last.pt").read_bytes() == before


def test_memory_may_be_saved_when_a_run_is_continued(file: Path, data: Path, copied: Path) -> None:
    assert run(file, data, copied, "accumulate=2", "--resume") == 0


def test_a_checkpoint_from_before_a_key_existed_has_its_default(file: Path, data: Path, copied: Path) -> None:
    state = torch.load(copied / "last.pt", weights_only=True)
    for key in ("norm", "schedule", "optimiser", "accumulate"):
        del state["recipe"][key]
    del state["scaler"]
    torch.save(state, copied / "last.pt")
    assert run(file, data, copied, "--resume") == 0


def test_a_checkpoint_of_other_labels_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    trained(recipe).save(tmp_path / "last.pt")
    with pytest.raises(PanopticError, match="another value of labels"):
        train.Trainer(recipe, (LABELS[0], Label(24, "person", True, (0, 0, 0)))).load(tmp_path / "last.pt")


@pytest.mark.parametrize("content", [None, b"", b"no checkpoint", b"PK\x03\x04 cut short"])
def test_what_is_no_checkpoint_is_refused(
    file: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "last.pt").write_bytes(content)
    assert run(file, data, tmp_path, "--resume") == 2
    assert "cannot read the checkpoint" in refusal(capsys)


def test_weights_of_something_else_are_no_checkpoint(
    file: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    torch.save({"weight": torch.zeros(1)}, tmp_path / "last.pt")
    assert run(file, data, tmp_path, "--resume") == 2
    assert "no checkpoint of this project" in refusal(capsys)


def test_a_run_can_start_from_the_averaged_weights_of_another(recipe: Recipe, tmp_path: Path) -> None:
    first = trained(recipe)
    first.update(batch())
    first.update(batch())
    first.save(tmp_path / "first.pt")
    recipe.init = str(tmp_path / "first.pt")
    second, expected = trained(recipe), first.average.module.state_dict()
    assert second.step == 0
    assert all(torch.equal(value, expected[name]) for name, value in second.network.state_dict().items())


def test_a_start_from_another_network_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    trained(recipe).save(tmp_path / "first.pt")
    recipe.settings.network.aspp_width, recipe.init = 16, str(tmp_path / "first.pt")
    with pytest.raises(PanopticError, match="first.pt is a checkpoint of another network than tiny's"):
        trained(recipe)


def test_backbone_weights_are_those_of_the_file(recipe: Recipe, tmp_path: Path) -> None:
    """As torchvision saves them: with a classifier that the backbone lacks."""
    torch.manual_seed(5)
    state = backbone("mobilenet_v2", 32).state_dict()
    torch.save({**state, "classifier.1.weight": torch.zeros(1000, 1280)}, tmp_path / "imagenet.pth")
    recipe.backbone_weights = str(tmp_path / "imagenet.pth")
    found = trained(recipe).network.trunk.backbone.state_dict()
    assert all(torch.equal(found[name], value) for name, value in state.items())


def test_a_missing_start_is_said_with_what_makes_it(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe.backbone_weights = "runs/hle_mnv2/last.pt"
    with pytest.raises(
        PanopticError,
        match="there is no runs/hle_mnv2/last.pt: .*`python -m training.train hle_mnv2_street` makes it, backbone_weights=FILE",
    ):
        trained(recipe)
    recipe.backbone_weights, recipe.init = None, "elsewhere.pt"
    with pytest.raises(PanopticError, match="there is no elsewhere.pt: init=FILE takes another, init=null begins without"):
        trained(recipe)


def test_backbone_weights_of_another_network_are_refused(recipe: Recipe, tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "resnet.pth")
    recipe.backbone_weights = str(tmp_path / "resnet.pth")
    with pytest.raises(PanopticError, match="lacks [0-9]+ parameters of the backbone, such as features.0.0.weight"):
        trained(recipe)


def test_backbone_weights_of_another_size_are_refused(recipe: Recipe, tmp_path: Path) -> None:
    state = backbone("mobilenet_v2", 32).state_dict()
    torch.save({**state, "features.0.0.weight": torch.zeros(16, 3, 3, 3)}, tmp_path / "narrow.pth")
    recipe.backbone_weights = str(tmp_path / "narrow.pth")
    with pytest.raises(PanopticError, match="narrow.pth.*features.0.0.weight"):
        trained(recipe)


def test_backbone_weights_are_those_of_a_run_of_this_project(recipe: Recipe, tmp_path: Path) -> None:
    first = trained(recipe)
    first.update(batch())
    first.save(tmp_path / "first.pt")
    recipe.backbone_weights, recipe.seed = str(tmp_path / "first.pt"), 7
    expected, found = first.average.module.state_dict(), trained(recipe).network.state_dict()
    same = {name for name, value in found.items() if torch.equal(value, expected[name])}
    backbone_names = {name for name in found if name.startswith("trunk.backbone.")}
    assert backbone_names <= same < set(found)


def test_backbone_weights_are_those_of_a_run_in_half_precision(recipe: Recipe, tmp_path: Path) -> None:
    first, file = trained(recipe), tmp_path / "new" / "backbone.pt"
    first.update(batch())
    first.save(tmp_path / "first.pt")
    assert command([str(tmp_path / "first.pt"), str(file)]) == 0
    assert {value.dtype for value in torch.load(file).values()} == {torch.float16, torch.int64}
    recipe.backbone_weights, recipe.seed = str(file), 7
    expected = first.average.module.trunk.backbone.state_dict()
    for name, value in trained(recipe).network.trunk.backbone.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=2**-10, atol=2**-24)


def test_a_backbone_that_cannot_be_taken_is_refused(recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    last, without, large = (tmp_path / name for name in ("last.pt", "without.pt", "large.pt"))
    trained(recipe).save(last)
    before = last.read_bytes()
    state = torch.load(last)
    torch.save(state | {"average": {"means": torch.zeros(1)}}, without)
    state["average"]["trunk.backbone.features.0.1.running_var"][0] = 1e6
    torch.save(state, large)
    refused = {
        (last, tmp_path): f"cannot write {tmp_path} ",
        (last, last): "is the checkpoint itself: choose another file",
        (tmp_path / "none.pt", tmp_path / "backbone.pt"): "cannot read the checkpoint",
        (without, tmp_path / "backbone.pt"): f"{without} has no backbone",
        (large, tmp_path / "backbone.pt"): "features.0.1.running_var of",
    }
    for (checkpoint, file), message in refused.items():
        assert command([str(checkpoint), str(file)]) == 2
        assert message in capsys.readouterr().err
    assert last.read_bytes() == before and not (tmp_path / "backbone.pt").exists()


def test_the_bundled_backbone_is_found_from_any_folder(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    named = {recipes.load(file.stem, []).backbone_weights for file in recipes.RECIPES.glob("*.yaml")} - {None}
    assert named == {"mobilenet_v2_street"}
    recipe.backbone_weights = "mobilenet_v2_street"
    assert trained(recipe).network.trunk.backbone.state_dict()["features.0.0.weight"].isfinite().all()
