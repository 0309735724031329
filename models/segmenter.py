"""The whole path from raw digital numbers to logits: normalisation, nodata, padding, U-Net."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.modes import evaluating, mixed_precision
from models.unet import UNet, UNetConfig


class GlacierSegmenter(nn.Module):
    """A U-Net that takes raw digital numbers of named channels.

    The normalisation travels with the weights and exists nowhere else, so that training, scoring and serving cannot
    drift apart.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, channels: Sequence[str], mean: Sequence[float], std: Sequence[float], unet: UNet) -> None:
        """Wrap a U-Net.

        Args:
            channels: Names of the C input channels, in order.
            mean: C channel means of the training patches, in digital numbers.
            std: C channel standard deviations, in digital numbers, positive.
            unet: The network; its ``in_channels`` is C.

        Raises:
            ValueError: The lengths disagree, a name repeats, or a statistic is not finite or a std not positive.
        """
        super().__init__()
        self.channels = tuple(channels)
        self.unet = unet
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))
        self._check()

    @property
    def device(self) -> torch.device:
        """Where the network lives."""
        return self.mean.device

    def forward(self, raw: Tensor) -> Tensor:
        """Normalise, replace nodata by the mean, and segment.

        NaN becomes 0 after the normalisation, where 0 is the channel's mean (Baraka et al. 2020, appendix A).
        Images whose sides are not multiples of ``2 ** depth`` are padded with 0 below and to the right, and the
        logits cropped.

        Args:
            raw: (N, C, H, W) float32 raw digital numbers, NaN = nodata, any H and W; on the network's device.

        Returns:
            Logits (N, classes, H, W).

        Raises:
            ValueError: The tensor is not 4-dimensional or has another number of channels.
        """
        if raw.ndim != 4 or raw.shape[1] != len(self.channels):
            raise ValueError(
                f"the images have shape {tuple(raw.shape)}; expected (N, {len(self.channels)}, H, W) "
                f"with the channels {', '.join(self.channels)}"
            )
        normalised = (raw - self.mean[:, None, None]) / self.std[:, None, None]
        imputed = torch.where(torch.isnan(normalised), 0.0, normalised)
        height, width = raw.shape[2], raw.shape[3]
        multiple = self.unet.config.size_multiple
        below = _round_up(height, multiple) - height
        right = _round_up(width, multiple) - width
        logits: Tensor = self.unet(F.pad(imputed, (0, right, 0, below)))
        return logits[:, :, :height, :width]

    def probabilities(self, raw: Tensor) -> Tensor:
        """Predict class probabilities, deterministically: in evaluation mode whatever the mode was.

        Args:
            raw: (N, C, H, W) float32 raw digital numbers, NaN = nodata; any device.

        Returns:
            (N, classes, H, W) float32 on the network's device; the class axis sums to 1.

        Raises:
            ValueError: As :meth:`forward`.
        """
        with evaluating(self):
            with mixed_precision(self.device):
                logits: Tensor = self(raw.to(self.device))
            return logits.float().softmax(dim=1)

    def _check(self) -> None:
        counts = (len(self.channels), len(self.mean), len(self.std), self.unet.config.in_channels)
        if len(set(counts)) > 1:
            raise ValueError(
                "there are {} channel names, {} means, {} standard deviations and {} input channels of the U-Net; "
                "the four must agree".format(*counts)
            )
        if len(set(self.channels)) < len(self.channels):
            raise ValueError(f"channel names repeat: {', '.join(self.channels)}; each must be named once")
        if not (self.mean.isfinite().all() and self.std.isfinite().all() and (self.std > 0).all()):
            raise ValueError(
                f"mean {self.mean.tolist()} and std {self.std.tolist()} must be finite, and std positive; "
                "compute them over valid pixels of the training patches"
            )


def build_segmenter(
    channels: Sequence[str], mean: Sequence[float], std: Sequence[float], config: UNetConfig, seed: int
) -> GlacierSegmenter:
    """Build a segmenter with fresh weights that depend on ``seed`` alone; the global generator is left untouched.

    Args:
        channels: Names of the input channels, in order.
        mean: Channel means, in digital numbers.
        std: Channel standard deviations, in digital numbers.
        config: The shape of the U-Net.
        seed: Seed of the initial weights.

    Returns:
        The segmenter on the CPU, in evaluation mode.

    Raises:
        ValueError: As :class:`GlacierSegmenter`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return GlacierSegmenter(channels, mean, std, UNet(config)).eval()


def _round_up(size: int, multiple: int) -> int:
    return (size + multiple - 1) // multiple * multiple
