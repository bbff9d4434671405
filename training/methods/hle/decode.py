"""The decoder of HLE (section 3.5, supplement C) as tensor operations with static shapes, exported with the network."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, normalize

from panoptic_ros.core import PanopticError
from training.methods.hle.network import Fields, Network, precisions

_MERGE_ROUNDS = 8
"""Rounds of the merging of seeds; exact for chains of seeds up to this depth."""


_PARTS = 8
"""Parts of the grid that are assigned to seeds one after the other."""


@dataclass
class DecoderSettings:
    """stride: pixels per cell of the decoding grid (4, 2 or 1; supplement C). coarse_above: rows of the image above which a cell
    has twice as many, so that decoding costs no more there; 0 for never. seeds: how many candidates at most.

    seed_threshold, merge_threshold, instance_threshold, stuff_threshold: on s, Phi of two seeds, Phi of a pixel, psi.
    min_stuff_area: cells that a stuff segment must have, else its pixels are void. SEARCH: the ranges of `training.search`.
    """

    SEARCH: ClassVar[dict[str, tuple[float, float]]] = {
        "seed_threshold": (0.3, 0.9), "merge_threshold": (0.1, 0.8), "instance_threshold": (0.05, 0.6),
        "stuff_threshold": (0.0, 0.7), "min_stuff_area": (0, 200),
    }  # fmt: skip
    stride: int = 2
    coarse_above: int = 0
    seeds: int = 100
    seed_threshold: float = 0.5
    merge_threshold: float = 0.3
    instance_threshold: float = 0.3
    stuff_threshold: float = 0.3
    min_stuff_area: int = 0

    def __post_init__(self) -> None:
        if self.stride not in (4, 2, 1):
            raise PanopticError(f"settings.decoder.stride is {self.stride}; it can be 4, 2, 1")
        if self.coarse_above < 0:
            raise PanopticError(f"settings.decoder.coarse_above is {self.coarse_above}; it is a number of rows, 0 for none")


@dataclass(frozen=True)
class Seeds:
    """M candidates in order of falling score. kernel: (M,E+4) weights of `pixel_features`, whose product is log Phi.

    score: (M,), 0 where there is no seed. category: (M,) class index. embedding: (M,E).
    """

    kernel: Tensor
    score: Tensor
    category: Tensor
    embedding: Tensor


class Decoder(nn.Module):
    """Raw output of the network -> ids (h',w') uint8, category (K,) int32, score (K,), embedding (K,E), as in `core.Slots`.

    Slots: the stuff classes in the labels' order, then `seeds` things. category_ids: (C,) `Label.id`. things: (C,) bool.
    """

    def __init__(self, network: Network, category_ids: Tensor, things: Tensor, settings: DecoderSettings) -> None:
        super().__init__()
        self.network, self.settings = network, settings
        self.register_buffer("category_ids", category_ids.int())
        self.register_buffer("stuff", torch.nonzero(~things).flatten())
        self.register_buffer("is_thing", things.float())
        slot = torch.zeros(len(things), dtype=torch.int32)
        slot[~things] = torch.arange(1, int((~things).sum()) + 1, dtype=torch.int32)
        self.register_buffer("slot_of_class", slot)  # 0 for things

    def forward(self, raw: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        height, width = self.grid_size(raw)
        as_it_is = self.settings.stride == self.network.trunk.stride and not self.settings.coarse_above
        fields = self.network.fields(raw, None if as_it_is else (height, width))
        confidence, category = self.network.semantic_logits(fields)[0].softmax(0).topk(1, dim=0)  # 1,P
        confidence, category = confidence[0], category[0]
        thing = self.is_thing.index_select(0, category)
        features = pixel_features(self.network.instance_part(fields.embedding)[0], fields.position[0])  # E+4,P
        seeds = self.seeds(fields, features, category, thing.view(1, 1, height, width))
        things = self.thing_slots(seeds, features, thing)
        stuff = torch.where(confidence > self.settings.stuff_threshold, self.slot_of_class.index_select(0, category), 0)
        ids = torch.where(things > 0, things + len(self.stuff), stuff)
        stuff_score, ids = self.stuff_scores(ids, confidence)
        return (
            ids.view(height, width).to(torch.uint8),
            torch.cat([self.category_ids[self.stuff], self.category_ids.index_select(0, seeds.category)]),
            torch.cat([stuff_score, seeds.score]),
            torch.cat([self.stuff_embedding(), seeds.embedding]),
        )

    def grid_size(self, raw: Tensor) -> tuple[int, int]:
        """(h',w') of the decoding grid, by arithmetic alone: an export's sizes are symbols."""
        given, stride = self.network.trunk.stride, self.settings.stride
        if self.settings.coarse_above:
            rows, most = raw.shape[-2], self.settings.coarse_above // given
            stride = stride * (2 - 2 * most // (rows + most))
        height, width = (side * given // stride for side in raw.shape[-2:])
        return height, width

    def seeds(self, fields: Fields, features: Tensor, category: Tensor, thing: Tensor) -> Seeds:
        """3x3 maxima of the seed map on things, the best M of them, those of one object merged.

        features: (E+4,P). category: (P,). thing: (1,1,h,w).
        """
        score = fields.seed.sigmoid().view(thing.shape) * thing
        peak = torch.where(score == max_pool2d(score, 3, 1, 1), score, 0).flatten()
        score, index = peak.topk(self.settings.seeds)
        e = features.shape[0] - 4
        mine = features.index_select(1, index)  # E+4,M
        precision, spatial = precisions(fields.log_sigma[0].index_select(1, index))  # 1,M
        bias = -precision - spatial * mine[e + 2 : e + 3]
        kernel = torch.cat([precision * mine[:e], 2 * spatial * mine[e : e + 2], -spatial, bias]).T  # M,E+4
        same = (kernel @ mine > math.log(self.settings.merge_threshold)).float().triu(1)  # [i,j]: i would absorb j
        valid = (score > self.settings.seed_threshold).float()
        keep = valid
        for _ in range(_MERGE_ROUNDS):
            keep = valid * (keep @ same < 0.5)
        # kept seeds come first: the slot of an object does not depend on which of two equally sure seeds absorbed the other
        score, order = (score * keep).topk(self.settings.seeds)
        kernel, index = kernel.index_select(0, order), index.index_select(0, order)
        # an empty slot wins no pixel: its constant is lowered below any log Phi
        kernel = torch.cat([kernel[:, :-1], kernel[:, -1:] + torch.where(score > 0, 0.0, -1e6).unsqueeze(1)], 1)
        embedding = fields.embedding[0].index_select(1, index).T
        return Seeds(kernel, score, category.index_select(0, index), embedding)

    def thing_slots(self, seeds: Seeds, features: Tensor, thing: Tensor) -> Tensor:
        """(P,) int32: 1 + the seed of highest Phi above the threshold, on pixels of thing classes, else 0."""
        # in parts, so that the (M, P) products stay in the cache between the two operations
        cuts = [features.shape[1] * part // _PARTS for part in range(_PARTS + 1)]
        best = [(seeds.kernel @ features[:, a:b]).topk(1, dim=0) for a, b in pairwise(cuts)]
        log_phi, winner = torch.cat([b.values[0] for b in best]), torch.cat([b.indices[0] for b in best])
        inside = (log_phi > math.log(self.settings.instance_threshold)) & (thing > 0)
        return torch.where(inside, winner.int() + 1, 0)

    def stuff_scores(self, ids: Tensor, confidence: Tensor) -> tuple[Tensor, Tensor]:
        """(S,) mean psi of each stuff segment's pixels, and ids (P,) without the segments that are too small."""
        slots = torch.arange(1, len(self.stuff) + 1, dtype=torch.int32, device=ids.device)
        masks = (ids == slots.unsqueeze(1)).float()  # S,P
        area = masks.sum(1)
        score = masks @ confidence / area.clamp_min(1)
        if self.settings.min_stuff_area:
            small = (area < self.settings.min_stuff_area).float()
            ids = torch.where(small @ masks > 0, 0, ids)
        return score, ids

    def stuff_embedding(self) -> Tensor:
        """(S,E): the class means; with a split space or a semantic branch, zeros but for one, since stuff is not tracked."""
        means = normalize(self.network.means, dim=1)[self.stuff]
        missing = self.network.settings.embedding - means.shape[1]
        return torch.nn.functional.pad(means, (0, missing))


def pixel_features(embedding: Tensor, position: Tensor) -> Tensor:
    """(E+4,P) of one image: e, x, y, x^2 + y^2, 1. log Phi of eq. 8 is linear in these, so that one product decides.

    embedding: (E,P). position: (2,P).
    """
    square = (position**2).sum(0, keepdim=True)
    return torch.cat([embedding, torch.cat([position, square, torch.ones_like(square)])])  # the inner part is a constant
