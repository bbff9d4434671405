"""Two processes that share out each batch learn what one process with the whole batch learns."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from panoptic_ros import coco
from panoptic_ros.core import PanopticError
from tests.data import tiny_dataset
from tests.training.tiny import in_two_processes
from training import distributed, normalisation, train
from training import recipe as recipes

ROOT = Path(__file__).resolve().parents[2]
TRAINING = "stages: [{size: [64, 64], steps: 3, batch: 4}]\nprecision: fp32\nwarmup: 2\nnorm: frozen\n"
RECIPES = {
    "hle": """
model: tiny
method: hle
lr: 1e-3
settings:
  network: {aspp_width: 8, skips: [[8, 4, 8], [2, 4, 8]], thomson: false}
  loss: {semantic_cross_entropy: 1.0, seed_foreground: 10.0}
""",
    # the worst part of a batch is not the worst parts of its halves
    "dense": """
model: tiny
method: dense
lr: 1e-3
settings: {loss: {bootstrap: 1.0}, network: {pyramid: 16, semantic_tower: 16, location_tower: 16, depth: 1, merge: 4}}
""",
    "affinity": """
model: tiny
method: affinity
lr: 1e-3
settings: {network: {pyramid: 16, tower: 16, depth: 1, subnet: 8, subnet_depth: 1, affinity: 8, mask: 8}}
""",
    # nor are the worst edges of a batch those of its halves
    "amwc": """
model: tiny
method: amwc
lr: 1e-3
settings:
  network: {aspp_width: 8, semantic_skips: [[4, 4, 8]], affinity_skips: [[4, 4, 8]], distances: [1, 4], joined: 8, embedding: 4}
  loss: {top_k: 1.0}
""",
}


@pytest.fixture
def arguments(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """Of the training command, for a tiny network of the method that a test names."""
    root = tiny_dataset.write(tmp_path / "data")
    for frame in range(2):  # so that the processes have different numbers of cells, edges and objects
        ids = tiny_dataset.ids_of(frame)
        ids[28:] = 0
        coco.write_ids(root / "panoptic_train" / f"{frame}.png", ids)
    (tmp_path / "tiny.yaml").write_text(RECIPES[request.param] + TRAINING)
    options = ["--log-every", "1", "--picture-every", "0", "--workers", "0"]
    return [str(tmp_path / "tiny.yaml"), f"data.root={root}", *options]


def losses(out: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (out / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("arguments", "steps"), [("hle", 5), ("dense", 50), ("affinity", 5), ("amwc", 5)], indirect=["arguments"]
)
def test_two_processes_learn_what_one_does(arguments: list[str], steps: int, tmp_path: Path) -> None:
    one, two, arguments = tmp_path / "one", tmp_path / "two", [*arguments, f"stages.0.steps={steps}"]
    assert train.main([*arguments, "--out", str(one)]) == 0
    assert in_two_processes(train.main, [*arguments, "--out", str(two)]) == [0, 0]
    assert len(losses(one)) == steps
    assert losses(two) == pytest.approx(losses(one), abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", RECIPES, indirect=True)
def test_torchrun_s_two_processes_learn_what_one_does_for_fifty_steps(arguments: list[str], tmp_path: Path) -> None:
    one, two, steps = tmp_path / "one", tmp_path / "two", "stages.0.steps=50"
    assert train.main([*arguments, steps, "--out", str(one)]) == 0
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "training.train"]
    done = subprocess.run([*torchrun, *arguments, steps, "--out", str(two)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(losses(one)) == 50 and sum(losses(one)[-10:]) < sum(losses(one)[:10])
    assert losses(two) == pytest.approx(losses(one), abs=1e-4)


def normalised(norm: nn.BatchNorm2d, images: Tensor) -> tuple[Tensor, ...]:
    """Output, gradients of a sum of cubes, and running statistics after one batch."""
    images = images.clone().requires_grad_()
    output = norm(images)
    (output**3).sum().backward()
    return output.detach(), images.grad, norm.running_mean, norm.running_var, norm.num_batches_tracked


def images() -> Tensor:
    """Four, of different brightness."""
    return torch.randn(4, 3, 5, 6, generator=torch.Generator().manual_seed(0)) + torch.arange(4).view(4, 1, 1, 1)


def half(folder: Path) -> int:
    """One of two processes, with two of the images."""
    distributed.join()
    norm, mine = nn.BatchNorm2d(3), images()[2 * distributed.rank() :][:2]
    normalisation.synchronise(norm)
    torch.save(normalised(norm, mine), folder / f"{distributed.rank()}.pt")
    distributed.leave()
    return 0


def test_synchronised_normalisation_is_that_of_all_images(tmp_path: Path) -> None:
    expected = normalised(nn.BatchNorm2d(3), images())
    assert in_two_processes(half, tmp_path) == [0, 0]
    for rank, found in enumerate(torch.load(tmp_path / f"{rank}.pt") for rank in range(2)):
        shares = [part[2 * rank :][:2] for part in expected[:2]]
        for one, other in zip(found, [*shares, *expected[2:]], strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_frozen_normalisation_does_not_learn() -> None:
    norm = nn.BatchNorm2d(2)
    norm.train()
    normalisation.freeze(norm)
    images = torch.full((1, 2, 3, 3), 5.0)
    assert torch.allclose(norm(images), images)
    assert norm.running_mean.tolist() == [0, 0] and not norm.weight.requires_grad


@pytest.mark.parametrize("arguments", ["hle"], indirect=True)
def test_a_batch_that_processes_cannot_share_is_refused(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipes.load(arguments[0], [arguments[1], "accumulate=2"])
    train.check_shares(recipe)
    monkeypatch.setattr(distributed, "count", lambda: 4)
    with pytest.raises(PanopticError, match=r"stages.0.batch is 4: 4 processes with accumulate=2 need a multiple of 8"):
        train.check_shares(recipe)
