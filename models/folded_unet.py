"""The weights of a U-Net, folded into fewer operations with the same result.

- Batch norms that follow a convolution are folded into its weights, and so is the factor 1 / (1 - p) of dropout.
- A decoder level has no nonlinearity between its transposed convolution and the convolution that follows, so the two
  are folded into one transposed convolution with a 4x4 kernel: 8 multiplications for each pixel and pair of maps
  instead of 2 and 9. The skip connection is convolved separately and added, so nothing is concatenated.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.unet import UNet


@dataclass(frozen=True)
class Convolution:
    """A convolution and, if the network normalises after the activation (He), that batch norm.

    Attributes:
        weight: (out, in, k, k).
        bias: (out,).
        scale: (out,) of a batch norm behind the activation, or None.
        shift: (out,) likewise.
    """

    weight: Tensor
    bias: Tensor
    scale: Tensor | None = None
    shift: Tensor | None = None

    def outputs(self, kept: Tensor) -> "Convolution":
        """Keep some of the output channels."""
        kept = _or_first(kept)
        scale, shift = (None if per_channel is None else per_channel[kept] for per_channel in (self.scale, self.shift))
        return Convolution(self.weight.index_select(0, kept), self.bias[kept], scale, shift)

    def inputs(self, kept: Tensor) -> "Convolution":
        """Keep some of the input channels."""
        return replace(self, weight=_read(self.weight, 1, kept))

    def zero_inputs(self, dropped: Tensor) -> "Convolution":
        """Keep all input channels, but set the weights of some to 0."""
        return replace(self, weight=self.weight.index_fill(1, dropped, 0.0))

    def to(self, dtype: torch.dtype) -> "Convolution":
        """Cast the weights."""
        scale, shift = (
            None if per_channel is None else per_channel.to(dtype) for per_channel in (self.scale, self.shift)
        )
        return Convolution(self.weight.to(dtype), self.bias.to(dtype), scale, shift)


@dataclass(frozen=True)
class Junction:
    """The first convolution of a decoder block, folded with the upsampling of the level below.

    Attributes:
        below: (in, out, 4, 4), transposed convolution of the maps of the level below, stride 2, padding 1.
        skip: The convolution of the skip connection, with the bias of both branches and the batch norm behind the sum.
        bias_taps: (out, 3, 3), the bias of the upsampling after each tap of the convolution. ``skip.bias`` holds their
            sum, which is too much at the border, where the padding has no bias.
    """

    below: Tensor
    skip: Convolution
    bias_taps: Tensor

    def outputs(self, kept: Tensor) -> "Junction":
        """Keep some of the output channels."""
        kept = _or_first(kept)
        return Junction(self.below.index_select(1, kept), self.skip.outputs(kept), self.bias_taps[kept])

    def inputs(self, kept: Tensor) -> "Junction":
        """Keep some of the channels of the level below."""
        return replace(self, below=_read(self.below, 0, kept))

    def to(self, dtype: torch.dtype) -> "Junction":
        """Cast the weights."""
        return Junction(self.below.to(dtype), self.skip.to(dtype), self.bias_taps.to(dtype))


@dataclass(frozen=True)
class FoldedUNet:
    """The folded weights of a U-Net: all of them, or those of the feature maps that one pass keeps.

    Attributes:
        down: The two convolutions of each encoder block and of the bottleneck.
        up: The two convolutions of each decoder block, deepest first.
        head: The last convolution, 1x1.
    """

    down: tuple[tuple[Convolution, Convolution], ...]
    up: tuple[tuple[Junction, Convolution], ...]
    head: Convolution

    def to(self, dtype: torch.dtype) -> "FoldedUNet":
        """Cast the weights."""
        return FoldedUNet(
            tuple((first.to(dtype), second.to(dtype)) for first, second in self.down),
            tuple((junction.to(dtype), second.to(dtype)) for junction, second in self.up),
            self.head.to(dtype),
        )


def fold(unet: UNet, p: float) -> FoldedUNet:
    """Copy and fold the weights of a network, for passes with dropout.

    Args:
        unet: The network; not modified. Its batch norms use their running statistics.
        p: Probability that a map is dropped, in [0, 1); kept maps are multiplied by 1 / (1 - p).

    Returns:
        The weights, in plain (contiguous) memory layout: selecting rows and columns is twice as fast as in
        channels-last.
    """
    with torch.no_grad():
        factor = 1.0 / (1.0 - p)
        between = dropout_lies_between(unet)
        behind = 1.0 if between else factor
        blocks = [_fold_block(block) for block in (*unet.encoder, unet.bottleneck, *unet.decoder)]
        if between:
            blocks = [(_scale_output(first, factor), second) for first, second in blocks]
        depth = unet.config.depth
        (first, *deeper), decoder = blocks[: depth + 1], blocks[depth + 1 :]
        upsamplers = [layer for layer in unet.upsamplers if isinstance(layer, nn.ConvTranspose2d)]
        return FoldedUNet(
            down=(first, *((_scale_input(one, behind), two) for one, two in deeper)),
            up=tuple(
                (_merge(upsampler, one, behind), two) for upsampler, (one, two) in zip(upsamplers, decoder, strict=True)
            ),
            head=_scale_input(_plain(unet.head), behind),
        )


def dropout_lies_between(unet: UNet) -> bool:
    """Return whether dropout is between the convolutions of a block (Baraka), not after the block (Aryal, He)."""
    return unet.config.layer_order == "conv-norm-drop-act"


def _or_first(kept: Tensor) -> Tensor:
    """Return the kept channels, or the first if none is kept. Its output has zero weight downstream."""
    return kept if len(kept) > 0 else kept.new_zeros(1)


def _read(weight: Tensor, axis: int, kept: Tensor) -> Tensor:
    """Return the weights of the kept input channels; zeros for one channel if none is kept."""
    return weight.index_select(axis, kept) if len(kept) > 0 else torch.zeros_like(weight.narrow(axis, 0, 1))


def _fold_block(block: nn.Module) -> tuple[Convolution, Convolution]:
    """Return the two convolutions of a block, each with its batch norm folded in."""
    layers = list(block.children())
    found = []
    for index, layer in enumerate(layers):
        if isinstance(layer, nn.Conv2d):
            norm = next((item for item in layers[index + 1 : index + 3] if isinstance(item, nn.BatchNorm2d)), None)
            found.append(_with_norm(_plain(layer), norm, at_once=layers[index + 1] is norm))
    first, second = found
    return first, second


def _with_norm(layer: Convolution, norm: nn.BatchNorm2d | None, *, at_once: bool) -> Convolution:
    """Fold in a batch norm that follows the convolution at once, or attach one that follows the activation."""
    if norm is None:
        return layer
    if norm.running_mean is None or norm.running_var is None:
        raise TypeError("a batch norm without running statistics cannot be folded; train it with them")
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    shift = norm.bias - norm.running_mean * scale
    if at_once:
        return Convolution(layer.weight * scale[:, None, None, None], layer.bias * scale + shift)
    return replace(layer, scale=scale, shift=shift)


def _merge(upsampler: nn.ConvTranspose2d, layer: Convolution, factor: float) -> Junction:
    """Fold the upsampling with the convolution of its output, and separate the convolution of the skip connection.

    The inputs of both are scaled by ``factor``.
    """
    width = upsampler.out_channels
    of_upsampled, of_skip = layer.weight[:, :width], layer.weight[:, width:].contiguous()
    # PyTorch's convolution is a correlation; written as a transposed convolution its kernel is flipped.
    below = F.conv_transpose2d(upsampler.weight * factor, of_upsampled.flip(2, 3).transpose(0, 1))
    taps = torch.einsum("ocyx,c->oyx", of_upsampled, _bias(upsampler))
    return Junction(
        below.contiguous(), replace(layer, weight=of_skip * factor, bias=layer.bias + taps.sum(dim=(1, 2))), taps
    )


def _scale_output(layer: Convolution, factor: float) -> Convolution:
    """Multiply the output by a factor."""
    return replace(layer, weight=layer.weight * factor, bias=layer.bias * factor)


def _scale_input(layer: Convolution, factor: float) -> Convolution:
    """Multiply the input by a factor; the bias stays."""
    return replace(layer, weight=layer.weight * factor)


def _plain(layer: nn.Conv2d) -> Convolution:
    return Convolution(layer.weight.clone(memory_format=torch.contiguous_format), _bias(layer))


def _bias(layer: nn.Conv2d | nn.ConvTranspose2d) -> Tensor:
    return layer.weight.new_zeros(layer.out_channels) if layer.bias is None else layer.bias.clone()
