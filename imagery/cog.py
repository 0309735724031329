"""Maps of a whole scene as georeferenced files: class maps as COG, and floating-point maps as GeoTIFF."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from imagery.classes import UNKNOWN, ClassScheme
from imagery.errors import SceneError
from imagery.geotiff import encode
from imagery.grid import Grid, Window
from imagery.masks import check_values

StripWriter = Callable[[int, NDArray[Any]], None]


def class_map_to_cog(
    mask: NDArray[np.uint8], grid: Grid, scheme: ClassScheme, class_names: Sequence[str] | None = None
) -> bytes:
    """Encode a class map as a Cloud Optimised GeoTIFF with the classes' colours and nodata 255.

    The band's description names the class of each value. Overviews are resampled by mode, since classes cannot be
    averaged.

    Args:
        mask: (H, W) label mask of the whole grid.
        grid: The scene's grid.
        scheme: The classes.
        class_names: Names of the classes by value, if they differ from those of the scheme: a binary model predicts
            background and foreground. The colours are those of the scheme in any case.

    Raises:
        OutlineError: A value is not in the scheme.
        SceneError: The mask's size is not the grid's.
    """
    check_values(mask, scheme)
    colours = {entry.value: entry.rgb for entry in scheme.legend}
    named = {**dict(enumerate(class_names or scheme.names)), UNKNOWN: scheme.unknown.name}
    return encode(
        mask,
        grid,
        nodata=UNKNOWN,
        driver="COG",
        colours=colours,
        description=", ".join(f"{value} {name}" for value, name in named.items()),
        blocksize=512,
        overview_resampling="mode",
    )


def confidence_map_to_cog(percent: NDArray[np.uint8], grid: Grid, description: str) -> bytes:
    """Encode a map of probabilities in percent as a Cloud Optimised GeoTIFF with nodata 255 and averaged overviews.

    The band's scale is 0.01, so that readers that honour it read probabilities.

    Args:
        percent: (H, W) 0 to 100, 255 where there are no data.
        grid: The scene's grid.
        description: What the band holds.

    Raises:
        SceneError: The map's size is not the grid's.
    """
    return encode(
        percent,
        grid,
        nodata=UNKNOWN,
        driver="COG",
        description=description,
        scale=0.01,
        blocksize=512,
        overview_resampling="average",
    )


@contextmanager
def float_map_writer(path: Path, grid: Grid, description: str) -> Iterator[StripWriter]:
    """Write a map of floating-point numbers strip by strip, with nodata NaN; otherwise as `byte_map_writer`."""
    # Predictor 3 is for floating-point numbers.
    with _map_writer(path, grid, description, {"dtype": "float32", "nodata": float("nan"), "predictor": 3}) as write:
        yield write


@contextmanager
def byte_map_writer(path: Path, grid: Grid, description: str) -> Iterator[StripWriter]:
    """Write a map of bytes strip by strip: a tiled GeoTIFF, deflate-compressed, with nodata 255.

    Args:
        path: The file to write.
        grid: The scene's grid.
        description: What the map shows, with its unit ("predictive entropy (nats)").

    Yields:
        A function of the first row and the array (rows, W) of a strip. Strips must be written in order from row 0; the
        function raises SceneError if a strip does not follow the previous one. Rows that were never written are nodata.
    """
    with _map_writer(path, grid, description, {"dtype": "uint8", "nodata": UNKNOWN}) as write:
        yield write


@contextmanager
def _map_writer(path: Path, grid: Grid, description: str, of_values: dict[str, Any]) -> Iterator[StripWriter]:
    profile = {"count": 1, "height": grid.height, "width": grid.width, **of_values}
    # Level 1 is four times as fast as the default, and the files are an eighth larger.
    options = {"compress": "deflate", "zlevel": 1, "tiled": True, "bigtiff": "if_safer"}
    written = 0

    with rasterio.open(path, "w", driver="GTiff", crs=grid.crs, transform=grid.affine, **profile, **options) as dataset:
        dataset.set_band_description(1, description)

        def write(row_off: int, strip: NDArray[Any]) -> None:
            nonlocal written
            if row_off != written:
                raise SceneError(f"found a strip from row {row_off}; expected one from row {written}")
            window = Window(row_off, 0, *strip.shape)
            grid.check_inside(window)
            if window.width != grid.width:
                raise SceneError(f"found a strip of {window.width} columns; expected {grid.width}")
            dataset.write(strip, 1, window=((row_off, row_off + window.height), (0, window.width)))
            written += window.height

        yield write
