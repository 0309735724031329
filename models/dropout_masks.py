"""Which feature maps each pass of Monte Carlo dropout keeps: a balanced design in place of independent draws."""

from collections.abc import Sequence

import torch
from torch import Tensor

Kept = list[Tensor]
"""Indices (int64, ascending) of the feature maps that a pass keeps, one tensor a dropout layer."""


def draw_masks(widths: Sequence[int], p: float, passes: int, seed: int) -> list[Kept]:
    """Draw the masks of T passes.

    Every feature map is dropped with probability ``p``, as with independent draws, so the mean over the passes has the
    same expectation. Balanced sampling without replacement takes most of the noise out of that mean: within a layer
    each map is dropped equally often over the passes, and each pass drops equally many maps, both up to one. The drop
    sets of consecutive passes are taken from a random permutation of the layer's maps; when it is used up, another
    permutation follows.

    Args:
        widths: Number of feature maps of each dropout layer.
        p: Probability that a map is dropped, in [0, 1).
        passes: T.
        seed: The masks depend on it and on the other arguments alone.

    Returns:
        T lists, in each the kept maps of every layer.
    """
    generator = torch.Generator().manual_seed(seed)
    layers = [_draw_layer(width, p, passes, generator) for width in widths]
    return [[layer[number] for layer in layers] for number in range(passes)]


def _draw_layer(width: int, p: float, passes: int, generator: torch.Generator) -> list[Tensor]:
    """Return the maps of one layer that each pass keeps."""
    start = float(torch.rand((), generator=generator))
    permutation: list[int] = []
    kept = []
    for number in range(passes):
        # Sums to p * width * T up to one; its expectation over the random start is p * width.
        count = int(p * width * (number + 1) + start) - int(p * width * number + start)
        drop_set: list[int] = []
        while len(drop_set) < count:
            if not permutation:
                shuffled = torch.randperm(width, generator=generator).tolist()
                # Maps that this pass drops already go last: a pass cannot drop a map twice.
                permutation = [i for i in shuffled if i not in drop_set] + [i for i in shuffled if i in drop_set]
            drop_set.append(permutation.pop(0))
        keep = torch.ones(width, dtype=torch.bool)
        keep[drop_set] = False
        kept.append(keep.nonzero().flatten())
    return kept
