"""Opening raster files of users and reading windows of them: the one place that talks to GDAL's raster drivers."""

import os
import re
import shlex
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError
from rasterio.io import DatasetReader
from rasterio.windows import Window as RasterioWindow

from imagery.crs_grids import grid_paths
from imagery.errors import SceneError, UnreadableFileError
from imagery.gdal_limits import allowed_file, limit_rasterio
from imagery.grid import Grid, Window
from imagery.paths import is_address, name_for_rasterio
from imagery.projection import impossible_place
from imagery.side_files import SideFiles
from imagery.vrt import vrt_sources

# GDAL caches the blocks that it has read, by default in up to a twentieth of the machine's memory. It reads this
# variable (in MiB) once, at the first block; a value that the user has set takes precedence.
os.environ.setdefault("GDAL_CACHEMAX", "64")
limit_rasterio()

# A file that declares one giant block would be decompressed whole to read one pixel of it.
_LARGEST_BLOCK_BYTES: Final = 1 << 30
_MOST_BANDS: Final = 1000  # imaging spectrometers have 200 to 430

EXPECTED: Final = "a GeoTIFF, JPEG 2000, VRT, SRTM (.hgt) or Arc/Info ASCII grid"

# The first bytes of the formats that are read, with the only driver that may read the file: other drivers (WMS, ...)
# can be made to read any file or address. JPEG 2000 comes as a JP2 file or as a bare codestream.
_SIGNATURES: Final[Mapping[bytes, str]] = {
    b"II*\0": "GTiff",
    b"MM\0*": "GTiff",
    b"II+\0": "GTiff",
    b"MM\0+": "GTiff",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JP2OpenJPEG",
    b"\xff\x4f\xff\x51": "JP2OpenJPEG",
}
_VRT: Final = re.compile(rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*\?>\s*)?<VRTDataset[\s>]")
_ASCII_GRID: Final = re.compile(
    rb"\s*(ncols|nrows|xllcorner|xllcenter|yllcorner|yllcenter|cellsize|dx|dy)\s", re.IGNORECASE
)
# An SRTM tile has no header. Its name says where it lies, its size how many samples a side it has (3" or 1").
_SRTM_NAME: Final = re.compile(r"[ns]\d\d[ew]\d{3}.*\.hgt", re.IGNORECASE)
_SRTM_BYTES: Final = (2 * 1201 * 1201, 2 * 3601 * 1801, 2 * 3601 * 3601)
# Formats that people bring but that are not read here, for the error message.
_OTHERS: Final[Mapping[bytes, str]] = {
    b"\x89HDF": "an HDF5 or netCDF file (convert its variables with gdal_translate)",
    b"CDF": "a netCDF file (convert its variables with gdal_translate)",
    b"\x0e\x03\x13\x01": "an HDF4 file (convert its variables with gdal_translate)",
    b"EHFA_HEADER_TAG": "an Erdas Imagine file (convert it with gdal_translate)",
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "a gzip archive",
    b"\x89PNG": "a PNG picture, which has no place on the Earth",
    b"\xff\xd8\xff": "a JPEG picture, which has no place on the Earth",
    b"<": "an XML or HTML file (export a product of SNAP, .dim, as GeoTIFF there)",
    b"": "a file of another format",
}
_MOST_NESTED_VRT: Final = 3

_BEYOND_MEASUREMENT: Final = np.float32(1e38)

# Settings for files behind an address. GDAL would list the folder and look for files beside each file, and a web page
# that a server sends in place of a missing one would be taken for it.
_REMOTE: Final[Mapping[str, str]] = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MAX_RETRY": "3",
    "GDAL_HTTP_CONNECTTIMEOUT": "10",
    "GDAL_HTTP_TIMEOUT": "60",
}
_IN_ARCHIVES: Final = ("/vsizip/", "/vsitar/")
_REMOTE_JPEG_2000: Final = re.compile(r"[^?#]*\.(jp2|j2k)([?#].*)?", re.IGNORECASE)


def open_raster(path: str) -> DatasetReader:
    """Open a raster file for reading; its header is read, its pixels are not.

    Its first bytes decide which single driver reads it, and a VRT is checked with all files that it names. Of a file
    behind an address only the parts needed are fetched.

    Args:
        path: A local path, taken literally, or an address that GDAL can read ("s3://bucket/key").

    Returns:
        An open dataset; the caller closes it.

    Raises:
        UnreadableFileError: There is no such file, or its format is not read.
        SceneError: Its blocks are too large to be read safely.
    """
    remote = is_address(path)
    try:
        driver = _driver_by_ending(path) if remote else _checked_driver(path, SideFiles())
    except UnreadableFileError as error:
        raise UnreadableFileError(path, str(error)) from error  # the scene names the VRT, not the file that it lacks
    return _open(path, driver, remote=remote)


def _open(path: str, driver: str, *, remote: bool) -> DatasetReader:
    """Open a file with one driver; refuse what its header makes unsafe to read."""
    try:
        with warnings.catch_warnings(), rasterio.Env(**(_REMOTE if remote else {})):
            # `grid_of` reports a missing geotransform as an error, with a better message.
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with allowed_file(path) if remote else nullcontext():
                dataset = rasterio.open(name_for_rasterio(path), driver=driver)
    except OSError as error:  # RasterioIOError is one
        raise UnreadableFileError(
            path, f"{path}: found no readable raster ({error}); expected {EXPECTED}: {_advice_to_copy(path)}"
        ) from error
    if fault := _fault(dataset):
        dataset.close()
        raise SceneError(f"{path}: {fault}")
    return dataset


def _advice_to_copy(path: str) -> str:
    """Return what to do about a file that cannot be opened."""
    if path.startswith(_IN_ARCHIVES):
        return (
            "extract the archive and give the folder: letters beyond ASCII and names of more than 100 characters in a "
            ".tar, and backslashes and braces in the names of any archive and its files cannot be read in place"
        )
    return "copy it again"


def _fault(dataset: DatasetReader) -> str | None:
    """Return what in the header of a file makes it unsafe to read, or None."""
    if dataset.count > _MOST_BANDS:
        return f"found {dataset.count} bands; expected at most {_MOST_BANDS}: split the file (gdal_translate -b)"
    if _block_bytes(dataset) > _LARGEST_BLOCK_BYTES:
        return (
            f"found blocks of {_block_bytes(dataset) / 2**30:.1f} GiB; expected at most 1 GiB: rewrite the file tiled "
            "(gdal_translate -co TILED=YES)"
        )
    if named := dataset.tags(ns="OVERVIEWS"):
        return f"found metadata that name a file of overviews ({named}); expected none: rewrite it (gdal_translate)"
    return None


def check_files_below(path: str, root: Path) -> None:
    """Raise an error for a file that leads GDAL out of a folder: by a file beside it, or as a VRT by one that it names.

    Args:
        path: A local file of any format.
        root: The folder below which the caller may read.

    Raises:
        SceneError: A file lies outside, or is not one that `open_raster` reads.
    """
    if is_vrt(path):
        _checked_driver(path, SideFiles(root), root.resolve())
    else:
        SideFiles(root).check(path)


def is_vrt(path: str) -> bool:
    """Return whether a local file is a virtual raster.

    Raises:
        SceneError: There is no such file.
    """
    return _VRT.match(_first_bytes(path)) is not None


def _driver_by_ending(address: str) -> str:
    return "JP2OpenJPEG" if _REMOTE_JPEG_2000.fullmatch(address) else "GTiff"


def _checked_driver(path: str, beside: SideFiles, root: Path | None = None, nested: int = 0) -> str:
    """Return the driver that may read a local file, after checking it and the files that it names, if it is a VRT.

    Args:
        path: The file.
        beside: Checks the files beside it.
        root: Folder below which files named by a VRT must lie, whose headers are then checked as well; None for any.
        nested: Number of VRTs through which the file was reached.
    """
    start = _first_bytes(path)
    beside.check(path)
    if _VRT.match(start):
        if nested > _MOST_NESTED_VRT:
            raise SceneError(f"{path}: found VRTs of VRTs, {nested} levels deep; expected at most {_MOST_NESTED_VRT}")
        for source in vrt_sources(path):
            if root is not None and not Path(source).resolve().is_relative_to(root):
                raise SceneError(
                    f"{path}: found the source {source!r}, which lies outside the scene root of this server; expected "
                    "it below: copy the files there and build the VRT again"
                )
            kind = _checked_driver(source, beside, root, nested + 1)
            if root is not None and kind != "VRT":
                _open(source, kind, remote=False).close()
        return "VRT"
    driver = next((name for signature, name in _SIGNATURES.items() if start.startswith(signature)), None)
    if driver is not None:
        return driver
    name, size = os.path.basename(path), os.path.getsize(path)  # noqa: PTH119, PTH202
    if _SRTM_NAME.fullmatch(name) and size in _SRTM_BYTES:
        return "SRTMHGT"
    if _ASCII_GRID.match(start):
        return "AAIGrid"
    other = next(other for signature, other in _OTHERS.items() if start.startswith(signature))
    raise UnreadableFileError(path, f"{path}: found {other if start else 'an empty file'}; expected {EXPECTED}")


def _first_bytes(path: str) -> bytes:
    # Unlike Path.is_file, isfile answers False for a name that is too long or holds a null byte. It also keeps us from
    # waiting for a pipe.
    if not os.path.isfile(path):  # noqa: PTH113
        found = "a folder" if os.path.isdir(path) else "no such file"  # noqa: PTH112
        raise UnreadableFileError(path, f"{path}: found {found}; expected {EXPECTED}")
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - a leading "//" would be lost
            return file.read(1024)
    except OSError as error:
        raise UnreadableFileError(
            path, f"{path}: found a file that cannot be read ({error}); expected {EXPECTED}"
        ) from error


def _block_bytes(dataset: DatasetReader) -> int:
    rows, cols = dataset.block_shapes[0]
    bands = dataset.count if dataset.profile.get("interleave") == "pixel" else 1
    return int(rows * cols * bands * np.dtype(dataset.dtypes[0].removeprefix("complex_")).itemsize)


def grid_of(dataset: DatasetReader) -> Grid:
    """Return the grid of an open dataset.

    Raises:
        SceneError: It has no CRS, no geotransform, or one that cannot be inverted; or they make no place on the Earth.
    """
    only_counts = _only_counts(dataset)
    if only_counts and (dataset.gcps[0] or dataset.rpcs):
        raise SceneError(_advice_to_warp(dataset))
    if not dataset.crs:
        raise SceneError(
            f"{dataset.name}: found no coordinate reference system; expected a georeferenced GeoTIFF: "
            "assign one with `rio edit-info --crs`, which comes with rasterio"
        )
    if only_counts:
        raise SceneError(
            f"{dataset.name}: found no geotransform, or one that only counts pixels; expected one that places the "
            "pixels on the Earth: assign one with `rio edit-info --transform`, which comes with rasterio"
        )
    if grids := grid_paths(dataset.crs.to_wkt()):
        raise SceneError(
            f"{dataset.name}: found a coordinate reference system that names the file {grids[0]!r}; expected one "
            "without files: assign it by its number (`rio edit-info --crs EPSG:...`, which comes with rasterio)"
        )
    a, b, c, d, e, f = dataset.transform[:6]
    try:
        grid = Grid(dataset.crs.to_string(), (a, b, c, d, e, f), dataset.width, dataset.height)
        # Of the pixels' centres: the outermost rows of grids of the whole globe may be centred on the poles.
        centres = [grid.affine @ (col, row) for col in (0.5, grid.width - 0.5) for row in (0.5, grid.height - 0.5)]
        (left, bottom), (right, top) = (tuple(map(end, zip(*centres, strict=True))) for end in (min, max))
        fault = impossible_place(grid.crs, (left, bottom, right, top))
    except SceneError as error:
        raise SceneError(f"{dataset.name}: {error}") from error
    if fault:
        raise SceneError(
            f"{dataset.name}: {fault}. The file declares a wrong coordinate reference system or geotransform: correct "
            "it with gdal_edit.py -a_srs or -a_ullr"
        )
    return grid


def _only_counts(dataset: DatasetReader) -> bool:
    """Return whether a geotransform says which row and column a pixel is, not where: downwards or upwards, from 0."""
    a, b, c, d, e, f = dataset.transform[:6]
    return (a, b, c, d, abs(e)) == (1, 0, 0, 0, 1) and f in {0, dataset.height}


def _advice_to_warp(dataset: DatasetReader) -> str:
    """Return the message for a file that is placed on the Earth by control points or coefficients alone."""
    points, crs = dataset.gcps
    found = f"{len(points)} ground control points" if points else "rational polynomial coefficients (RPCs)"
    source = Path(dataset.name)
    names = shlex.join([dataset.name, str(source.with_name(f"{source.stem}_warped.tif"))])
    commands = [f"`gdalwarp {'' if points else '-rpc '}{names}`"]
    if points and crs:
        code = crs.to_epsg()
        commands.append(f"`rio warp {names} --dst-crs {f'EPSG:{code}' if code else shlex.quote(crs.to_wkt())}`")
    return (
        f"{dataset.name}: found no geotransform, only {found}; expected a geotransform: warp it first, with "
        f"{', or with '.join(commands)}{' (rio comes with rasterio)' if len(commands) > 1 else ''}"
    )


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


def has_colour_table(dataset: DatasetReader, index: int) -> bool:
    """Return whether a band's numbers stand for colours: it has a colour table other than shades of grey in order."""
    if dataset.colorinterp[index - 1] != ColorInterp.palette:
        return False
    return any((red, green, blue) != (value,) * 3 for value, (red, green, blue, _) in dataset.colormap(index).items())


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
    nodata = dataset.nodatavals[index - 1]
    valid: NDArray[np.bool_] = np.ones(shape, dtype=np.bool_) if nodata is None else raw != nodata
    # Nodata is compared above, on the numbers themselves. With both flags, the file says which *combination* of numbers
    # in all bands means no data (NODATA_VALUES); with the second one alone, it has a mask, inside or in a file beside.
    # Without any flag, the band has a mask of its own (GDALGetMaskFlags).
    if not flags or (MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags):
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
        and where the value is NaN, infinite, or beyond any measurement (1e38: the nodata value of some writers, whose
        tag states it with too few digits to be equal).

    Raises:
        SceneError: As `read_window`.
    """
    raw = read_window(dataset, indexes, window, shape)
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, hence invalid
        pixels = raw.astype(np.float32)
    is_float = np.issubdtype(raw.dtype, np.floating)
    for index, values, band in zip(indexes, raw, pixels, strict=True):
        valid = declared_valid(dataset, index, values, window, alpha)
        if is_float:
            valid &= np.abs(band) < _BEYOND_MEASUREMENT  # False for NaN
        if nodata is not None:
            valid &= values != nodata
        band[~valid] = np.nan
    return pixels


@contextmanager
def _read_errors(dataset: DatasetReader) -> Iterator[None]:
    """Turn an error while reading pixels into a SceneError that names the file."""
    try:
        yield
    except RasterioIOError as error:
        raise UnreadableFileError(
            dataset.name,
            f"{dataset.name}: the pixels cannot be read; expected a whole file, found one that is truncated or "
            f"damaged ({error}): copy it again",
        ) from error


def _read_arguments(indexes: list[int], window: Window, shape: tuple[int, int] | None) -> dict[str, Any]:
    """Window and output shape as rasterio's reading methods take them."""
    in_file = RasterioWindow(window.col_off, window.row_off, window.width, window.height)
    return {"window": in_file, "out_shape": (len(indexes), *(shape or window.shape))}
