"""A scene: named bands in one or several GeoTIFF files, read by window on one grid.

The grid is that of the file of the first band. Other files may have another resolution, extent or CRS: they are
resampled onto it as they are read (see `imagery.resampling`), so that no copy on disk is needed.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from rasterio.io import DatasetReader

from imagery.border import Border, BorderSource
from imagery.channels import ELEVATION, INDICES, SLOPE, available, bands_needed, compute
from imagery.errors import SceneError
from imagery.geotiff import alpha_index, grid_of, open_geotiff
from imagery.grid import Grid, Window, check_keys
from imagery.ground import GroundMetric
from imagery.resampling import check_meets
from imagery.scene_files import SceneFile, thinned
from imagery.sensors import holds_flags, sensor_bands
from imagery.terrain import slope_degrees

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
class FileGrid:
    """The grid of a file that is resampled onto the scene's.

    Attributes:
        path: The file, as its bands name it.
        grid: The file's own grid.
    """

    path: str
    grid: Grid


@dataclass(frozen=True)
class SceneSource:
    """All that is needed to read a scene again; made by `describe`.

    Attributes:
        bands: The bands, in the order that fixes the scene's channel order.
        grid: The grid of the scene, which may be a region of the first band's file.
        offset: Row and column of the grid's first pixel in the files that are on it.
        nodata: A value that means no data in every band, besides whatever the files declare themselves.
        resampled: The files on other grids.
        dem: Elevation in metres, or None.
        border: Polygons outside of which nothing is known, or None.
        border_sha256: Of the border (see `imagery.vectors.VectorLayer`), by which a reader notices that the file was
            changed. None without a border, and in scenes registered before it was kept, whose border is not checked.
    """

    bands: tuple[BandSource, ...]
    grid: Grid
    offset: tuple[int, int]
    nodata: float | None
    resampled: tuple[FileGrid, ...] = ()
    dem: BandSource | None = None
    border: BorderSource | None = None
    border_sha256: str | None = None

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names of the bands, in order."""
        return tuple(band.name for band in self.bands)

    @property
    def rasters(self) -> tuple[BandSource, ...]:
        """All that is read from files: the bands, then elevation where there is a digital elevation model."""
        return self.bands if self.dem is None else (*self.bands, self.dem)

    @property
    def raster_names(self) -> tuple[str, ...]:
        """Names of the rasters, in order: what `imagery.channels.bands_needed` takes."""
        return tuple(raster.name for raster in self.rasters)

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Every channel that the scene can give."""
        return available(self.raster_names)

    def to_json(self) -> dict[str, Any]:
        """A dictionary that `json.dumps` takes and `from_json` reads back exactly."""
        return {
            "bands": [_band_to_json(band) for band in self.bands],
            "grid": self.grid.to_json(),
            "offset": list(self.offset),
            "nodata": self.nodata,
            "resampled": [{"path": item.path, "grid": item.grid.to_json()} for item in self.resampled],
            "dem": _band_to_json(self.dem) if self.dem else None,
            "border": self.border.to_json() if self.border else None,
            "border_sha256": self.border_sha256,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote.

        Raises:
            SceneError: Keys are missing or unknown.
        """
        data = {"border_sha256": None, **data}  # scenes of earlier versions lack it
        expected = {"bands", "grid", "offset", "nodata", "resampled", "dem", "border", "border_sha256"}
        check_keys(data, expected, "scene")
        for item in data["resampled"]:
            check_keys(item, {"path", "grid"}, "resampled file")
        row, col = data["offset"]
        return cls(
            bands=tuple(_band_from_json(band) for band in data["bands"]),
            grid=Grid.from_json(data["grid"]),
            offset=(int(row), int(col)),
            nodata=None if data["nodata"] is None else float(data["nodata"]),
            resampled=tuple(FileGrid(str(f["path"]), Grid.from_json(f["grid"])) for f in data["resampled"]),
            dem=None if data["dem"] is None else _band_from_json(data["dem"]),
            border=None if data["border"] is None else BorderSource.from_json(data["border"]),
            border_sha256=None if data["border_sha256"] is None else str(data["border_sha256"]),
        )


def _band_to_json(band: BandSource) -> dict[str, Any]:
    return {"name": band.name, "path": band.path, "index": band.index}


def _band_from_json(data: Mapping[str, Any]) -> BandSource:
    check_keys(data, {"name", "path", "index"}, "band")
    return BandSource(str(data["name"]), str(data["path"]), int(data["index"]))


def bands_of_file(path: str, sensor: str | None) -> tuple[BandSource, ...]:
    """Name the bands of a multi-band file.

    The file's own band descriptions are taken when every band has one and no two are the same; the sensor's field names
    ("B4") among them are turned into our names ("nir"). Otherwise the sensor's table is taken when the counts agree:
    with all its bands or, as usual, with those alone that are stacked (the eight spectral ones of ETM+, say). An alpha
    band is no band (see `imagery.geotiff.alpha_index`), unless it is the one that makes the count of the stack agree.

    Args:
        path: The GeoTIFF.
        sensor: A key of `imagery.sensors.SENSORS`, or None if unknown.

    Raises:
        SceneError: The file is no GeoTIFF, the sensor is unknown, or the bands cannot be named.
    """
    table = sensor_bands(sensor) if sensor else ()
    stack = [band for band in table if band.stacked]
    with open_geotiff(path) as dataset:
        alpha = None if dataset.count == len(stack) else alpha_index(dataset)
        indexes = [index for index in dataset.indexes if index != alpha]
        described = [(dataset.descriptions[i - 1] or "").strip().lower() for i in indexes]
    by_field = {field.lower(): band.name for band in table for field in band.field_names}
    if all(described) and len(set(described)) == len(described):
        names = [by_field.get(text, text) for text in described]
    elif len(indexes) in {len(stack), len(table)}:
        names = [band.name for band in (stack if len(indexes) == len(stack) else table)]
    else:
        counts = " or ".join(str(count) for count in sorted({len(stack), len(table)}))
        expected = f"{counts} ({sensor})" if table else "a description of each, or a sensor that says which they are"
        raise SceneError(f"{path}: found {len(indexes)} bands without distinct descriptions; expected {expected}")
    return tuple(BandSource(name, path, index) for name, index in zip(names, indexes, strict=True))


def describe(
    bands: Sequence[BandSource],
    region: Window | None = None,
    nodata: float | None = None,
    *,
    dem: BandSource | None = None,
    border: BorderSource | None = None,
) -> SceneSource:
    """Check that the bands make a scene, from the headers of their files and the polygons of its border alone.

    Args:
        bands: At least one band; names distinct. The grid of the first one's file is the scene's; name a band of the
            resolution wanted first (on Sentinel-2 not the coastal one, of 60 m).
        region: The part of the first band's file that is the scene; all of it without one.
        nodata: A value that means no data, in every band, besides whatever the files declare; not in the DEM.
        dem: Elevation in metres, named "elevation", of any resolution and CRS; gives the channels elevation and slope.
        border: Polygons, of any CRS; pixels whose centre lies in none of them have no data in any channel.

    Raises:
        SceneError: A file is no GeoTIFF, has no CRS or geotransform, lacks the band, does not hold real numbers, or
            misses the scene; the grid is in a CRS without relation to WGS 84; the region reaches beyond the first
            band's file; names repeat or hide an index.
        OutlineError: The border cannot be read, or misses the scene.
    """
    rasters = (*bands, dem) if dem else tuple(bands)
    _check_names([raster.name for raster in rasters])
    if dem and dem.name != ELEVATION:
        raise SceneError(f"found a digital elevation model named {dem.name!r}; expected the name {ELEVATION!r}")
    if nodata is not None and not np.isfinite(nodata):
        raise SceneError(
            f"found the nodata value {nodata}; expected a finite one (NaN and infinities never count as data)"
        )
    grids = {path: _grid_of_bands(path, rasters) for path in dict.fromkeys(raster.path for raster in rasters)}
    whole = grids[rasters[0].path]
    region = region or whole.window
    grid = whole.subgrid(region)
    grid.footprint_wgs84()  # refuses coordinates that have no place on Earth
    resampled = tuple(FileGrid(path, of_file) for path, of_file in grids.items() if not whole.coincides(of_file))
    for item in resampled:
        check_meets(item.path, item.grid, grid)
    offset = (region.row_off, region.col_off)
    border_sha256 = Border(border, grid).sha256 if border else None
    return SceneSource(tuple(bands), grid, offset, nodata, resampled, dem, border, border_sha256)


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
        self._files: dict[str, SceneFile] = {}
        self._border: Border | None = None

    def __enter__(self) -> Self:
        """Open the files.

        Raises:
            SceneError: A file cannot be read, or is not the one that was described: it lies on another grid, or the
                border is another one.
            OutlineError: The border cannot be read.
        """
        with ExitStack() as stack:
            for path in dict.fromkeys(raster.path for raster in self.source.rasters):
                self._files[path] = self._open(path, stack.enter_context(open_geotiff(path)))
            self._border = self._read_border(self.source.border) if self.source.border else None
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
            channels: Names of channels (`SceneSource.channel_names`), in the order wanted.
            window: Relative to the scene's grid.

        Returns:
            (C, h, w) digital numbers, -1 to 1 for an index, metres for elevation, degrees for slope. NaN where that
            channel is invalid: outside the border or the file, the file's nodata value, mask or alpha band, the
            scene's nodata value, NaN or infinity.

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

        A gap in the DEM hides no ground from whoever looks at the bands, so it does not count.

        Raises:
            SceneError: As `read`.
        """
        invalid = np.isnan(self.read(self.source.band_names, window))
        valid: NDArray[np.bool_] = ~np.logical_or.reduce(invalid, axis=0)
        return valid

    def _read(self, channels: Sequence[str], window: Window, shape: tuple[int, int]) -> NDArray[np.float32]:
        self.source.grid.check_inside(window)
        needed = bands_needed(channels, self.source.raster_names)
        bands: dict[str, NDArray[np.float32]] = {}
        for path in self._files:
            wanted = [band for band in self.source.bands if band.path == path and band.name in needed]
            if wanted:
                bands |= self._read_bands(wanted, window, shape)
        if self.source.dem and ELEVATION in needed:
            dem = self.source.dem
            bands[ELEVATION] = self._files[dem.path].read([dem.index], window, shape, None)[0]
        if SLOPE in channels and SLOPE not in bands:
            bands[SLOPE] = self._slope(window) if shape == window.shape else self._thinned_slope(window, shape)
        stack = np.stack([compute(channel, bands) for channel in channels])
        if self._border is not None:
            ground = thinned(self.source.grid.subgrid(window), shape)
            stack[:, ~self._border.inside(ground.affine, shape)] = np.nan
        return stack

    def _read_bands(
        self, wanted: Sequence[BandSource], window: Window, shape: tuple[int, int]
    ) -> dict[str, NDArray[np.float32]]:
        """Bands of one file by name, NaN where invalid."""
        indexes = [band.index for band in wanted]
        categorical = [band.index for band in wanted if holds_flags(band.name)]
        pixels = self._files[wanted[0].path].read(indexes, window, shape, self.source.nodata, categorical)
        return dict(zip((band.name for band in wanted), pixels, strict=True))

    def _slope(self, window: Window) -> NDArray[np.float32]:
        """Slope of a window in degrees; as it would be cut from the slope of the whole scene."""
        elevation = next(raster for raster in self.source.rasters if raster.name == ELEVATION)
        nodata = None if self.source.dem else self.source.nodata
        around = self._files[elevation.path].read_around(elevation.index, window, nodata)
        return slope_degrees(around, self._metric.at(window))

    @cached_property
    def _metric(self) -> GroundMetric:
        return GroundMetric(self.source.grid)

    def _thinned_slope(self, window: Window, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Slope at the nearest pixels of fewer rows and columns: that of thinned elevation would be flatter."""
        height, width = shape
        rows = ((np.arange(height) + 0.5) * window.height / height).astype(int)
        cols = ((np.arange(width) + 0.5) * window.width / width).astype(int)
        strips = (Window(window.row_off + int(row), window.col_off, 1, window.width) for row in rows)
        return np.stack([self._slope(strip)[0, cols] for strip in strips])

    def _read_border(self, source: BorderSource) -> Border:
        """Make sure that the border is still the one that was described."""
        border = Border(source, self.source.grid)
        if self.source.border_sha256 not in {None, border.sha256}:
            raise SceneError(
                f"{source.path}: found another border than the one with which the scene was registered (SHA-256 "
                f"{border.sha256}, expected {self.source.border_sha256}): put the old file back, or register the scene "
                "with the new one as a new scene"
            )
        return border

    def _open(self, path: str, dataset: DatasetReader) -> SceneFile:
        """Make sure that the file is still the one that was described."""
        source = self.source
        found = grid_of(dataset)
        own_grid = next((item.grid for item in source.resampled if item.path == path), None)
        row, col = source.offset
        region = Window(row, col, source.grid.height, source.grid.width)
        same = found.coincides(own_grid) if own_grid else found.subgrid(region).coincides(source.grid)
        if not same:
            raise SceneError(
                f"found {_describe_grid(path, found)}; expected the grid on which the scene was registered: "
                "the file was replaced, register it as a new scene"
            )
        claimed = {raster.index for raster in source.rasters if raster.path == path}
        return SceneFile(dataset, source.grid, source.offset, own_grid, claimed)


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
