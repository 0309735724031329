"""Statistics of channels: for normalising a model's input, and for stretching a view to the eye."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from imagery.errors import SceneError
from imagery.grid import Window
from imagery.scene import SceneReader, SceneSource

_STRETCH_SAMPLE_PX: Final = 512


@dataclass(frozen=True)
class ChannelStatistics:
    """Mean and standard deviation of each channel over all valid pixels.

    Attributes:
        channels: Names.
        mean: Means, in the channels' units (digital numbers for bands).
        std: Population standard deviations; 1 for a constant channel, which then normalises to 0 and says nothing, as
            it should, instead of dividing by 0.
        count: Valid pixels.
    """

    channels: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    count: tuple[int, ...]


def channel_statistics(
    sources: Iterable[tuple[SceneSource, Iterable[Window]]], channels: Sequence[str]
) -> ChannelStatistics:
    """Exact pooled mean and standard deviation over the valid pixels of many windows, in one pass.

    Windows are merged by the parallel update of Chan, Golub & LeVeque (1979) in float64. Published code averages the
    standard deviations of tiles instead, masked zeros included, which forgets how tiles differ from one another.

    Args:
        sources: Scenes with their windows: training patches only, none overlapping another, or pixels count twice.
        channels: Names of bands or indices.

    Raises:
        SceneError: A channel has no valid pixel at all, or a window cannot be read.
    """
    count = np.zeros(len(channels), dtype=np.int64)
    mean, squares = np.zeros(len(channels)), np.zeros(len(channels))
    for source, windows in sources:
        with SceneReader(source) as reader:
            for window in windows:
                pixels = reader.read(channels, window).reshape(len(channels), -1).astype(np.float64)
                for i, values in enumerate(pixels):
                    count[i], mean[i], squares[i] = _merge(
                        int(count[i]), mean[i], squares[i], values[np.isfinite(values)]
                    )
    if missing := [name for name, n in zip(channels, count, strict=True) if n == 0]:
        raise SceneError(f"found no valid pixel of {', '.join(missing)} in the windows given; expected some")
    std = np.sqrt(squares / count)
    # Rounding leaves a constant channel with a spread of some 1e-16 of its level.
    constant = std <= 1e-12 * np.maximum(1.0, np.abs(mean))
    return ChannelStatistics(
        channels=tuple(channels),
        mean=tuple(mean.tolist()),
        std=tuple(np.where(constant, 1.0, std).tolist()),
        count=tuple(count.tolist()),
    )


def percentile_stretch(
    source: SceneSource, channels: Sequence[str], low: float = 2.0, high: float = 98.0
) -> list[tuple[float, float]]:
    """The range of each channel to spread over 0 to 255 in a view.

    Percentiles of the scene thinned to at most 512 x 512 pixels, so that time and memory stay bounded. One range for
    the whole scene: the same ground looks the same in every patch.

    Args:
        source: The scene.
        channels: Names of bands or indices.
        low: Percentile shown as 0.
        high: Percentile shown as 255.

    Returns:
        (lowest, highest) for each channel, lowest < highest; a constant channel gets a range of 1.

    Raises:
        SceneError: A channel has no valid pixel in the sample.
    """
    with SceneReader(source) as reader:
        sample = reader.read_decimated(channels, _STRETCH_SAMPLE_PX)
    ranges = []
    for name, values in zip(channels, sample, strict=True):
        valid = values[np.isfinite(values)]
        if valid.size == 0:
            raise SceneError(f"found no valid pixel of {name!r} in the scene; expected some")
        darkest, brightest = (float(value) for value in np.percentile(valid, [low, high]))
        ranges.append((darkest, brightest if brightest > darkest else darkest + 1.0))
    return ranges


def _merge(count: int, mean: float, squares: float, values: NDArray[np.float64]) -> tuple[int, float, float]:
    """Add values to a count, mean and sum of squared deviations (Chan et al. 1979, eq. 2.1)."""
    if values.size == 0:
        return count, mean, squares
    total = count + values.size
    own_mean = float(values.mean())
    own_squares = float(((values - own_mean) ** 2).sum())
    delta = own_mean - mean
    return (
        total,
        mean + delta * values.size / total,
        squares + own_squares + delta**2 * count * values.size / total,
    )
