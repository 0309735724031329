"""The U-Net (Ronneberger et al. 2015), configurable as in Baraka, Aryal and He (see models.presets)."""

from typing import Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass as validated_dataclass
from torch import Tensor, nn

from models.closed_config import CLOSED, ClosedConfig


@validated_dataclass(frozen=True, config=CLOSED)
class UNetConfig(ClosedConfig):
    """The architecture of a U-Net; the defaults are Baraka's.

    Attributes:
        in_channels: Input channels.
        classes: Output channels: one logit a class, or a single one for a class against the rest.
        depth: Number of 2x2 max-poolings, and as many transposed convolutions.
        width: Feature maps of the first level; each level below doubles them.
        dropout: Probability that a feature map is dropped, in [0, 1).
        normalization: ``"batch"`` adds a batch norm to each 3x3 convolution.
        activation: After each 3x3 convolution.
        layer_order: Order of the layers of a block.
            ``"conv-norm-drop-act"`` has the spatial dropout between the first convolution and its activation (Baraka);
            ``"conv-norm-act"`` has it after the block (Aryal);
            ``"conv-act-norm"`` has the norm after the activation (He), and the dropout, if any, after the block.
        initialization: How new weights are drawn. ``"kaiming"`` is normal, with biases 0 (He et al. 2015, as in
            Ronneberger et al. 2015); ``"torch"`` is torch's default (uniform, biases too), which the codes of Baraka
            and Aryal leave in place. Of no effect on trained weights.
    """

    # Upper bounds, so that a forged model card cannot make us allocate huge networks.
    in_channels: int = Field(ge=1, le=256)
    classes: int = Field(default=3, ge=1, le=256)
    depth: int = Field(default=5, ge=1, le=7)
    width: int = Field(default=16, ge=1, le=256)
    dropout: float = Field(default=0.3, ge=0.0, lt=1.0)
    normalization: Literal["none", "batch"] = "none"
    activation: Literal["relu", "gelu"] = "relu"
    layer_order: Literal["conv-norm-drop-act", "conv-norm-act", "conv-act-norm"] = "conv-norm-drop-act"
    initialization: Literal["kaiming", "torch"] = "kaiming"

    @property
    def size_multiple(self) -> int:
        """2 ** depth: height and width of the input must be multiples of it."""
        return int(2**self.depth)


class UNet(nn.Module):
    """U-Net with 3x3 convolutions, 2x2 max-pooling and 2x2 transposed convolutions.

    Every block of encoder, bottleneck and decoder has two convolutions, in the order that ``config.layer_order`` says.
    Convolutions are zero-padded, so that output and input sizes agree.
    """

    def __init__(self, config: UNetConfig) -> None:
        """Build the network with new weights, drawn from torch's global generator.

        Args:
            config: The architecture.
        """
        super().__init__()
        self.config = config
        widths = [config.width * 2**level for level in range(config.depth + 1)]
        incoming = [config.in_channels, *widths[:-1]]
        self.encoder = nn.ModuleList(
            _block(config, inputs, outputs) for inputs, outputs in zip(incoming[:-1], widths[:-1], strict=True)
        )
        self.bottleneck = _block(config, widths[-2], widths[-1])
        self.upsamplers = nn.ModuleList(
            nn.ConvTranspose2d(2 * width, width, kernel_size=2, stride=2) for width in reversed(widths[:-1])
        )
        # Skip connections: a decoder block gets the upsampled maps and the encoder's maps of the same level.
        self.decoder = nn.ModuleList(_block(config, 2 * width, width) for width in reversed(widths[:-1]))
        self.pool = nn.MaxPool2d(kernel_size=2)
        self.head = nn.Conv2d(config.width, config.classes, kernel_size=1)
        if config.initialization == "kaiming":
            self.apply(_initialise)

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits.

        Args:
            images: (N, C, H, W) float, normalised and free of NaN; H and W multiples of ``config.size_multiple``.

        Returns:
            Logits (N, classes, H, W).

        Raises:
            ValueError: H or W is not a multiple; the message names the size to pad to.
        """
        return self.classify(self.features(images))

    def features(self, images: Tensor) -> Tensor:
        """Compute the maps of the last decoder block, from which the 1x1 convolution computes the logits.

        Args:
            images: As :meth:`forward`.

        Returns:
            Maps (N, width, H, W).

        Raises:
            ValueError: As :meth:`forward`.
        """
        self._check_size(images.shape[2], images.shape[3])
        maps: Tensor = images
        skips: list[Tensor] = []
        for block in self.encoder:
            maps = block(maps)
            skips.append(maps)
            maps = self.pool(maps)
        maps = self.bottleneck(maps)
        for upsampler, block in zip(self.upsamplers, self.decoder, strict=True):
            maps = block(torch.cat([upsampler(maps), skips.pop()], dim=1))
        return maps

    def classify(self, features: Tensor) -> Tensor:
        """Return the logits (N, classes, H, W) of the maps of :meth:`features`."""
        logits: Tensor = self.head(features)
        return logits

    def _check_size(self, height: int, width: int) -> None:
        multiple = self.config.size_multiple
        if height % multiple or width % multiple:
            padded = [-(-size // multiple) * multiple for size in (height, width)]
            raise ValueError(
                f"the images are {height} x {width} px (height x width); a U-Net of depth {self.config.depth} takes "
                f"multiples of {multiple}: pad them to {padded[0]} x {padded[1]}"
            )


class BinaryUNets(nn.Module):
    """Independent U-Nets of one architecture on the same input, one per foreground class: two for Aryal et al."""

    def __init__(self, config: UNetConfig, networks: int) -> None:
        """Build the networks, each with its own weights.

        Args:
            config: The architecture of each.
            networks: Number of networks, at least 1.
        """
        super().__init__()
        self.config = config
        self.networks = nn.ModuleList(UNet(config) for _ in range(networks))

    def each(self) -> list[UNet]:
        """Return the networks, that of class 1 first."""
        return [network for network in self.networks if isinstance(network, UNet)]

    def forward(self, images: Tensor) -> Tensor:
        """Compute the logits of all networks.

        Args:
            images: As in :meth:`UNet.forward`.

        Returns:
            Logits (N, networks * classes, H, W): class 1 against the rest, class 2 against the rest, and so on.

        Raises:
            ValueError: As :meth:`UNet.forward`.
        """
        return torch.cat([network(images) for network in self.networks], dim=1)

    def features(self, images: Tensor) -> Tensor:
        """Return the maps (N, networks * width, H, W) of all networks, see :meth:`UNet.features`."""
        return torch.cat([network.features(images) for network in self.each()], dim=1)

    def classify(self, features: Tensor) -> Tensor:
        """Return the logits (N, networks * classes, H, W) of the maps of :meth:`features`."""
        parts = features.chunk(len(self.networks), dim=1)
        return torch.cat([network.classify(maps) for network, maps in zip(self.each(), parts, strict=True)], dim=1)


def _block(config: UNetConfig, inputs: int, outputs: int) -> nn.Sequential:
    """Return two convolutions with norm, activation and dropout in the order of ``config.layer_order``."""
    first, second = (_convolution(config, channels, outputs) for channels in (inputs, outputs))
    if config.layer_order == "conv-norm-drop-act":
        return nn.Sequential(*first, _dropout(config), _activation(config), *second, _activation(config))
    if config.layer_order == "conv-norm-act":
        layers = [*first, _activation(config), *second, _activation(config)]
    else:
        layers = [first[0], _activation(config), *first[1:], second[0], _activation(config), *second[1:]]
    return nn.Sequential(*layers, _dropout(config))


def _convolution(config: UNetConfig, inputs: int, outputs: int) -> list[nn.Module]:
    """Return a 3x3 convolution and its own batch norm (Aryal's code shares one between two convolutions)."""
    if config.normalization == "none":
        return [nn.Conv2d(inputs, outputs, kernel_size=3, padding=1)]
    # A batch norm directly after the convolution makes the bias of the convolution redundant.
    biased = config.layer_order == "conv-act-norm"
    return [nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=biased), nn.BatchNorm2d(outputs)]


def _dropout(config: UNetConfig) -> nn.Dropout2d:
    """Return spatial dropout, which drops whole feature maps.

    Neighbouring pixels of a map are correlated, so dropping single pixels hardly regularises a convolutional network
    (Tompson et al. 2015, "Efficient object localization using convolutional networks").
    """
    return nn.Dropout2d(config.dropout)


def _activation(config: UNetConfig) -> nn.Module:
    return nn.ReLU(inplace=True) if config.activation == "relu" else nn.GELU()


def _initialise(module: nn.Module) -> None:
    """Initialise a convolution as He et al. 2015, which keeps the variance of the maps through a deep ReLU network."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
