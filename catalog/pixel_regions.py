"""Run-length encoding of the pixels of a patch that a proposal asks for.

The uncompressed run-length encoding of COCO, but row-major: runs alternate, and the first one counts pixels that are
not asked for (it may be 0).
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray


def encode_region(region: NDArray[np.bool_]) -> list[int]:
    """Return the run lengths of a region.

    Args:
        region: (h, w), True for the pixels asked for; at least one.

    Raises:
        ValueError: The array is not two-dimensional and boolean, or no pixel is asked for.
    """
    if region.ndim != 2 or region.dtype != np.bool_:
        raise ValueError(f"found a region of {region.dtype} {region.shape}; expected bool (height, width)")
    if not region.any():
        raise ValueError("found a region without a pixel; expected at least one")
    flat = np.concatenate([[False], region.ravel()])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    runs: list[int] = np.diff(np.concatenate([[0], changes, [region.size]])).tolist()
    return runs


def decode_region(runs: Sequence[int] | None, height: int, width: int) -> NDArray[np.bool_]:
    """Return the pixels asked for, (height, width); all of them for None.

    Raises:
        ValueError: The runs are negative or do not add up to the size of the patch.
    """
    if runs is None:
        return np.ones((height, width), dtype=np.bool_)
    lengths = np.asarray(runs, dtype=np.int64)
    if (lengths < 0).any() or lengths.sum() != height * width:
        raise ValueError(f"found runs of {lengths.sum()} pixels; expected those of {height} x {width}")
    asked = np.arange(len(lengths)) % 2 == 1
    return np.repeat(asked, lengths).reshape(height, width)


def covers_patch(regions: Iterable[Sequence[int] | None], height: int, width: int) -> bool:
    """Return whether the union of regions covers every pixel of a patch."""
    covered = np.zeros((height, width), dtype=np.bool_)
    for runs in regions:
        covered |= decode_region(runs, height, width)
        if covered.all():
            return True
    return False
