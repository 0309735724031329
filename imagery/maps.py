"""Reading windows of the one-band maps in the raster store."""

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
    with open_raster(uri) as dataset:
        bands = read_window(dataset, [1], window)
    return np.asarray(bands[0])
