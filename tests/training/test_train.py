"""The training command on a drawn data set: a few steps of a tiny network, and bad input refused."""

import json
import math
from pathlib import Path

import pytest
import torch

from panoptic_ros.core import PanopticError
from tests.data import tiny_dataset
from tests.training.tiny import batch, refusal, run, trained
from training import recipe as recipes
from training import train
from training import trainer as trainer_module
from training.optimiser import parameter_groups
from training.recipe import Recipe


def test_a_run_leaves_a_checkpoint_and_a_log(file: Path, data: Path, tmp_path: Path) -> None:
    assert run(file, data, tmp_path / "out") == 0
    state = train.read_checkpoint(tmp_path / "out" / "last.pt")
    assert (state["step"], state["recipe"]["model"], state["labels"][3]["name"]) == (5, "tiny", "car")
    assert recipes.from_dict(state["recipe"]).stages[1].size == (64, 64)
    assert not list((tmp_path / "out").glob("*.tmp"))
    (entry,) = map(json.loads, (tmp_path / "out" / "log.jsonl").read_text().splitlines())
    assert entry["step"] == 5 and entry["lr"] < 1e-3
    parts = [entry[name] for name in ("segmentation", "class_means", "instance", "variance", "seed")]
    assert entry["loss"] == pytest.approx(sum(parts), rel=1e-5)


def test_processes_that_load_data_change_nothing(file: Path, data: Path, recipe: Recipe) -> None:
    alone, helped = (list(train.batches(recipe, 0, 2, workers)) for workers in (0, 1))
    assert [len(found) for found in (alone, helped)] == [5, 5]
    assert all(torch.equal(a, b) for one, other in zip(alone, helped) for a, b in zip(one, other))


def test_batches_start_anywhere(recipe: Recipe) -> None:
    everything = list(train.batches(recipe, 0, 2, 0))
    assert [tuple(image.shape) for image, *_ in everything] == [(2, 3, 32, 64)] * 3 + [(2, 3, 64, 64)] * 2
    for start in (1, 3, 4, 5):
        rest = list(train.batches(recipe, start, 2, 0))
        assert len(rest) == 5 - start
        assert all(torch.equal(a[0], b[0]) for a, b in zip(rest, everything[start:]))


def test_steps_learn_and_the_average_follows(recipe: Recipe) -> None:
    trainer = trained(recipe)
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    losses = [trainer.update(batch())["loss"] for _ in range(5)]
    assert losses[-1] < losses[0]
    moved, average = trainer.network.head.weight, trainer.average.module.head.weight
    assert not torch.equal(moved, before["head.weight"])
    assert 0 < (average - before["head.weight"]).norm() < (moved - before["head.weight"]).norm()
    assert trainer.average.module.pixel_mean.flatten().tolist() == trainer.network.pixel_mean.flatten().tolist()


def test_only_weights_decay_and_the_class_means_are_fast(recipe: Recipe) -> None:
    network = trained(recipe).network
    weights_, others, fast = parameter_groups(network, ("means", "log_precision"), recipe)
    assert {parameter.ndim for parameter in weights_["params"]} == {4} and weights_["weight_decay"] == 0.01
    assert {parameter.ndim for parameter in others["params"]} == {1} and others["weight_decay"] == 0.0
    assert [id(p) for p in fast["params"]] == [id(network.means), id(network.log_precision)] and fast["factor"] == 5.0
    count = sum(len(group["params"]) for group in (weights_, others, fast))
    assert count == len(list(network.parameters()))


def test_a_loss_that_is_not_finite_ends_the_run_with_its_terms(recipe: Recipe) -> None:
    trainer = trained(recipe)
    with torch.no_grad():
        trainer.network.means[0] = float("nan")
    before = trainer.network.head.weight.clone()
    with pytest.raises(PanopticError, match="the loss is nan at step 0: .*'segmentation': nan.*; try a lower lr"):
        trainer.update(batch())
    assert torch.equal(trainer.network.head.weight, before)


def test_a_gradient_that_is_not_finite_is_left_out(recipe: Recipe) -> None:
    trainer = trained(recipe)
    before = trainer.network.head.weight.clone()
    trainer.network.head.weight.register_hook(lambda gradient: gradient * float("inf"))
    assert not math.isfinite(trainer.update(batch())["gradient"])
    assert trainer.step == 1 and torch.equal(trainer.network.head.weight, before)


def test_gradients_that_are_never_finite_end_the_run(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer_module, "MOST_SKIPPED", 2)
    trainer = trained(recipe)
    trainer.network.head.weight.register_hook(lambda gradient: gradient * float("inf"))
    trainer.update(batch())
    trainer.update(batch())
    with pytest.raises(PanopticError, match="no finite gradient for 3 steps up to 2; try a lower lr, or precision=fp32"):
        trainer.update(batch())


def test_parts_of_a_batch_add_up(recipe: Recipe) -> None:
    """Two equal images: the gradient of each is that of both."""
    pair, recipe.norm = tuple(torch.cat([part, part]) for part in batch()), "frozen"
    one = trained(recipe).update(batch())
    recipe.accumulate = 2
    assert trained(recipe).update(pair) == pytest.approx(one, rel=1e-4, abs=1e-6)


def test_frozen_statistics_stay_as_they_are(recipe: Recipe) -> None:
    recipe.norm = "frozen"
    trainer = trained(recipe)
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    trainer.update(batch())
    trainer.update(batch())
    after = trainer.network.state_dict()
    still = {name for name in before if torch.equal(before[name], after[name])}
    norms = {name for name in before if "running" in name or name.endswith("0.1.weight")}
    assert norms and norms <= still and "head.weight" not in still


def test_half_precision_scales_its_loss_and_learns(recipe: Recipe) -> None:
    recipe.precision, recipe.norm = "fp16", "frozen"  # the image is of one colour, which no batch statistics would survive
    trainer = trained(recipe)
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40, backoff_factor=2.0**-28)
    assert not math.isfinite(trainer.update(batch())["gradient"])  # overflow: left out, and the scale falls
    losses = [trainer.update(batch())["loss"] for _ in range(4)]
    assert trainer.scaler.get_scale() == 2.0**12 and losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.root=nowhere", "nowhere"),
        ("learning_rate=1", "unknown recipe key 'learning_rate'"),
        ("settings.network.backbone=vgg", "unknown backbone 'vgg'; there are mobilenet_v2"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_line(
    file: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture, override: str, message: str
) -> None:
    assert run(file, data, tmp_path / "out", override) == 2
    assert message in refusal(capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("option", "value"), [("--save-every", "0"), ("--workers", "-1"), ("--log-every", "0"), ("--keep", "-1")]
)
def test_numbers_that_make_no_sense_are_refused(
    file: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture, option: str, value: str
) -> None:
    assert train.main([str(file), f"data.root={data}", "--out", str(tmp_path / "out"), option, value]) == 2
    assert f"{option} is {value}; it is " in refusal(capsys)


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_broken_file_is_named_in_one_line(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture, workers: str) -> None:
    data = tiny_dataset.write(tmp_path / "tiny")
    for number in range(4):
        (data / "panoptic_train" / f"{number}.png").write_bytes(b"broken")
    arguments = [str(file), f"data.root={data}", "--out", str(tmp_path / "out"), "--workers", workers]
    assert train.main(arguments) == 2
    assert refusal(capsys).startswith("error: cannot read the panoptic PNG")
