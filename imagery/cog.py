"""Maps of a whole scene as files that open in the right place in a GIS."""

import numpy as np
from numpy.typing import NDArray

from imagery.classes import LEGEND, UNKNOWN
from imagery.geotiff import encode
from imagery.grid import Grid
from imagery.masks import check_values


def class_map_to_cog(mask: NDArray[np.uint8], grid: Grid) -> bytes:
    """Encode a class map as a Cloud Optimised GeoTIFF with the legend's colours and nodata 255.

    Overviews take the commonest class of the pixels they stand for: classes cannot be averaged.

    Args:
        mask: (H, W) label mask of the whole grid.
        grid: The scene's grid.

    Raises:
        OutlineError: A value is not in the legend.
        SceneError: The mask's size is not the grid's.
    """
    check_values(mask)
    colours = {entry.value: entry.rgb for entry in LEGEND}
    return encode(
        mask, grid, nodata=UNKNOWN.value, driver="COG", colours=colours, blocksize=512, overview_resampling="mode"
    )


def float_map_to_geotiff(array: NDArray[np.float32], grid: Grid, description: str) -> bytes:
    """Encode a map of real numbers as a tiled GeoTIFF with nodata NaN.

    Args:
        array: (H, W), NaN where there is no data.
        grid: The scene's grid.
        description: What the map shows, with its unit ("predictive entropy (nats)").

    Raises:
        SceneError: The array's size is not the grid's.
    """
    return encode(
        array.astype(np.float32, copy=False),
        grid,
        nodata=float("nan"),
        description=description,
        tiled="yes",
        predictor=3,
    )
