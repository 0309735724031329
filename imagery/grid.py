"""The pixel grid of a scene: the only place where rows and columns become ground coordinates.

Published glacier code works footprints out a second time, bottom-up while its slices run top-down, so that every patch
carries its mirror image's polygon. Here every corner comes from the one affine transform, whichever way rows run.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.polygon import orient

from imagery.errors import SceneError
from imagery.projection import reproject, same_crs, to_wgs84

# Over an edge of 200 km, 32 pieces keep the chord of a reprojected straight edge within a metre of the true curve.
_PIECES_PER_EDGE: Final = 32
# Bands of one scene are delivered on one grid; only the rounding of the written transform may differ.
_SAME_PLACE_PX: Final = 0.01


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels, relative to the origin (first row, first column) of a grid.

    Attributes:
        row_off: First row.
        col_off: First column.
        height: Number of rows, at least 1.
        width: Number of columns, at least 1.
    """

    row_off: int
    col_off: int
    height: int
    width: int

    def __post_init__(self) -> None:
        if min(self.row_off, self.col_off) < 0 or min(self.height, self.width) < 1:
            raise SceneError(f"found {self}; expected offsets of at least 0 and sides of at least 1 pixel")

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, to index an array (..., H, W) that covers the whole grid."""
        return (
            slice(self.row_off, self.row_off + self.height),
            slice(self.col_off, self.col_off + self.width),
        )


@dataclass(frozen=True)
class Grid:
    """Where the pixels of a raster lie on the ground.

    Attributes:
        crs: Coordinate reference system, as an authority code ("EPSG:32645") or WKT.
        transform: Affine coefficients a to f: x = a*col + b*row + c, y = d*col + e*row + f, where (0, 0) is the outer
            corner of the first pixel. Rotated and south-up (e > 0) grids are as good as north-up ones.
        width: Columns.
        height: Rows.
    """

    crs: str
    transform: tuple[float, float, float, float, float, float]
    width: int
    height: int

    def __post_init__(self) -> None:
        if min(self.width, self.height) < 1:
            raise SceneError(f"found a grid of {self.width} x {self.height} pixels; expected at least 1 x 1")
        if not np.isfinite(self.transform).all() or self.affine.determinant == 0:
            raise SceneError(f"found the geotransform {self.transform}; expected an invertible one")

    @property
    def affine(self) -> Affine:
        """The transform from (column, row) to (x, y)."""
        return Affine(*self.transform)

    @property
    def window(self) -> Window:
        """The window that covers the whole grid."""
        return Window(0, 0, self.height, self.width)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Smallest x, smallest y, largest x, largest y in CRS units."""
        left, bottom, right, top = self.footprint().bounds
        return left, bottom, right, top

    def window_transform(self, window: Window) -> Affine:
        """The transform of a window's own pixels, its first one being (0, 0)."""
        return self.affine @ Affine.translation(window.col_off, window.row_off)

    def subgrid(self, window: Window) -> Self:
        """The grid of a window.

        Raises:
            SceneError: The window reaches beyond this grid.
        """
        self.check_inside(window)
        a, b, c, d, e, f = self.window_transform(window)[:6]
        return type(self)(self.crs, (a, b, c, d, e, f), window.width, window.height)

    def check_inside(self, window: Window) -> None:
        """Refuse a window that reaches beyond this grid.

        Raises:
            SceneError: It does.
        """
        if window.row_off + window.height > self.height or window.col_off + window.width > self.width:
            raise SceneError(f"found {window}; expected it inside {self.height} rows x {self.width} columns")

    def pixel_area(self) -> float:
        """Area of one pixel in squared CRS units (square metres in UTM, square degrees in EPSG:4326)."""
        return float(abs(self.affine.determinant))

    def footprint(self, window: Window | None = None) -> Polygon:
        """The outer corners of a window (of the whole grid without one), a counter-clockwise polygon in the CRS."""
        return self._outline(window, pieces=1)

    def footprint_wgs84(self, window: Window | None = None) -> Polygon | MultiPolygon:
        """The same ground in EPSG:4326, degrees, longitude first, counter-clockwise.

        Edges are densified before the transformation, as a straight edge in the CRS is curved in longitude and
        latitude; those of a window as finely as those of the whole grid. It is a MultiPolygon only where the ground
        crosses the antimeridian.

        Raises:
            SceneError: The CRS has no transformation to WGS 84 here.
        """
        window = window or self.window
        share = max(window.height, window.width) / max(self.height, self.width)
        return to_wgs84(self._outline(window, math.ceil(_PIECES_PER_EDGE * share)), self.crs)

    def footprint_in(self, crs: str) -> Polygon:
        """The whole grid's densified outline in another CRS.

        Raises:
            SceneError: The grid has no place in that CRS.
        """
        return reproject(self._outline(None, _PIECES_PER_EDGE), self.crs, crs)

    def from_crs(self, geometry: Any, crs: str) -> Any:
        """Move a shapely geometry, or an array of them, from another CRS into the grid's.

        Raises:
            SceneError: A vertex has no place in the grid's CRS.
        """
        return reproject(geometry, crs, self.crs)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse an array (H, W) that is not of the grid's size.

        Raises:
            SceneError: It is not.
        """
        if shape != (self.height, self.width):
            raise SceneError(f"found an array of shape {shape}; expected {(self.height, self.width)}, the grid's")

    def coincides(self, other: "Grid") -> bool:
        """Whether two grids have the same CRS and size, and corners within a hundredth of a pixel of each other."""
        if not same_crs(self.crs, other.crs) or (self.width, self.height) != (other.width, other.height):
            return False
        corners = np.array([[0, 0], [self.width, 0], [0, self.height]], dtype=np.float64)
        shift_px = _apply(~self.affine, _apply(other.affine, corners)) - corners
        return bool(np.abs(shift_px).max() <= _SAME_PLACE_PX)

    def to_json(self) -> dict[str, Any]:
        """A dictionary that `json.dumps` takes and `from_json` reads back exactly."""
        return {
            "crs": self.crs,
            "transform": list(self.transform),
            "width": self.width,
            "height": self.height,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote.

        Raises:
            SceneError: Keys are missing or unknown, or the values make no grid.
        """
        check_keys(data, {"crs", "transform", "width", "height"}, "grid")
        a, b, c, d, e, f = (float(value) for value in data["transform"])
        return cls(str(data["crs"]), (a, b, c, d, e, f), int(data["width"]), int(data["height"]))

    def _outline(self, window: Window | None, pieces: int) -> Polygon:
        window = window or self.window
        self.check_inside(window)
        left, top = window.col_off, window.row_off
        right, bottom = left + window.width, top + window.height
        corners = np.array([[left, top], [left, bottom], [right, bottom], [right, top]], dtype=np.float64)
        steps = np.arange(pieces)[:, None] / pieces
        edges = corners[:, None] + (corners[[1, 2, 3, 0]] - corners)[:, None] * steps
        return orient(Polygon(_apply(self.affine, edges.reshape(-1, 2))), 1.0)


def check_keys(data: Mapping[str, Any], expected: set[str], what: str) -> None:
    """Refuse a JSON object whose keys are not exactly the expected ones.

    Raises:
        SceneError: A key is missing or unknown.
    """
    if set(data) != expected:
        raise SceneError(f"found the keys {sorted(data)} in a {what}; expected {sorted(expected)}")


def tile(width: int, height: int, size: int, overlap: int = 0) -> list[Window]:
    """Cut a raster into square windows that cover every pixel.

    All windows have the full size: the last column and row of windows are moved back to end at the raster's edge, so
    they overlap their neighbours by more than the others do.

    Args:
        width: Columns of the raster.
        height: Rows of the raster.
        size: Side of a window in pixels.
        overlap: Pixels that neighbouring windows share, 0 to size - 1.

    Returns:
        The windows, row by row from the first pixel.

    Raises:
        SceneError: The raster is smaller than one window, or the overlap is out of range.
    """
    if not 0 <= overlap < size:
        raise SceneError(f"found an overlap of {overlap} px; expected 0 to {size - 1} for windows of {size} px")
    if min(width, height) < size:
        raise SceneError(
            f"found a scene of {width} x {height} pixels (width x height); expected at least {size} x {size}, "
            "the size of one patch: choose a smaller patch size or a larger scene"
        )
    rows, cols = _starts(height, size, size - overlap), _starts(width, size, size - overlap)
    return [Window(row, col, size, size) for row in rows for col in cols]


def shares_ground(a: Grid, b: Grid) -> bool:
    """Whether two grids have ground in common, so that one must not test what was trained on the other.

    In one CRS the test is exact: they share when the common area is at least one pixel of the finer grid; touching
    edges do not count. Across CRSs, where neither edge is exact, coming within one pixel of each other counts.

    Raises:
        SceneError: A grid's CRS cannot be related to the other's.
    """
    if same_crs(a.crs, b.crs):
        common = a.footprint().intersection(b.footprint()).area
        finest = min(a.pixel_area(), b.pixel_area())
        return bool(common >= finest * (1 - 1e-6))  # the slack is for rounding in the intersection
    # Far from its own zone a projection is undefined, so only neighbours are compared in one.
    if a.footprint_wgs84().distance(b.footprint_wgs84()) > 1.0:
        return False
    return bool(a.footprint().distance(b.footprint_in(a.crs)) <= np.sqrt(a.pixel_area()))


def _apply(affine: Affine, points: NDArray[np.float64]) -> NDArray[np.float64]:
    a, b, c, d, e, f = affine[:6]
    x, y = points[:, 0], points[:, 1]
    return np.column_stack([a * x + b * y + c, d * x + e * y + f])


def _starts(length: int, size: int, step: int) -> list[int]:
    """First pixels of the windows along one axis: regular, the last one moved back to end at the edge."""
    return [*range(0, length - size, step), length - size]
