"""Opening and encoding GeoTIFF files: the one place that talks to GDAL's raster drivers."""

import os
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError
from rasterio.io import DatasetReader, MemoryFile
from rasterio.windows import Window as RasterioWindow

from imagery.errors import SceneError
from imagery.grid import Grid, Window
from imagery.paths import is_address, name_for_rasterio

# GDAL caches the blocks that it has read, by default in up to a twentieth of the machine's memory. It reads this
# variable (in MiB) once, at the first block; a value that the user has set takes precedence.
os.environ.setdefault("GDAL_CACHEMAX", "64")

# A file that declares one giant block would be decompressed whole to read one pixel of it.
_LARGEST_BLOCK_BYTES: Final = 1 << 30


def open_geotiff(path: str) -> DatasetReader:
    """Open a GeoTIFF for reading; its header is read, its pixels are not.

    Only GDAL's GTiff driver may read the file: other drivers (VRT, WMS, ...) can be made to read any file or address.

    Args:
        path: A local path, taken literally, or an address that GDAL can read ("s3://bucket/key").

    Returns:
        An open dataset; the caller closes it.

    Raises:
        SceneError: There is no such file, or it is not a GeoTIFF, or its blocks are too large to be read safely.
    """
    # Unlike Path.exists, os.path.exists answers False for a name that is too long or holds a null byte.
    if not is_address(path) and not os.path.exists(path):  # noqa: PTH110
        raise SceneError(f"{path}: found no such file; expected a readable GeoTIFF")
    try:
        with warnings.catch_warnings():
            # `grid_of` reports a missing geotransform as an error, with a better message.
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            dataset = rasterio.open(name_for_rasterio(path), driver="GTiff")
    except OSError as error:  # RasterioIOError is one
        raise SceneError(f"{path}: found no GeoTIFF ({error}); expected a readable GeoTIFF") from error
    if _block_bytes(dataset) > _LARGEST_BLOCK_BYTES:
        dataset.close()
        raise SceneError(
            f"{path}: found blocks of {_block_bytes(dataset) / 2**30:.1f} GiB; expected at most 1 GiB: "
            "rewrite the file tiled (gdal_translate -co TILED=YES)"
        )
    return dataset


def _block_bytes(dataset: DatasetReader) -> int:
    rows, cols = dataset.block_shapes[0]
    bands = dataset.count if dataset.profile.get("interleave") == "pixel" else 1
    return int(rows * cols * bands * np.dtype(dataset.dtypes[0].removeprefix("complex_")).itemsize)


def grid_of(dataset: DatasetReader) -> Grid:
    """Return the grid of an open dataset.

    Raises:
        SceneError: It has no CRS, no geotransform, or one that cannot be inverted.
    """
    if dataset.transform.is_identity and (dataset.gcps[0] or dataset.rpcs):
        raise SceneError(
            f"{dataset.name}: found no geotransform, only ground control points or RPCs; expected a geotransform: warp "
            "the file first, for example with gdalwarp"
        )
    if not dataset.crs:
        raise SceneError(
            f"{dataset.name}: found no coordinate reference system; expected a georeferenced GeoTIFF: "
            "assign one with `rio edit-info --crs`, which comes with rasterio"
        )
    if dataset.transform.is_identity:
        raise SceneError(
            f"{dataset.name}: found no geotransform; expected one that places the pixels on the Earth: "
            "assign one with `rio edit-info --transform`, which comes with rasterio"
        )
    a, b, c, d, e, f = dataset.transform[:6]
    try:
        return Grid(dataset.crs.to_string(), (a, b, c, d, e, f), dataset.width, dataset.height)
    except SceneError as error:
        raise SceneError(f"{dataset.name}: {error}") from error


def encode(
    array: NDArray[Any],
    grid: Grid,
    *,
    nodata: float,
    driver: str = "GTiff",
    colours: Mapping[int, tuple[int, int, int]] | None = None,
    description: str | None = None,
    scale: float | None = None,
    **options: str | int,
) -> bytes:
    """Encode one band as a georeferenced TIFF file, compressed with Deflate.

    Args:
        array: (H, W), the grid's size.
        grid: The grid of the pixels.
        nodata: The value that means no data.
        driver: "GTiff" or "COG".
        colours: Colour table, value to red, green and blue (0 to 255); for uint8 only.
        description: What the band holds, with its unit.
        scale: Factor by which readers multiply the stored numbers.
        options: Further creation options of the driver.

    Returns:
        The content of the file.

    Raises:
        SceneError: The array's size is not the grid's.
    """
    grid.check_shape(array.shape)
    profile = {"dtype": array.dtype, "count": 1, "height": grid.height, "width": grid.width, "nodata": nodata}
    with MemoryFile() as memory:
        with memory.open(
            driver=driver, crs=grid.crs, transform=grid.affine, compress="deflate", **profile, **options
        ) as dataset:
            dataset.write(array, 1)
            if colours is not None:
                dataset.write_colormap(1, {value: (*rgb, 255) for value, rgb in colours.items()})
            if description is not None:
                dataset.set_band_description(1, description)
            if scale is not None:
                dataset.scales = (scale,)
        return bytes(memory.read())


@contextmanager
def open_bytes(data: bytes) -> Iterator[DatasetReader]:
    """Open a GeoTIFF that is in memory.

    Raises:
        SceneError: The bytes are not a GeoTIFF.
    """
    with MemoryFile(data) as memory:
        try:
            dataset = memory.open(driver="GTiff")
        except RasterioIOError as error:
            raise SceneError(f"found {len(data)} bytes that are no GeoTIFF; expected one ({error})") from error
        with dataset:
            yield dataset


def read_window(
    dataset: DatasetReader, indexes: list[int], window: Window, shape: tuple[int, int] | None = None
) -> NDArray[Any]:
    """Read bands of a window.

    Args:
        dataset: An open dataset.
        indexes: 1-based band indexes.
        window: Relative to the file's first pixel.
        shape: Rows and columns wanted, decimated by nearest pixel; the window's own if None.

    Returns:
        (len(indexes), h, w) in the file's own dtype.

    Raises:
        SceneError: The window reaches beyond the file, or the pixels cannot be read.
    """
    # GDAL would silently return only the part of the window that lies inside.
    if window.row_off + window.height > dataset.height or window.col_off + window.width > dataset.width:
        raise SceneError(
            f"{dataset.name}: found {window}; expected it inside {dataset.height} rows x {dataset.width} columns"
        )
    with _read_errors(dataset):
        return np.asarray(dataset.read(indexes, **_read_arguments(indexes, window, shape)))


def alpha_index(dataset: DatasetReader, data_bands: Collection[int] = ()) -> int | None:
    """Return the 1-based index of the alpha band, which says which pixels are valid, or None.

    GDAL marks the fourth band of an 8-bit file as alpha if its writer did not say what it is, so near infrared often
    looks like alpha. A band that is known to hold data, or has a description other than "alpha", is not an alpha band.

    Args:
        dataset: An open dataset.
        data_bands: 1-based indexes of the bands known to hold data.
    """
    for index, meaning in zip(dataset.indexes, dataset.colorinterp, strict=True):
        described = (dataset.descriptions[index - 1] or "alpha").strip().lower()
        if meaning == ColorInterp.alpha and described == "alpha" and index not in data_bands:
            return int(index)
    return None


def declared_valid(
    dataset: DatasetReader, index: int, raw: NDArray[Any], window: Window, alpha: int | None
) -> NDArray[np.bool_]:
    """Return where the file itself declares a band valid: by nodata value, mask, or alpha band.

    Args:
        dataset: An open dataset.
        index: The 1-based band index.
        raw: (h, w), the band as read from the window, decimated or not.
        window: Relative to the file's first pixel.
        alpha: The alpha band (`alpha_index`), or None.

    Returns:
        (h, w).

    Raises:
        SceneError: The pixels cannot be read.
    """
    shape = (raw.shape[0], raw.shape[1])
    flags = dataset.mask_flag_enums[index - 1]
    valid: NDArray[np.bool_] = np.ones(shape, dtype=np.bool_)
    if MaskFlags.nodata in flags:
        valid &= raw != dataset.nodatavals[index - 1]
    elif MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags:
        with _read_errors(dataset):
            valid &= dataset.read_masks([index], **_read_arguments([index], window, shape))[0] != 0
    if alpha is not None:
        valid &= read_window(dataset, [alpha], window, shape)[0] != 0
    return valid


def read_with_nan(
    dataset: DatasetReader,
    indexes: list[int],
    window: Window,
    shape: tuple[int, int] | None,
    *,
    alpha: int | None,
    nodata: float | None,
) -> NDArray[np.float32]:
    """Read bands of a window as float32, with NaN where a pixel is invalid.

    Args:
        dataset: An open dataset.
        indexes: 1-based band indexes.
        window: Relative to the file's first pixel.
        shape: Rows and columns wanted, decimated by nearest pixel; the window's own if None.
        alpha: The alpha band (`alpha_index`), or None.
        nodata: A value that means no data, in addition to what the file declares.

    Returns:
        (len(indexes), h, w); NaN where the file's nodata value, mask or alpha band or the nodata value given says so,
        and where the value is NaN, infinite, or too large for float32.

    Raises:
        SceneError: As `read_window`.
    """
    raw = read_window(dataset, indexes, window, shape)
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, hence invalid
        pixels = raw.astype(np.float32)
    for index, values, band in zip(indexes, raw, pixels, strict=True):
        invalid = ~np.isfinite(band) | ~declared_valid(dataset, index, values, window, alpha)
        if nodata is not None:
            invalid |= values == nodata
        band[invalid] = np.nan
    return pixels


@contextmanager
def _read_errors(dataset: DatasetReader) -> Iterator[None]:
    """Turn an error while reading pixels into a SceneError that names the file."""
    try:
        yield
    except RasterioIOError as error:
        raise SceneError(
            f"{dataset.name}: the pixels cannot be read; expected a whole file, found one that is truncated or "
            f"damaged ({error}): copy it again"
        ) from error


def _read_arguments(indexes: list[int], window: Window, shape: tuple[int, int] | None) -> dict[str, Any]:
    """Window and output shape as rasterio's reading methods take them."""
    in_file = RasterioWindow(window.col_off, window.row_off, window.width, window.height)
    return {"window": in_file, "out_shape": (len(indexes), *(shape or window.shape))}
