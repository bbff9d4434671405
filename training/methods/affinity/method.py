"""What the commands need of the method: its settings, its network, its losses, and the graph to export."""

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from panoptic_ros.core import Label
from training.methods.affinity.affinity import affinities
from training.methods.affinity.decode import Decoder, DecoderSettings
from training.methods.affinity.loss import LossSettings, losses
from training.methods.affinity.network import Network, NetworkSettings
from training.nets.graph import Graph


@dataclass
class Settings:
    """Everything a recipe can set about this method."""

    network: NetworkSettings = field(default_factory=NetworkSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    decoder: DecoderSettings = field(default_factory=DecoderSettings)


class Method:
    """Affinity for a data set's labels. `network` is all that learns; `grid_stride` is the pixels per cell of its targets;
    `slots` is K."""

    fast_parameters = ()

    def __init__(self, settings: Settings, labels: tuple[Label, ...]) -> None:
        self.settings, self.labels = settings, labels
        self.things = torch.tensor([label.thing for label in labels])
        self.network = Network(settings.network, self.things)
        self.grid_stride = settings.loss.grid_stride
        self.slots = int((~self.things).sum()) + settings.decoder.detections

    def losses(self, image: Tensor, semantic: Tensor, instance: Tensor) -> dict[str, Tensor]:
        """Scalars to be summed. image: (B,3,h,w), 0..255. semantic, instance: (B,h/grid_stride,w/grid_stride), -1 none."""
        output = self.network(image)
        with torch.autocast(image.device.type, enabled=False):
            output, things = tree_map(Tensor.float, output), self.things.to(image.device)
            return losses(self.network, output, semantic, instance, things, self.settings.loss, self.settings.decoder)

    def pictures(self, image: Tensor) -> dict[str, Tensor]:
        """How much the cell in the middle collects from each, the half percent with the most in full; nothing without affinities.
        image: (1,3,h,w), 0..255; (3,h/4,w/4)."""
        found = self.network(image).affinity
        if not found:
            return {}
        height, width = found[0].shape[-2:]
        collects, gives = (part[0].flatten(1) for part in found)
        row = affinities(collects, gives, height // 2 * width + width // 2)
        return {"affinity": (row / row.quantile(0.995).clamp_min(1e-12)).view(1, height, width).expand(3, -1, -1)}

    def graph(self) -> Graph:
        """The module to export, of the network as it is now."""
        ids = torch.tensor([label.id for label in self.labels])
        return Graph(self.network, Decoder(self.network, ids, self.things, self.settings.decoder))
