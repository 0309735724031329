"""The eight symmetries of the square: rotations by a multiple of 90 degrees, with or without a flip.

(The "Rot270" of Aryal's code is a transpose, that is a reflection, so a rotation by 270 degrees never occurs there.)
"""

from typing import Final, Literal

import torch
from torch import Tensor

SYMMETRIES: Final = 8

Orientations = Literal["one", "alternating", "all"]
"""How windows are predicted: as they are; neighbours in different quarter turns; each in all eight orientations."""


def apply_symmetry(image: Tensor, number: int) -> Tensor:
    """Turn an image by ``number % 4`` quarters counter-clockwise, then flip it left to right from number 4 on.

    Args:
        image: (..., h, w).
        number: 0 to 7; 0 changes nothing.

    Returns:
        (..., h, w), or (..., w, h) if ``number`` is odd; a view where possible.
    """
    turned = torch.rot90(image, number % 4, (-2, -1))
    return turned.flip(-1) if number >= 4 else turned


def undo_symmetry(image: Tensor, number: int) -> Tensor:
    """Return the image that :func:`apply_symmetry` was given."""
    unflipped = image.flip(-1) if number >= 4 else image
    return torch.rot90(unflipped, -(number % 4), (-2, -1))
