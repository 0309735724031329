"""Passes of a U-Net with dropped feature maps that compute no map which is dropped.

Monte Carlo dropout sends the same images through the same network T times. What is the same every time is done once:

- The weights are folded (:mod:`models.folded_unet`).
- Everything before the first dropout is computed once for the passes that are run together
  (:meth:`ThinnedUNet.begin`).
- A dropped map is not multiplied by 0 but left out: a pass takes the rows and columns of the weights that belong to the
  maps kept (:meth:`ThinnedUNet.thin`), and convolves with fewer channels. The choice is made once a pass, for all
  images together.

The result equals that of the network with the same masks, up to rounding. docs/benchmarks.md has what each step gives.
"""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from models.dropout_masks import Kept
from models.folded_unet import Convolution, FoldedUNet, Junction, dropout_lies_between, fold
from models.fused_convolution import FusedConvolution
from models.unet import UNet


class ThinnedUNet:
    """A copy of a U-Net's weights, prepared for such passes."""

    def __init__(self, unet: UNet, p: float, dtype: torch.dtype = torch.float32) -> None:
        """Copy and fold the weights.

        Args:
            unet: The network; it stays as it is. Its batch norms count as in evaluation mode.
            p: Probability with which passes drop a map, in [0, 1): the network's own, or 0 for a pass that drops none.
            dtype: What passes are computed in.
        """
        self.p = p
        self._between = dropout_lies_between(unet)
        self._whole = fold(unet, p).to(dtype)
        self.widths = [
            *(len(second.bias) for _, second in self._whole.down),
            *(len(second.bias) for _, second in self._whole.up),
        ]
        """Feature maps of each dropout layer, in the order of the blocks: encoder, bottleneck, decoder."""
        self._dtype, self._device = dtype, self._whole.head.weight.device
        self._convolve = FusedConvolution(unet.config.activation, self._device, dtype)

    def begin(self, images: Tensor) -> Tensor:
        """Compute what precedes the first dropout, once for all passes.

        Args:
            images: (N, C, H, W) normalised and free of NaN; H and W multiples of ``2 ** depth``.

        Returns:
            (N, width, H, W), for :meth:`run`.
        """
        maps = images.to(self._dtype).contiguous(memory_format=torch.channels_last)
        first, second = self._whole.down[0]
        maps = self._apply(first, maps)
        return maps if self._between else self._apply(second, maps)

    def thin(self, kept: Kept) -> FoldedUNet:
        """Choose the weights of one pass.

        Args:
            kept: For each block the feature maps that its dropout keeps (:func:`models.dropout_masks.draw_masks`).
        """
        dropped_first = _others(kept[0], self.widths[0]).to(self._device)
        kept = [maps.to(self._device) for maps in kept]
        return self._thin_between(kept, dropped_first) if self._between else self._thin_behind(kept, dropped_first)

    def run(self, begun: Tensor, thinned: FoldedUNet) -> Tensor:
        """Finish one pass.

        Args:
            begun: (N, width, H, W) from :meth:`begin`; left as it is.
            thinned: From :meth:`thin`.

        Returns:
            Logits (N, L, H, W) of the network's precision.
        """
        maps = self._apply(thinned.down[0][1], begun) if self._between else begun
        skips: list[Tensor] = []
        for first, second in thinned.down[1:]:
            skips.append(maps)
            maps = self._apply(second, self._apply(first, _halve(maps)))
        for junction, second in thinned.up:
            maps = self._apply(second, self._join(junction, maps, skips.pop()))
        return self._convolve.linear(maps, thinned.head.weight, thinned.head.bias)

    def _thin_between(self, kept: Kept, dropped_first: Tensor) -> FoldedUNet:
        """Dropout lies between the convolutions of a block: the first has fewer outputs, the second fewer inputs."""
        whole = self._whole
        (first, second), *deeper = whole.down
        of_deeper, of_decoder = kept[1 : len(whole.down)], kept[len(whole.down) :]
        return FoldedUNet(
            down=(
                (first, second.deaf_to(dropped_first)),  # the first maps are there: computed before all passes
                *((one.outputs(maps), two.inputs(maps)) for (one, two), maps in zip(deeper, of_deeper, strict=True)),
            ),
            up=tuple(
                (one.outputs(maps), two.inputs(maps)) for (one, two), maps in zip(whole.up, of_decoder, strict=True)
            ),
            head=whole.head,
        )

    def _thin_behind(self, kept: Kept, dropped_first: Tensor) -> FoldedUNet:
        """Dropout lies behind a block: its second convolution has fewer outputs, and all that read it fewer inputs."""
        whole, depth = self._whole, len(self._whole.up)
        down, up = list(whole.down), list(whole.up)
        for index in range(1, depth + 1):
            first, second = down[index]
            first = first.deaf_to(dropped_first) if index == 1 else first.inputs(kept[index - 1])
            down[index] = first, second.outputs(kept[index])
        for number, (junction, second) in enumerate(whole.up):
            index, level = depth + 1 + number, depth - 1 - number
            skip = junction.skip.deaf_to(dropped_first) if level == 0 else junction.skip.inputs(kept[level])
            up[number] = replace(junction.inputs(kept[index - 1]), skip=skip), second.outputs(kept[index])
        return FoldedUNet(tuple(down), tuple(up), whole.head.inputs(kept[-1]))

    def _apply(self, layer: Convolution, maps: Tensor) -> Tensor:
        return _affine(layer, self._convolve(maps, layer.weight, layer.bias))

    def _join(self, junction: Junction, below: Tensor, skip: Tensor) -> Tensor:
        """Upsample and convolve the maps of the level below, and add the convolution of the encoder's maps."""
        total = F.conv_transpose2d(below, junction.below, junction.skip.bias, stride=2, padding=1)
        _take_back(total, junction.bias_taps)
        return _affine(junction.skip, self._convolve.onto(total, skip, junction.skip.weight))


def _affine(layer: Convolution, maps: Tensor) -> Tensor:
    """What lies behind the activation."""
    if layer.scale is None or layer.shift is None:
        return maps
    return maps * layer.scale[:, None, None] + layer.shift[:, None, None]


def _take_back(maps: Tensor, taps: Tensor) -> None:
    """Take from the edges of (N, out, H, W) what taps (out, 3, 3) that lie beyond them have added everywhere."""
    maps[:, :, 0] -= taps[:, 0].sum(dim=1)[:, None]
    maps[:, :, -1] -= taps[:, 2].sum(dim=1)[:, None]
    maps[:, :, :, 0] -= taps[:, :, 0].sum(dim=1)[:, None]
    maps[:, :, :, -1] -= taps[:, :, 2].sum(dim=1)[:, None]
    maps[:, :, :: maps.shape[2] - 1, :: maps.shape[3] - 1] += taps[:, ::2, ::2]  # taken twice from the corners


def _halve(maps: Tensor) -> Tensor:
    """2x2 max-pooling; on channels-last maps three times as fast as ``F.max_pool2d``, which finds the indices too."""
    narrow = torch.maximum(maps[..., 0::2], maps[..., 1::2])
    return torch.maximum(narrow[:, :, 0::2], narrow[:, :, 1::2])


def _others(kept: Tensor, width: int) -> Tensor:
    """The indices below ``width`` that are not kept."""
    dropped = torch.ones(width, dtype=torch.bool)
    dropped[kept] = False
    return dropped.nonzero().flatten()
