"""The losses of pre-training: weighted top-k cross entropies of classes and of affinities (section 4.2), and of embeddings."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, normalize, one_hot

from panoptic_ros.core import PanopticError
from training.distributed import mean_count
from training.methods.amwc.network import STRIDE, Output
from training.methods.amwc.targets import Edges, edges_of, small_object_weights
from training.nets.top_k import top_k_mean


@dataclass
class LossSettings:
    """top_k: part of the known cells or edges, the worst, that counts. thing_edges: factor for edges at things. small_objects:
    factor for the cells and edges of objects below small_area, pixels of the network's image.

    temperature: of the embeddings' softmax. weights semantic, affinity, embedding: of the terms; affinity is for each distance.
    """

    top_k: float = 0.2
    thing_edges: float = 4.0
    small_objects: float = 3.0
    small_area: int = 4096
    temperature: float = 0.1
    semantic: float = 1.0
    affinity: float = 1.0
    embedding: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.top_k <= 1:
            raise PanopticError(f"settings.loss.top_k is {self.top_k}; it is a part of the cells, above 0 and up to 1")
        if self.temperature <= 0:
            raise PanopticError(f"settings.loss.temperature is {self.temperature}; it is above 0")
        negative = [key for key, value in vars(self).items() if value < 0]
        if negative:
            raise PanopticError(f"settings.loss.{negative[0]} is negative; weights are 0 or more")


def losses(
    output: Output, semantic: Tensor, instance: Tensor, things: Tensor, distances: Sequence[int], s: LossSettings
) -> dict[str, Tensor]:
    """The weighted terms, each a scalar. output: float32. semantic, instance: (B,h/4,w/4), -1 none. things: (C,) bool."""
    weight = small_object_weights(instance, s.small_area / STRIDE**2, s.small_objects)
    edges = edges_of(semantic, instance, things, weight, distances)
    entropy = cross_entropy(-output.class_cost, semantic, ignore_index=-1, reduction="none")
    return {
        "semantic": s.semantic * top_k_mean(entropy * weight, semantic >= 0, s.top_k),
        "affinity": s.affinity * affinity_loss(output.edge_cost, edges, s),
        "embedding": s.embedding * embedding_loss(output.features, instance, s.temperature),
    }


def affinity_loss(edge_cost: Tensor, edges: Edges, s: LossSettings) -> Tensor:
    """Top-k cross entropy of each distance, summed (section 4.2). edge_cost: (B,2D,H,W)."""
    entropy = binary_cross_entropy_with_logits(edge_cost, edges.together.to(edge_cost.dtype), reduction="none")
    entropy = entropy * edges.weight * torch.where(edges.thing, s.thing_edges, 1.0)
    pairs = zip(entropy.split(2, 1), edges.known.split(2, 1))
    return torch.stack([top_k_mean(values, known, s.top_k) for values, known in pairs]).sum()


def embedding_loss(features: Tensor, instance: Tensor, temperature: float) -> Tensor:
    """Which object of its image a cell belongs to, by the cosine of its features and the objects' mean features: softmax cross
    entropy, mean over the cells of objects. features: (B,E,H,W). instance: (B,H,W), -1 none."""
    unit = normalize(features, dim=1).flatten(2).transpose(1, 2)  # B,P,E
    total = features.sum() * 0
    for e, owner in zip(unit, instance.flatten(1)):
        e = e[owner >= 0]
        if not len(e):
            continue
        _, owner = owner[owner >= 0].unique(return_inverse=True)
        means = normalize(one_hot(owner).to(e.dtype).T @ e, dim=1)  # objects,E
        total = total + cross_entropy(e @ means.T / temperature, owner, reduction="sum")
    return total / mean_count((instance >= 0).sum())
