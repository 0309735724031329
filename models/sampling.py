"""Sampling of training patches: with replacement, favouring patches that contain a rare class."""

from typing import Protocol

import torch
from torch import Tensor

from models.heads import Head, merge_target
from models.losses import class_weights
from models.symmetries import SYMMETRIES, apply_symmetry


class LabelledPatches(Protocol):
    """Any map-style dataset: a :class:`torch.utils.data.Dataset` with a length, or a list.

    An item is (raw, mask): raw float32 (C, h, w) in the channels' units, NaN = nodata; mask uint8 (h, w) of class
    values.
    """

    def __len__(self) -> int:
        """Return the number of patches."""
        ...

    def __getitem__(self, index: int, /) -> tuple[Tensor, Tensor]:
        """Return one patch and its mask."""
        ...


def count_pixels(
    dataset: LabelledPatches,
    channels: int,
    classes: int,
    ignore_index: int,
    head: Head = "multiclass",
    label_classes: int | None = None,
) -> Tensor:
    """Count the judged pixels of each class in each patch, and check every patch.

    Args:
        dataset: n patches, all of one size.
        channels: C, the channels that each patch must have.
        classes: K, the number of classes that the head predicts.
        ignore_index: Mask value of pixels that nobody judged.
        head: Masks are checked before their classes are merged for the head (see :func:`models.heads.merge_target`):
            after merging, an invalid value would count as foreground.
        label_classes: The masks hold the label values 0 to ``label_classes - 1``, or ``ignore_index``. By default K.

    Returns:
        (n, K) int64.

    Raises:
        ValueError: The dataset is empty, no pixel in it was judged, or a patch has a wrong shape or mask value.
    """
    if len(dataset) == 0:
        raise ValueError("the dataset is empty; training needs at least one labelled patch")
    side_lengths = dataset[0][1].shape
    counts = torch.zeros(len(dataset), classes, dtype=torch.int64)
    for index in range(len(dataset)):
        raw, mask = dataset[index]
        _check_patch(index, raw, mask, (channels, *side_lengths), label_classes or classes, ignore_index)
        merged = merge_target(mask, head, ignore_index)
        counts[index] = torch.bincount(merged[merged != ignore_index].long(), minlength=classes)
    if counts.sum() == 0:
        raise ValueError(
            f"no pixel of the {len(dataset)} patches was judged (all masks hold only {ignore_index}); "
            "training needs at least one pixel of a class"
        )
    return counts


def patch_weights(counts: Tensor, balance: bool) -> Tensor:
    """Return the sampling weight of each patch.

    A patch weighs as much as its rarest class in :func:`models.losses.class_weights`, so all weights are equal if every
    class has at least 10 % of the pixels. Patches without a judged pixel are never drawn.

    Args:
        counts: (n, K) pixels of each class in each patch.
        balance: Whether to favour rare classes; False weighs all judged patches alike.

    Returns:
        (n,) float32, not normalised, at least one positive.

    Raises:
        ValueError: All counts are 0.
    """
    judged = (counts.sum(dim=1) > 0).float()
    if not balance:
        return judged
    rarity = class_weights(counts.sum(dim=0).tolist())
    return judged * torch.where(counts > 0, rarity, 1.0).amax(dim=1)


def expected_counts(counts: Tensor, weights: Tensor) -> Tensor:
    """Return expected class counts under the sampling weights, so that the loss does not correct for rarity twice.

    Args:
        counts: (n, K) pixels of each class in each patch.
        weights: (n,) sampling weights of the patches.

    Returns:
        (K,) float64, up to a constant factor, for :func:`models.losses.class_weights`.
    """
    return weights.double() @ counts.double()


def random_symmetry(raw: Tensor, mask: Tensor, generator: torch.Generator, share: float = 1.0) -> tuple[Tensor, Tensor]:
    """Apply one of the eight symmetries of the square, drawn uniformly, to both a patch and its mask.

    Args:
        raw: (C, h, w).
        mask: (h, w).
        generator: Source of the draw, on the CPU.
        share: Probability that a symmetry is applied at all, in (0, 1].

    Returns:
        The transformed patch and mask.

    Raises:
        ValueError: The patch is not square, so rotations by 90 degrees would change its shape.
    """
    if mask.shape[0] != mask.shape[1]:
        raise ValueError(
            f"a patch of {mask.shape[0]} x {mask.shape[1]} px cannot be turned by 90 degrees and keep its shape; "
            "use square patches, or train with augment=False"
        )
    if share < 1.0 and float(torch.rand(1, generator=generator)) >= share:
        return raw, mask
    number = int(torch.randint(SYMMETRIES, (1,), generator=generator))
    return apply_symmetry(raw, number), apply_symmetry(mask, number)


def _check_patch(
    index: int, raw: Tensor, mask: Tensor, expected: tuple[int, ...], classes: int, ignore_index: int
) -> None:
    """Raise ValueError if the image is not of the shape ``expected``, (C, h, w), or the mask holds an invalid value."""
    if tuple(raw.shape) != expected or tuple(mask.shape) != expected[1:]:
        raise ValueError(
            f"patch {index} has shape {tuple(raw.shape)} and a mask of shape {tuple(mask.shape)}; "
            f"expected {expected} and {expected[1:]}, the same for all patches"
        )
    judged = mask[mask != ignore_index].long()
    if judged.numel() and (judged.min() < 0 or judged.max() >= classes):
        raise ValueError(
            f"the mask of patch {index} holds the values {sorted(set(judged.tolist()))}; "
            f"expected 0 to {classes - 1}, or {ignore_index} where nobody judged"
        )
