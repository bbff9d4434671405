"""The decoder of dense detections as tensor operations with static shapes, exported with the network."""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize, pad

from panoptic_ros.core import PanopticError
from training.methods.dense.network import (
    LEVELNESS_STRIDE,
    SEMANTIC_STRIDE,
    Output,
    boxes_around,
    centres_of,
    iou,
    resample,
)
from training.nets.fpn import STRIDES

_PARTS = 8
"""Parts of the grid that are assigned to boxes one after the other, so that what lies between stays in the cache."""


@dataclass
class DecoderSettings:
    """stride: pixels per cell of the decoding grid (8, 4, 2 or 1). detections: how many things at most.

    score_threshold: least class probability of a box; candidates: how many of those are looked at; nms: the IoU above which a
    box goes for a surer one of its class. mask_threshold: sigma, on IoU times class probability. levelness: boxes of the level
    it says; else of the best level (supplement, eq. S1-S3). stuff_threshold: on the class probability. min_stuff_area: cells
    that a stuff segment must have, else its pixels are void. SEARCH: the ranges of `training.search`.
    """

    SEARCH: ClassVar[dict[str, tuple[float, float]]] = {
        "score_threshold": (0.02, 0.4), "nms": (0.3, 0.8), "mask_threshold": (0.1, 0.6), "stuff_threshold": (0.0, 0.7),
        "min_stuff_area": (0, 100),
    }  # fmt: skip
    stride: int = 4
    detections: int = 100
    score_threshold: float = 0.05
    candidates: int = 1000
    nms: float = 0.6
    mask_threshold: float = 0.3
    levelness: bool = True
    stuff_threshold: float = 0.3
    min_stuff_area: int = 0

    def __post_init__(self) -> None:
        if self.stride not in (8, 4, 2, 1):
            raise PanopticError(f"settings.decoder.stride is {self.stride}; it can be 8, 4, 2, 1")
        if not 1 <= self.detections <= self.candidates:
            raise PanopticError(
                f"settings.decoder.detections is {self.detections}; expected 1..{self.candidates}, the number of candidates"
            )
        for key in ("nms", "mask_threshold"):
            if not 0 < getattr(self, key) < 1:
                raise PanopticError(f"settings.decoder.{key} is {getattr(self, key)}; expected a number between 0 and 1")


@dataclass(frozen=True)
class Detections:
    """J query boxes in order of falling score. box: (4,J) pixels. score: (J,), 0 where there is none; its box is empty then.

    category: (J,) class index.
    """

    box: Tensor
    score: Tensor
    category: Tensor


class Decoder(nn.Module):
    """`Output` for one image -> ids (h',w') uint8, category (K,) int32, score (K,), embedding (K,E), as in `core.Slots`.

    Slots: the stuff classes in the labels' order, then `detections` things. category_ids: (C,) `Label.id`. things: (C,) bool.
    """

    def __init__(self, category_ids: Tensor, things: Tensor, settings: DecoderSettings) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("category_ids", category_ids.int())
        self.register_buffer("stuff", torch.nonzero(~things).flatten())
        self.register_buffer("things", torch.nonzero(things).flatten())
        slot = torch.zeros(len(things), dtype=torch.int32)
        slot[~things] = torch.arange(1, int((~things).sum()) + 1, dtype=torch.int32)
        self.register_buffer("slot_of_class", slot)  # 0 for things
        least_area = torch.ones(len(self.stuff) + settings.detections)
        least_area[: len(self.stuff)] = max(1, settings.min_stuff_area)
        self.register_buffer("least_area", least_area)

    def forward(self, output: Output) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        stride = self.settings.stride
        size = tuple(side * SEMANTIC_STRIDE // stride for side in output.semantic.shape[-2:])
        found = self.detections(output)
        probability = resample(output.semantic, SEMANTIC_STRIDE, stride, size)[0].softmax(0).flatten(1)  # C,P
        embedding = normalize(output.embedding[0], dim=0)
        if stride != SEMANTIC_STRIDE:
            embedding = interpolate(embedding.unsqueeze(0), scale_factor=SEMANTIC_STRIDE / stride, mode="nearest")[0]
        ids, score, embedding = self.segments(found, self.dense_boxes(output, size), probability, embedding.flatten(1))
        category = torch.cat([self.category_ids[self.stuff], self.category_ids.index_select(0, found.category)])
        return ids.view(size).to(torch.uint8), category, score, embedding

    def detections(self, output: Output) -> Detections:
        """The surest boxes after class-wise suppression. Each cell of a level has one box, of its likeliest class."""
        logit, category = torch.cat([level[0].flatten(1) for level in output.thing_logits], 1).topk(1, dim=0)  # 1,N
        probability, category = logit[0].sigmoid(), self.things.index_select(0, category[0])
        sure = torch.cat([level[0].flatten() for level in output.centerness]).sigmoid() * probability
        box = torch.cat([boxes(d, s) for d, s in zip(output.distances, STRIDES)], 1)  # 4,N
        corner = centres_of(output.semantic, SEMANTIC_STRIDE).amax(1) + SEMANTIC_STRIDE / 2
        box = torch.minimum(box.clamp_min(0), torch.cat([corner, corner]).unsqueeze(1))  # clipped to the image
        # comparisons, so that what is not a number is no candidate either
        valid = (probability > self.settings.score_threshold) & (sure > 0) & (box[2] > box[0]) & (box[3] > box[1])
        k = self.settings.candidates  # a small image has fewer cells: padded with boxes that are none
        score, index = pad(torch.where(valid, sure, 0), (0, k)).topk(k)
        box = pad(torch.where(valid, box, 0), (0, k)).index_select(1, index)
        category = pad(category, (0, k)).index_select(0, index)
        kept, order = suppress(box, category, score > 0, self.settings.nms, self.settings.detections)
        return Detections(box.index_select(1, order) * kept, score.index_select(0, order) * kept, category.index_select(0, order))

    def dense_boxes(self, output: Output, size: tuple[int, int]) -> list[Tensor]:
        """B(x,y), (4,P): by levelness, one; without it, one for each level (eq. S1)."""
        stride = self.settings.stride
        levels = [boxes(resample(d, s, stride, size), stride) for d, s in zip(output.distances, STRIDES)]
        if not self.settings.levelness:
            return levels
        levelness = resample(output.levelness, LEVELNESS_STRIDE, stride, size)[0, 1:].flatten(1)
        level = levelness.topk(1, dim=0).indices  # 1,P
        chosen = levels[0]
        for number, box in enumerate(levels[1:], 1):
            chosen = torch.where(level == number, box, chosen)
        return [chosen]

    def segments(
        self, found: Detections, dense: list[Tensor], probability: Tensor, embedding: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """ids (P,) int32, and of all slots score (K,) and embedding (K,E), unit vectors pooled over their cells.

        dense: B(x,y), (4,P) each. probability: (C,P). embedding: (E,P).
        """
        sigma, stuff_slots = self.settings.mask_threshold, len(self.stuff)
        confidence, category = probability.topk(1, dim=0)  # 1,P
        stuff = torch.where(confidence[0] > self.settings.stuff_threshold, self.slot_of_class.index_select(0, category[0]), 0)
        features = torch.cat([embedding, torch.ones_like(confidence), confidence])  # E+2,P
        features = torch.where(features == features, features, 0)  # one cell that is not a number must not spoil every sum
        slots = torch.arange(1, stuff_slots + self.settings.detections + 1, dtype=torch.int32, device=stuff.device).unsqueeze(1)
        ids, sums = [], torch.zeros(len(slots), len(features), device=features.device)
        cuts = [features.shape[1] * part // _PARTS for part in range(_PARTS + 1)]
        for a, b in pairwise(cuts):
            likely = probability[:, a:b].index_select(0, found.category)  # J,b-a
            mask, winner = (self.overlap(dense, found.box, a, b) * likely).topk(1, dim=0)
            ids.append(torch.where(mask[0] > sigma, winner[0].int() + (1 + stuff_slots), stuff[a:b]))
            sums = sums + (ids[-1] == slots).float() @ features[:, a:b].T
        area = sums[:, -2]
        filled = area >= self.least_area
        score = torch.cat([sums[:stuff_slots, -1] / area[:stuff_slots].clamp_min(1), found.score]) * filled
        kept = torch.cat([torch.zeros_like(slots[0]), slots[:, 0] * filled])  # old id -> id
        return kept.index_select(0, torch.cat(ids)), score, normalize(sums[:, :-2], dim=1)

    def overlap(self, dense: list[Tensor], box: Tensor, a: int, b: int) -> Tensor:
        """P_loc (J,b-a) of the cells a to b: IoU of B(x,y) with each query box (4,J), the best of the levels (eq. S2, S3)."""
        best = iou(dense[0][:, a:b].unsqueeze(1), box.unsqueeze(2))
        for level in dense[1:]:
            best = torch.maximum(best, iou(level[:, a:b].unsqueeze(1), box.unsqueeze(2)))
        return best


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
