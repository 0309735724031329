"""Reading windows of the one-band maps that we keep in the store."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagery.geotiff import open_geotiff, read_window
from imagery.grid import Window


def read_map(uri: str, window: Window) -> NDArray[Any]:
    """Read a window of the first band of a map, without reading the rest.

    Args:
        uri: Where the map lies (`imagery.store.RasterStore.uri`).
        window: Relative to the map's first pixel.

    Returns:
        (h, w) in the map's own dtype; nodata values are left as they are.

    Raises:
        SceneError: There is no such map, or it cannot be read.
    """
    with open_geotiff(uri) as dataset:
        layers = read_window(dataset, [1], window)
    return np.asarray(layers[0])
