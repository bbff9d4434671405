"""The ablation of section A.4: losses on the classes and on the edges of the cut, instead of the surrogate of PQ."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import one_hot

from panoptic_ros.solvers.multiway_cut import Cut, asymmetric_multiway_cut
from training.distributed import Sum, count, mean_count
from training.methods.amwc.end_to_end import EndToEndSettings, Solved, boundaries, in_threads, solve
from training.methods.amwc.loss import LossSettings
from training.methods.amwc.network import STRIDE, Output
from training.methods.amwc.targets import Edges, edges_of, small_object_weights


def separate_losses(
    output: Output, semantic: Tensor, instance: Tensor, things: Tensor, distances: Sequence[int], s: EndToEndSettings,
    weights: LossSettings,
) -> dict[str, Tensor]:  # fmt: skip
    """Eq. 7 and 8, times w, with the weights of pre-training. output: float32. semantic, instance: (B,h/4,w/4), -1 none."""
    batch = solve(output, things.cpu().numpy(), distances, s)
    x, y = ThroughAsymmetricCut.apply(batch.class_cost, batch.edge_cost, batch, np.flatnonzero(things.cpu().numpy()))
    weight = small_object_weights(instance, weights.small_area / STRIDE**2, weights.small_objects)
    edges = edges_of(semantic, instance, things, weight, batch.distances)
    return {"classes": s.scale * class_loss(x, semantic, weight), "edges": s.scale * edge_loss(y, edges, weights.thing_edges)}


def class_loss(x: Tensor, semantic: Tensor, weight: Tensor) -> Tensor:
    """Eq. 7, linear in x as its values are 0 and 1; per known cell. x: (B,C,H,W). semantic, weight: (B,H,W), -1 void."""
    truth = one_hot(semantic + 1, x.shape[1] + 1)[..., 1:].permute(0, 3, 1, 2)
    wrong = (x * (1 - truth) + (1 - x) * truth).sum(1) * weight * (semantic >= 0)
    return wrong.sum() / mean_count((semantic >= 0).sum())


def edge_loss(y: Tensor, edges: Edges, thing_edges: float) -> Tensor:
    """Eq. 8, one minus the F1 score of the cut edges, of all processes, summed over the distances. y: (B,2D,H,W), 1 for cut."""
    weight = edges.weight * torch.where(edges.thing, thing_edges, 1.0) * edges.known
    truth = (~edges.together).to(y.dtype)

    def per_distance(values: Tensor) -> Tensor:
        return Sum.apply((values * weight).unflatten(1, (-1, 2)).sum((0, 2, 3, 4)))

    both, missed = per_distance(y * truth), per_distance(y * (1 - truth) + (1 - y) * truth)
    return (1 - both / (both + 0.5 * missed).clamp_min(1e-6))[per_distance(truth) > 0].sum()


class ThroughAsymmetricCut(torch.autograd.Function):
    """Costs -> x and y, with the gradients of eq. 4 for the way back: the same problem with both costs perturbed. See
    `ThroughCut` on several processes."""

    @staticmethod
    def forward(
        context: Any, class_cost: Tensor, edge_cost: Tensor, batch: Solved, thing_classes: np.ndarray
    ) -> tuple[Tensor, ...]:
        """(B,C,H,W) and (B,2D,H,W), both 0 or 1."""
        context.save_for_backward(class_cost, edge_cost)
        context.rest = batch, thing_classes
        found = [indicators(cut, class_cost.shape[1], batch.distances) for cut in batch.cuts]
        return tuple(torch.from_numpy(np.stack(part)).to(class_cost) for part in zip(*found))

    @staticmethod
    @once_differentiable
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        batch, thing_classes = context.rest
        costs = [cost.cpu().numpy() for cost in context.saved_tensors]
        slopes = [(gradient.cpu() / count()).numpy() for gradient in gradients]
        means = [torch.zeros(cost.shape) for cost in costs]

        def moved(job: tuple[int, float]) -> list[np.ndarray]:
            image, lam = job
            perturbed = (cost[image] + np.float32(lam) * slope[image] for cost, slope in zip(costs, slopes))
            cut = asymmetric_multiway_cut(*perturbed, batch.distances, thing_classes)
            solutions = (indicators(each, len(costs[0][0]), batch.distances) for each in (cut, batch.cuts[image]))
            return [(after - before) / np.float32(lam) for after, before in zip(*solutions)]

        jobs = [(image, lam) for image in range(len(batch.cuts)) for lam in batch.lambdas]
        for (image, _), found in zip(jobs, in_threads(moved, jobs)):
            for mean, part in zip(means, found):
                mean[image] += torch.from_numpy(part) / len(batch.lambdas)
        return *(count() * mean.to(gradient) for mean, gradient in zip(means, gradients)), None, None


def indicators(cut: Cut, classes: int, distances: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """x (C,H,W) and y (2D,H,W) of a cut, float32."""
    x = (cut.classes == np.arange(classes).reshape(-1, 1, 1)).astype(np.float32)
    return x, boundaries(cut.clusters, distances, np.not_equal).astype(np.float32)
