"""Several processes that train one model, one for each GPU or some on a CPU, as `torchrun` starts them."""

import os
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others: decoding pictures and writing checkpoints is the first one's work alone."""


def join() -> torch.device:
    """The device of this process, once all of torchrun's are there; without torchrun the GPU, if there is one."""
    cuda = torch.cuda.is_available()
    if "RANK" not in os.environ:
        return torch.device("cuda" if cuda else "cpu")
    if not dist.is_initialized():
        dist.init_process_group("nccl" if cuda else "gloo", timeout=PATIENCE)
    if not cuda:
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(device)
    return device


def meet() -> None:
    """Until all processes are here: one that ends while others still work would take their connections along."""
    if dist.is_initialized():
        dist.barrier()


def leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def count() -> int:
    """Processes, 1 without torchrun."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """The number of this process; process 0 writes checkpoints and logs."""
    return dist.get_rank() if dist.is_initialized() else 0


def total(value: Tensor) -> Tensor:
    """The sum of the processes' values, without gradient."""
    if count() == 1:
        return value
    summed = value.detach().clone()
    dist.all_reduce(summed)
    return summed


def mean_count(found: Tensor) -> Tensor:
    """What a sum over this process's images is divided by, so that the mean of all processes' losses is that of one process
    with all the images: the count over all processes, at least 1, per process."""
    return total(found).clamp_min(1) / count()


def any_process(here: bool) -> bool:
    """Whether it is so in any process."""
    return here if count() == 1 else bool(total(torch.tensor(float(here), device=_collective_device())))


def _collective_device() -> str:
    return "cuda" if dist.get_backend() == "nccl" else "cpu"


class Sum(torch.autograd.Function):
    """`total` with gradient."""

    @staticmethod
    def forward(context: Any, value: Tensor) -> Tensor:
        return total(value)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return total(gradient)
