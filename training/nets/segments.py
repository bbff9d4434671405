"""Slots of a decoder whose things are detections: which slot is what, and what a segment's cells say of it."""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from training.nets.detector import Detections


class Segments(nn.Module):
    """Slots: the stuff classes in the labels' order, then `detections` things; as ids, 0 for void and k+1 for slot k.

    category_ids: (C,) `Label.id`. things: (C,) bool. min_stuff_area: cells that a stuff segment must have, else it is void.
    """

    def __init__(self, category_ids: Tensor, things: Tensor, detections: int, min_stuff_area: int) -> None:
        super().__init__()
        self.register_buffer("category_ids", category_ids.int())
        self.register_buffer("stuff", torch.nonzero(~things).flatten())  # class indices
        self.register_buffer("things", torch.nonzero(things).flatten())
        id_of_class = torch.zeros(len(things), dtype=torch.int32)
        id_of_class[~things] = torch.arange(1, int((~things).sum()) + 1, dtype=torch.int32)
        self.register_buffer("id_of_class", id_of_class)  # 0 for things
        slots = torch.arange(1, len(self.stuff) + detections + 1, dtype=torch.int32)
        self.register_buffer("slots", slots.unsqueeze(1))
        least_area = torch.ones(len(slots))
        least_area[: len(self.stuff)] = max(1, min_stuff_area)
        self.register_buffer("least_area", least_area)

    def category(self, found: Detections) -> Tensor:
        """(K,) int32 `Label.id` of each slot."""
        return torch.cat([self.category_ids[self.stuff], self.category_ids.index_select(0, found.category)])

    def features(self, confidence: Tensor, embedding: Tensor) -> Tensor:
        """(2+E,P) what `sums` adds up. confidence: (1,P), from which stuff gets its score. embedding: (E,P)."""
        features = torch.cat([torch.ones_like(confidence), confidence, embedding])
        return torch.where(features == features, features, 0)  # one cell that is not a number must not spoil every sum

    def sums(self, ids: Tensor, features: Tensor) -> Tensor:
        """(K,F) sums over the cells of each slot. ids: (P,). features: (F,P)."""
        return (ids == self.slots).float() @ features.T

    def finish(self, ids: Tensor, sums: Tensor, found: Detections) -> tuple[Tensor, Tensor, Tensor]:
        """ids (P,) int32 without stuff that is too small, and of all slots score (K,) and embedding (K,E), unit vectors.

        sums: (K,2+E), those of the cells, of the confidence, and the embedding at any length.
        """
        area, stuff = sums[:, 0], len(self.stuff)
        filled = area >= self.least_area
        score = torch.cat([sums[:stuff, 1] / area[:stuff].clamp_min(1), found.score]) * filled
        kept = torch.cat([torch.zeros_like(self.slots[0]), self.slots[:, 0] * filled])  # old id -> id
        return kept.index_select(0, ids), score, normalize(sums[:, 2:], dim=1)
