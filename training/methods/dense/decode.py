"""The decoder of dense detections as tensor operations with static shapes, exported with the network."""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize

from panoptic_ros.core import PanopticError
from training.methods.dense.network import LEVELNESS_STRIDE, Output
from training.nets.boxes import iou
from training.nets.detector import Boxes, Detections, DetectionSettings, boxes, corner_of, detect
from training.nets.fpn import STRIDES, resample
from training.nets.segments import Segments

_PARTS = 8
"""Parts of the grid that are assigned to boxes one after the other, so that what lies between stays in the cache."""


@dataclass
class DecoderSettings(DetectionSettings):
    """stride: pixels per cell of the decoding grid (8, 4, 2 or 1).

    mask_threshold: sigma, on IoU times class probability. levelness: boxes of the level it says; else of the best level
    (supplement, eq. S1-S3). stuff_threshold: on the class probability. min_stuff_area: cells that a stuff segment must have,
    else its pixels are void. SEARCH: the ranges of `training.search`.
    """

    SEARCH: ClassVar[dict[str, tuple[float, float]]] = {
        "score_threshold": (0.02, 0.4), "nms": (0.3, 0.8), "mask_threshold": (0.1, 0.6), "stuff_threshold": (0.0, 0.7),
        "min_stuff_area": (0, 100),
    }  # fmt: skip
    stride: int = 4
    mask_threshold: float = 0.3
    levelness: bool = True
    stuff_threshold: float = 0.3
    min_stuff_area: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stride not in (8, 4, 2, 1):
            raise PanopticError(f"settings.decoder.stride is {self.stride}; it can be 8, 4, 2, 1")
        if not 0 < self.mask_threshold < 1:
            raise PanopticError(f"settings.decoder.mask_threshold is {self.mask_threshold}; expected a number between 0 and 1")
        if not 0 <= self.stuff_threshold <= 1:
            raise PanopticError(f"settings.decoder.stuff_threshold is {self.stuff_threshold}; expected a number from 0 to 1")
        if self.min_stuff_area < 0:
            raise PanopticError(f"settings.decoder.min_stuff_area is {self.min_stuff_area}; expected at least 0")


class Decoder(nn.Module):
    """`Output` for one image -> ids (h',w') uint8, category (K,) int32, score (K,), embedding (K,E), as in `core.Slots`.

    Slots: the stuff classes in the labels' order, then `detections` things. category_ids: (C,) `Label.id`. things: (C,) bool.
    """

    def __init__(self, category_ids: Tensor, things: Tensor, settings: DecoderSettings) -> None:
        super().__init__()
        self.settings = settings
        self.slots = Segments(category_ids, things, settings.detections, settings.min_stuff_area)

    def forward(self, output: Output) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        stride, semantic_stride = self.settings.stride, output.semantic_stride
        size = tuple(side * LEVELNESS_STRIDE // stride for side in output.levelness.shape[-2:])
        found = detect(Boxes(*output[:3]), corner_of(output.semantic, semantic_stride), self.slots.things, self.settings)
        probability = resample(output.semantic, semantic_stride, stride, size)[0].softmax(0).flatten(1)  # C,P
        embedding = normalize(output.embedding[0], dim=0)
        if stride != semantic_stride:
            embedding = interpolate(embedding.unsqueeze(0), scale_factor=semantic_stride / stride, mode="nearest")[0]
        ids, score, embedding = self.segments(found, self.dense_boxes(output, size), probability, embedding.flatten(1))
        return ids.view(size).to(torch.uint8), self.slots.category(found), score, embedding

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
        sigma, things_from = self.settings.mask_threshold, 1 + len(self.slots.stuff)
        confidence, category = probability.topk(1, dim=0)  # 1,P
        stuff = self.slots.id_of_class.index_select(0, category[0])
        stuff = torch.where(confidence[0] > self.settings.stuff_threshold, stuff, 0)
        features = self.slots.features(confidence, embedding)  # 2+E,P
        ids, sums = [], torch.zeros(len(self.slots.slots), len(features), device=features.device)
        cuts = [features.shape[1] * part // _PARTS for part in range(_PARTS + 1)]
        for a, b in pairwise(cuts):
            likely = probability[:, a:b].index_select(0, found.category)  # J,b-a
            mask, winner = (self.overlap(dense, found.box, a, b) * likely).topk(1, dim=0)
            ids.append(torch.where(mask[0] > sigma, winner[0].int() + things_from, stuff[a:b]))
            sums = sums + self.slots.sums(ids[-1], features[:, a:b])
        return self.slots.finish(torch.cat(ids), sums, found)

    def overlap(self, dense: list[Tensor], box: Tensor, a: int, b: int) -> Tensor:
        """P_loc (J,b-a) of the cells a to b: IoU of B(x,y) with each query box (4,J), the best of the levels (eq. S2, S3)."""
        best = iou(dense[0][:, a:b].unsqueeze(1), box.unsqueeze(2))
        for level in dense[1:]:
            best = torch.maximum(best, iou(level[:, a:b].unsqueeze(1), box.unsqueeze(2)))
        return best
