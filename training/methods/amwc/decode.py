"""Where the exported graph ends: at costs, of which `panoptic_ros.solvers.segments` makes segments."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from panoptic_ros.core import PanopticError
from panoptic_ros.solvers.segments import CutSettings
from training.methods.amwc.network import STRIDE, Output


@dataclass
class DecoderSettings:
    """things: how many at most. min_thing_area, min_stuff_area: cells; smaller segments are void (section 4.1).

    min_probability: of the segment's class; a cell below it is void. The paper has none, 0. time_budget_s: for the solver's
    search, 0 is none. SEARCH: the ranges of `training.search`.
    """

    SEARCH: ClassVar[dict[str, tuple[float, float]]] = {
        "min_thing_area": (0, 60), "min_stuff_area": (0, 200), "min_probability": (0.0, 0.6),
    }  # fmt: skip
    things: int = 100
    min_thing_area: int = 12
    min_stuff_area: int = 128
    min_probability: float = 0.0
    time_budget_s: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.things <= 100:
            raise PanopticError(f"settings.decoder.things is {self.things}; expected 1..100")
        if not 0 <= self.min_probability < 1:
            raise PanopticError(f"settings.decoder.min_probability is {self.min_probability}; expected 0 to below 1")
        for key in ("min_thing_area", "min_stuff_area", "time_budget_s"):
            if getattr(self, key) < 0:
                raise PanopticError(f"settings.decoder.{key} is {getattr(self, key)}; expected 0 or more")

    @property
    def stride(self) -> int:
        """Pixels per cell."""
        return STRIDE

    def cut(self, distances: list[int]) -> CutSettings:
        """What the solver has to know. distances: of the network's edges, cells."""
        return CutSettings(
            tuple(distances), self.things, self.min_thing_area, self.min_stuff_area, self.min_probability, self.time_budget_s
        )


class Costs(nn.Module):
    """`Output` for one image -> class_cost (C,h/4,w/4), edge_cost (2D,h/4,w/4), features (E,h/4,w/4)."""

    def forward(self, output: Output) -> tuple[Tensor, Tensor, Tensor]:
        return output.class_cost.float().squeeze(0), output.edge_cost.float().squeeze(0), output.features.float().squeeze(0)
