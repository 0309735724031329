"""The bands of the patches that annotators click on, kept for the next click.

Opening the files of a scene took a quarter of the time of a click on a patch of 64 px (docs/benchmarks.md).
"""

from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from imagery.grid import Window
from imagery.scene_reader import SceneReader
from imagery.scene_source import SceneSource

KEPT_PATCHES: Final = 4
"""Most patches kept in a process: at 512 px and ten bands 10 MB each."""


def read_bands(source: SceneSource, window: Window) -> NDArray[np.float32]:
    """Read the bands of a window as they are on disk now.

    A file counts as changed when its time of change or its size differs. Files that a VRT names are not looked at, and
    of files behind an address nothing is kept.

    Returns:
        (C, h, w), read-only; NaN where there is no data.

    Raises:
        SceneError: The scene cannot be read.
        OutlineError: Its border cannot be read.
    """
    try:
        state = tuple(_state(path) for path in _paths(source))
    except OSError:  # an address; or the file is gone, and the reader says so better
        return _read(source, window)
    return _kept(source, window, state)


def _paths(source: SceneSource) -> list[str]:
    border = [source.border.path] if source.border else []
    return list(dict.fromkeys([*(raster.path for raster in source.rasters), *border]))


def _state(path: str) -> tuple[int, int]:
    found = Path(path).stat()
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=KEPT_PATCHES)
def _kept(source: SceneSource, window: Window, state: tuple[tuple[int, int], ...]) -> NDArray[np.float32]:
    """Read the bands; `state`, that of the files, only tells results apart."""
    return _read(source, window)


def _read(source: SceneSource, window: Window) -> NDArray[np.float32]:
    names = [source.band_names[position] for position in source.measured(source.band_names)]
    with SceneReader(source) as reader:
        bands = reader.read(names, window)
    bands.flags.writeable = False
    return bands
