"""What batch normalisation learns from in training: its process's images, all processes' images, or nothing."""

import torch
from torch import Tensor, nn

from training import distributed


class SynchronisedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation over the images of all processes, which all have as many, with its parameters unchanged.

    torch's own runs on GPUs only; this one also on CPUs (gloo).
    """

    def forward(self, x: Tensor) -> Tensor:
        """x: (B,C,h,w)."""
        if not self.training:
            return super().forward(x)
        wide = x.float()
        mean = distributed.Sum.apply(wide.mean((0, 2, 3))) / distributed.count()
        centred = wide - mean.view(1, -1, 1, 1)
        variance = distributed.Sum.apply((centred**2).mean((0, 2, 3))) / distributed.count()
        self._remember(mean.detach(), variance.detach(), x.numel() // x.shape[1] * distributed.count())
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)).to(x.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, values: int) -> None:
        """Running statistics, as `nn.BatchNorm2d` keeps them: the variance is the unbiased one. values: of each channel."""
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * values / max(1, values - 1), self.momentum)


def synchronise(network: nn.Module) -> None:
    """Every batch normalisation of the network from now on sees the images of all processes."""
    for module in _batch_norms(network):
        module.__class__ = SynchronisedBatchNorm  # only `forward` differs; hooks, names and parameters stay


def freeze(network: nn.Module) -> None:
    """Batch normalisation becomes a fixed scale and shift: call it after every `network.train()`."""
    for module in _batch_norms(network):
        module.eval()
        module.requires_grad_(False)


def _batch_norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
