"""Noise that is a pure function of seed and position, so that a scene can be computed window by window in any order.

Random numbers are hashes of lattice points instead of draws from a generator, so the value of a pixel is the same in
every window that contains it.
"""

from typing import Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

Coordinates = NDArray[np.float64]
"""(n,) rows or columns in pixel coordinates; pixel centres are whole numbers. They may be negative or fractional."""

# A cubic B-spline over uniform values on [-1, 1] has the variance (151/315)^2 / 3, averaged over the plane: 151/315 is
# the integral of the squared spline.
_UNIT_STD: Final = 3.0**0.5 * 315 / 151
# Mixing constants of SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators").
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2: Final = np.uint64(0x94D049BB133111EB)


def white(seed: int, stream: str, rows: NDArray[np.int64], cols: NDArray[np.int64]) -> NDArray[np.float32]:
    """Compute independent noise at every pixel, mean 0 and standard deviation 1, nearly normal, within +-3.5.

    Args:
        seed: At least 0.
        stream: Name of the noise field; fields of different names are independent.
        rows: (h,) whole numbers.
        cols: (w,) whole numbers.

    Returns:
        (h, w).
    """
    bits = _hash(seed, stream, rows, cols)
    # The sum of four uniform 16-bit numbers has the mean 2 * 65535 and, in units of 65535, the variance 4 / 12.
    total = bits.view(np.uint16).reshape(*bits.shape, 4).sum(axis=-1, dtype=np.uint32).astype(np.float32)
    return np.asarray((total / np.float32(65535) - np.float32(2)) * np.float32(3**0.5))


def smooth(seed: int, stream: str, rows: Coordinates, cols: Coordinates, wavelength_px: float) -> NDArray[np.float64]:
    """Compute noise that varies over about `wavelength_px`: a cubic B-spline over hashed lattice values.

    Args:
        seed: At least 0.
        stream: As in `white`.
        rows: (h,) coordinates.
        cols: (w,) coordinates.
        wavelength_px: Twice the spacing of the lattice.

    Returns:
        (h, w), mean 0, standard deviation 1 over the plane, twice continuously differentiable.
    """
    first_row, row_taps, row_weights = _taps(rows, wavelength_px / 2)
    first_col, col_taps, col_weights = _taps(cols, wavelength_px / 2)
    lattice = _lattice(seed, stream, first_row, first_col, int(row_taps.max()) + 4, int(col_taps.max()) + 4)
    by_row = np.asarray(sum(row_weights[k][:, None] * lattice[row_taps + k] for k in range(4)))
    return _UNIT_STD * np.asarray(sum(col_weights[k] * by_row[:, col_taps + k] for k in range(4)))


def fractal(
    seed: int, stream: str, rows: Coordinates, cols: Coordinates, wavelength_px: float, octaves: int
) -> NDArray[np.float64]:
    """Compute fractional Brownian motion: each octave has half the wavelength and amplitude of the one before.

    Args and returns as `smooth`, which is the result for one octave.
    """
    amplitudes = 0.5 ** np.arange(octaves)
    total = sum(
        amplitude * smooth(seed, f"{stream}/{octave}", rows, cols, wavelength_px * amplitude)
        for octave, amplitude in enumerate(amplitudes)
    )
    return np.asarray(total / np.sqrt((amplitudes**2).sum()))


def _taps(at: Coordinates, spacing_px: float) -> tuple[int, NDArray[np.int64], list[NDArray[np.float64]]]:
    """Find the four lattice points that each coordinate is interpolated from.

    Returns:
        Index of the first lattice point needed; for each coordinate the index, relative to it, of the first of its four
        points; and the four weights.
    """
    position = at / spacing_px
    cell = np.floor(position).astype(np.int64)
    t = position - cell
    weights = [(1 - t) ** 3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6, (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6, t**3 / 6]
    first = int(cell.min()) - 1
    return first, cell - 1 - first, weights


def _lattice(seed: int, stream: str, row: int, col: int, height: int, width: int) -> NDArray[np.float64]:
    """Return (height, width) uniform values in [-1, 1) at the lattice points from (row, col)."""
    bits = _hash(seed, stream, np.arange(row, row + height), np.arange(col, col + width))
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0


def _hash(seed: int, stream: str, rows: NDArray[np.int64], cols: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return (h, w) hashes of seed, stream and position."""
    key = np.array([seed ^ (crc32(stream.encode()) << 32)], dtype=np.uint64)
    by_row = _mix(_mix(key) ^ rows.astype(np.int64).view(np.uint64))
    return _mix(by_row[:, None] ^ _mix(cols.astype(np.int64).view(np.uint64)))


def _mix(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    bits = bits + _GOLDEN
    bits = (bits ^ bits >> np.uint64(30)) * _MIX_1
    bits = (bits ^ bits >> np.uint64(27)) * _MIX_2
    return np.asarray(bits ^ bits >> np.uint64(31))
