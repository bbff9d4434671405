"""End-to-end training through the solver (section 3.3): the loss, and the gradients of Algorithm 1 and eq. 4."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import dropout

from panoptic_ros.core import PanopticError
from panoptic_ros.solvers.multiway_cut import Cut, asymmetric_multiway_cut, multiway_cut
from training.distributed import count
from training.methods.amwc.lifting import Lifting, lift
from training.methods.amwc.network import STRIDE, Output
from training.methods.amwc.surrogate import pairs_of, surrogate_quality

Job, Result = TypeVar("Job"), TypeVar("Result")


@dataclass
class EndToEndSettings:
    """enabled: train through the solver, with this loss alone; only the last layers learn, and batch normalisation is frozen.

    scale: w. perturbations: N. largest: lambda is drawn from 1 to it. drop: part of the costs that are set to zero (table 2); all
    classes of a cell together, since zero alone would make its class the likeliest there. min_thing_area, min_stuff_area: pixels,
    t of eq. 6; slope: of its sigma, per pixel. soft_misses: see `surrogate_quality`; false is eq. 6 as printed. separate: the
    losses of section A.4 instead, an ablation.
    """

    enabled: bool = False
    scale: float = 10.0
    perturbations: int = 5
    largest: float = 5000.0
    drop: float = 0.1
    min_thing_area: int = 200
    min_stuff_area: int = 2048
    slope: float = 0.1 / STRIDE**2
    soft_misses: bool = True
    separate: bool = False

    def __post_init__(self) -> None:
        if self.perturbations < 1 or self.largest < 1:
            raise PanopticError(
                f"settings.end_to_end has perturbations {self.perturbations}, largest {self.largest}; both are at least 1"
            )
        if not 0 <= self.drop < 1:
            raise PanopticError(f"settings.end_to_end.drop is {self.drop}; expected 0 to below 1")


@dataclass(frozen=True)
class Solved:
    """The problems of a batch and their cuts. class_cost: (B,C,H,W) and edge_cost: (B,2D,H,W), some costs dropped.

    distances: (D,), those that fit the grid. lambdas: (N,) interpolation ranges, drawn for this batch.
    """

    class_cost: Tensor
    edge_cost: Tensor
    distances: list[int]
    cuts: list[Cut]
    lambdas: list[float]


def solve(output: Output, things: np.ndarray, distances: Sequence[int], s: EndToEndSettings) -> Solved:
    """output: float32. things: (C,) bool."""
    distances = [d for d in distances if d <= min(output.class_cost.shape[2:])]
    lambdas = (1 + (s.largest - 1) * torch.rand(s.perturbations)).tolist()  # first: the same however many images come next
    # zeros without the rescaling of dropout (section A.2)
    class_cost, edge_cost = output.class_cost, output.edge_cost[:, : 2 * len(distances)]
    class_cost = class_cost * (dropout(torch.ones_like(class_cost[:, :1]), s.drop) > 0)
    edge_cost = edge_cost * (dropout(torch.ones_like(edge_cost), s.drop) > 0)
    return Solved(class_cost, edge_cost, distances, cuts_of(class_cost, edge_cost, distances, things), lambdas)


def panoptic_loss(
    output: Output, semantic: Tensor, instance: Tensor, things: Tensor, distances: Sequence[int], s: EndToEndSettings
) -> Tensor:
    """w (1 - surrogate PQ) of the batch, 0 where all of it is void. output: float32. semantic, instance: (B,h/4,w/4), -1 none."""
    kinds = things.cpu().numpy()
    batch = solve(output, kinds, distances, s)
    truth = zip(batch.cuts, semantic.cpu().numpy(), instance.cpu().numpy(), strict=True)
    liftings = [lift(cut, classes, objects, kinds) for cut, classes, objects in truth]
    found = ThroughCut.apply(batch.class_cost, batch.edge_cost, liftings, batch.distances, batch.lambdas)
    least_area = torch.where(things, float(s.min_thing_area), float(s.min_stuff_area))
    pairs = pairs_of(found, liftings, least_area, STRIDE**2, s.slope)
    return s.scale * (1 - surrogate_quality(pairs, len(things), s.soft_misses))


def cuts_of(class_cost: Tensor, edge_cost: Tensor, distances: Sequence[int], things: np.ndarray) -> list[Cut]:
    """The asymmetric multiway cut of each image. class_cost: (B,C,H,W). edge_cost: (B,2D,H,W). things: (C,) bool."""
    costs = zip(class_cost.detach().cpu().numpy(), edge_cost.detach().cpu().numpy())
    chosen = np.flatnonzero(things)
    return in_threads(lambda pair: asymmetric_multiway_cut(*pair, distances, chosen), costs)


class ThroughCut(torch.autograd.Function):
    """Costs -> z, with the gradients of eq. 4 for the way back.

    What arrives there is that of the whole batch's loss times the number of processes, whose gradients are averaged; eq. 4 is not
    linear, and is given it without that factor.
    """

    @staticmethod
    def forward(
        context: Any,
        class_cost: Tensor,
        edge_cost: Tensor,
        liftings: Sequence[Lifting],
        distances: Sequence[int],
        lambdas: Sequence[float],
    ) -> Tensor:
        """(J,H,W): the masks of all images' labels, one image after the other. lambdas: (N,) interpolation ranges."""
        context.save_for_backward(class_cost, edge_cost)
        context.rest = liftings, distances, lambdas
        return torch.from_numpy(np.concatenate([lifting.found for lifting in liftings])).to(class_cost)

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        liftings, distances, lambdas = context.rest
        costs = [cost.cpu().numpy() for cost in context.saved_tensors]
        parts = (gradient.cpu() / count()).split([len(lifting.category) for lifting in liftings])
        jobs = [
            (part.numpy(), class_cost, edge_cost, lifting, distances, lam)
            for part, class_cost, edge_cost, lifting in zip(parts, *costs, liftings)
            for lam in lambdas
        ]
        found = in_threads(lambda job: algorithm_1(*job), jobs)
        means = []
        for kind in range(2):
            each = torch.from_numpy(np.stack([pair[kind] for pair in found])).unflatten(0, (len(liftings), len(lambdas)))
            means.append(count() * each.mean(1).to(gradient))
        return *means, None, None, None


def algorithm_1(
    gradient: np.ndarray,
    class_cost: np.ndarray,
    edge_cost: np.ndarray,
    lifting: Lifting,
    distances: Sequence[int],
    lam: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients with respect to class_cost (C,H,W) and edge_cost (2D,H,W) from that of z, (J,H,W), for one lambda.

    What is unknown, and edges to it, get none: there the labels of the lifted problem say nothing.
    """
    if not len(lifting.category):
        return np.zeros_like(class_cost), np.zeros_like(edge_cost)
    perturbed = class_cost[lifting.category] + np.float32(lam) * gradient * lifting.known
    labels = multiway_cut(perturbed, edge_cost, distances).classes  # z_p
    numbers = np.arange(len(class_cost)).reshape(-1, 1, 1)
    moved = (lifting.category[labels] == numbers).astype(np.float32) - (lifting.cut.classes == numbers)  # x_p - x
    known_edges = boundaries(lifting.known, distances, np.logical_and)
    cut = boundaries(labels, distances, np.not_equal).astype(np.float32)  # y_p
    cut -= boundaries(lifting.cut.clusters, distances, np.not_equal)
    return moved * lifting.known / np.float32(lam), cut * known_edges / np.float32(lam)


def boundaries(
    cells: np.ndarray, distances: Sequence[int], relation: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> np.ndarray:
    """(2D,H,W) bool: the relation of both ends of each edge, false for edges that leave the image. cells: (H,W)."""
    found = np.zeros((2 * len(distances), *cells.shape), bool)
    for number, distance in enumerate(distances):
        found[2 * number, :, :-distance] = relation(cells[:, :-distance], cells[:, distance:])
        found[2 * number + 1, :-distance] = relation(cells[:-distance], cells[distance:])
    return found


def in_threads(work: Callable[[Job], Result], jobs: Iterable[Job]) -> list[Result]:
    """The results in the order of the jobs, which run side by side as far as they release the interpreter, as solvers do."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(work, jobs))
