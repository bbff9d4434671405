"""The dense instance affinity head (section 3.4.2): how strongly any two pixels belong together, and what follows for Psi."""

from torch import Tensor, nn
from torch.nn.functional import relu


class InstanceAffinity(nn.Module):
    """Q (B,C,h,w) -> phi0(Q) and phi1(Q), 1x1 convolutions with ReLU: what a cell collects, and what it gives. channels: C.

    A = phi0(Q) phi1(Q)^T are the affinities of all pairs of cells, with each channel of phi1(Q) divided by its sum over the
    image, so that a cell collects means of the potential, whatever the size of the image. A is never written down.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.phi0, self.phi1 = nn.Conv2d(channels, channels, 1), nn.Conv2d(channels, channels, 1)
        nn.init.normal_(self.phi0.weight, std=0.01)  # P begins near Psi
        nn.init.zeros_(self.phi0.bias)

    def forward(self, features: Tensor) -> list[Tensor]:
        return [relu(self.phi0(features)), relu(self.phi1(features))]


def gather(potential: Tensor, gives: Tensor) -> Tensor:
    """(K,C) phi1(Q)^T Psi, the means of each segment's potential that the channels have seen. potential: (K,P). gives: (C,P)."""
    return potential @ gives.T / total(gives)


def total(gives: Tensor) -> Tensor:
    """(C,) what the cells of the image give to each channel."""
    return gives.sum(1).clamp_min(1e-6)


def propagate(potential: Tensor, collects: Tensor, gathered: Tensor) -> Tensor:
    """P (K,P), eq. 4, in the order of eq. 3: linear in the cells. collects: (C,P). gathered: (K,C)."""
    return potential + gathered @ collects


def affinities(collects: Tensor, gives: Tensor, cell: int) -> Tensor:
    """(P,) the row of A of one cell: how much it collects from each. collects, gives: (C,P)."""
    return (collects[:, cell] / total(gives)) @ gives
