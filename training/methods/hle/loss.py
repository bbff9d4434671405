"""The losses of HLE (section 3, eq. 1-16) and those of its ablations (table 6)."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, normalize

from panoptic_ros.core import PanopticError
from training.distributed import mean_count, total
from training.methods.hle.network import Fields, Network, precisions
from training.methods.hle.targets import Targets, pool_means, pool_sums, targets
from training.nets.lovasz import class_masks, lovasz, lovasz_softmax, masked_cross_entropy

SEMANTIC_LOSSES = ("lovasz", "cross_entropy", "associative")
INSTANCE_LOSSES = ("lovasz", "lovasz_hinge", "cross_entropy", "associative")


@dataclass
class LossSettings:
    """grid_stride: pixels per cell of the grid that losses see (4, 2 or 1). block: of each block of so many cells squared, one
    cell drawn at random counts in a step: the fine grid's detail at the coarse grid's price; 1 takes all cells.

    instance: `lovasz` (eq. 3 on phi), `lovasz_hinge` (margin form on the exponent of phi), `cross_entropy` or `associative`.
    semantic: `lovasz` (eq. 6 on psi), `cross_entropy` or `associative`. With `associative` (eq. 1-2) embeddings learn from
    nothing else; variances, which those equations lack, learn as with `lovasz`. semantic_cross_entropy: weight of a cross
    entropy on psi beside it, 0 in the paper. vq: weight of eq. 15, 0 turns it off. seed_foreground: weight of things
    in eq. 13, 1 in the paper.
    """

    grid_stride: int = 2
    block: int = 2
    instance: str = "lovasz"
    semantic: str = "lovasz"
    semantic_cross_entropy: float = 0.0
    vq: float = 1.0
    variance: float = 10.0
    seed: float = 1.0
    seed_foreground: float = 1.0

    def __post_init__(self) -> None:
        for key, choices in (("instance", INSTANCE_LOSSES), ("semantic", SEMANTIC_LOSSES)):
            if getattr(self, key) not in choices:
                raise PanopticError(f"unknown settings.loss.{key} {getattr(self, key)!r}; there are {', '.join(choices)}")


def losses(
    network: Network, raw: Tensor, semantic: Tensor, instance: Tensor, things: Tensor, s: LossSettings
) -> dict[str, Tensor]:
    """The terms of eq. 16, each a scalar.

    raw: the network's output. semantic, instance: (B,h/grid_stride,w/grid_stride), -1 none. things: (C,) bool.
    """
    cells = draw_cells(semantic.shape, s.block, semantic.device)
    size = semantic.shape[-2:]
    fields = network.fields(raw, None if size == raw.shape[-2:] else size).at(cells)
    truth = targets(semantic.flatten(1)[:, cells], instance.flatten(1)[:, cells], things)
    terms = semantic_terms(network, fields, truth, s)
    return terms | instance_terms(network, fields, truth, things, s)


def draw_cells(shape: torch.Size, block: int, device: torch.device) -> Tensor:
    """(P,) indices into the flattened grid of `shape` (B,h,w): one random cell of each block, in the blocks' order."""
    _, height, width = shape
    rows, columns = (torch.arange(0, length - length % block, block, device=device) for length in (height, width))
    shift = torch.randint(block, (2, len(rows), len(columns)), device=device)
    return ((rows.view(-1, 1) + shift[0]) * width + columns + shift[1]).flatten()


def semantic_terms(network: Network, fields: Fields, truth: Targets, s: LossSettings) -> dict[str, Tensor]:
    """L_seg (eq. 12) and L_seg-mean (eq. 15)."""
    embedding = network.semantic_part(fields.embedding)  # B,E,P
    if s.semantic == "associative":
        fields = replace(fields, embedding=fields.embedding.detach())
    logits = network.semantic_logits(fields)  # B,C,P
    if s.semantic == "cross_entropy":
        terms = {"segmentation": masked_cross_entropy(logits, truth.semantic)}
    else:
        terms = {"segmentation": lovasz_softmax(logits.softmax(1), truth.semantic)}
    if s.semantic == "associative":
        terms["segmentation_embedding"] = associative(embedding, *class_masks(truth.semantic, logits.shape[1]), push=1.0)
    if s.semantic_cross_entropy:
        terms["cross_entropy"] = s.semantic_cross_entropy * masked_cross_entropy(logits, truth.semantic)
    if s.vq and not network.settings.semantic_branch:
        terms["class_means"] = s.vq * class_mean_regression(network.means, embedding.detach(), truth.semantic)
    return terms


def instance_terms(network: Network, fields: Fields, truth: Targets, things: Tensor, s: LossSettings) -> dict[str, Tensor]:
    """L_ins (eq. 11), L_ins-var (eq. 14) and L_seed (eq. 13)."""
    embedding = network.instance_part(fields.embedding)  # B,E,P
    separate = s.instance == "associative"
    exponent = instance_exponent(fields, embedding.detach() if separate else embedding, truth)  # B,L,P
    known = (truth.semantic >= 0) & ~truth.ignored
    rows, kind = truth.exists, "lovasz" if separate else s.instance
    instance = instance_loss(exponent[rows], truth.instance[rows], known.repeat_interleave(rows.sum(1), 0), kind)
    variance = s.variance * variance_smoothness(sigmas(fields.log_sigma), truth)
    terms = {"instance": instance, "variance": variance, "seed": s.seed * seed_loss(fields, exponent, truth, things, s)}
    if separate:
        terms["instance_embedding"] = associative(embedding, truth.instance, truth.exists, push=0.5)
    return terms


def instance_exponent(fields: Fields, embedding: Tensor, truth: Targets) -> Tensor:
    """(B,L,P): minus the logarithm of phi_l(e_i) (eq. 8), with the mean embedding, position and variances of each instance."""
    rho = fields.position.expand(embedding.shape[0], -1, -1)  # B,2,P
    mean = normalize(pool_means(embedding, truth.instance), dim=2)
    center = pool_means(rho, truth.instance)
    log_sigma = pool_means(fields.log_sigma, truth.instance).transpose(1, 2)  # B,2,L
    precision, spatial = (part.transpose(1, 2) for part in precisions(log_sigma))  # B,L,1
    cosine = 1 - torch.einsum("bld,bdp->blp", mean, embedding)
    distance = (rho**2).sum(1).unsqueeze(1) - 2 * torch.einsum("bld,bdp->blp", center, rho) + (center**2).sum(2, keepdim=True)
    return precision * cosine + spatial * distance.clamp_min(0)


def instance_loss(exponent: Tensor, masks: Tensor, known: Tensor, kind: str) -> Tensor:
    """Mean over instances. exponent: (N,P), -log phi. masks, known: (N,P) bool."""
    if kind == "cross_entropy":
        phi_logit = -exponent - torch.log(-torch.expm1(-exponent.clamp_min(1e-4)))
        entropy = binary_cross_entropy_with_logits(phi_logit, masks.to(phi_logit.dtype), reduction="none")
        return (entropy * known).sum() / mean_count(known.sum())
    count = mean_count(torch.tensor(len(masks), device=masks.device))
    if kind == "lovasz":
        return lovasz((masks.float() - (-exponent).exp()).abs() * known, masks).sum() / count
    if kind == "lovasz_hinge":
        # 1 at the mean, 0 where phi = 0.5, -1 where phi = 0.25: outside the margin no pixel is pushed further
        logit = 1 - exponent / math.log(2)
        return lovasz((1 - logit * (masks.float() * 2 - 1)).relu() * known, masks).sum() / count
    raise AssertionError(kind)  # LossSettings has refused it


def class_mean_regression(means: Tensor, embedding: Tensor, semantic: Tensor) -> Tensor:
    """Eq. 15 over the classes of the batch, of all processes; only the means learn. embedding: (B,E,P). semantic: (B,P)."""
    flat = embedding.transpose(1, 2).flatten(0, 1).T.unsqueeze(0)  # 1,E,B*P
    masks, present = class_masks(semantic.reshape(1, -1), means.shape[0])
    batch = normalize(total(pool_sums(flat, masks))[0], dim=1)  # C,E
    present = total(present[0].float()) > 0
    return ((normalize(means, dim=1) - batch) ** 2).sum(1)[present].sum() / present.sum().clamp_min(1)


def sigmas(log_sigma: Tensor) -> Tensor:
    """(B,2,P) sigma of the embedding and of the position, in image heights. log_sigma: (B,2,P)."""
    return (2 * torch.cat(precisions(log_sigma), 1)) ** -0.5


def variance_smoothness(sigma: Tensor, truth: Targets) -> Tensor:
    """Eq. 14 without gamma, mean over the pixels of things. sigma: (B,2,P)."""
    mean = pool_means(sigma, truth.instance).detach()  # B,L,2
    mine = torch.einsum("bld,blp->bdp", mean, truth.instance.float())
    inside = truth.instance.any(1, keepdim=True)
    return (((sigma - mine) ** 2) * inside).sum() / mean_count(inside.sum())


def seed_loss(fields: Fields, exponent: Tensor, truth: Targets, things: Tensor, s: LossSettings) -> Tensor:
    """Eq. 13, mean over the pixels whose instance, or stuff class, is known."""
    seed = fields.seed.flatten(1).sigmoid()
    inside = truth.instance.any(1)
    goal = ((-exponent.detach()).exp() * truth.instance).sum(1)  # B,P: phi of the own instance, 0 on stuff
    stuff = (truth.semantic >= 0) & ~things[truth.semantic.clamp_min(0)]
    weight = inside * s.seed_foreground + stuff.float()
    return ((seed - goal) ** 2 * weight).sum() / mean_count((inside | stuff).sum())


def associative(embedding: Tensor, masks: Tensor, exists: Tensor, push: float, pull: float = 0.1) -> Tensor:
    """Eq. 1-2, mean over images. embedding: (B,E,P). masks: (B,L,P). exists: (B,L). push, pull: the hinges, L1 distances."""
    mean = pool_means(embedding, masks)  # B,L,E
    mine = torch.einsum("bld,blp->bdp", mean, masks.to(mean.dtype))
    spread = ((embedding - mine).abs().sum(1) - pull).relu() ** 2  # B,P
    pulled = (pool_means(spread.unsqueeze(1), masks)[..., 0] * exists).sum(1) / exists.sum(1).clamp_min(1)
    apart = (push - torch.cdist(mean, mean, p=1)).relu() ** 2
    pairs = exists.unsqueeze(1) & exists.unsqueeze(2) & ~torch.eye(exists.shape[1], dtype=torch.bool, device=exists.device)
    pushed = (apart * pairs).sum((1, 2)) / pairs.sum((1, 2)).clamp_min(1)
    return (pulled + pushed).mean()
