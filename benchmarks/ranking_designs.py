"""Which feature maps the passes of a scoring drop: the designs that the ranking benchmark compares.

All drop a map with probability p in every pass, and share their masks between patches. They differ in what T passes
have in common. The field draws independently; a design spends the same passes on a more even sample.
"""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from types import MappingProxyType
from typing import Final

import torch
from torch import Tensor, nn

from models.dropout_masks import Kept, draw_masks
from models.unet import UNet

Design = Callable[[UNet, int, int], list[Kept]]
"""From a network, the passes T and a seed to the maps that each pass keeps of every dropout layer."""


def independent(unet: UNet, passes: int, seed: int) -> list[Kept]:
    """Draw every map of every pass by itself (Bernoulli): dropout as it is trained."""
    generator = torch.Generator().manual_seed(seed)
    drop = unet.config.dropout
    dropped = [torch.rand(passes, width, generator=generator) < drop for width in widths(unet)]
    return _kept(dropped, passes)


def balanced(unet: UNet, passes: int, seed: int) -> list[Kept]:
    """Deal the maps like cards: :func:`models.dropout_masks.draw_masks`."""
    return draw_masks(widths(unet), unet.config.dropout, passes, seed)


def latin(unet: UNet, passes: int, seed: int) -> list[Kept]:
    """Draw a Latin hypercube (McKay et al. 1979): each map falls in equally many passes, maps independently.

    The masks of one pass are distributed exactly as with independent draws, so that the design is free of bias; how
    many maps a pass drops is left to chance, as there. Passes come in blocks of the smallest n for which n * p is
    whole; within a block each map is dropped n * p times.
    """
    generator = torch.Generator().manual_seed(seed)
    share = Fraction(unet.config.dropout).limit_denominator(20)
    block, drops = share.denominator, share.numerator
    dropped = []
    for width in widths(unet):
        blocks = [
            torch.rand(block, width, generator=generator).argsort(dim=0) < drops for _ in range(-(-passes // block))
        ]
        dropped.append(torch.cat(blocks)[:passes])
    return _kept(dropped, passes)


def even(unet: UNet, passes: int, seed: int) -> list[Kept]:
    """Deal as :func:`balanced`, within strata of 1 / p maps of like weight: every pass loses as much as any other."""
    size = round(1 / unet.config.dropout)
    orders = [weight.argsort(descending=True) for weight in outgoing_weights(unet)]
    strata = [torch.split(order, size) for order in orders]
    dealt = draw_masks([len(part) for parts in strata for part in parts], unet.config.dropout, passes, seed)
    masks = []
    for of_pass in dealt:
        of_strata = iter(of_pass)
        masks.append([torch.cat([part[next(of_strata)] for part in parts]).sort().values for parts in strata])
    return masks


DESIGNS: Final[Mapping[str, Design]] = MappingProxyType(
    {"independent": independent, "balanced": balanced, "latin": latin, "even": even}
)


def widths(unet: UNet) -> list[int]:
    """Feature maps of each dropout layer, in the order of the blocks: encoder, bottleneck, decoder."""
    return [first.out_channels for first, _ in _convolutions(unet)]


def outgoing_weights(unet: UNet) -> list[Tensor]:
    """How much each map of each dropout layer weighs in what reads it: the sum of the absolute weights, (width,).

    For the layer order ``"conv-norm-drop-act"``, where the second convolution of the block reads the maps; they leave
    the batch norm, if there is one, with the standard deviation that its weight says.
    """
    found = []
    for block, (_, second) in zip(_blocks(unet), _convolutions(unet), strict=True):
        norm = next((layer for layer in block if isinstance(layer, nn.BatchNorm2d)), None)
        scale = torch.ones(second.in_channels) if norm is None else norm.weight.detach().abs()
        found.append(second.weight.detach().abs().sum(dim=(0, 2, 3)) * scale)
    return found


def _kept(dropped: Sequence[Tensor], passes: int) -> list[Kept]:
    """From (T, width) bool of each layer."""
    return [[(~layer[number]).nonzero().flatten() for layer in dropped] for number in range(passes)]


def _blocks(unet: UNet) -> list[nn.Sequential]:
    modules = (*unet.encoder, unet.bottleneck, *unet.decoder)
    return [block for block in modules if isinstance(block, nn.Sequential)]


def _convolutions(unet: UNet) -> list[tuple[nn.Conv2d, nn.Conv2d]]:
    """The two of each block."""
    found = []
    for block in _blocks(unet):
        first, second = (layer for layer in block if isinstance(layer, nn.Conv2d))
        found.append((first, second))
    return found
