"""Maps of a whole scene as georeferenced files: class maps as COG, and floating-point maps as GeoTIFF."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp

from imagery.classes import UNKNOWN, ClassScheme
from imagery.errors import SceneError
from imagery.geotiff import encode
from imagery.grid import Grid, Window
from imagery.masks import check_values
from imagery.raster_file import open_raster, read_window

StripWriter = Callable[[int, NDArray[Any]], None]

MAP_TAGS: Final = ("SCENE", "ACQUIRED", "MODEL_VERSION")
"""Metadata of the maps of a scene: its name, the day of its image (ISO 8601) if known, and the version that made it."""


def class_map_to_cog(
    mask: NDArray[np.uint8],
    grid: Grid,
    scheme: ClassScheme,
    class_names: Sequence[str] | None = None,
    tags: Mapping[str, str] | None = None,
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
        tags: Metadata of the file, by name.

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
        tags=tags,
        blocksize=512,
        overview_resampling="mode",
    )


def confidence_map_to_cog(
    percent: NDArray[np.uint8], grid: Grid, description: str, tags: Mapping[str, str] | None = None
) -> bytes:
    """Encode a map of probabilities in percent as a Cloud Optimised GeoTIFF with nodata 255 and averaged overviews.

    The band's scale is 0.01, so that readers that honour it read probabilities.

    Args:
        percent: (H, W) 0 to 100, 255 where there are no data.
        grid: The scene's grid.
        description: What the band holds.
        tags: Metadata of the file, by name.

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
        tags=tags,
        blocksize=512,
        overview_resampling="average",
    )


def cut_cog(uri: str, grid: Grid, window: Window) -> bytes:
    """Return a window of a map as a file of the same kind: its nodata, colours, description, scale and metadata.

    Args:
        uri: Path or address of the map (`imagery.store.RasterStore.uri`), written by one of the functions above.
        grid: The grid of the map.
        window: The window, which is read into memory.

    Raises:
        SceneError: The map cannot be read, or the window reaches beyond it.
    """
    with open_raster(uri) as dataset:
        values = read_window(dataset, [1], window)[0]
        is_classes = dataset.colorinterp[0] == ColorInterp.palette
        return encode(
            values,
            grid.subgrid(window),
            nodata=dataset.nodata,
            driver="COG",
            colours={value: rgba[:3] for value, rgba in dataset.colormap(1).items()} if is_classes else None,
            description=dataset.descriptions[0],
            scale=None if is_classes else dataset.scales[0],
            tags={name: text for name, text in dataset.tags().items() if name in MAP_TAGS},
            blocksize=512,
            overview_resampling="mode" if is_classes else "average",
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
