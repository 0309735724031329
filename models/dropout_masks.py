"""Which feature maps each pass of Monte Carlo dropout keeps: a balanced design in place of independent draws."""

from collections.abc import Sequence

import torch
from torch import Tensor

Kept = list[Tensor]
"""Indices (int64, ascending) of the feature maps that a pass keeps, one tensor a dropout layer."""


def draw_masks(widths: Sequence[int], p: float, passes: int, seed: int) -> list[Kept]:
    """Draw the masks of T passes.

    Every feature map is dropped with probability ``p``, as with independent draws, so that the mean over the passes
    estimates the same. But the draws are balanced twice, which takes most of the noise out of that mean: within a layer
    each map is dropped equally often over the passes, and each pass drops equally many maps, both up to one. The maps
    are dealt like cards: from a shuffled deck of all maps of the layer, so many to each pass, and a new deck is
    shuffled when one is used up.

    Args:
        widths: Feature maps of each dropout layer.
        p: Probability that a map is dropped, in [0, 1).
        passes: T.
        seed: The masks depend on it and on the other arguments alone.

    Returns:
        T lists, in each the maps kept of every layer.
    """
    generator = torch.Generator().manual_seed(seed)
    layers = [_deal(width, p, passes, generator) for width in widths]
    return [[layer[number] for layer in layers] for number in range(passes)]


def _deal(width: int, p: float, passes: int, generator: torch.Generator) -> list[Tensor]:
    """The maps of one layer that each pass keeps."""
    start = float(torch.rand((), generator=generator))
    deck: list[int] = []
    kept = []
    for number in range(passes):
        # Sums to p * width * T up to one, and to p * width a pass on average over the random start.
        count = int(p * width * (number + 1) + start) - int(p * width * number + start)
        hand: list[int] = []
        while len(hand) < count:
            if not deck:
                shuffled = torch.randperm(width, generator=generator).tolist()
                # What this pass already drops goes to the bottom: a map cannot be dropped twice by one pass.
                deck = [index for index in shuffled if index not in hand] + [i for i in shuffled if i in hand]
            hand.append(deck.pop(0))
        keep = torch.ones(width, dtype=torch.bool)
        keep[hand] = False
        kept.append(keep.nonzero().flatten())
    return kept
