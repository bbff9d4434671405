"""The decoder as tensor operations with static shapes, exported with the network: argmax over P."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from panoptic_ros.core import PanopticError
from training.methods.affinity.network import STRIDE, Network, Output
from training.nets.detector import Detections, DetectionSettings
from training.nets.fpn import resample
from training.nets.segments import Segments

MERGES = ("argmax", "heuristic")


@dataclass
class DecoderSettings(DetectionSettings):
    """stride: pixels per cell of the decoding grid (4; 8 halves all maps first, for a quarter of the decoder's work).

    score_threshold: the paper's cut-off on detections. void_threshold: on the class probability of a cell's segment, below which
    it is void; the paper has none (0). min_stuff_area: cells that a stuff segment must have, else its pixels are void (C).
    merge: `argmax` over P, or for comparison the `heuristic` of Kirillov et al. 2019 from masks and V; it drops a thing of which
    less than `overlap` is left by surer ones. SEARCH: the ranges of `training.search`.
    """

    SEARCH: ClassVar[dict[str, tuple[float, float]]] = {
        "score_threshold": (0.02, 0.6), "nms": (0.3, 0.8), "void_threshold": (0.0, 0.6), "min_stuff_area": (0, 100),
    }  # fmt: skip
    stride: int = 4
    score_threshold: float = 0.5
    void_threshold: float = 0.0
    min_stuff_area: int = 0
    merge: str = "argmax"
    overlap: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stride not in (4, 8):
            raise PanopticError(f"settings.decoder.stride is {self.stride}; it can be 4, 8")
        if self.merge not in MERGES:
            raise PanopticError(f"unknown settings.decoder.merge {self.merge!r}; there are {', '.join(MERGES)}")


class Decoder(nn.Module):
    """`Output` for one image -> ids (h',w') uint8, category (K,) int32, score (K,), embedding (K,E), as in `core.Slots`.

    The slots are those of `Segments`. category_ids: (C,) `Label.id`. things: (C,) bool.
    """

    def __init__(self, network: Network, category_ids: Tensor, things: Tensor, settings: DecoderSettings) -> None:
        super().__init__()
        if settings.merge == "heuristic" and not network.mask:
            raise PanopticError("settings.decoder.merge 'heuristic' needs masks: set settings.network.mask")
        self.network, self.settings = network, settings
        self.slots = Segments(category_ids, things, settings.detections, settings.min_stuff_area)

    def forward(self, output: Output) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        found = self.network.detections(output, self.settings)
        output = self.on_grid(output)
        probability = output.semantic[0].softmax(0).flatten(1)  # C,P
        masks = self.network.masks(output, found, self.settings.stride)
        p, embedding = self.network.panoptic(output, found, masks, self.settings.stride)
        argmax = self.settings.merge == "argmax"
        ids = self.argmax(p) if argmax else self.heuristic(probability, masks.flatten(1), found)
        confidence = self.confidence(probability, ids, found)
        ids = torch.where(confidence[0] > self.settings.void_threshold, ids, 0)
        sums = self.slots.sums(ids, self.slots.features(confidence, confidence[:0]))
        ids, score, embedding = self.slots.finish(ids, torch.cat([sums, embedding], 1), found)
        return ids.view(output.semantic.shape[-2:]).to(torch.uint8), self.slots.category(found), score, embedding

    def on_grid(self, output: Output) -> Output:
        """V and the affinity features on the decoding grid."""
        stride = self.settings.stride
        size = tuple(side * STRIDE // stride for side in output.semantic.shape[-2:])
        semantic, *affinity = (resample(x, STRIDE, stride, size) for x in (output.semantic, *output.affinity))
        return output._replace(semantic=semantic, affinity=affinity)

    def argmax(self, p: Tensor) -> Tensor:
        """(P,) int32 the id of the largest channel of each cell; 0 where none is positive. p: (K,P)."""
        best, winner = p.topk(1, dim=0)
        return torch.where(best[0] > 0, winner[0].int() + 1, 0)

    def confidence(self, probability: Tensor, ids: Tensor, found: Detections) -> Tensor:
        """(1,P) how likely V (C,P) finds the class of the segment that each cell is in; of void, that of the first slot."""
        class_of_slot = torch.cat([self.slots.stuff, found.category])
        return probability.gather(0, class_of_slot.index_select(0, (ids - 1).clamp_min(0)).unsqueeze(0))

    def heuristic(self, probability: Tensor, masks: Tensor, found: Detections) -> Tensor:
        """(P,) int32 ids: the surest things first, each where no surer one is; elsewhere the likeliest class, if it is stuff."""
        ids = torch.zeros_like(masks[0], dtype=torch.int32)
        for number, mask in enumerate((masks > 0.5).float().unbind()):
            left = mask * (ids == 0)
            stays = (left.sum() > self.settings.overlap * mask.sum()) & (found.score[number] > 0)
            ids = torch.where((left > 0) & stays, number + 1 + len(self.slots.stuff), ids)
        _, category = probability.topk(1, dim=0)
        return torch.where(ids > 0, ids, self.slots.id_of_class.index_select(0, category[0]))
