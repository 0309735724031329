"""Reading elevation, and measures of the terrain computed from it, on a scene's grid.

Slope, aspect, curvature and ruggedness are computed on the grid of the elevation model and then resampled. Computed
from elevation that was resampled before, they would show the facets of the interpolation.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Final

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from imagery.channels import ASPECT_COS, ASPECT_SIN, CURVATURE, ELEVATION, RUGGEDNESS, SLOPE
from imagery.grid import Grid, Window, blocks
from imagery.ground_metric import GroundMetric
from imagery.projection import same_crs
from imagery.raster_file import grid_of
from imagery.resampling import MARGIN_PX, method_for, pixels_across, resample, unwrapped, window_under
from imagery.scene_file import SceneFile, to_values
from imagery.scene_source import BandSource
from imagery.terrain import aspect, curvature, ruggedness, slope_degrees

LOWEST_M: Final = -500.0
HIGHEST_M: Final = 12500.0
"""Elevations outside of these are impossible. Land lies between the shore of the Dead Sea (-430 m) and Mount Everest
(8849 m); relief that was made up for tests may be higher, and is only reported (`imagery.describe_elevation`)."""

# Tiles of one product line up to the rounding of their headers. At 0.01 pixel a slope across a seam errs by 0.5 %.
_ON_LATTICE_PX: Final = 0.01
# Pixels of the elevation model that are held at once; the measures of the terrain take about 150 bytes for each.
_BLOCK_PX: Final = 1 << 20


class ElevationReader:
    """Reads elevation and measures of the terrain from one file or from several tiles.

    Tiles of the same CRS and pixel size whose pixels line up are one mosaic: measures of the terrain are computed
    across their seams. Other tiles (of another resolution, or of another zone) make further mosaics, each resampled
    from its own grid. Where tiles overlap, the first that has a value counts, and a mosaic comes before the one whose
    first tile comes later; so a coarse model given last fills the voids of a fine one.

    Elevation below -500 m or above 12,500 m counts as missing, as no land lies there: a void number that the file does
    not declare does not become a cliff.
    """

    def __init__(self, tiles: Sequence[tuple[SceneFile, BandSource]], scene_grid: Grid) -> None:
        """Take over open files; the caller closes them.

        Args:
            tiles: The open files, each with the band that holds elevation. At least one.
            scene_grid: The scene's grid.
        """
        self._tiles = [_Tile(file, band, scene_grid) for file, band in tiles]
        self._scene_grid = scene_grid

    def read(self, channels: Sequence[str], window: Window, shape: tuple[int, int]) -> dict[str, NDArray[np.float32]]:
        """Read a window.

        Args:
            channels: Of elevation and `imagery.channels.TERRAIN_UNITS`.
            window: Relative to the scene's grid.
            shape: Rows and columns wanted: the window's own, or fewer, of which each is the nearest pixel. (Computed
                from decimated elevation, slopes would be too flat.)

        Returns:
            By channel (h, w), NaN where missing. As cut from the same channel of the whole scene, but for the
            rounding of float32.

        Raises:
            SceneError: The pixels cannot be read, or there is no transformation between the CRSs.
        """
        if shape == window.shape:
            return self._read(channels, window)
        rows, cols = (
            ((np.arange(count) + 0.5) * length / count).astype(int)
            for count, length in zip(shape, window.shape, strict=True)
        )
        lines = [
            self._read(channels, Window(window.row_off + int(row), window.col_off, 1, window.width)) for row in rows
        ]
        return {name: np.stack([line[name][0, cols] for line in lines]) for name in channels}

    def _read(self, channels: Sequence[str], window: Window) -> dict[str, NDArray[np.float32]]:
        found: dict[str, NDArray[np.float32]] = {
            name: np.full(window.shape, np.nan, dtype=np.float32) for name in channels
        }
        for mosaic in self._mosaics:
            # A line may be longer: the model's part under it is narrow, or no larger than that under a block if it is
            # turned.
            side = mosaic.block_side * (4 if window.height == 1 else 1)
            for block in blocks(window.width, window.height, side):
                gaps = {name: np.isnan(found[name][block.slices]) for name in channels}
                if not any(gap.any() for gap in gaps.values()):
                    continue
                part = Window(window.row_off + block.row_off, window.col_off + block.col_off, block.height, block.width)
                values = mosaic.read(channels, part)
                for name, gap in gaps.items():
                    found[name][block.slices][gap] = values[name][gap]
        return found

    @cached_property
    def _mosaics(self) -> list["_Mosaic"]:
        groups: list[list[_Tile]] = []
        for tile in self._tiles:
            for group in groups:
                if place_on_lattice(group[0].grid, tile.grid) is not None:
                    group.append(tile)
                    break
            else:
                groups.append([tile])
        mosaics = (_Mosaic(group, self._scene_grid) for group in groups)
        return [mosaic for mosaic in mosaics if mosaic.overlaps]


class _Tile:
    """One open file of an elevation model."""

    def __init__(self, file: SceneFile, band: BandSource, scene_grid: Grid) -> None:
        self.grid = unwrapped(grid_of(file.dataset), scene_grid)
        self._file = file
        self._band = band

    def read(self, window: Window) -> NDArray[np.float32]:
        """Read a window of the file; returns (h, w) metres, NaN where missing or impossible."""
        metres = to_values(self._file.read_own_grid(self._band.index, window, self._band.nodata), self._band)
        metres[(metres < LOWEST_M) | (metres > HIGHEST_M)] = np.nan
        return metres


class _Mosaic:
    """Tiles whose pixels line up, seen as one raster: the part of it under the scene."""

    def __init__(self, tiles: Sequence[_Tile], scene_grid: Grid) -> None:
        self._tiles = tiles
        self._scene_grid = scene_grid
        lattice = tiles[0].grid
        places = [place for tile in tiles if (place := place_on_lattice(lattice, tile.grid)) is not None]
        first_row, first_col = min(row for row, _ in places), min(col for _, col in places)
        end_row = max(row + tile.grid.height for (row, _), tile in zip(places, tiles, strict=True))
        end_col = max(col + tile.grid.width for (_, col), tile in zip(places, tiles, strict=True))
        a, b, c, d, e, f = (lattice.affine @ Affine.translation(first_col, first_row))[:6]
        whole = Grid(lattice.crs, (a, b, c, d, e, f), end_col - first_col, end_row - first_row)
        under = window_under(scene_grid, whole, MARGIN_PX)
        self.overlaps = under is not None
        # The part under the scene fixes the nodes of the metric, so that all windows are computed alike.
        part = under or whole.window
        self._grid = whole.subgrid(part)
        self._places = [(row - first_row - part.row_off, col - first_col - part.col_off) for row, col in places]
        self._scene_place = place_on_lattice(self._grid, scene_grid)

    @cached_property
    def block_side(self) -> int:
        """Side in the scene's pixels of the largest square that is read at once."""
        return max(1, int(_BLOCK_PX**0.5 / pixels_across(self._grid, self._scene_grid)))

    @cached_property
    def _metric(self) -> GroundMetric:
        return GroundMetric(self._grid)

    def read(self, channels: Sequence[str], window: Window) -> Mapping[str, NDArray[np.float32]]:
        """Read a window of the scene; returns by channel (h, w), NaN where missing."""
        if self._scene_place is not None:
            return self._cut(channels, window, *self._scene_place)
        grid = self._scene_grid.subgrid(window)
        under = window_under(grid, self._grid, MARGIN_PX)
        if under is None:
            return {name: np.full(window.shape, np.nan, dtype=np.float32) for name in channels}
        fields = self._compute(channels, under)
        transform = self._grid.window_transform(under)
        method = method_for(self._grid, self._scene_grid)
        layers = resample(np.stack([*fields.values()]), self._grid.crs, transform, grid, method)
        return dict(zip(fields, layers, strict=True))

    def _cut(self, channels: Sequence[str], window: Window, row: int, col: int) -> Mapping[str, NDArray[np.float32]]:
        """Read a window of a scene whose first pixel is that row and column of the mosaic's part.

        The scene may begin above the part or to its left, and end below it or to its right.
        """
        layers = {name: np.full(window.shape, np.nan, dtype=np.float32) for name in channels}
        top, left = row + window.row_off, col + window.col_off
        first_row, end_row = max(top, 0), min(top + window.height, self._grid.height)
        first_col, end_col = max(left, 0), min(left + window.width, self._grid.width)
        if first_row < end_row and first_col < end_col:
            inside = Window(first_row, first_col, end_row - first_row, end_col - first_col)
            for name, values in self._compute(channels, inside).items():
                layers[name][first_row - top : end_row - top, first_col - left : end_col - left] = values
        return layers

    def _compute(self, channels: Sequence[str], window: Window) -> dict[str, NDArray[np.float32]]:
        """Compute channels of a window of the mosaic, on the mosaic's own grid."""
        padded = self._elevation(window.row_off - 1, window.col_off - 1, (window.height + 2, window.width + 2))
        fields: dict[str, NDArray[np.float32]] = {}
        if ELEVATION in channels:
            fields[ELEVATION] = padded[1:-1, 1:-1]
        if SLOPE in channels:
            fields[SLOPE] = slope_degrees(padded, self._metric.at(window))
        if CURVATURE in channels:
            fields[CURVATURE] = curvature(padded, self._metric.at(window))
        if RUGGEDNESS in channels:
            fields[RUGGEDNESS] = ruggedness(padded)
        if ASPECT_SIN in channels or ASPECT_COS in channels:
            sine, cosine = aspect(padded, self._metric.steps_at(window))
            fields |= {name: field for name, field in ((ASPECT_SIN, sine), (ASPECT_COS, cosine)) if name in channels}
        return fields

    def _elevation(self, top: int, left: int, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Read elevation at a place of the mosaic's part, which may reach beyond it and beyond the tiles."""
        found: NDArray[np.float32] = np.full(shape, np.nan, dtype=np.float32)
        bottom, right = top + shape[0], left + shape[1]
        for tile, (row, col) in zip(self._tiles, self._places, strict=True):
            first_row, end_row = max(top, row), min(bottom, row + tile.grid.height)
            first_col, end_col = max(left, col), min(right, col + tile.grid.width)
            if first_row >= end_row or first_col >= end_col:
                continue
            part = found[first_row - top : end_row - top, first_col - left : end_col - left]
            gap = np.isnan(part)
            if gap.any():
                in_file = Window(first_row - row, first_col - col, end_row - first_row, end_col - first_col)
                part[gap] = tile.read(in_file)[gap]
        return found


def place_on_lattice(lattice: Grid, grid: Grid) -> tuple[int, int] | None:
    """Return the row and column of a grid's first pixel on another grid, extended in all directions.

    Returns:
        None if the pixels of the two do not line up within 0.01 pixel.
    """
    if not same_crs(lattice.crs, grid.crs):
        return None
    to_lattice = ~lattice.affine @ grid.affine
    col, row = to_lattice @ (0.0, 0.0)
    place = round(row), round(col)
    # An affine transform is fixed by three corners.
    for corner in ((0.0, 0.0), (float(grid.width), 0.0), (0.0, float(grid.height))):
        col, row = to_lattice @ corner
        off = max(abs(row - corner[1] - place[0]), abs(col - corner[0] - place[1]))
        if off > _ON_LATTICE_PX:
            return None
    return place
