"""The losses of dense detections: those of FCOS (Tian et al. 2019) for boxes, and those of segments."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy, cross_entropy, normalize, one_hot

from panoptic_ros.core import PanopticError
from training.distributed import mean_count
from training.methods.dense.network import LEVELNESS_STRIDE, Output
from training.methods.dense.targets import levelness_targets, truth_of
from training.nets.boxes import boxes_around, cell_centres, iou
from training.nets.detector_loss import box_loss, category_loss, centerness_loss, flat
from training.nets.detector_targets import Truth, cell_targets, sample
from training.nets.fpn import STRIDES, resample
from training.nets.top_k import top_k_mean

GRID_STRIDES = (4, 2, 1)
WEIGHTS = ("semantic", "category", "box", "centerness", "levelness", "mask", "embedding")


@dataclass
class LossSettings:
    """grid_stride: pixels per cell of the grid of the targets (4, 2 or 1). weak: learn from boxes and classes alone
    (supplement, section 3). ranges: pixels, how far the sides of a box may be from a cell of P3, P4, P5 and P6 (FCOS, for
    images of 800 rows).

    bootstrap: part of the known cells, the worst, that the semantic cross entropy counts. mask_threshold: probability above
    which a cell outside an object counts as a false positive of the mask loss. temperature: of the embeddings' softmax.
    The others are weights of the terms; with 0 a term is not computed.
    """

    grid_stride: int = 4
    weak: bool = False
    ranges: list[int] = field(default_factory=lambda: [64, 128, 256, 512])
    bootstrap: float = 0.15
    mask_threshold: float = 0.3
    temperature: float = 0.1
    semantic: float = 1.0
    category: float = 1.0
    box: float = 1.0
    centerness: float = 1.0
    levelness: float = 1.0
    mask: float = 1.0
    embedding: float = 1.0

    def __post_init__(self) -> None:
        if self.grid_stride not in GRID_STRIDES:
            raise PanopticError(f"settings.loss.grid_stride is {self.grid_stride}; it can be {', '.join(map(str, GRID_STRIDES))}")
        if len(self.ranges) != len(STRIDES) - 1 or self.ranges != sorted(set(self.ranges)) or self.ranges[0] <= 0:
            raise PanopticError(f"settings.loss.ranges is {self.ranges}; expected {len(STRIDES) - 1} rising numbers of pixels")
        if not 0 < self.bootstrap <= 1:
            raise PanopticError(f"settings.loss.bootstrap is {self.bootstrap}; it is a part of the cells, above 0 and up to 1")
        if not 0 < self.mask_threshold < 1:
            raise PanopticError(f"settings.loss.mask_threshold is {self.mask_threshold}; expected a number between 0 and 1")
        if not 0 < self.temperature < math.inf:
            raise PanopticError(f"settings.loss.temperature is {self.temperature}; expected a number above 0")
        for name in WEIGHTS:
            if not 0 <= getattr(self, name) < math.inf:
                raise PanopticError(f"settings.loss.{name} is {getattr(self, name)}; weights are 0 or more")
        if self.mask and not self.levelness:
            raise PanopticError("settings.loss.mask needs settings.loss.levelness, which picks its boxes; set both to 0")


def losses(output: Output, semantic: Tensor, instance: Tensor, things: Tensor, s: LossSettings) -> dict[str, Tensor]:
    """The weighted terms, each a scalar.

    output: the network's, float32. semantic, instance: (B,h/grid_stride,w/grid_stride), -1 none. things: (C,) bool.
    """
    truth = truth_of(semantic, instance, things, s.grid_stride, s.weak)
    cells = cell_targets(truth, [tuple(level.shape[-2:]) for level in output.centerness], s.ranges)
    terms = {
        "semantic": lambda: semantic_loss(output.semantic, output.semantic_stride, truth.semantic, s),
        "category": lambda: category_loss(flat(output.thing_logits), cells, truth, things),
        "box": lambda: box_loss(flat(output.distances), cells),
        "centerness": lambda: centerness_loss(flat(output.centerness), cells),
        "levelness": lambda: levelness_loss(output.levelness, truth, s),
        "mask": lambda: mask_loss(output, truth, s),
        "embedding": lambda: embedding_loss(output.embedding, output.semantic_stride, truth, s),
    }
    return {name: weight * term() for name, term in terms.items() if (weight := getattr(s, name))}


def semantic_loss(logits: Tensor, stride: int, semantic: Tensor, s: LossSettings) -> Tensor:
    """Cross entropy, mean over the cells where it is worst: the part `bootstrap` of each process's known cells.

    logits: (B,C,..), a cell `stride` pixels. semantic: (B,h,w) on the grid of the targets, -1 void.
    """
    logits = resample(logits, stride, s.grid_stride, tuple(semantic.shape[1:]))
    entropy = cross_entropy(logits, semantic, ignore_index=-1, reduction="none")
    return top_k_mean(entropy, semantic >= 0, s.bootstrap)


def levelness_loss(logits: Tensor, truth: Truth, s: LossSettings) -> Tensor:
    """Cross entropy, mean over the cells that are not ignored. logits: (B,6,h,w) at stride 4."""
    goal = levelness_targets(truth, tuple(logits.shape[-2:]), s.ranges)
    return cross_entropy(logits, goal, ignore_index=-1, reduction="sum") / mean_count((goal >= 0).sum())


def mask_loss(output: Output, truth: Truth, s: LossSettings) -> Tensor:
    """Cross entropy of the mask probability IoU(B(x,y), B_j) P_sem(x,y), on the cells of object j and on its false positives.

    B(x,y) is the predicted box of the level of highest levelness, B_j the object's true box. Mean over the cells of an object,
    then over the objects of the batch.
    """
    size = tuple(output.levelness.shape[-2:])
    probability = resample(output.semantic, output.semantic_stride, LEVELNESS_STRIDE, size).softmax(1).flatten(2)  # B,C,P
    centre = cell_centres(*size, LEVELNESS_STRIDE, truth.box.device)
    dense = boxes_around(centre, dense_distances(output).flatten(2))  # B,4,P
    instance, known = sample(truth, centre)
    total = dense.sum() * 0
    for b, exists in enumerate(truth.exists):
        objects = exists.nonzero()[:, 0]
        box, category = truth.box[b, objects], truth.category[b, objects]
        own = instance[b] == objects.unsqueeze(1)  # J,P
        with torch.no_grad():
            reached = iou(dense[b].unsqueeze(1), box.T.unsqueeze(2)) * probability[b, category] > s.mask_threshold
            counted = own | (reached & known[b])
        j, p = counted.nonzero(as_tuple=True)
        mask = iou(dense[b][:, p], box.T[:, j]) * probability[b, category[j], p]
        entropy = binary_cross_entropy(mask.clamp(1e-6, 1 - 1e-6), own[j, p].to(mask.dtype), reduction="none")
        total = total + (entropy / counted.sum(1)[j]).sum()
    return total / mean_count(truth.exists.sum())


def dense_distances(output: Output) -> Tensor:
    """(B,4,h,w) at stride 4: at each cell the distances of the level of highest levelness, eq. 15."""
    size = tuple(output.levelness.shape[-2:])
    levels = torch.stack([resample(d, s, LEVELNESS_STRIDE, size) for d, s in zip(output.distances, STRIDES)], 1)  # B,levels,4,h,w
    level = output.levelness[:, 1:].argmax(1)  # B,h,w
    return levels.gather(1, level[:, None, None].expand(-1, 1, 4, -1, -1))[:, 0]


def embedding_loss(embedding: Tensor, stride: int, truth: Truth, s: LossSettings) -> Tensor:
    """Which object of its image a cell belongs to, by the cosine of its embedding and the objects' mean embeddings: softmax
    cross entropy, mean over the cells of objects. embedding: (B,E,h,w), a cell `stride` pixels."""
    centre = cell_centres(*embedding.shape[-2:], stride, embedding.device)
    instance, _ = sample(truth, centre)
    unit = normalize(embedding, dim=1).flatten(2).transpose(1, 2)  # B,P,E
    total = embedding.sum() * 0
    for e, owner in zip(unit, instance):
        e = e[owner >= 0]
        if not len(e):
            continue
        _, owner = owner[owner >= 0].unique(return_inverse=True)
        masks = one_hot(owner).to(e.dtype)  # P',objects
        means = normalize(masks.T @ e, dim=1)
        total = total + cross_entropy(e @ means.T / s.temperature, owner, reduction="sum")
    return total / mean_count((instance >= 0).sum())
