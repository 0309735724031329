"""The network with its preprocessing, from the channels' values to logits: normalisation, nodata, padding, U-Net."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from models.heads import Head, class_probabilities, decide, output_classes
from models.logit_scaling import LogitScaling
from models.modes import evaluating, mixed_precision
from models.symmetries import Orientations
from models.unet import BinaryUNets, UNet, UNetConfig

InputNormalization = Literal["dataset", "patch"]

# A channel whose standard deviation is below this share of its mean is constant within float32 rounding.
SMALLEST_RELATIVE_STD = 1e-5


class GlacierSegmenter(nn.Module):
    """One or several U-Nets with the normalisation of their input, for values of named channels in their units.

    The normalisation is stored with the weights and implemented here only, so that training, scoring and serving always
    normalise alike. So is the calibration of the probabilities, which the card of a version holds.

    Attributes:
        orientations: In which orientations :func:`models.inference.predict_windows` predicts. They belong to the
            version, so that maps are served as they were judged.
    """

    mean: Tensor
    std: Tensor
    logit_scale: Tensor
    logit_shift: Tensor

    def __init__(
        self,
        channels: Sequence[str],
        mean: Sequence[float],
        std: Sequence[float],
        unet: UNet | BinaryUNets,
        head: Head = "multiclass",
        input_normalization: InputNormalization = "dataset",
        precedence: Sequence[int] | None = None,
    ) -> None:
        """Wrap a U-Net.

        Args:
            channels: Names of the C input channels, in order.
            mean: C channel means of the training patches, in the channels' units.
            std: C channel standard deviations, in the channels' units, positive.
            unet: The network; its ``in_channels`` is C. ``BinaryUNets`` for the head ``"two_binaries"``.
            head: How its logits become class probabilities.
            input_normalization: ``"dataset"`` subtracts ``mean`` and divides by ``std`` (Baraka's code). ``"patch"``
                uses mean and standard deviation of the valid pixels of each image and channel instead (Baraka's text,
                appendix A); then ``mean`` and ``std`` only document the training data.
            precedence: The foreground classes of the labels by rising precedence. By default precedence rises with the
                value, and the labels have as many classes as the head predicts.

        Raises:
            ValueError: The lengths disagree, a name repeats, a statistic is not finite or a std not positive, or the
                network does not suit the head or the precedence.
        """
        super().__init__()
        self.channels = tuple(channels)
        self.unet = unet
        self.head = head
        self.input_normalization = input_normalization
        self.precedence = tuple(range(1, self.classes) if precedence is None else precedence)
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))
        # Not among the weights: they belong to a version, whose card holds them, and not to the next training.
        self.register_buffer("logit_scale", torch.ones(self.logits), persistent=False)
        self.register_buffer("logit_shift", torch.zeros(self.logits), persistent=False)
        self.orientations: Orientations = "one"
        self._check()

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        return self.mean.device

    @property
    def classes(self) -> int:
        """K, the number of classes that the network predicts."""
        networks = len(self.unet.networks) if isinstance(self.unet, BinaryUNets) else 1
        return output_classes(self.head, self.unet.config.classes, networks)

    @property
    def logits(self) -> int:
        """L, the number of logits: K for a multiclass head, 1 for a binary one, K - 1 for two binaries."""
        return self.classes if self.head == "multiclass" else self.classes - 1

    @property
    def label_classes(self) -> int:
        """The number of classes in the labels, background included; a binary head may predict fewer."""
        return len(self.precedence) + 1

    def forward(self, raw: Tensor) -> Tensor:
        """Normalise, replace nodata by the mean, and segment.

        NaN becomes 0 after the normalisation, where 0 is the channel's mean (Baraka et al. 2020, appendix A; with
        imputation before normalisation, as the wording there suggests, nodata would count as the value 0).
        Images whose sides are not multiples of ``2 ** depth`` are padded with 0 below and to the right, and the
        logits cropped.

        Args:
            raw: (N, C, H, W) float32 values in the channels' units, NaN = nodata, any H and W; on the network's device.

        Returns:
            Logits (N, L, H, W), not calibrated; see :attr:`logits`.

        Raises:
            ValueError: The tensor is not 4-dimensional or has another number of channels.
        """
        logits: Tensor = self.unet(self.network_input(raw))
        return logits[:, :, : raw.shape[2], : raw.shape[3]]

    def features_and_logits(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the maps of the last decoder block (:meth:`models.unet.UNet.features`) and the logits from them.

        Args:
            raw: As :meth:`forward`.

        Returns:
            Features (N, M, H, W), where M is the width of the U-Net, times K - 1 for two binaries; and the logits of
            :meth:`forward`.

        Raises:
            ValueError: As :meth:`forward`.
        """
        features: Tensor = self.unet.features(self.network_input(raw))
        logits = self.unet.classify(features)
        height, width = raw.shape[2], raw.shape[3]
        return features[:, :, :height, :width], logits[:, :, :height, :width]

    def network_input(self, raw: Tensor) -> Tensor:
        """Return the input of the U-Net: normalised, nodata replaced by 0, padded; see :meth:`forward`.

        Args:
            raw: As :meth:`forward`.

        Returns:
            (N, C, H', W') float32; H' and W' are the next multiples of ``2 ** depth``.

        Raises:
            ValueError: As :meth:`forward`.
        """
        if raw.ndim != 4 or raw.shape[1] != len(self.channels):
            raise ValueError(
                f"the images have shape {tuple(raw.shape)}; expected (N, {len(self.channels)}, H, W) "
                f"with the channels {', '.join(self.channels)}"
            )
        normalised = self._normalise(raw)
        imputed = torch.where(torch.isnan(normalised), 0.0, normalised)
        height, width = raw.shape[2], raw.shape[3]
        multiple = self.unet.config.size_multiple
        below = _round_up(height, multiple) - height
        right = _round_up(width, multiple) - width
        return F.pad(imputed, (0, right, 0, below))

    def probabilities(self, raw: Tensor) -> Tensor:
        """Predict class probabilities deterministically, in evaluation mode; the previous mode is restored.

        Args:
            raw: (N, C, H, W) float32 values in the channels' units, NaN = nodata; any device.

        Returns:
            (N, K, H, W) float32 on the network's device; the class axis sums to 1.

        Raises:
            ValueError: As :meth:`forward`.
        """
        with evaluating(self):
            with mixed_precision(self.device):
                logits: Tensor = self(raw.to(self.device))
            return self.to_probabilities(logits)

    def to_probabilities(self, logits: Tensor) -> Tensor:
        """Calibrate the logits of :meth:`forward`, and turn them into class probabilities (N, K, H, W) float32."""
        scaled = logits.float() * self.logit_scale[:, None, None] + self.logit_shift[:, None, None]
        return class_probabilities(scaled, self.head, self.precedence)

    def calibrate(self, scaling: LogitScaling | None) -> None:
        """Set the scaling of the logits that :meth:`to_probabilities` applies; None removes it.

        Raises:
            ValueError: It is for another number of logits.
        """
        scaling = scaling or LogitScaling.identity(self.logits)
        if len(scaling.scale) != self.logits or len(scaling.shift) != self.logits:
            raise ValueError(f"found {len(scaling.scale)} scales of logits; expected one for each of {self.logits}")
        self.logit_scale.copy_(torch.tensor(scaling.scale))
        self.logit_shift.copy_(torch.tensor(scaling.shift))

    def decide(self, probabilities: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
        """Choose the class of each pixel from probabilities (K, h, w), as :func:`models.heads.decide`."""
        return decide(probabilities, self.head, self.precedence)

    def _normalise(self, raw: Tensor) -> Tensor:
        if self.input_normalization == "patch":
            return _standardise_per_image(raw)
        return (raw - self.mean[:, None, None]) / self.std[:, None, None]

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
        if isinstance(self.unet, BinaryUNets) != (self.head == "two_binaries"):
            raise ValueError(
                f"a {type(self.unet).__name__} was given to the head {self.head!r}; "
                "the head two_binaries takes BinaryUNets, the others a UNet"
            )
        foreground = range(1, self.label_classes)
        if sorted(self.precedence) != list(foreground) or (
            self.head != "binary" and self.classes != len(foreground) + 1
        ):
            raise ValueError(
                f"found the precedence {list(self.precedence)} for a network that tells {self.classes} classes apart; "
                "expected each foreground class of the labels once: 1 to K - 1, from the lowest to the highest"
            )


def build_segmenter(
    channels: Sequence[str],
    mean: Sequence[float],
    std: Sequence[float],
    config: UNetConfig,
    seed: int,
    head: Head = "multiclass",
    input_normalization: InputNormalization = "dataset",
    precedence: Sequence[int] | None = None,
) -> GlacierSegmenter:
    """Build a segmenter with new weights that depend only on ``seed``; the global generator is not changed.

    Args:
        channels: Names of the input channels, in order.
        mean: Channel means, in the channels' units.
        std: Channel standard deviations, in the channels' units.
        config: Architecture of the U-Net; with the head ``"two_binaries"`` of each U-Net.
        seed: Seed of the initial weights.
        head: As :class:`GlacierSegmenter`.
        input_normalization: As :class:`GlacierSegmenter`.
        precedence: As :class:`GlacierSegmenter`. The head ``"two_binaries"`` gets one network for each of its classes;
            by default two, as the name says.

    Returns:
        The segmenter on the CPU, in evaluation mode.

    Raises:
        ValueError: As :class:`GlacierSegmenter`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        networks = 2 if precedence is None else len(precedence)
        network = BinaryUNets(config, networks) if head == "two_binaries" else UNet(config)
        return GlacierSegmenter(channels, mean, std, network, head, input_normalization, precedence).eval()


def _standardise_per_image(raw: Tensor) -> Tensor:
    """Standardise the valid pixels of each image and channel; NaN stays, and a constant channel becomes 0."""
    valid = ~raw.isnan()
    count = valid.sum(dim=(2, 3), keepdim=True).clamp(min=1)
    mean = torch.where(valid, raw, 0.0).sum(dim=(2, 3), keepdim=True) / count
    deviation = raw - mean
    std = (torch.where(valid, deviation, 0.0).square().sum(dim=(2, 3), keepdim=True) / count).sqrt()
    varies = std > SMALLEST_RELATIVE_STD * mean.abs()
    return torch.where(varies | ~valid, deviation / torch.where(varies, std, 1.0), 0.0)


def _round_up(size: int, multiple: int) -> int:
    return (size + multiple - 1) // multiple * multiple
