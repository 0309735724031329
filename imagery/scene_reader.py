"""Reading channels of a scene by window.

A scene's bands may lie in several GeoTIFF files. Files on another grid than the scene's (another resolution, extent or
CRS) are resampled as they are read (see `imagery.resampling`), so that no copy on disk is needed.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self, TypeVar, TypeVarTuple

import numpy as np
from numpy.typing import NDArray
from rasterio.io import DatasetReader

from imagery.border import Border, BorderSource
from imagery.channels import ELEVATION, TERRAIN_UNITS, bands_needed, compute_channel
from imagery.elevation import ElevationReader
from imagery.errors import OutlineError, UnreadableFileError
from imagery.grid import Grid, Window
from imagery.quality import unknown_pixels
from imagery.raster_file import grid_of, open_raster
from imagery.scene_file import SceneFile, to_values
from imagery.scene_source import BandSource, SceneSource

Answer = TypeVar("Answer")
Arguments = TypeVarTuple("Arguments")


class SceneReader:
    """Reads channels of a scene by window. A context manager: opens each file once, closes them all.

    Not to be shared between threads, because GDAL's datasets are not thread-safe.
    """

    def __init__(self, source: SceneSource) -> None:
        self.source = source
        self._stack = ExitStack()
        self._files: dict[str, SceneFile] = {}
        self._elevation: ElevationReader | None = None
        self._border: Border | None = None

    def __enter__(self) -> Self:
        """Open the files.

        Raises:
            UnreadableFileError: A file, or the border, cannot be read or is no longer the one that was described.
            SceneError: A file has lost its place on the Earth.
        """
        with ExitStack() as stack:
            for path in dict.fromkeys(raster.path for raster in self.source.rasters):
                self._files[path] = self._open(path, stack.enter_context(open_raster(path)))
            tiles = [raster for raster in self.source.continuous if raster.name == ELEVATION]
            if tiles:
                self._elevation = ElevationReader([(self._files[tile.path], tile) for tile in tiles], self.source.grid)
            self._border = self._read_border(self.source.border) if self.source.border else None
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        self._files.clear()

    @property
    def files(self) -> tuple[str, ...]:
        """The open files, with what GDAL found beside them and what virtual rasters name, and the border's file."""
        border = [self.source.border.path] if self.source.border else []
        return tuple(dict.fromkeys([*(name for file in self._files.values() for name in file.dataset.files), *border]))

    def dataset(self, path: str) -> DatasetReader:
        """Return the open file of a path that the source names."""
        return self._files[path].dataset

    def read(self, channels: Sequence[str], window: Window) -> NDArray[np.float32]:
        """Read channels of a window.

        Args:
            channels: Names of channels (`SceneSource.channel_names`), in the order wanted.
            window: Relative to the scene's grid.

        Returns:
            (C, h, w) in the channels' units: reflectance or digital numbers for bands (`BandSource.unit`), stored
            numbers for quality bands, -1 to 1 for an index, metres for elevation, `TERRAIN_UNITS` for measures of the
            terrain. NaN where a channel is invalid: outside the border or the file, where the file's nodata value, mask
            or alpha band or `BandSource.nodata` says so, where the value is NaN or infinite, and where elevation is
            impossible; and in every channel where a flag says so that is masked (`QualityBand.masked`), or the file of
            such flags does not reach.

        Raises:
            SceneError: A channel is unknown, the window reaches beyond the scene, or the pixels cannot be read.
        """
        return self._read(channels, window, window.shape)

    def read_shaped(self, channels: Sequence[str], window: Window, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Read channels of a window, decimated (nearest pixel) to `shape`, rows and columns no more than the window's.

        Returns and raises as `read`.
        """
        return self._read(channels, window, shape)

    def read_decimated(self, channels: Sequence[str], longest_side: int) -> NDArray[np.float32]:
        """Read channels of the whole scene, decimated (nearest pixel) to at most `longest_side` pixels a side.

        Returns and raises as `read`.
        """
        grid = self.source.grid
        factor = max(1.0, max(grid.height, grid.width) / longest_side)
        shape = (max(1, int(grid.height / factor)), max(1, int(grid.width / factor)))
        return self._read(channels, grid.window, shape)

    def valid_mask(self, window: Window) -> NDArray[np.bool_]:
        """Return where every band of the scene is valid and no masked flag is raised, (h, w).

        Extras and elevation do not count: a gap in them hides nothing that the bands show.

        Raises:
            SceneError: As `read`.
        """
        invalid = np.isnan(self.read(self.source.band_names, window))
        valid: NDArray[np.bool_] = ~np.logical_or.reduce(invalid, axis=0)
        return valid

    def _read(self, channels: Sequence[str], window: Window, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Read a window, decimated to `shape` if that is smaller than the window."""
        self.source.grid.check_inside(window)
        needed = bands_needed(channels, self.source.raster_names)
        measured = [raster for raster in (*self.source.bands, *self.source.extras) if raster.name in needed]
        bands = self._read_values(measured, window, shape)
        for quality in self.source.quality:
            if quality.name in needed:
                flags = self._files[quality.path].read_flags(quality.index, window, shape, keep_nodata=False)
                bands[quality.name] = flags.astype(np.float32)
        relief = [name for name in (ELEVATION, *TERRAIN_UNITS) if name in channels and name not in bands]
        if self._elevation is not None and relief:
            bands |= self._elevation.read(relief, window, shape)
        stack = np.stack([compute_channel(channel, bands) for channel in channels])
        # Last, so that elevation under cloud still counts for the slope beside it.
        stack[:, self._unknown(window, shape)] = np.nan
        return stack

    def _unknown(self, window: Window, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Return the pixels of which nothing is known, (h, w): masked by flags, or outside the border."""
        unknown: NDArray[np.bool_] = np.zeros(shape, dtype=np.bool_)
        for quality in self.source.quality:
            if quality.table is not None and quality.masked:
                flags = self._files[quality.path].read_flags(quality.index, window, shape, keep_nodata=True)
                if np.issubdtype(flags.dtype, np.floating):
                    beyond = ~np.isfinite(flags)
                    unknown |= beyond
                    flags = np.where(beyond, 0, flags)
                unknown |= unknown_pixels(flags, quality.table, quality.masked)
        if self._border is not None:
            grid = self.source.grid.subgrid(window).with_shape(shape)
            unknown |= ~self._border.inside(grid.affine, shape)
        return unknown

    def _read_values(
        self, rasters: Sequence[BandSource], window: Window, shape: tuple[int, int]
    ) -> dict[str, NDArray[np.float32]]:
        """Read rasters of measurements; returns (h, w) values by name, NaN where invalid.

        Bands of one file are read in one call: a file whose bands are interleaved pixel by pixel would be decompressed
        once for each band.
        """
        together: dict[tuple[str, float | None], list[BandSource]] = {}
        for raster in rasters:
            together.setdefault((raster.path, raster.nodata), []).append(raster)
        values: dict[str, NDArray[np.float32]] = {}
        for (path, nodata), of_file in together.items():
            pixels = self._files[path].read([raster.index for raster in of_file], window, shape, nodata)
            values |= {raster.name: to_values(band, raster) for raster, band in zip(of_file, pixels, strict=True)}
        return values

    def _read_border(self, source: BorderSource) -> Border:
        """Read the border, after checking that it is still the one that was described."""
        try:
            border = Border(source, self.source.grid)
        except OutlineError as error:
            raise UnreadableFileError(source.path, str(error)) from error
        if self.source.border_sha256 not in {None, border.sha256}:
            raise UnreadableFileError(
                source.path,
                f"{source.path}: found another border than the one with which the scene was registered (SHA-256 "
                f"{border.sha256}, expected {self.source.border_sha256}): put the old file back, or register the scene "
                "with the new one as a new scene",
            )
        return border

    def _open(self, path: str, dataset: DatasetReader) -> SceneFile:
        """Take over an open dataset, after checking that its grid is still the one that was described."""
        source = self.source
        found = grid_of(dataset)
        file_grid = next((item.grid for item in source.resampled if item.path == path), None)
        row, col = source.offset
        region = Window(row, col, source.grid.height, source.grid.width)
        same = found.coincides(file_grid) if file_grid else found.subgrid(region).coincides(source.grid)
        if not same:
            raise UnreadableFileError(
                path,
                f"found {_describe_grid(path, found)}; expected the grid on which the scene was registered: "
                "the file was replaced, register it as a new scene",
            )
        data_bands = {raster.index for raster in source.rasters if raster.path == path}
        return SceneFile(dataset, source.grid, source.offset, file_grid, data_bands)


def read_scene(
    source: SceneSource, function: Callable[[SceneReader, *Arguments], Answer], *arguments: *Arguments
) -> Answer:
    """Open a scene, call a function with its reader and the arguments, close the scene, and return the answer.

    Raises:
        SceneError: The scene cannot be read.
    """
    with SceneReader(source) as reader:
        return function(reader, *arguments)


def _describe_grid(path: str, grid: Grid) -> str:
    return f"{path} has {grid.width} x {grid.height} px, {grid.crs}, transform {grid.transform}"
