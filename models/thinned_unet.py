"""Passes of a U-Net with dropped feature maps that compute no map which is dropped.

Monte Carlo dropout sends the same images through the same network T times. What is the same every time is done once:

- Batch norms that follow a convolution are folded into its weights, and so is the factor 1 / (1 - p) of dropout.
- Everything before the first dropout is computed once (:meth:`ThinnedUNet.begin`).
- A dropped map is not multiplied by 0 but left out: a pass takes the rows and columns of the weights that belong to the
  maps kept (:meth:`ThinnedUNet.thin`), and convolves with fewer channels. The choice is made once a pass, for all
  images together.

The result equals that of the network with the same masks, up to rounding. docs/benchmarks.md has what each step gives.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.dropout_masks import Kept
from models.unet import UNet


@dataclass
class _Convolution:
    """A 3x3 convolution and what follows it: the activation and, in He's order, an affine map after it.

    Attributes:
        weight: (out, in, 3, 3).
        bias: (out,).
        scale: (out,) of a batch norm behind the activation, or None.
        shift: (out,) likewise.
    """

    weight: Tensor
    bias: Tensor
    scale: Tensor | None = None
    shift: Tensor | None = None

    def outputs(self, kept: Tensor) -> "_Convolution":
        """Compute some of the output channels only."""
        scale, shift = (None, None) if self.scale is None else (self.scale[kept], _present(self.shift)[kept])
        return _Convolution(self.weight[kept], self.bias[kept], scale, shift)

    def inputs(self, kept: Tensor) -> "_Convolution":
        """Take some of the input channels only."""
        return _Convolution(self.weight[:, kept], self.bias, self.scale, self.shift)

    def deaf_to(self, dropped: Tensor) -> "_Convolution":
        """Take all input channels, but give no weight to some."""
        weight = self.weight.clone()
        weight[:, dropped] = 0
        return _Convolution(weight, self.bias, self.scale, self.shift)


@dataclass(frozen=True)
class ThinnedPass:
    """The weights of one pass, with the rows and columns of dropped maps left out.

    Attributes:
        blocks: Two convolutions for each block, in the order encoder, bottleneck, decoder.
        upsamplers: Weight and bias of each transposed convolution.
        head: Weight and bias of the last convolution.
    """

    blocks: tuple[tuple[_Convolution, _Convolution], ...]
    upsamplers: tuple[tuple[Tensor, Tensor], ...]
    head: tuple[Tensor, Tensor]


class ThinnedUNet:
    """A copy of a U-Net's weights, prepared for such passes."""

    def __init__(self, unet: UNet, dtype: torch.dtype = torch.float32) -> None:
        """Copy and fold the weights.

        Args:
            unet: The network, with a dropout above 0; it stays as it is. Its batch norms count as in evaluation mode.
            dtype: What passes are computed in.

        Raises:
            ValueError: The network has no dropout, so that all passes would agree.
        """
        config = unet.config
        if config.dropout == 0.0:
            raise ValueError(
                "the network has no dropout, so that all passes would agree; "
                "build it with UNetConfig(dropout=...) above 0, or rank patches without Monte Carlo dropout"
            )
        self.p = config.dropout
        self._depth = config.depth
        # Dropout lies between the convolutions of a block (Baraka), or behind the block (Aryal, He).
        self._between = config.layer_order == "conv-norm-drop-act"
        self._activation: Callable[[Tensor], Tensor] = F.relu_ if config.activation == "relu" else F.gelu
        with torch.no_grad():
            blocks = [_folded(block) for block in (*unet.encoder, unet.bottleneck, *unet.decoder)]
            transposed = [layer for layer in unet.upsamplers if isinstance(layer, nn.ConvTranspose2d)]
            upsamplers = [(layer.weight.clone(), _bias(layer)) for layer in transposed]
            head = (unet.head.weight.clone(), _bias(unet.head))
            self._scale_up(blocks, upsamplers, head, 1.0 / (1.0 - self.p))
        self.widths = [len(first.bias) for first, _ in blocks]
        """Feature maps of each dropout layer, in the order of the blocks: encoder, bottleneck, decoder."""
        self._whole = ThinnedPass(
            blocks=tuple((_cast(first, dtype), _cast(second, dtype)) for first, second in blocks),
            upsamplers=tuple((weight.to(dtype), bias.to(dtype)) for weight, bias in upsamplers),
            head=(head[0].to(dtype), head[1].to(dtype)),
        )
        self._dtype = dtype

    def begin(self, images: Tensor) -> Tensor:
        """Compute what precedes the first dropout, once for all passes.

        Args:
            images: (N, C, H, W) normalised and free of NaN; H and W multiples of ``2 ** depth``.

        Returns:
            (N, width, H, W), for :meth:`run`.
        """
        maps = images.to(self._dtype).contiguous(memory_format=torch.channels_last)
        first, second = self._whole.blocks[0]
        maps = self._convolve(maps, first)
        return maps if self._between else self._convolve(maps, second)

    def thin(self, kept: Kept) -> ThinnedPass:
        """Choose the weights of one pass.

        Args:
            kept: For each block the feature maps that its dropout keeps (:func:`models.dropout_masks.draw_masks`).
        """
        blocks = list(self._whole.blocks)
        upsamplers, head = list(self._whole.upsamplers), self._whole.head
        dropped_first = _others(kept[0], self.widths[0])  # these maps exist: they were computed before all passes
        if self._between:
            first, second = blocks[0]
            blocks[0] = first, second.deaf_to(dropped_first)
            for index, (first, second) in enumerate(blocks[1:], start=1):
                blocks[index] = first.outputs(kept[index]), second.inputs(kept[index])
        else:
            blocks = [self._thin_behind(index, kept, dropped_first) for index in range(len(blocks))]
            # Each transposed convolution reads the block below it, the first the bottleneck; the head reads the last.
            upsamplers = [
                (weight[of_block], bias)
                for (weight, bias), of_block in zip(upsamplers, kept[self._depth :], strict=False)
            ]
            head = (head[0][:, kept[-1]], head[1])
        return ThinnedPass(tuple(blocks), tuple(upsamplers), head)

    def run(self, begun: Tensor, thinned: ThinnedPass) -> Tensor:
        """Finish one pass.

        Args:
            begun: (N, width, H, W) from :meth:`begin`; left as it is.
            thinned: From :meth:`thin`.

        Returns:
            Logits (N, L, H, W) of the network's precision.
        """
        skips: list[Tensor] = []
        maps = begun
        for index, (first, second) in enumerate(thinned.blocks[: self._depth + 1]):
            if index > 0:
                maps = self._convolve(self._convolve(F.max_pool2d(maps, 2), first), second)
            elif self._between:
                maps = self._convolve(maps, second)
            skips.append(maps)
        skips.pop()
        for (weight, bias), (first, second) in zip(thinned.upsamplers, thinned.blocks[self._depth + 1 :], strict=True):
            upsampled = F.conv_transpose2d(maps, weight, bias, stride=2)
            maps = self._convolve(self._convolve(torch.cat([upsampled, skips.pop()], dim=1), first), second)
        return F.conv2d(maps, *thinned.head)

    def _thin_behind(self, index: int, kept: Kept, dropped_first: Tensor) -> tuple[_Convolution, _Convolution]:
        """The convolutions of a block whose dropout lies behind it."""
        first, second = self._whole.blocks[index]
        if index == 0:
            return first, second
        if index == 1:
            first = first.deaf_to(dropped_first)
        elif index <= self._depth:
            first = first.inputs(kept[index - 1])
        else:  # a decoder block reads all upsampled maps and, beside them, those of the encoder block of its level
            upsampled, level = self.widths[index], 2 * self._depth - index
            if level == 0:
                first = first.deaf_to(upsampled + dropped_first)
            else:
                first = first.inputs(torch.cat([torch.arange(upsampled), upsampled + kept[level]]))
        return first, second.outputs(kept[index])

    def _convolve(self, maps: Tensor, layer: _Convolution) -> Tensor:
        maps = self._activation(F.conv2d(maps, layer.weight, layer.bias, padding=1))
        if layer.scale is None:
            return maps
        return maps * layer.scale[:, None, None] + _present(layer.shift)[:, None, None]

    def _scale_up(
        self,
        blocks: Sequence[tuple[_Convolution, _Convolution]],
        upsamplers: Sequence[tuple[Tensor, Tensor]],
        head: tuple[Tensor, Tensor],
        factor: float,
    ) -> None:
        """Multiply what dropout lets through, in the convolution before it or, behind an activation, after it."""
        if self._between:
            for first, _ in blocks:
                first.weight *= factor
                first.bias *= factor
            return
        for index, (first, _) in enumerate(blocks[1:], start=1):
            from_skip = 0 if index <= self._depth else len(first.bias)
            first.weight[:, from_skip:] *= factor
        for weight in (*(weight for weight, _ in upsamplers), head[0]):
            weight.mul_(factor)


def _folded(block: nn.Sequential) -> tuple[_Convolution, _Convolution]:
    """The two convolutions of a block, each with its batch norm."""
    layers = list(block)
    found = []
    for index, layer in enumerate(layers):
        if isinstance(layer, nn.Conv2d):
            norm = next((item for item in layers[index + 1 : index + 3] if isinstance(item, nn.BatchNorm2d)), None)
            found.append(_fold(layer, norm, at_once=layers[index + 1] is norm))
    first, second = found
    return first, second


def _fold(layer: nn.Conv2d, norm: nn.BatchNorm2d | None, *, at_once: bool) -> _Convolution:
    """Copy a convolution with its batch norm, which follows at once, or behind the activation."""
    weight, bias = layer.weight.clone(), _bias(layer)
    if norm is None:
        return _Convolution(weight, bias)
    mean, variance = _present(norm.running_mean), _present(norm.running_var)
    scale = norm.weight / torch.sqrt(variance + norm.eps)
    shift = norm.bias - mean * scale
    if at_once:
        return _Convolution(weight * scale[:, None, None, None], bias * scale + shift)
    return _Convolution(weight, bias, scale, shift)


def _bias(layer: nn.Conv2d | nn.ConvTranspose2d) -> Tensor:
    outputs = layer.out_channels
    return layer.weight.new_zeros(outputs) if layer.bias is None else layer.bias.clone()


def _cast(layer: _Convolution, dtype: torch.dtype) -> _Convolution:
    scale, shift = (None, None) if layer.scale is None else (layer.scale.to(dtype), _present(layer.shift).to(dtype))
    return _Convolution(layer.weight.to(dtype), layer.bias.to(dtype), scale, shift)


def _others(kept: Tensor, width: int) -> Tensor:
    """The indices below ``width`` that are not kept."""
    dropped = torch.ones(width, dtype=torch.bool)
    dropped[kept] = False
    return dropped.nonzero().flatten()


def _present(tensor: Tensor | None) -> Tensor:
    if tensor is None:
        raise TypeError("a batch norm without running statistics cannot be folded; train it with them")
    return tensor
