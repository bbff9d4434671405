"""The training command on a drawn data set: a few steps of a tiny network, interrupted, continued and refused."""

import json
import math
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from panoptic_ros.core import Label, PanopticError
from tests.data import tiny_dataset
from training import recipe as recipes
from training import train
from training import trainer as trainer_module
from training.nets.deeplab import backbone
from training.optimiser import parameter_groups
from training.recipe import Recipe

pytestmark = pytest.mark.usefixtures("one_thread")

RECIPE = """
model: tiny
method: hle
stages: [{size: [32, 64], steps: 3, batch: 2}, {size: [64, 64], steps: 2, batch: 2}]
precision: fp32
warmup: 2
lr: 1e-3
settings: {network: {aspp_width: 8, skips: [[8, 4, 8], [2, 4, 8]], thomson: false}}
"""

LABELS = (Label(7, "road", False, (0, 0, 0)), Label(26, "car", True, (0, 0, 0)))


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dataset.write(tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE)
    return path


def run(file: Path, data: Path, out: Path, *arguments: str, save_every: int = 2, workers: str = "0") -> int:
    options = ["--out", str(out), "--workers", workers, "--save-every", str(save_every), "--picture-every", "0"]
    return train.main([str(file), f"data.root={data}", *arguments, *options])


def refusal(capsys: pytest.CaptureFixture) -> str:
    """The one line that an error leaves."""
    error = capsys.readouterr().err
    lines = [line for line in error.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and error.endswith(lines[0] + "\n")
    return lines[0]


def weights(checkpoint: Path, key: str = "network") -> dict[str, torch.Tensor]:
    return torch.load(checkpoint, weights_only=True)[key]


def trained(recipe: Recipe) -> train.Trainer:
    torch.manual_seed(0)
    return train.Trainer(recipe, LABELS)


def batch() -> train.Batch:
    semantic = torch.zeros(1, 16, 16, dtype=torch.int64)
    semantic[:, 4:8, 4:8] = 1
    return torch.full((1, 3, 32, 32), 100, dtype=torch.uint8), semantic, semantic - 1


@pytest.fixture
def recipe(file: Path, data: Path) -> Recipe:
    return recipes.load(str(file), [f"data.root={data}"])


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


@pytest.fixture
def whole(file: Path, data: Path, tmp_path: Path) -> Path:
    """The checkpoint of a run that nothing interrupted."""
    assert run(file, data, tmp_path / "whole") == 0
    return tmp_path / "whole" / "last.pt"


def assert_same_weights(one: Path, other: Path) -> None:
    """To the last bit."""
    for key in ("network", "average"):
        a, b = weights(one, key), weights(other, key)
        assert set(a) == set(b) and all(torch.equal(a[name], b[name]) for name in a)


def call_at_step(monkeypatch: pytest.MonkeyPatch, step: int, action: Callable[[], object]) -> None:
    """Before the step with this number, counted from 0, `action` happens."""
    update = train.Trainer.update

    def watched(self: train.Trainer, batch: train.Batch) -> dict[str, float]:
        if self.step == step:
            action()
        return update(self, batch)

    monkeypatch.setattr(train.Trainer, "update", watched)


def test_a_killed_run_ends_where_an_uninterrupted_one_does(file: Path, data: Path, tmp_path: Path, whole: Path) -> None:
    """Killed by SIGKILL in step 4, in the middle of a stage: the checkpoint of step 2 is what is left."""
    parts = tmp_path / "parts"
    child = os.fork()
    if not child:
        with pytest.MonkeyPatch.context() as patch:
            call_at_step(patch, 3, lambda: os.kill(os.getpid(), signal.SIGKILL))
            run(file, data, parts)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert train.read_checkpoint(parts / "last.pt")["step"] == 2
    torch.manual_seed(99)
    assert run(file, data, parts, "--resume") == 0
    assert_same_weights(whole, parts / "last.pt")


@pytest.mark.slow
def test_a_run_killed_at_ten_random_points_ends_where_an_uninterrupted_one_does(file: Path, data: Path, tmp_path: Path) -> None:
    """Each time it is killed by SIGKILL, it has come further than the time before, and then some random time has passed."""
    arguments = ["stages.0.steps=30", "stages.1.steps=25", "--log-every", "1"]
    whole, parts, random = tmp_path / "whole", tmp_path / "parts", np.random.default_rng()
    assert run(file, data, whole, *arguments) == 0
    for kill in range(10):
        child = os.fork()
        if not child:
            os._exit(run(file, data, parts, *arguments, *(["--resume"] if kill else [])))
        while logged(parts) < 5 * kill + 3:
            time.sleep(0.02)
        time.sleep(random.uniform(0, 0.4))
        os.kill(child, signal.SIGKILL)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert run(file, data, parts, *arguments, "--resume") == 0
    assert_same_weights(whole / "last.pt", parts / "last.pt")
    steps = [json.loads(line)["step"] for line in (parts / "log.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 56))


def logged(out: Path) -> int:
    """The last step in a log, 0 without one."""
    log = out / "log.jsonl"
    return len(log.read_text().splitlines()) if log.exists() else 0


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGINT, "1"), (signal.SIGTERM, "0")])
def test_a_signal_ends_a_run_after_its_step_and_loses_nothing(
    file: Path, data: Path, tmp_path: Path, whole: Path, number: int, workers: str
) -> None:
    """Ctrl-C in a terminal goes to all processes, those that load data too."""
    parts, before = tmp_path / "parts", signal.getsignal(number)

    def send() -> None:
        os.kill(os.getpid(), number)
        for worker in multiprocessing.active_children():
            os.kill(worker.pid, signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch:
        call_at_step(patch, 2, send)
        assert run(file, data, parts, workers=workers, save_every=100) == train.INTERRUPTED
    assert signal.getsignal(number) == before
    assert train.read_checkpoint(parts / "last.pt")["step"] == 3
    assert run(file, data, parts, "--resume") == 0
    assert_same_weights(whole, parts / "last.pt")


def test_a_second_interrupt_ends_a_run_at_once(
    file: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    call_at_step(monkeypatch, 3, lambda: [os.kill(os.getpid(), signal.SIGINT) for _ in range(2)])
    assert run(file, data, tmp_path) == train.INTERRUPTED
    assert "interrupted at once; continue from the last checkpoint" in refusal(capsys)
    assert train.read_checkpoint(tmp_path / "last.pt")["step"] == 2


def test_a_continued_log_has_every_step_once(file: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps 3 and 4 were done and logged, but the checkpoint is that of step 2."""
    with monkeypatch.context() as patch:
        call_at_step(patch, 4, lambda: [os.kill(os.getpid(), signal.SIGINT) for _ in range(2)])
        run(file, data, tmp_path, "--log-every", "1", save_every=3)
    (tmp_path / "log.jsonl").open("a").write('{"step": 5, "los')
    assert run(file, data, tmp_path, "--log-every", "1", "--resume") == 0
    entries = map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())
    assert [entry["step"] for entry in entries] == [1, 2, 3, 4, 5]


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


def test_a_finished_run_is_not_overwritten(file: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "last.pt").write_bytes(b"precious")
    assert run(file, data, tmp_path) == 2
    assert "last.pt exists: continue it with --resume, or choose another --out" in refusal(capsys)
    assert (tmp_path / "last.pt").read_bytes() == b"precious"


def test_a_checkpoint_of_another_network_is_refused(
    file: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """As another version of this code may have written it."""
    assert run(file, data, tmp_path) == 0
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    state["network"].popitem()
    torch.save(state, tmp_path / "last.pt")
    assert run(file, data, tmp_path, "--resume") == 2
    assert "last.pt is a checkpoint of another network than tiny's" in refusal(capsys)


@pytest.mark.parametrize(("change", "name"), [("seed=1", "seed"), ("fast_lr=50", "fast_lr"), ("settings.loss.vq=0", "settings")])
def test_a_checkpoint_of_another_recipe_is_refused(
    file: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture, change: str, name: str
) -> None:
    assert run(file, data, tmp_path) == 0
    before = (tmp_path / "last.pt").read_bytes()
    assert run(file, data, tmp_path, change, "--resume") == 2
    assert f"last.pt was trained with another value of {name};" in refusal(capsys)
    assert (tmp_path / "last.pt").read_bytes() == before


def test_memory_may_be_saved_when_a_run_is_continued(file: Path, data: Path, tmp_path: Path) -> None:
    assert run(file, data, tmp_path) == 0
    assert run(file, data, tmp_path, "accumulate=2", "--resume") == 0


def test_a_checkpoint_from_before_a_key_existed_has_its_default(file: Path, data: Path, tmp_path: Path) -> None:
    assert run(file, data, tmp_path) == 0
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    for key in ("norm", "schedule", "optimiser", "accumulate"):
        del state["recipe"][key]
    del state["scaler"]
    torch.save(state, tmp_path / "last.pt")
    assert run(file, data, tmp_path, "--resume") == 0


def test_a_checkpoint_of_other_labels_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    trained(recipe).save(tmp_path / "last.pt")
    with pytest.raises(PanopticError, match="another value of labels"):
        train.Trainer(recipe, (LABELS[0], Label(24, "person", True, (0, 0, 0)))).load(tmp_path / "last.pt")


def test_a_disk_that_fills_up_is_one_line_and_loses_nothing(file: Path, data: Path, tmp_path: Path) -> None:
    """In a process of its own, whose files cannot grow beyond 100 kB; the network alone has 7 MB."""
    with pytest.MonkeyPatch.context() as patch:
        call_at_step(patch, 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
        run(file, data, tmp_path)
    before, report = (tmp_path / "last.pt").read_bytes(), tmp_path / "stderr"
    child = os.fork()
    if not child:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        with report.open("w") as sys.stderr:
            status = run(file, data, tmp_path, "--resume")
        os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    assert f"the last good checkpoint, {tmp_path / 'last.pt'}, is intact; make room" in report.read_text()
    assert (tmp_path / "last.pt").read_bytes() == before and not list(tmp_path.glob("*.tmp"))


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


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_broken_file_is_named_in_one_line(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture, workers: str) -> None:
    data = tiny_dataset.write(tmp_path / "tiny")
    for number in range(4):
        (data / "panoptic_train" / f"{number}.png").write_bytes(b"broken")
    arguments = [str(file), f"data.root={data}", "--out", str(tmp_path / "out"), "--workers", workers]
    assert train.main(arguments) == 2
    assert refusal(capsys).startswith("error: cannot read the panoptic PNG")
