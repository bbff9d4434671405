"""What every method exports: its network, then its decoder."""

from typing import Any

from torch import Tensor, nn


class Graph(nn.Module):
    """image uint8 (1,h,w,3) RGB -> `network_output` -> `decoder`: ids, category, score, embedding (`panoptic_ros.core.Slots`)."""

    def __init__(self, network: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.network, self.decoder = network, decoder

    def network_output(self, image: Tensor) -> Any:
        """What the decoder starts from: the network's output for the image as float32 (1,3,h,w)."""
        return self.network(image.float().permute(0, 3, 1, 2))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.decoder(self.network_output(image))
