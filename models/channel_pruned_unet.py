"""A U-Net for Monte Carlo dropout that prunes dropped feature maps instead of multiplying them by 0.

Monte Carlo dropout sends the same images through the same network T times. Work that all passes share is done once:

- The weights are folded (:mod:`models.folded_unet`).
- The layers before the first dropout are computed once for all passes (:meth:`ChannelPrunedUNet.encode_prefix`).
- For each pass the rows and columns of the weights that belong to the kept maps are selected
  (:meth:`ChannelPrunedUNet.prune`), so that the pass convolves with fewer channels. The selection is made once a pass,
  for all images together.

The result equals that of the network with the same masks, up to rounding. docs/benchmarks.md lists the gain of each
step.
"""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from models.dropout_masks import Kept
from models.folded_unet import Convolution, FoldedUNet, Junction, dropout_lies_between, fold
from models.fused_convolution import FusedConvolution
from models.unet import UNet


class ChannelPrunedUNet:
    """A copy of a U-Net's weights, prepared for passes with pruned channels."""

    def __init__(self, unet: UNet, p: float, dtype: torch.dtype = torch.float32) -> None:
        """Copy and fold the weights.

        Args:
            unet: The network; not modified. Its batch norms use their running statistics.
            p: Probability of dropping a feature map, in [0, 1): the network's own, or 0 for a deterministic pass.
            dtype: Precision of the passes.
        """
        self.p = p
        self._between = dropout_lies_between(unet)
        self._whole = fold(unet, p).to(dtype)
        self.widths = [
            *(len(second.bias) for _, second in self._whole.down),
            *(len(second.bias) for _, second in self._whole.up),
        ]
        """Number of feature maps at each dropout layer, in the order of the blocks: encoder, bottleneck, decoder."""
        self.features = self.widths[len(self._whole.up)]
        """Number of feature maps of the bottleneck."""
        self._dtype, self._device = dtype, self._whole.head.weight.device
        self._convolve = FusedConvolution(unet.config.activation, self._device, dtype)

    def encode_prefix(self, images: Tensor) -> Tensor:
        """Compute the layers before the first dropout, once for all passes.

        Args:
            images: (N, C, H, W) normalised and free of NaN; H and W multiples of ``2 ** depth``.

        Returns:
            (N, width, H, W), for :meth:`forward`.
        """
        maps = images.to(self._dtype).contiguous(memory_format=torch.channels_last)
        first, second = self._whole.down[0]
        maps = self._apply(first, maps)
        return maps if self._between else self._apply(second, maps)

    def prune(self, kept: Kept) -> FoldedUNet:
        """Return the weights of one pass, without those of the dropped feature maps.

        Args:
            kept: For each block the feature maps that its dropout keeps (:func:`models.dropout_masks.draw_masks`).
        """
        dropped_first = _others(kept[0], self.widths[0]).to(self._device)
        kept = [maps.to(self._device) for maps in kept]
        return self._prune_between(kept, dropped_first) if self._between else self._prune_behind(kept, dropped_first)

    def forward(self, prefix: Tensor, pruned: FoldedUNet) -> tuple[Tensor, Tensor]:
        """Compute the rest of one pass.

        Args:
            prefix: (N, width, H, W) from :meth:`encode_prefix`; not modified.
            pruned: From :meth:`prune`.

        Returns:
            Logits (N, L, H, W), and the maps of the bottleneck that the pass keeps, for :meth:`bottleneck_means`; both
            in the precision of the passes.
        """
        maps = self._apply(pruned.down[0][1], prefix) if self._between else prefix
        skips: list[Tensor] = []
        for first, second in pruned.down[1:]:
            skips.append(maps)
            maps = self._apply(second, self._apply(first, _halve(maps)))
        bottleneck = maps
        for junction, second in pruned.up:
            maps = self._apply(second, self._join(junction, maps, skips.pop()))
        return self._convolve.linear(maps, pruned.head.weight, pruned.head.bias), bottleneck

    def bottleneck_means(self, bottleneck: Tensor, kept: Kept) -> Tensor:
        """Average the maps of the bottleneck over the pixels of each image.

        Args:
            bottleneck: Maps of one pass, from :meth:`forward`.
            kept: What this pass keeps, as in :meth:`prune`.

        Returns:
            (N, features) float32; 0 for dropped maps.
        """
        means = bottleneck.mean(dim=(2, 3), dtype=torch.float32)
        if self._between:  # the dropout lies before the last convolution, which gives all maps
            return means
        of_kept = kept[len(self._whole.up)].to(self._device)
        found = means.new_zeros(len(means), self.features)
        found[:, of_kept] = means[:, : len(of_kept)] / (1.0 - self.p)  # dropout scales what it keeps
        return found

    def _prune_between(self, kept: Kept, dropped_first: Tensor) -> FoldedUNet:
        """Prune if dropout is between the convolutions of a block: outputs of the first, inputs of the second."""
        whole = self._whole
        (first, second), *deeper = whole.down
        of_deeper, of_decoder = kept[1 : len(whole.down)], kept[len(whole.down) :]
        return FoldedUNet(
            down=(
                (first, second.zero_inputs(dropped_first)),  # the prefix holds all maps of the first convolution
                *((one.outputs(maps), two.inputs(maps)) for (one, two), maps in zip(deeper, of_deeper, strict=True)),
            ),
            up=tuple(
                (one.outputs(maps), two.inputs(maps)) for (one, two), maps in zip(whole.up, of_decoder, strict=True)
            ),
            head=whole.head,
        )

    def _prune_behind(self, kept: Kept, dropped_first: Tensor) -> FoldedUNet:
        """Prune if dropout follows a block: outputs of its second convolution, inputs of all layers that read them."""
        whole, depth = self._whole, len(self._whole.up)
        down, up = list(whole.down), list(whole.up)
        for index in range(1, depth + 1):
            first, second = down[index]
            first = first.zero_inputs(dropped_first) if index == 1 else first.inputs(kept[index - 1])
            down[index] = first, second.outputs(kept[index])
        for number, (junction, second) in enumerate(whole.up):
            index, level = depth + 1 + number, depth - 1 - number
            skip = junction.skip.zero_inputs(dropped_first) if level == 0 else junction.skip.inputs(kept[level])
            up[number] = replace(junction.inputs(kept[index - 1]), skip=skip), second.outputs(kept[index])
        return FoldedUNet(tuple(down), tuple(up), whole.head.inputs(kept[-1]))

    def _apply(self, layer: Convolution, maps: Tensor) -> Tensor:
        return _affine(layer, self._convolve(maps, layer.weight, layer.bias))

    def _join(self, junction: Junction, below: Tensor, skip: Tensor) -> Tensor:
        """Upsample and convolve the maps of the level below, and add the convolution of the skip connection."""
        total = F.conv_transpose2d(below, junction.below, junction.skip.bias, stride=2, padding=1)
        _correct_border(total, junction.bias_taps)
        return _affine(junction.skip, self._convolve.onto(total, skip, junction.skip.weight))


def _affine(layer: Convolution, maps: Tensor) -> Tensor:
    """Apply the batch norm behind the activation, if there is one."""
    if layer.scale is None or layer.shift is None:
        return maps
    return maps * layer.scale[:, None, None] + layer.shift[:, None, None]


def _correct_border(maps: Tensor, taps: Tensor) -> None:
    """Subtract, in place, the bias that padding does not have from the border pixels of (N, out, H, W).

    ``taps`` (out, 3, 3) is the share of each tap of the kernel in the bias, which was added to all pixels.
    """
    maps[:, :, 0] -= taps[:, 0].sum(dim=1)[:, None]
    maps[:, :, -1] -= taps[:, 2].sum(dim=1)[:, None]
    maps[:, :, :, 0] -= taps[:, :, 0].sum(dim=1)[:, None]
    maps[:, :, :, -1] -= taps[:, :, 2].sum(dim=1)[:, None]
    maps[:, :, :: maps.shape[2] - 1, :: maps.shape[3] - 1] += taps[:, ::2, ::2]  # the corners were corrected twice


def _halve(maps: Tensor) -> Tensor:
    """Pool by the maximum of 2x2 pixels; three times as fast as ``F.max_pool2d``, which computes indices too."""
    narrow = torch.maximum(maps[..., 0::2], maps[..., 1::2])
    return torch.maximum(narrow[:, :, 0::2], narrow[:, :, 1::2])


def _others(kept: Tensor, width: int) -> Tensor:
    """Return the indices below ``width`` that are not kept."""
    dropped = torch.ones(width, dtype=torch.bool)
    dropped[kept] = False
    return dropped.nonzero().flatten()
