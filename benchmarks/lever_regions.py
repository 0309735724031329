"""The regions of ``benchmarks.training_levers``: four splits of the Everest scene, and synthetic scenes.

Each has a pool that patches are labelled in, validation ground, and test ground, which do not overlap: the test ground
is a quarter of the scene on one side, and the validation ground a quarter on the opposite side. The synthetic scenes
differ in relief, in their shares of clean and debris-covered ice, and in cloud; their test ground lies on the side with
which the rarest class is least rare in any of the three grounds, so that its IoU can be measured.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from imagery.channels import named_channels
from imagery.classes import GLACIER_SCHEME
from imagery.describe_scene import describe
from imagery.everest import prepare
from imagery.grid import Window
from imagery.masks import OutlineLayer, rasterize_outlines
from imagery.scene_reader import SceneReader
from imagery.scene_source import SceneSource
from imagery.statistics import ChannelStatistics, channel_statistics
from imagery.synthetic import write_scene
from imagery.synthetic_pixels import SyntheticOptions
from imagery.synthetic_surface import Shares

_EVEREST: Final = Window(0, 0, 655, 800)
_SYNTHETIC: Final = Window(0, 0, 512, 1024)

_SIDES: Final = ("west", "east", "north", "south")
_SPLITS: Final[Mapping[str, str]] = {f"everest, test {side}": side for side in _SIDES}
# With each seed the first whose scene has at least 0.5 % of every class in each of the three grounds.
_SYNTHETIC_SCENES: Final[Mapping[str, tuple[int, Shares]]] = {
    "synthetic 1: as in Aryal et al.": (1, Shares()),
    "synthetic 2: little ice": (4, Shares(0.05, 0.01, 0.0)),
    "synthetic 3: much debris": (1, Shares(0.15, 0.15, 0.02)),
    "synthetic 4: much ice": (1, Shares(0.45, 0.08, 0.0)),
    "synthetic 5: little ice, much of it debris": (1, Shares(0.04, 0.04, 0.0)),
    "synthetic 6: cloud": (1, Shares(0.2, 0.05, 0.2)),
}

REGIONS: Final = (*_SPLITS, *_SYNTHETIC_SCENES)


@dataclass(frozen=True)
class Region:
    """A scene in memory.

    Attributes:
        name: One of `REGIONS`.
        channels: Names of the C channels.
        statistics: Mean and standard deviation of each in the pool.
        image: (C, H, W) float32 in the channels' units, NaN = nodata.
        truth: (H, W) true classes.
        pool: Where patches are labelled.
        validation: Where calibrations are fitted.
        test: Where everything is judged.
    """

    name: str
    channels: tuple[str, ...]
    statistics: ChannelStatistics
    image: NDArray[np.float32]
    truth: NDArray[np.uint8]
    pool: Window
    validation: Window
    test: Window


def load(name: str, folder: Path) -> Region:
    """Load a region; its files are written below the folder."""
    if name in _SPLITS:
        everest = prepare(folder / "everest")
        return _in_memory(name, describe(everest.bands, _EVEREST), everest.outlines, [_SPLITS[name]])
    seed, shares = _SYNTHETIC_SCENES[name]
    scene = write_scene(folder / "scene", _SYNTHETIC.height, _SYNTHETIC.width, seed, SyntheticOptions(shares=shares))
    return _in_memory(name, describe(scene.bands, dem=scene.dem), scene.outlines, _SIDES)


def _strips(scene: Window, test_side: str) -> tuple[Window, Window, Window]:
    """Return pool, validation and test ground."""
    across = test_side in ("west", "east")
    length = scene.width if across else scene.height
    quarter = length // 4
    first, middle, last = (0, quarter), (quarter, length - 2 * quarter), (length - quarter, quarter)
    test, validation = (first, last) if test_side in ("west", "north") else (last, first)

    def window(strip: tuple[int, int]) -> Window:
        start, count = strip
        return Window(0, start, scene.height, count) if across else Window(start, 0, count, scene.width)

    return window(middle), window(validation), window(test)


def _rarest_share(truth: NDArray[np.uint8], strips: tuple[Window, Window, Window]) -> float:
    """Return the smallest share that a class has in any of the grounds."""
    return min(
        float((truth[strip.slices] == entry.value).mean()) for strip in strips for entry in GLACIER_SCHEME.classes
    )


def _in_memory(name: str, source: SceneSource, outlines: tuple[OutlineLayer, ...], sides: Sequence[str]) -> Region:
    whole = Window(0, 0, source.grid.height, source.grid.width)
    truth = rasterize_outlines(outlines, source.grid, GLACIER_SCHEME)
    divisions = [_strips(whole, side) for side in sides]
    pool, validation, test = max(divisions, key=lambda strips: _rarest_share(truth, strips))
    channels = source.band_names if name in _SPLITS else named_channels(["baraka"], source.band_names)
    with SceneReader(source) as reader:
        image = reader.read(channels, whole)
    statistics = channel_statistics([(source, [pool])], channels)
    return Region(name, tuple(channels), statistics, image, truth, pool, validation, test)
