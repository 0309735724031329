"""How far two images of one ground are displaced against each other."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from imagery.grid import Grid, Window, blocks
from imagery.projection import geodesic_offsets
from imagery.resampling import method_for, unwrapped, warp, window_under
from imagery.scene_reader import SceneReader
from imagery.scene_source import SceneSource

# Bright and sharp in most seasons; the first that both images have is compared.
_PREFERRED: Final = ("nir", "red", "pan", "green", "swir1", "blue")
_BLOCK_PX: Final = 128
_MOST_BLOCKS: Final = 200
_UPSAMPLING: Final = 20  # shifts are found to a twentieth of a pixel
_FEWEST_VALID: Final = 0.9
# Below this correlation of the aligned blocks the peak is chance: new snow, cloud, water.
_FEWEST_ALIKE: Final = 0.5
_MARGIN_PX: Final = 3
_FEWEST_BLOCKS: Final = 3  # a median of fewer is none
_NORMAL_MAD: Final = 1.4826  # standard deviation of a normal distribution per median absolute deviation


@dataclass(frozen=True)
class Shift:
    """The displacement of a second image against a first.

    Attributes:
        east_m: How far east the second image shows the same ground, metres; median over the blocks.
        north_m: How far north.
        error_m: Standard error of the two, from the spread between the blocks.
        blocks: Number of blocks of ground that could be compared.
        channel: The channel that was compared.
    """

    east_m: float
    north_m: float
    error_m: float
    blocks: int
    channel: str

    @property
    def length_m(self) -> float:
        """Length of the displacement in metres."""
        return float(np.hypot(self.east_m, self.north_m))


def estimate_shift(first: SceneSource, second: SceneSource, grid: Grid) -> Shift | None:
    """Estimate the displacement of the second scene's image against the first's.

    Blocks of 128 pixels, spread over the common ground, are compared by phase correlation with sub-pixel refinement
    (Guizar-Sicairos, Thurman & Fienup 2008, Efficient subpixel image registration algorithms). The median over the
    blocks ignores those in which ice has moved.

    Args:
        first: The scene that counts as right.
        second: The scene to compare.
        grid: The common grid (`imagery.change.common_grid`).

    Returns:
        The displacement; None if the scenes have no such band in common, or fewer than three blocks can be compared.

    Raises:
        SceneError: A scene cannot be read.
    """
    channel = next((name for name in _PREFERRED if name in first.band_names and name in second.band_names), None)
    if channel is None:
        return None
    found = []
    with ExitStack() as stack:
        readers = [stack.enter_context(SceneReader(source)) for source in (first, second)]
        for window in _spread(grid):
            images = [_read(reader, channel, grid.subgrid(window)) for reader in readers]
            offset_px = _compare(*images)
            if offset_px is not None:
                found.append((window.row_off, window.col_off, *offset_px))
    if len(found) < _FEWEST_BLOCKS:
        return None
    shifts = _in_metres(np.array(found, dtype=np.float64), grid)
    middle = np.median(shifts, axis=0)
    spread = _NORMAL_MAD * np.median(np.abs(shifts - middle), axis=0)
    error = float(np.hypot(*spread) / np.sqrt(len(shifts)))
    return Shift(float(middle[0]), float(middle[1]), error, len(shifts), channel)


def _spread(grid: Grid) -> Iterator[Window]:
    """Yield up to `_MOST_BLOCKS` full blocks, evenly spread over the grid; smaller ones on a small grid."""
    side = max(1, min(_BLOCK_PX, grid.width // 2, grid.height // 2))
    whole = [window for window in blocks(grid.width, grid.height, side) if window.shape == (side, side)]
    yield from whole[:: max(1, len(whole) // _MOST_BLOCKS)]


def _read(reader: SceneReader, channel: str, grid: Grid) -> NDArray[np.float32]:
    """Read a channel of a scene onto a part of the common grid; NaN where it has no data."""
    own = unwrapped(reader.source.grid, grid)
    if (window := window_under(grid, own, _MARGIN_PX)) is None:
        return np.full((grid.height, grid.width), np.nan, dtype=np.float32)
    pixels = reader.read([channel], window)[0]
    method = method_for(own, grid)
    return warp(pixels, own.crs, own.window_transform(window), grid, method)


def _compare(first: NDArray[np.float32], second: NDArray[np.float32]) -> tuple[float, float] | None:
    """Return by how many rows and columns the second image is displaced; None if the two are not alike."""
    from skimage.registration import phase_cross_correlation

    valid = np.isfinite(first) & np.isfinite(second)
    if valid.mean() < _FEWEST_VALID:
        return None
    taper = np.outer(np.hanning(first.shape[0]), np.hanning(first.shape[1]))
    standardised = []
    for image in (first, second):
        spread = image[valid].std()
        if not spread > 0:
            return None
        standardised.append(np.where(valid, (image - image[valid].mean()) / spread, 0.0) * taper)
    needed, *_ = phase_cross_correlation(*standardised, upsample_factor=_UPSAMPLING, normalization=None)  # type: ignore[no-untyped-call]
    if np.abs(needed).max() > min(first.shape) / 4:
        return None
    aligned = ndimage.shift(standardised[1], needed, order=1)
    if np.corrcoef(standardised[0].ravel(), aligned.ravel())[0, 1] < _FEWEST_ALIKE:
        return None
    return -float(needed[0]), -float(needed[1])


def _in_metres(found: NDArray[np.float64], grid: Grid) -> NDArray[np.float64]:
    """Turn (n, 4) rows and columns of blocks and of their displacements into (n, 2) metres east and north."""
    a, b, c, d, e, f = grid.transform

    def place(row: NDArray[np.float64], col: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack([a * col + b * row + c, d * col + e * row + f])

    row, col, down, right = found.T
    return geodesic_offsets(place(row, col), place(row + down, col + right), grid.crs).T
