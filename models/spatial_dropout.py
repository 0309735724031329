"""Spatial dropout whose masks, at inference, depend on each sample's own seed only."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SpatialDropout(nn.Module):
    """Drop whole feature maps with probability ``p`` and scale the kept ones by ``1 / (1 - p)``.

    Neighbouring pixels of a feature map carry the same information, so that dropping single pixels hardly regularises
    a convolutional network (Tompson et al. 2015, "Efficient object localization using convolutional networks").

    In ``train()`` the masks come from torch's global generator, exactly as in :class:`torch.nn.Dropout2d`. In
    ``eval()`` the layer is the identity, unless :func:`models.mc_dropout.stochastic` lends it generators.
    """

    def __init__(self, p: float) -> None:
        """Build the layer.

        Args:
            p: Probability that a feature map is dropped, in [0, 1).

        Raises:
            ValueError: ``p`` lies outside [0, 1).
        """
        super().__init__()
        if not 0.0 <= p < 1.0:
            raise ValueError(f"a dropout probability of {p} was given; it must lie in [0, 1)")
        self.p = p
        self.generators: tuple[torch.Generator, ...] | None = None

    def forward(self, maps: Tensor) -> Tensor:
        """Drop feature maps as the mode asks.

        Args:
            maps: Feature maps (N, C, H, W), floating point.

        Returns:
            A tensor of the same shape, dtype and device.

        Raises:
            ValueError: Generators are lent, but not one for each sample of the batch.
        """
        if self.generators is None:
            return F.dropout2d(maps, self.p, self.training)
        return maps * self._keep_factors(maps, self.generators)

    def _keep_factors(self, maps: Tensor, generators: tuple[torch.Generator, ...]) -> Tensor:
        """Draw 0 or 1 / (1 - p) for each sample and channel: (N, C, 1, 1), on the maps' device."""
        if len(generators) != maps.shape[0]:
            raise ValueError(
                f"{len(generators)} seeds were given for a batch of {maps.shape[0]} samples; give one seed a sample"
            )
        draws = torch.stack([torch.rand(maps.shape[1], generator=generator) for generator in generators])
        factors = (draws >= self.p).to(maps.dtype) / (1.0 - self.p)
        return factors[:, :, None, None].to(maps.device)

    def extra_repr(self) -> str:
        """Show the probability when the network is printed."""
        return f"p={self.p}"
