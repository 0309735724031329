"""Statistics of channels: for normalising a model's input, and for choosing the contrast of a picture."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from imagery.errors import SceneError
from imagery.grid import Window, blocks
from imagery.scene_reader import SceneReader
from imagery.scene_source import SceneSource

_SAMPLE_SIDE_PX: Final = 512
# The share of pixels below a 2nd percentile that was estimated from 1000 pixels has a standard error of
# sqrt(0.02 * 0.98 / 1000) = 0.4 %, which no eye sees.
_ENOUGH_PX: Final = 1000
_BLOCK_PX: Final = 1024


@dataclass(frozen=True)
class ChannelStatistics:
    """Mean and standard deviation of each channel over all valid pixels.

    Attributes:
        channels: Names.
        mean: Means, in the channels' units (digital numbers for bands).
        std: Population standard deviations; 1 for a constant channel, which then normalises to 0 instead of dividing
            by 0.
        count: Numbers of valid pixels.
    """

    channels: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    count: tuple[int, ...]


def channel_statistics(
    sources: Iterable[tuple[SceneSource, Iterable[Window]]], channels: Sequence[str]
) -> ChannelStatistics:
    """Compute the exact pooled mean and standard deviation over the valid pixels of many windows, in one pass.

    Windows are merged by the parallel update of Chan, Golub & LeVeque (1979) in float64. Published code averages the
    standard deviations of tiles instead, masked zeros included, which loses the differences between tiles.

    Args:
        sources: Scenes with their windows: training patches only, none overlapping another, or pixels count twice.
        channels: Names of channels.

    Raises:
        SceneError: A channel has no valid pixel in any window, or a window cannot be read.
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
    _check_counts(dict(zip(channels, count.tolist(), strict=True)), "the windows given")
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
    """Return the range of each channel that a picture spreads over 0 to 255.

    The range holds for the whole scene, so that a surface looks the same in every patch. Time and memory are bounded:

    1. The scene is decimated to at most 512 x 512 pixels. The percentiles of a channel come from this sample if it
       holds at least 1000 valid pixels, or is the whole scene.
    2. Otherwise valid pixels are few and may lie between those of the sample. Then the channel is read completely,
       block by block, and the percentiles come from all its valid pixels, or from at least 131,072 of them, evenly
       spaced.

    Args:
        source: The scene.
        channels: Names of channels.
        low: Percentile shown as 0.
        high: Percentile shown as 255.

    Returns:
        (lowest, highest) for each channel, lowest < highest; a constant channel gets a range of 1.

    Raises:
        SceneError: A channel has no valid pixel in the whole scene; the message names it and says which channels do.
    """
    valid = _sample(source, channels)
    _check_counts({name: values.size for name, values in valid.items()}, "the scene")
    return [_range(valid[name], low, high) for name in channels]


def known_stretches(source: SceneSource, channels: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Return the ranges of `percentile_stretch` by channel, without the channels that have no valid pixel.

    Raises:
        SceneError: The scene cannot be read.
    """
    return {name: _range(values, 2.0, 98.0) for name, values in _sample(source, channels).items() if values.size}


def _sample(source: SceneSource, channels: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """Return a sample of the valid pixels of each channel; see `percentile_stretch`."""
    if not channels:
        return {}
    with SceneReader(source) as reader:
        decimated = reader.read_decimated(channels, _SAMPLE_SIDE_PX)
        valid = {name: values[np.isfinite(values)] for name, values in zip(channels, decimated, strict=True)}
        if decimated.shape[1:] != source.grid.window.shape:
            valid |= _sample_blocks(reader, [name for name, values in valid.items() if values.size < _ENOUGH_PX])
    return valid


def _range(values: NDArray[np.float32], low: float, high: float) -> tuple[float, float]:
    darkest, brightest = (float(value) for value in np.percentile(values, [low, high]))
    return darkest, brightest if brightest > darkest else darkest + 1.0


class _ValidSample:
    """Evenly spaced valid pixels of a stream: all of them as long as they are few, later every 2nd, 4th, 8th, ..."""

    _MOST: Final = _SAMPLE_SIDE_PX**2

    def __init__(self) -> None:
        self.values: NDArray[np.float32] = np.empty(0, dtype=np.float32)
        self._step = 1
        self._seen = 0

    def add(self, pixels: NDArray[np.float32]) -> None:
        valid = pixels[np.isfinite(pixels)]
        # Continues the spacing across calls: the pixels kept are those whose running number is a multiple of the step.
        self.values = np.concatenate([self.values, valid[-self._seen % self._step :: self._step]])
        self._seen += valid.size
        while self.values.size > self._MOST:
            self.values = self.values[::2]
            self._step *= 2


def _sample_blocks(reader: SceneReader, channels: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """Read channels of a whole scene block by block; returns a sample of the valid pixels of each."""
    samples = {name: _ValidSample() for name in channels}
    if not samples:
        return {}
    for window in blocks(reader.source.grid.width, reader.source.grid.height, _BLOCK_PX):
        for sample, pixels in zip(samples.values(), reader.read(channels, window), strict=True):
            sample.add(pixels)
    return {name: sample.values for name, sample in samples.items()}


def _check_counts(valid_px: dict[str, int], where: str) -> None:
    """Raise an error that names the channels without a valid pixel."""
    if missing := [name for name, count in valid_px.items() if not count]:
        others = [f"{count} of {name!r}" for name, count in valid_px.items() if count]
        found = f", but {', '.join(others)}" if others else ""
        raise SceneError(
            f"found no valid pixel of {', '.join(map(repr, missing))} in {where}{found}; expected some: check the "
            "nodata value, the border and the files of these channels"
        )


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
