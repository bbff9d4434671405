"""AMWC's losses of two processes with half of the images each, and their gradients, are those of one with all of them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.training.tiny import in_two_processes
from training import distributed
from training.methods.amwc.end_to_end import EndToEndSettings, panoptic_loss
from training.methods.amwc.loss import LossSettings, losses
from training.methods.amwc.network import Output
from training.methods.amwc.separate import separate_losses

THINGS = torch.tensor([False, False, True])
DISTANCES = (1, 2)
END_TO_END = EndToEndSettings(scale=1.0, perturbations=2, largest=50.0, drop=0.0, min_thing_area=16, min_stuff_area=16)
LOSS = LossSettings(top_k=1.0, small_area=200)


def pre_training(output: Output, semantic: Tensor, instance: Tensor) -> Tensor:
    return sum(losses(output, semantic, instance, THINGS, DISTANCES, LOSS).values())


def end_to_end(output: Output, semantic: Tensor, instance: Tensor) -> Tensor:
    return panoptic_loss(output, semantic, instance, THINGS, DISTANCES, END_TO_END)


def separately(output: Output, semantic: Tensor, instance: Tensor) -> Tensor:
    return sum(separate_losses(output, semantic, instance, THINGS, DISTANCES, END_TO_END, LOSS).values())


WAYS: dict[str, Callable[[Output, Tensor, Tensor], Tensor]] = {
    "pre_training": pre_training, "end_to_end": end_to_end, "separately": separately
}  # fmt: skip


def images() -> tuple[Output, Tensor, Tensor]:
    """Four images of 8 x 8 cells, of three classes the last are things: one full, one with a void part, two all void, so that one
    of two processes knows nothing."""
    draw = torch.Generator().manual_seed(0)
    rows, columns = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
    semantic = torch.where(rows < 3, 0, torch.where(columns < 4, 1, 2)).repeat(4, 1, 1)
    semantic[1, :, :3], semantic[2:] = -1, -1
    instance = torch.where(semantic == 2, (rows > 5).long(), -1)
    class_cost = torch.randn(4, 3, 8, 8, generator=draw) - 2 * torch.nn.functional.one_hot(semantic.clamp_min(0), 3).permute(
        0, 3, 1, 2
    )
    edge_cost = torch.randn(4, 4, 8, 8, generator=draw) + 0.5
    return Output(class_cost, edge_cost, torch.randn(4, 5, 8, 8, generator=draw)), semantic, instance


def found(way: str, mine: slice) -> list[Tensor]:
    """The loss of some of the images, and its gradients by class costs, edge costs and features, zero where it has none."""
    output, semantic, instance = images()
    leaves = [part[mine].clone().requires_grad_() for part in (output.class_cost, output.edge_cost, output.features)]
    torch.manual_seed(3)
    loss = WAYS[way](Output(*leaves), semantic[mine], instance[mine])
    loss.backward()
    return [loss.detach(), *(torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves)]


def half(folder: Path) -> int:
    """One of two processes, with two of the images."""
    distributed.join()
    mine = slice(2 * distributed.rank(), 2 * distributed.rank() + 2)
    torch.save({way: found(way, mine) for way in WAYS}, folder / f"{distributed.rank()}.pt")
    distributed.leave()
    return 0


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, list[Tensor]]]:
    folder = tmp_path_factory.mktemp("halves")
    assert in_two_processes(half, folder) == [0, 0]
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("way", WAYS)
def test_two_processes_find_the_loss_and_gradients_of_one(way: str, halves: list[dict[str, list[Tensor]]]) -> None:
    """The mean of both processes' losses, and of their gradients, of which each has those of its own images."""
    loss, *gradients = found(way, slice(None))
    (one, *first), (two, *second) = (each[way] for each in halves)
    torch.testing.assert_close((one + two) / 2, loss)
    for whole, *parts in zip(gradients, first, second, strict=True):
        torch.testing.assert_close(torch.cat(parts) / 2, whole, rtol=1e-4, atol=1e-6)
    assert loss > 0.1 and np.any([gradient.abs().max() > 1e-4 for gradient in gradients])
