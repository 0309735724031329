"""Writing windows of a scene as files that other programs read: GeoTIFF with named channels, and NumPy arrays.

The arrays have the form of the HKH data set of Baraka et al. on LILA (https://lila.science/datasets/hkh-glacier-mapping):
an image (H, W, C), and a mask (H, W, K) with a channel of 0 and 1 for each class except background.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.io import MemoryFile

from imagery.classes import UNKNOWN
from imagery.grid import Grid


def image_to_geotiff(
    pixels: NDArray[np.float32], grid: Grid, channels: Sequence[str], units: Mapping[str, str]
) -> bytes:
    """Encode the channels of a window as a GeoTIFF, compressed with Deflate.

    Each band is described by the name of its channel and has its unit; scale is 1, offset 0, nodata NaN, since the
    pixels are the values themselves.

    Args:
        pixels: (C, h, w) float32, NaN where there is no data.
        grid: The grid of the window.
        channels: The C names of the channels.
        units: The unit of each.

    Raises:
        SceneError: The window has not the size of the grid.
    """
    grid.check_shape(pixels.shape[1:])
    profile: dict[str, Any] = {"dtype": "float32", "count": len(channels), "height": grid.height, "width": grid.width}
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            crs=grid.crs,
            transform=grid.affine,
            nodata=float("nan"),
            compress="deflate",
            predictor=3,
            **profile,
        ) as dataset:
            dataset.write(pixels)
            dataset.descriptions = tuple(channels)
            dataset.units = tuple(units[name] for name in channels)
        return bytes(memory.read())


def image_to_npy(pixels: NDArray[np.float32]) -> bytes:
    """Encode the channels of a window (C, h, w) as a NumPy file of shape (h, w, C), float32, NaN for no data."""
    return _npy(np.moveaxis(pixels, 0, -1))


def mask_to_npy(mask: NDArray[np.uint8], classes: int) -> bytes:
    """Encode a label mask as a NumPy file of shape (h, w, classes - 1), uint8: a channel for each class from value 1.

    A pixel is 1 in the channel of its class and 0 in the others; background is 0 in all, unknown 255 in all.

    Args:
        mask: (h, w) label mask.
        classes: Number of classes, background included.
    """
    channels: NDArray[np.uint8] = (mask[..., None] == np.arange(1, classes, dtype=np.uint8)).astype(np.uint8)
    channels[mask == UNKNOWN] = UNKNOWN
    return _npy(channels)


def _npy(array: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(array), allow_pickle=False)
    return file.getvalue()
