"""What the commands need of dense detections: its settings, its network, its losses, and the graph to export."""

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from panoptic_ros.core import Label, PanopticError
from training.methods.dense.decode import Decoder, DecoderSettings
from training.methods.dense.loss import LossSettings, losses
from training.methods.dense.network import Network, NetworkSettings
from training.nets.graph import Graph

LEVEL_COLORS = torch.tensor([[0, 0, 0], [0.1, 0.2, 1], [0, 0.8, 0.9], [0.2, 0.8, 0.2], [1, 0.8, 0], [1, 0.1, 0.1]])
"""RGB of background and P3 to P7."""


@dataclass
class Settings:
    """Everything a recipe can set about this method."""

    network: NetworkSettings = field(default_factory=NetworkSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    decoder: DecoderSettings = field(default_factory=DecoderSettings)

    def __post_init__(self) -> None:
        if self.decoder.levelness and not self.loss.levelness:
            raise PanopticError(
                "settings.loss.levelness is 0, but the decoder asks a levelness map; set settings.decoder.levelness to false"
            )


class Method:
    """Dense detections for a data set's labels. `network` is all that learns; `grid_stride` is the pixels per cell of its
    targets; `slots` is K."""

    fast_parameters = ()

    def __init__(self, settings: Settings, labels: tuple[Label, ...]) -> None:
        self.settings, self.labels = settings, labels
        self.things = torch.tensor([label.thing for label in labels])
        if not self.things.any():
            raise PanopticError("the labels have no thing class, which a detector needs")
        self.network = Network(settings.network, len(labels), int(self.things.sum()))
        self.grid_stride = settings.loss.grid_stride
        self.slots = int((~self.things).sum()) + settings.decoder.detections

    def losses(self, image: Tensor, semantic: Tensor, instance: Tensor) -> dict[str, Tensor]:
        """Scalars to be summed. image: (B,3,h,w), 0..255. semantic, instance: (B,h/grid_stride,w/grid_stride), -1 none."""
        output = self.network(image)
        with torch.autocast(image.device.type, enabled=False):
            output = tree_map(Tensor.float, output)
            return losses(output, semantic, instance, self.things.to(image.device), self.settings.loss)

    def pictures(self, image: Tensor) -> dict[str, Tensor]:
        """Levelness: background black, P3 to P7 from blue to red. image: (1,3,h,w), 0..255; (3,h/4,w/4)."""
        level = self.network(image).levelness[0].argmax(0)
        return {"levelness": LEVEL_COLORS.to(level.device)[level].permute(2, 0, 1)}

    def graph(self) -> Graph:
        """The module to export, of the network as it is now."""
        ids = torch.tensor([label.id for label in self.labels])
        return Graph(self.network, Decoder(ids, self.things, self.settings.decoder))
