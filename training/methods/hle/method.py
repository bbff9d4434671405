"""What the commands need of HLE: its settings, its network, its losses, and the graph to export."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from panoptic_ros.core import Label
from training.methods.hle.decode import Decoder, DecoderSettings
from training.methods.hle.loss import LossSettings, losses
from training.methods.hle.network import Network, NetworkSettings
from training.nets.graph import Graph


@dataclass
class Settings:
    """Everything a recipe can set about this method."""

    network: NetworkSettings = field(default_factory=NetworkSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    decoder: DecoderSettings = field(default_factory=DecoderSettings)


class Method:
    """HLE for a data set's labels. `network` is all that learns; `grid_stride` is the pixels per cell of its targets;
    `slots` is K."""

    fast_parameters = ("means", "log_precision")
    """Learn at `Recipe.fast_lr`: they are few, and have to keep up with the embeddings (section 3.4)."""

    def __init__(self, settings: Settings, labels: tuple[Label, ...]) -> None:
        self.settings, self.labels = settings, labels
        self.things = torch.tensor([label.thing for label in labels])
        self.network = Network(settings.network, len(labels))
        self.grid_stride = settings.loss.grid_stride
        self.slots = int((~self.things).sum()) + settings.decoder.seeds

    def losses(self, image: Tensor, semantic: Tensor, instance: Tensor) -> dict[str, Tensor]:
        """Scalars to be summed. image: (B,3,h,w), 0..255. semantic, instance: (B,h/grid_stride,w/grid_stride), -1 none."""
        raw = self.network(image)
        with torch.autocast(image.device.type, enabled=False):
            return losses(self.network, raw, semantic, instance, self.things.to(image.device), self.settings.loss)

    def pictures(self, image: Tensor) -> dict[str, Tensor]:
        """The embedding, three dimensions a picture as in figure 3, and the seeds. image: (1,3,h,w), 0..255; each (3,h',w')."""
        raw = self.network(image)
        fields = self.network.fields(raw)
        embedding, seed = (part[0].view(-1, *raw.shape[-2:]) for part in (fields.embedding, fields.seed.sigmoid()))
        parts = embedding[: len(embedding) // 3 * 3].split(3)[:4]
        return {f"embedding_{n}": (part + 1) / 2 for n, part in enumerate(parts)} | {"seed": seed.expand(3, -1, -1)}

    def graph(self) -> Graph:
        """The module to export, of the network as it is now."""
        ids = torch.tensor([label.id for label in self.labels])
        return Graph(self.network, Decoder(self.network, ids, self.things, self.settings.decoder))
