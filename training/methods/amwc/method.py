"""What the commands need of AMWC: its settings, its network, its losses, and the graph to export."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from panoptic_ros.core import Label
from panoptic_ros.solvers.segments import Solver
from training.methods.amwc.decode import Costs, DecoderSettings
from training.methods.amwc.end_to_end import EndToEndSettings, panoptic_loss
from training.methods.amwc.loss import LossSettings, losses
from training.methods.amwc.network import STRIDE, Network, NetworkSettings
from training.methods.amwc.separate import separate_losses
from training.nets.graph import Graph


@dataclass
class Settings:
    """Everything a recipe can set about this method. loss: of pre-training."""

    network: NetworkSettings = field(default_factory=NetworkSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    end_to_end: EndToEndSettings = field(default_factory=EndToEndSettings)
    decoder: DecoderSettings = field(default_factory=DecoderSettings)


class Method:
    """Asymmetric multiway cuts for a data set's labels. `network` is all that learns; `grid_stride` is the pixels per cell of its
    targets; `slots` is K."""

    fast_parameters = ()
    grid_stride = STRIDE

    def __init__(self, settings: Settings, labels: tuple[Label, ...]) -> None:
        self.settings, self.labels = settings, labels
        self.things = torch.tensor([label.thing for label in labels])
        self.network = Network(settings.network, len(labels))
        self.slots = int((~self.things).sum()) + settings.decoder.things
        if settings.end_to_end.enabled:
            only_last_layers_learn(self.network)

    def losses(self, image: Tensor, semantic: Tensor, instance: Tensor) -> dict[str, Tensor]:
        """Scalars to be summed. image: (B,3,h,w), 0..255. semantic, instance: (B,h/4,w/4), -1 none."""
        s = self.settings
        if s.end_to_end.enabled:
            self.network.eval()  # frozen batch normalisation (section 4.2); the trainer has put it into training mode
        output = self.network(image)
        with torch.autocast(image.device.type, enabled=False):
            output, things = tree_map(Tensor.float, output), self.things.to(image.device)
            truth = semantic, instance, things, s.network.distances
            if not s.end_to_end.enabled:
                return losses(output, *truth, s.loss)
            if s.end_to_end.separate:
                return separate_losses(output, *truth, s.end_to_end, s.loss)
            return {"panoptic": panoptic_loss(output, *truth, s.end_to_end)}

    def pictures(self, image: Tensor) -> dict[str, Tensor]:
        """How likely the edges of each distance are cut, to the right red, down green. image: (1,3,h,w), 0..255; (3,h/4,w/4)."""
        cut = torch.sigmoid(-self.network(image).edge_cost[0]).split(2)
        pairs = zip(self.settings.network.distances, cut, strict=True)
        return {f"cut_{distance}": torch.cat([pair, torch.zeros_like(pair[:1])]) for distance, pair in pairs}

    def graph(self) -> Graph:
        """The module to export, of the network as it is now, up to the costs; then the solver."""
        return Graph(self.network, Costs(), Solver(self.labels, self.settings.decoder.cut(self.settings.network.distances)))


def only_last_layers_learn(network: Network) -> None:
    """The class layer and the two layers of every affinity classifier, without batch normalisation (section 4.2)."""
    network.requires_grad_(False)
    for part in (network.semantic, *network.classifiers.modules()):
        if isinstance(part, nn.Conv2d):
            part.requires_grad_(True)
