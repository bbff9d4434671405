"""The losses: of the semantic and of the detection submodule, and the panoptic matching loss (section 3.5)."""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from panoptic_ros.core import PanopticError
from training.distributed import mean_count
from training.methods.affinity.masks import SIDE, points
from training.methods.affinity.network import STRIDE, Network, Output
from training.methods.affinity.targets import channels, match, select, true_detections
from training.nets.detector import Detections, DetectionSettings
from training.nets.detector_loss import box_loss, category_loss, centerness_loss, flat
from training.nets.detector_targets import Truth, cell_targets, sample, truth_of
from training.nets.fpn import STRIDES
from training.nets.lovasz import lovasz, lovasz_softmax, masked_cross_entropy

GRID_STRIDES = (4, 2, 1)
SEMANTIC_LOSSES = ("cross_entropy", "lovasz")
BOXES = ("predicted", "ground_truth")

Matched = tuple[Detections, Tensor]
"""What `match` returns."""


@dataclass
class LossSettings:
    """grid_stride: pixels per cell of the grid of the targets (4, 2 or 1). ranges: pixels, how far the sides of a box may be from
    a cell of P3, P4, P5 and P6 (FCOS, for images of 800 rows). segmentation: `cross_entropy` on V, or `lovasz`, its softmax form.

    boxes: what the panoptic submodule is trained with, `predicted` boxes or those of the `ground_truth` (A.4). score_threshold:
    least class probability of those predicted. match_threshold: t, least box IoU of a match. sharpness: factor on P in its cross
    entropy, which the argmax does not see: potentials of 0 to 1 as logits could never be sure. semantic, detection, panoptic:
    weights of the three losses; that of the mask head is part of the detector's. With panoptic 0 nothing is trained end-to-end.
    """

    grid_stride: int = 4
    ranges: list[int] = field(default_factory=lambda: [64, 128, 256, 512])
    segmentation: str = "cross_entropy"
    boxes: str = "predicted"
    score_threshold: float = 0.05
    match_threshold: float = 0.5
    sharpness: float = 10.0
    semantic: float = 1.0
    detection: float = 0.25
    panoptic: float = 1.0

    def __post_init__(self) -> None:
        if self.grid_stride not in GRID_STRIDES:
            raise PanopticError(f"settings.loss.grid_stride is {self.grid_stride}; it can be {', '.join(map(str, GRID_STRIDES))}")
        if len(self.ranges) != len(STRIDES) - 1 or self.ranges != sorted(set(self.ranges)) or self.ranges[0] <= 0:
            raise PanopticError(f"settings.loss.ranges is {self.ranges}; expected {len(STRIDES) - 1} rising numbers of pixels")
        for key, choices in (("segmentation", SEMANTIC_LOSSES), ("boxes", BOXES)):
            if getattr(self, key) not in choices:
                raise PanopticError(f"unknown settings.loss.{key} {getattr(self, key)!r}; there are {', '.join(choices)}")
        if not 0 < self.match_threshold <= 1:
            raise PanopticError(f"settings.loss.match_threshold is {self.match_threshold}; it is an IoU, above 0 and up to 1")
        if not self.sharpness > 0:
            raise PanopticError(f"settings.loss.sharpness is {self.sharpness}; expected a number above 0")
        for key in ("semantic", "detection", "panoptic"):
            if getattr(self, key) < 0:
                raise PanopticError(f"settings.loss.{key} is {getattr(self, key)}; weights are 0 or more")


def losses(
    network: Network, output: Output, semantic: Tensor, instance: Tensor, things: Tensor, s: LossSettings, d: DetectionSettings
) -> dict[str, Tensor]:
    """The weighted terms, each a scalar.

    output: the network's, float32. semantic, instance: (B,h/grid_stride,w/grid_stride), -1 none. things: (C,) bool. d: which
    boxes there are, but for its score threshold.
    """
    truth = truth_of(semantic, instance, things, s.grid_stride)
    cells = cell_targets(truth, [tuple(level.shape[-2:]) for level in output.centerness], s.ranges)
    terms = {
        "semantic": s.semantic * semantic_loss(output.semantic, coarse(semantic, s), s),
        "category": s.detection * category_loss(flat(output.thing_logits), cells, truth, things),
        "box": s.detection * box_loss(flat(output.distances), cells),
        "centerness": s.detection * centerness_loss(flat(output.centerness), cells),
    }
    found = (
        [queries(network, output.image(b), truth, b, s, d) for b in range(len(semantic))] if s.panoptic or network.mask else []
    )
    if network.mask:
        terms["mask"] = s.detection * mask_loss(network, output, truth, found)
    if s.panoptic:
        terms["panoptic"] = s.panoptic * panoptic_loss(network, output, truth, found, s)
    return terms


def coarse(values: Tensor, s: LossSettings) -> Tensor:
    """(B,h/4,w/4): the cell of the targets' grid below and to the right of the centre of each cell of V."""
    step = STRIDE // s.grid_stride
    return values[:, step // 2 :: step, step // 2 :: step]


def semantic_loss(logits: Tensor, semantic: Tensor, s: LossSettings) -> Tensor:
    """Mean over the known cells, or with Lovász over the classes of the images. logits: (B,C,h,w). semantic: (B,h,w), -1 void."""
    logits, semantic = logits.flatten(2), semantic.flatten(1)
    return lovasz_softmax(logits.softmax(1), semantic) if s.segmentation == "lovasz" else masked_cross_entropy(logits, semantic)


def queries(network: Network, output: Output, truth: Truth, b: int, s: LossSettings, d: DetectionSettings) -> Matched:
    """What the panoptic submodule gets of image b, `output` being that of it alone, and which of it is which object."""
    if s.boxes == "ground_truth":
        return match(true_detections(truth, b), truth, b, s.match_threshold)
    found = network.detections(output, replace(d, score_threshold=s.score_threshold))
    return match(select(found, found.score > 0), truth, b, s.match_threshold)


def panoptic_loss(network: Network, output: Output, truth: Truth, found: list[Matched], s: LossSettings) -> Tensor:
    """Cross entropy of P with the matched ground truth, mean over the cells of the batch that have a channel."""
    semantic, instance = coarse(truth.semantic, s), coarse(truth.instance, s)
    total, count = output.semantic.sum() * 0, 0
    for b, (detections, owner) in enumerate(found):
        goal, image = channels(semantic[b], instance[b], owner, network.channel_of_class).flatten(), output.image(b)
        p, _ = network.panoptic(image, detections, network.masks(image, detections))
        if not len(p):
            continue  # neither stuff classes nor detections: P has no channels
        total = total + cross_entropy(s.sharpness * p.T, goal, ignore_index=-1, reduction="sum")
        count += int((goal >= 0).sum())
    return total / mean_count(torch.tensor(count, device=total.device))


def mask_loss(network: Network, output: Output, truth: Truth, found: list[Matched]) -> Tensor:
    """Lovász hinge (A.2) on the masks of all true boxes and of the detections that match an object, mean over these."""
    total, count = output.semantic.sum() * 0, 0
    for b, (detections, owner) in enumerate(found):
        objects, matched = truth.exists[b].nonzero()[:, 0], (owner >= 0).nonzero()[:, 0]
        boxes = torch.cat([truth.box[b, objects].T, detections.box.detach()[:, owner[matched]]], 1)
        number = torch.cat([objects, matched])
        if not len(number):
            continue
        thing = network.thing_of_class[truth.category[b, number]]
        logits = network.mask([level[b : b + 1] for level in output.pyramid], boxes, thing).flatten(1)  # J,784
        inside = mask_targets(truth, b, boxes, number)
        total = total + lovasz((1 - logits * (2.0 * inside - 1)).relu(), inside).sum()
        count += len(number)
    return total / mean_count(torch.tensor(count, device=total.device))


def mask_targets(truth: Truth, b: int, boxes: Tensor, number: Tensor) -> Tensor:
    """(J,784) bool: whether the points of each box (4,J) lie on the object `number` (J,) of image b."""
    x, y = points(boxes, SIDE)  # J,28
    where = torch.stack([x.unsqueeze(1).expand(-1, SIDE, -1), y.unsqueeze(2).expand(-1, -1, SIDE)]).flatten(1)  # 2,J*784
    instance, _ = sample(truth, where)
    return instance[b].view(len(number), -1) == number.unsqueeze(1)
