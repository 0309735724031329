"""The weights of a U-Net, rearranged for passes with dropped feature maps: fewer operations, the same result.

- Batch norms that follow a convolution are folded into its weights, and so is the factor 1 / (1 - p) of dropout.
- The transposed convolution of a decoder level and the convolution behind it have nothing between them, so that the two
  are one transposed convolution with a 4x4 kernel: 8 multiplications for each pixel and pair of maps, in place of 2 and
  9. Beside it the encoder's maps are convolved and added, so that nothing is concatenated.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.unet import UNet


@dataclass(frozen=True)
class Convolution:
    """A convolution and, in He's order, the affine map behind its activation.

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
        """Compute some of the output channels only."""
        kept = _or_first(kept)
        scale, shift = (None if per_channel is None else per_channel[kept] for per_channel in (self.scale, self.shift))
        return Convolution(self.weight.index_select(0, kept), self.bias[kept], scale, shift)

    def inputs(self, kept: Tensor) -> "Convolution":
        """Take some of the input channels only."""
        return replace(self, weight=_read(self.weight, 1, kept))

    def deaf_to(self, dropped: Tensor) -> "Convolution":
        """Take all input channels, but give no weight to some."""
        return replace(self, weight=self.weight.index_fill(1, dropped, 0.0))

    def to(self, dtype: torch.dtype) -> "Convolution":
        """Cast."""
        scale, shift = (
            None if per_channel is None else per_channel.to(dtype) for per_channel in (self.scale, self.shift)
        )
        return Convolution(self.weight.to(dtype), self.bias.to(dtype), scale, shift)


@dataclass(frozen=True)
class Junction:
    """The first convolution of a decoder block, merged with the upsampling of what it reads from the level below.

    Attributes:
        below: (in, out, 4, 4), transposed convolution of the maps of the level below, stride 2, padding 1.
        skip: The convolution of the encoder's maps, with the bias of both, and what lies behind the sum.
        bias_taps: (out, 3, 3), what the bias of the upsampling adds by each tap of the convolution. ``skip.bias`` holds
            their sum; but beyond the edge of an image there is padding and no bias.
    """

    below: Tensor
    skip: Convolution
    bias_taps: Tensor

    def outputs(self, kept: Tensor) -> "Junction":
        """Compute some of the output channels only."""
        kept = _or_first(kept)
        return Junction(self.below.index_select(1, kept), self.skip.outputs(kept), self.bias_taps[kept])

    def inputs(self, kept: Tensor) -> "Junction":
        """Take some of the channels of the level below only."""
        return replace(self, below=_read(self.below, 0, kept))

    def to(self, dtype: torch.dtype) -> "Junction":
        """Cast."""
        return Junction(self.below.to(dtype), self.skip.to(dtype), self.bias_taps.to(dtype))


@dataclass(frozen=True)
class FoldedUNet:
    """All weights of a U-Net, or those of the maps that one pass keeps.

    Attributes:
        down: The two convolutions of each block of the encoder, and of the bottleneck.
        up: Those of each block of the decoder, deepest first.
        head: The last convolution, 1x1.
    """

    down: tuple[tuple[Convolution, Convolution], ...]
    up: tuple[tuple[Junction, Convolution], ...]
    head: Convolution

    def to(self, dtype: torch.dtype) -> "FoldedUNet":
        """Cast."""
        return FoldedUNet(
            tuple((first.to(dtype), second.to(dtype)) for first, second in self.down),
            tuple((junction.to(dtype), second.to(dtype)) for junction, second in self.up),
            self.head.to(dtype),
        )


def fold(unet: UNet, p: float) -> FoldedUNet:
    """Copy and fold the weights of a network, for passes with dropout.

    Args:
        unet: The network; it stays as it is. Its batch norms count as in evaluation mode.
        p: Probability that a map is dropped, in [0, 1); what is kept counts 1 / (1 - p) times.

    Returns:
        The weights, for inputs from which dropped maps are left out, or have become 0. They are plain (contiguous):
        rows and columns are chosen of those twice as fast as of channels-last ones.
    """
    with torch.no_grad():
        factor = 1.0 / (1.0 - p)
        between = dropout_lies_between(unet)
        behind = 1.0 if between else factor
        blocks = [_fold_block(block) for block in (*unet.encoder, unet.bottleneck, *unet.decoder)]
        if between:
            blocks = [(_times(first, factor), second) for first, second in blocks]
        depth = unet.config.depth
        (first, *deeper), decoder = blocks[: depth + 1], blocks[depth + 1 :]
        upsamplers = [layer for layer in unet.upsamplers if isinstance(layer, nn.ConvTranspose2d)]
        return FoldedUNet(
            down=(first, *((_hearing(one, behind), two) for one, two in deeper)),
            up=tuple(
                (_merge(upsampler, one, behind), two) for upsampler, (one, two) in zip(upsamplers, decoder, strict=True)
            ),
            head=_hearing(_plain(unet.head), behind),
        )


def dropout_lies_between(unet: UNet) -> bool:
    """Tell whether dropout is between the convolutions of a block (Baraka), or behind the block (Aryal, He)."""
    return unet.config.layer_order == "conv-norm-drop-act"


def _or_first(kept: Tensor) -> Tensor:
    """The channels to compute: at least one, since there is no convolution without; nobody will listen to it."""
    return kept if len(kept) > 0 else kept.new_zeros(1)


def _read(weight: Tensor, axis: int, kept: Tensor) -> Tensor:
    """The weights of the channels to listen to; where none is kept, of a first one, and 0."""
    return weight.index_select(axis, kept) if len(kept) > 0 else torch.zeros_like(weight.narrow(axis, 0, 1))


def _fold_block(block: nn.Module) -> tuple[Convolution, Convolution]:
    """The two convolutions of a block, each with its batch norm."""
    layers = list(block.children())
    found = []
    for index, layer in enumerate(layers):
        if isinstance(layer, nn.Conv2d):
            norm = next((item for item in layers[index + 1 : index + 3] if isinstance(item, nn.BatchNorm2d)), None)
            found.append(_with_norm(_plain(layer), norm, at_once=layers[index + 1] is norm))
    first, second = found
    return first, second


def _with_norm(layer: Convolution, norm: nn.BatchNorm2d | None, *, at_once: bool) -> Convolution:
    """Add a batch norm, which follows at once, or behind the activation."""
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
    """Merge the upsampling with the convolution of its output, and set the convolution of the skip apart.

    What the upsampling and the skip read is multiplied by ``factor``.
    """
    width = upsampler.out_channels
    of_upsampled, of_skip = layer.weight[:, :width], layer.weight[:, width:].contiguous()
    # A convolution is a correlation; as a transposed convolution it has its kernel turned.
    below = F.conv_transpose2d(upsampler.weight * factor, of_upsampled.flip(2, 3).transpose(0, 1))
    taps = torch.einsum("ocyx,c->oyx", of_upsampled, _bias(upsampler))
    return Junction(
        below.contiguous(), replace(layer, weight=of_skip * factor, bias=layer.bias + taps.sum(dim=(1, 2))), taps
    )


def _times(layer: Convolution, factor: float) -> Convolution:
    """Multiply what comes out."""
    return replace(layer, weight=layer.weight * factor, bias=layer.bias * factor)


def _hearing(layer: Convolution, factor: float) -> Convolution:
    """Multiply what goes in."""
    return replace(layer, weight=layer.weight * factor)


def _plain(layer: nn.Conv2d) -> Convolution:
    return Convolution(layer.weight.clone(memory_format=torch.contiguous_format), _bias(layer))


def _bias(layer: nn.Conv2d | nn.ConvTranspose2d) -> Tensor:
    return layer.weight.new_zeros(layer.out_channels) if layer.bias is None else layer.bias.clone()
