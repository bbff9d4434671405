"""The dense instance affinity head (section 3.4.2): how strongly any two pixels belong together, and what follows for Psi."""

from torch import Tensor, nn
from torch.nn.functional import relu


class InstanceAffinity(nn.Module):
    """A = phi0(Q) phi1(Q)^T, the affinities of all pairs of cells, which are never written down. channels: C.

    phi0 and phi1 are 1x1 convolutions with ReLU; each channel of phi1 is divided by its sum over the image, so that a cell
    collects means of the potential, whatever the size of the image.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.phi0, self.phi1 = nn.Conv2d(channels, channels, 1), nn.Conv2d(channels, channels, 1)
        nn.init.normal_(self.phi0.weight, std=0.01)  # P begins near Psi
        nn.init.zeros_(self.phi0.bias)

    def forward(self, potential: Tensor, features: Tensor) -> Tensor:
        """P (K,P), eq. 4, in the order of eq. 3: linear in cells. potential: Psi, (K,P). features: Q, (1,C,h,w)."""
        collects, gives, total = self.factors(features)
        return potential + (potential @ gives.T / total) @ collects

    def factors(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """phi0(Q) (C,P), phi1(Q) (C,P) before its division, and its sums (C,)."""
        collects, gives = (relu(phi(features))[0].flatten(1) for phi in (self.phi0, self.phi1))
        return collects, gives, gives.sum(1).clamp_min(1e-6)

    def row(self, features: Tensor, cell: int) -> Tensor:
        """(P,) the affinities of one cell with all: what its row of P collects from each."""
        collects, gives, total = self.factors(features)
        return (collects[:, cell] / total) @ gives
