"""What every method exports: its network, then its decoder."""

from typing import Any

import torch
from torch import Tensor, nn

from panoptic_ros.answer import Finish
from panoptic_ros.core import Slots


class Graph(nn.Module):
    """image uint8 (1,h,w,3) RGB -> `network_output` -> `decoder` -> what `finish` makes slots of.

    finish: `panoptic_ros.core.Slots` itself where the decoder's outputs are ids, category, score and embedding.
    """

    def __init__(self, network: nn.Module, decoder: nn.Module, finish: Finish = Slots) -> None:
        super().__init__()
        self.network, self.decoder, self.finish = network, decoder, finish

    def network_output(self, image: Tensor) -> Any:
        """What the decoder starts from: the network's output for the image as float32 (1,3,h,w)."""
        return self.network(image.float().permute(0, 3, 1, 2))

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return self.decoder(self.network_output(image))

    @torch.no_grad()
    def slots(self, raw: Any) -> Slots:
        """The rest of the way from `network_output`."""
        return self.finish(*(output.cpu().numpy() for output in self.decoder(raw)))
