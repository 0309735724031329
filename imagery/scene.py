"""A scene: named bands in one or several GeoTIFF files on one grid, described once and read by window."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from rasterio.io import DatasetReader

from imagery.channels import INDICES, bands_needed, compute
from imagery.errors import SceneError
from imagery.geotiff import alpha_index, declared_valid, grid_of, open_geotiff, read_window
from imagery.grid import Grid, Window, check_keys
from imagery.sensors import sensor_bands

_SCAN_SIDE_PX: Final = 1024


@dataclass(frozen=True)
class BandSource:
    """Where one band of a scene lies.

    Attributes:
        name: The band's name ("nir").
        path: The GeoTIFF, as a local path or GDAL-readable address.
        index: The band's place in the file, from 1.
    """

    name: str
    path: str
    index: int


@dataclass(frozen=True)
class SceneSource:
    """All that is needed to read a scene again; made by `describe`.

    Attributes:
        bands: The bands, in the order that fixes the scene's channel order.
        grid: The grid of the scene, which may be a region of its files.
        offset: Row and column of the grid's first pixel in the files.
        nodata: A value that means no data in every band, besides whatever the files declare themselves.
    """

    bands: tuple[BandSource, ...]
    grid: Grid
    offset: tuple[int, int]
    nodata: float | None

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names of the bands, in order."""
        return tuple(band.name for band in self.bands)

    def to_json(self) -> dict[str, Any]:
        """A dictionary that `json.dumps` takes and `from_json` reads back exactly."""
        return {
            "bands": [{"name": band.name, "path": band.path, "index": band.index} for band in self.bands],
            "grid": self.grid.to_json(),
            "offset": list(self.offset),
            "nodata": self.nodata,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote.

        Raises:
            SceneError: Keys are missing or unknown.
        """
        check_keys(data, {"bands", "grid", "offset", "nodata"}, "scene")
        for band in data["bands"]:
            check_keys(band, {"name", "path", "index"}, "band")
        row, col = data["offset"]
        bands = tuple(BandSource(str(b["name"]), str(b["path"]), int(b["index"])) for b in data["bands"])
        nodata = None if data["nodata"] is None else float(data["nodata"])
        return cls(bands, Grid.from_json(data["grid"]), (int(row), int(col)), nodata)


def bands_of_file(path: str, sensor: str | None) -> tuple[BandSource, ...]:
    """Name the bands of a multi-band file.

    The file's own band descriptions are taken when every band has one and no two are the same; the sensor's field names
    ("B4") among them are turned into our names ("nir"). Otherwise the sensor's table is taken when the counts agree. An
    alpha band is no band (see `imagery.geotiff.alpha_index`), unless it is the one that makes the table's count agree.

    Args:
        path: The GeoTIFF.
        sensor: A key of `imagery.sensors.SENSORS`, or None if unknown.

    Raises:
        SceneError: The file is no GeoTIFF, the sensor is unknown, or the bands cannot be named.
    """
    table = sensor_bands(sensor) if sensor else ()
    with open_geotiff(path) as dataset:
        alpha = None if dataset.count == len(table) else alpha_index(dataset)
        indexes = [index for index in dataset.indexes if index != alpha]
        described = [(dataset.descriptions[i - 1] or "").strip().lower() for i in indexes]
    by_field = {band.field_name.lower(): band.name for band in table}
    if all(described) and len(set(described)) == len(described):
        names = [by_field.get(text, text) for text in described]
    elif len(table) == len(indexes):
        names = [band.name for band in table]
    else:
        expected = (
            f"{len(table)} ({sensor})" if table else "a description of each, or a sensor that says which they are"
        )
        raise SceneError(f"{path}: found {len(indexes)} bands without distinct descriptions; expected {expected}")
    return tuple(BandSource(name, path, index) for name, index in zip(names, indexes, strict=True))


def describe(bands: Sequence[BandSource], region: Window | None = None, nodata: float | None = None) -> SceneSource:
    """Check that the bands make a scene, from the headers of their files alone.

    Args:
        bands: At least one band; names distinct.
        region: The part of the files that is the scene; all of them without one.
        nodata: A value that means no data, for files that do not declare one.

    Raises:
        SceneError: A file is no GeoTIFF, has no CRS or geotransform, lacks the band, or does not hold real numbers; the
            files are not on one grid, or in a CRS without relation to WGS 84; the region reaches beyond them; names
            repeat or hide an index.
    """
    _check_names([band.name for band in bands])
    if nodata is not None and not np.isfinite(nodata):
        raise SceneError(
            f"found the nodata value {nodata}; expected a finite one (NaN and infinities never count as data)"
        )
    grids = {path: _grid_of_bands(path, bands) for path in dict.fromkeys(band.path for band in bands)}
    (first_path, whole), *others = grids.items()
    for path, grid in others:
        if not whole.coincides(grid):
            raise SceneError(
                f"found two grids: {_describe_grid(first_path, whole)}; {_describe_grid(path, grid)}; "
                "expected all bands on one: resample them first, for example with gdalwarp"
            )
    region = region or whole.window
    grid = whole.subgrid(region)
    grid.footprint_wgs84()  # refuses coordinates that have no place on Earth
    return SceneSource(tuple(bands), grid, (region.row_off, region.col_off), nodata)


def check_has_data(source: SceneSource) -> None:
    """Make sure that at least one pixel of the scene is valid in every band.

    Scans block by block from the end, since a truncated file lacks its last blocks, and stops at the first valid pixel.

    Raises:
        SceneError: All pixels are nodata, or the file cannot be read.
    """
    height, width = source.grid.height, source.grid.width
    with SceneReader(source) as reader:
        for bottom in range(height, 0, -_SCAN_SIDE_PX):
            for right in range(width, 0, -_SCAN_SIDE_PX):
                top, left = max(0, bottom - _SCAN_SIDE_PX), max(0, right - _SCAN_SIDE_PX)
                if reader.valid_mask(Window(top, left, bottom - top, right - left)).any():
                    return
    raise SceneError(
        f"found no pixel of {height} rows x {width} columns that is valid in all of {', '.join(source.band_names)}; "
        "expected some: check the nodata value and the region"
    )


class SceneReader:
    """Reads channels of a scene by window. A context manager: opens each file once, closes them all.

    Not to be shared between threads, as GDAL's datasets are not.
    """

    def __init__(self, source: SceneSource) -> None:
        self.source = source
        self._stack = ExitStack()
        self._files: dict[str, DatasetReader] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for path in dict.fromkeys(band.path for band in self.source.bands):
                self._files[path] = stack.enter_context(open_geotiff(path))
                self._check_unchanged(path)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        self._files.clear()

    def read(self, channels: Sequence[str], window: Window) -> NDArray[np.float32]:
        """Read channels of a window.

        Args:
            channels: Names of bands or of indices (`imagery.channels.INDICES`), in the order wanted.
            window: Relative to the scene's grid.

        Returns:
            (C, h, w) digital numbers, or -1 to 1 for an index. NaN where that channel is invalid: the file's nodata
            value, mask or alpha band, the scene's nodata value, NaN or infinity.

        Raises:
            SceneError: A channel is unknown, the window reaches beyond the scene, or the pixels cannot be read.
        """
        return self._read(channels, window, window.shape)

    def read_decimated(self, channels: Sequence[str], longest_side: int) -> NDArray[np.float32]:
        """Read channels of the whole scene, thinned (nearest pixel) to at most `longest_side` pixels a side.

        Returns and raises as `read`.
        """
        grid = self.source.grid
        factor = max(1.0, max(grid.height, grid.width) / longest_side)
        shape = (max(1, int(grid.height / factor)), max(1, int(grid.width / factor)))
        return self._read(channels, grid.window, shape)

    def valid_mask(self, window: Window) -> NDArray[np.bool_]:
        """Where every band of the scene is valid, (h, w).

        Raises:
            SceneError: As `read`.
        """
        invalid = np.isnan(self.read(self.source.band_names, window))
        valid: NDArray[np.bool_] = ~np.logical_or.reduce(invalid, axis=0)
        return valid

    def _read(self, channels: Sequence[str], window: Window, shape: tuple[int, int]) -> NDArray[np.float32]:
        self.source.grid.check_inside(window)
        needed = bands_needed(channels, self.source.band_names)
        bands: dict[str, NDArray[np.float32]] = {}
        for path, dataset in self._files.items():
            wanted = [band for band in self.source.bands if band.path == path and band.name in needed]
            if wanted:
                bands |= self._read_file(dataset, wanted, window, shape)
        return np.stack([compute(channel, bands) for channel in channels])

    def _read_file(
        self, dataset: DatasetReader, wanted: list[BandSource], window: Window, shape: tuple[int, int]
    ) -> dict[str, NDArray[np.float32]]:
        """Bands of one file by name, NaN where invalid."""
        row, col = self.source.offset
        in_file = Window(row + window.row_off, col + window.col_off, window.height, window.width)
        claimed = {band.index for band in self.source.bands if band.path == wanted[0].path}
        alpha = alpha_index(dataset, claimed)
        bands = {}
        raw = read_window(dataset, [band.index for band in wanted], in_file, shape)
        for band, values in zip(wanted, raw, strict=True):
            with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, hence invalid
                pixels = values.astype(np.float32)
            invalid = ~np.isfinite(pixels) | ~declared_valid(dataset, band.index, values, in_file, alpha)
            if self.source.nodata is not None:
                invalid |= values == self.source.nodata
            pixels[invalid] = np.nan
            bands[band.name] = pixels
        return bands

    def _check_unchanged(self, path: str) -> None:
        row, col = self.source.offset
        grid = grid_of(self._files[path])
        region = Window(row, col, self.source.grid.height, self.source.grid.width)
        if not grid.subgrid(region).coincides(self.source.grid):
            raise SceneError(
                f"found {_describe_grid(path, grid)}; expected the grid on which the scene was registered: "
                "the file was replaced, register it as a new scene"
            )


def _check_names(names: Sequence[str]) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if not names or repeated or not all(names):
        raise SceneError(f"found the band names {list(names)}; expected at least one, none empty, each only once")
    if hidden := sorted(set(names) & set(INDICES)):
        raise SceneError(f"found bands named {hidden}, which are the names of indices; expected other names")


def _grid_of_bands(path: str, bands: Sequence[BandSource]) -> Grid:
    with open_geotiff(path) as dataset:
        for band in bands:
            if band.path != path:
                continue
            if band.index not in dataset.indexes:
                raise SceneError(f"{path}: found {dataset.count} bands; expected band {band.index} for {band.name!r}")
            if dataset.dtypes[band.index - 1].startswith("complex"):
                raise SceneError(
                    f"{path}: found {dataset.dtypes[band.index - 1]} in band {band.index}; expected real numbers"
                )
        return grid_of(dataset)


def _describe_grid(path: str, grid: Grid) -> str:
    return f"{path} has {grid.width} x {grid.height} px, {grid.crs}, transform {grid.transform}"
