"""A single-stage detector (FCOS, Tian et al. 2019) on the levels P3 to P7, and its surest boxes with static shapes."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from panoptic_ros.core import PanopticError
from training.nets.boxes import boxes_around, centres_of, iou
from training.nets.fpn import STRIDES, tower

_PRIOR = 0.01
"""Probability of any thing at the start of training (Lin et al. 2017, focal loss)."""


@dataclass
class DetectionSettings:
    """Which boxes a decoder starts from. detections: how many things at most.

    score_threshold: least class probability of a box; candidates: how many of those are looked at; nms: the IoU above which a
    box goes for a surer one of its class.
    """

    detections: int = 100
    score_threshold: float = 0.05
    candidates: int = 1000
    nms: float = 0.6

    def __post_init__(self) -> None:
        if not 1 <= self.detections <= self.candidates:
            raise PanopticError(
                f"settings.decoder.detections is {self.detections}; expected 1..{self.candidates}, the number of candidates"
            )
        if not 0 < self.nms < 1:
            raise PanopticError(f"settings.decoder.nms is {self.nms}; expected a number between 0 and 1")
        if not 0 <= self.score_threshold < 1:
            raise PanopticError(
                f"settings.decoder.score_threshold is {self.score_threshold}; expected a number from 0 to below 1"
            )


class Boxes(NamedTuple):
    """What the detector says of each cell. Lists have a map for each of P3 to P7, (B,?,ceil(h/s),ceil(w/s)).

    thing_logits: T channels, the thing classes in the labels' order. distances: 4 channels, from the centre of a cell to the
    left, top, right and bottom of its box, pixels, positive. centerness: 1 channel, logits.
    """

    thing_logits: list[Tensor]
    distances: list[Tensor]
    centerness: list[Tensor]


@dataclass(frozen=True)
class Detections:
    """J query boxes in order of falling score. box: (4,J) pixels. score: (J,), 0 where there is none; its box is empty then.

    category: (J,) class index.
    """

    box: Tensor
    score: Tensor
    category: Tensor


class Detector(nn.Module):
    """P3 to P7, each (B,inputs,..) -> `Boxes`, and what the semantic and the location tower make of each level."""

    def __init__(self, inputs: int, semantic_tower: int, location_tower: int, depth: int, things: int) -> None:
        super().__init__()
        self.semantic_tower = tower(inputs, semantic_tower, depth)
        self.location_tower = tower(inputs, location_tower, depth)
        self.thing_logits = nn.Conv2d(semantic_tower, things, 3, padding=1)
        self.distances = nn.Conv2d(location_tower, 4, 3, padding=1)
        self.centerness = nn.Conv2d(location_tower, 1, 3, padding=1)
        self.scales = nn.Parameter(torch.ones(len(STRIDES)))
        for head in (self.thing_logits, self.distances, self.centerness):
            nn.init.normal_(head.weight, std=0.01)
            nn.init.zeros_(head.bias)
        nn.init.constant_(self.thing_logits.bias, -math.log(1 / _PRIOR - 1))

    def forward(self, levels: list[Tensor]) -> tuple[Boxes, list[Tensor], list[Tensor]]:
        what, where = [self.semantic_tower(p) for p in levels], [self.location_tower(p) for p in levels]
        distances = [self.to_pixels(self.distances(x), level) for level, x in enumerate(where)]
        return Boxes([self.thing_logits(x) for x in what], distances, [self.centerness(x) for x in where]), what, where

    def to_pixels(self, raw: Tensor, level: int) -> Tensor:
        """exp(scale x) cells of the level, in pixels; bounded so that a wild step of training stays finite."""
        return (raw.float() * self.scales[level]).clamp(-8, 8).exp() * STRIDES[level]


def detect(found: Boxes, corner: Tensor, things: Tensor, s: DetectionSettings) -> Detections:
    """The surest boxes of one image after class-wise suppression. Each cell of a level has one box, of its likeliest class.

    corner: (2,) width and height of the image, to which boxes are clipped. things: (T,) class indices. The score is class
    probability times centerness.
    """
    logit, category = torch.cat([level[0].flatten(1) for level in found.thing_logits], 1).topk(1, dim=0)  # 1,N
    probability, category = logit[0].sigmoid(), things.index_select(0, category[0])
    sure = torch.cat([level[0].flatten() for level in found.centerness]).sigmoid() * probability
    box = torch.cat([boxes(d, stride) for d, stride in zip(found.distances, STRIDES)], 1)  # 4,N
    box = torch.minimum(box.clamp_min(0), torch.cat([corner, corner]).unsqueeze(1))
    # comparisons, so that what is not a number is no candidate either
    valid = (probability > s.score_threshold) & (sure > 0) & (box[2] > box[0]) & (box[3] > box[1])
    k = s.candidates  # a small image has fewer cells: padded with boxes that are none
    score, index = pad(torch.where(valid, sure, 0), (0, k)).topk(k)
    box = pad(torch.where(valid, box, 0), (0, k)).index_select(1, index)
    category = pad(category, (0, k)).index_select(0, index)
    kept, order = suppress(box, category, score > 0, s.nms, s.detections)
    return Detections(box.index_select(1, order) * kept, score.index_select(0, order) * kept, category.index_select(0, order))


def corner_of(like: Tensor, stride: int) -> Tensor:
    """(2,) width and height in pixels of the image that a map (..,h,w) of `stride` pixels a cell covers."""
    return centres_of(like, stride).amax(1) + stride / 2


def boxes(distances: Tensor, stride: int) -> Tensor:
    """(4,P) boxes of the cells of distances (1,4,h,w), a map of `stride` pixels a cell."""
    return boxes_around(centres_of(distances, stride), distances[0].flatten(1))


def suppress(box: Tensor, category: Tensor, valid: Tensor, threshold: float, picks: int) -> tuple[Tensor, Tensor]:
    """Class-wise greedy non-maximum suppression: (J,) bool and (J,) indices, the first `picks` of the boxes that stay.

    box: (4,M), the surest first. category: (M,). valid: (M,) bool. threshold: IoU above which the less sure one goes.

    Each step takes the first box that is left, and with it goes what it overlaps; so it is greedy suppression to the letter,
    whatever the boxes. A fixed-point iteration over all boxes at once ("cluster NMS") needs as many rounds as the longest chain
    of boxes that save each other, for the first J boxes 2 J - 2, each over all pairs: more work, and inexact with fewer.
    """
    overlaps = (iou(box.unsqueeze(2), box.unsqueeze(1)) > threshold) & (category.unsqueeze(1) == category)
    free = (~overlaps).float().triu(1)  # [i,j]: j can still be taken after i; nothing before i can
    count = box.shape[1]
    left = valid * torch.arange(count, 0, -1, device=box.device).float()  # the first one that is left is the largest
    best, order = [], []
    for _ in range(picks):
        value, index = left.topk(1)
        best.append(value)
        order.append(index)
        left = left * free.index_select(0, index)[0]
    return torch.cat(best) > 0, torch.cat(order)
