"""The pixel grid of a scene: the only place where rows and columns become map coordinates.

Published glacier code computes footprints a second time, bottom-up although its array slices run top-down, so that
every patch gets the polygon of its mirror image. Here every corner comes from one affine transform, whatever the
direction of the rows.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pydantic import ConfigDict
from shapely import STRtree
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.polygon import orient

from imagery.errors import SceneError
from imagery.projection import WGS84, period, reproject, same_crs, to_wgs84, transform_points, unknown_shift, unwrap

# Over an edge of 200 km, 32 pieces keep the chord of a reprojected straight edge within a metre of the true curve.
_PIECES_PER_EDGE: Final = 32
# A projection is undefined far from its own zone, so only grids nearer to each other are compared in one CRS.
_NEAR_DEG: Final = 1.0
# Around a grid, as a share of its size: more than the chords of its reprojected edges lie within the curves.
_BOX_MARGIN: Final = 0.01
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

    def __str__(self) -> str:
        """Describe the window in messages that people read."""
        return f"a window of {self.height} rows x {self.width} columns from row {self.row_off}, column {self.col_off}"

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
    """Where the pixels of a raster lie: coordinate reference system, affine transform and size.

    Attributes:
        crs: Coordinate reference system, as an authority code ("EPSG:32645") or WKT.
        transform: Affine coefficients a to f: x = a*col + b*row + c, y = d*col + e*row + f, where (0, 0) is the outer
            corner of the first pixel. Rotated and south-up (e > 0) grids are allowed.
        width: Columns.
        height: Rows.
    """

    __pydantic_config__: ClassVar[ConfigDict] = {"extra": "forbid"}

    crs: str
    transform: tuple[float, float, float, float, float, float]
    width: int
    height: int

    def __post_init__(self) -> None:
        if min(self.width, self.height) < 1:
            raise SceneError(f"found a grid of {self.width} x {self.height} pixels; expected at least 1 x 1")
        a, b, c, d, e, f = self.transform  # plain floats: numpy and Affine would make every grid ten times as dear
        if not all(map(math.isfinite, (a, b, c, d, e, f))) or a * e - b * d == 0:
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
        """The transform from (column, row) within a window to (x, y)."""
        return self.affine @ Affine.translation(window.col_off, window.row_off)

    def subgrid(self, window: Window) -> Self:
        """Return the grid of a window.

        Raises:
            SceneError: The window reaches beyond this grid.
        """
        self.check_inside(window)
        a, b, c, d, e, f = self.window_transform(window)[:6]
        return type(self)(self.crs, (a, b, c, d, e, f), window.width, window.height)

    def with_shape(self, shape: tuple[int, int]) -> Self:
        """Return the grid that covers the same extent with other numbers of rows and columns."""
        height, width = shape
        a, b, c, d, e, f = (self.affine @ Affine.scale(self.width / width, self.height / height))[:6]
        return type(self)(self.crs, (a, b, c, d, e, f), width, height)

    def check_inside(self, window: Window) -> None:
        """Raise an error for a window that reaches beyond this grid.

        Raises:
            SceneError: The window does.
        """
        if window.row_off + window.height > self.height or window.col_off + window.width > self.width:
            raise SceneError(f"found {window}; expected it inside {self.height} rows x {self.width} columns")

    def window_around(self, points: NDArray[np.float64], margin_px: float = 0.0) -> Window | None:
        """Return the smallest window that holds points, at least one pixel, as far as it lies in this grid.

        Args:
            points: (N, 2) x and y in the grid's CRS, continued across the antimeridian; the grid may count them whole
                turns further on, as longitudes from 0 to 360 degrees.
            margin_px: Added on each side, in pixels.

        Returns:
            None if the window lies beside the grid, or a point is not finite. Of parts that lie apart, as at both ends
            of a grid around the whole globe, the widest.
        """
        if not np.isfinite(points).all():
            return None
        found = []
        for shift in _turns(self.crs):
            columns, rows = _apply(~self.affine, points + np.array([shift, 0.0])).T
            first_row, end_row = _range_around(rows, margin_px, self.height)
            first_col, end_col = _range_around(columns, margin_px, self.width)
            if first_col < end_col and first_row < end_row:
                found.append(Window(first_row, first_col, end_row - first_row, end_col - first_col))
        return _around(found)

    def window_in_box(self, west: float, south: float, east: float, north: float) -> Window | None:
        """Return the smallest window that holds a box or a place on the ground, as far as it lies in this grid.

        Only the part of the box at the grid is transformed: a projection is undefined far from its own zone.

        Args:
            west: Degrees on WGS 84, -180 to 180; larger than `east` for a box across the antimeridian.
            south: Degrees.
            east: Degrees; that of `west` for a place.
            north: Degrees.

        Returns:
            None if the box lies beside the grid.

        Raises:
            SceneError: There is no transformation between the grid's CRS and WGS 84 here.
        """
        left, bottom, right, top = self.footprint_in(WGS84).bounds
        margin = _BOX_MARGIN * max(right - left, top - bottom)
        lowest, highest = max(south, bottom - margin), min(north, top + margin)
        end = east + 360.0 if east < west else east
        found = []
        for shift in _turns(WGS84):
            first, last = max(west + shift, left - margin), min(end + shift, right + margin)
            if first <= last and lowest <= highest:
                corners = np.array([[first, highest], [first, lowest], [last, lowest], [last, highest]])
                points = transform_points(_densified(corners, _PIECES_PER_EDGE), WGS84, self.crs)
                if turn := period(self.crs):
                    points[:, 0] = np.unwrap(points[:, 0], period=turn)
                found.append(self.window_around(points))
        return _around([window for window in found if window])

    def pixel_area(self) -> float:
        """Area of one pixel in squared CRS units (square metres in UTM, square degrees in EPSG:4326)."""
        return float(abs(self.affine.determinant))

    def footprint(self, window: Window | None = None) -> Polygon:
        """Return the outline of a window (of the whole grid if None): 4 corners, counter-clockwise, in the CRS."""
        return self._outline(window, pieces=1)

    def footprint_wgs84(self, window: Window | None = None) -> Polygon | MultiPolygon:
        """Return the footprint of a window in EPSG:4326: degrees, longitude first, counter-clockwise.

        Edges are densified before the transformation, because a straight edge in the CRS is curved in longitude and
        latitude; those of a window as finely as those of the whole grid. The result is a MultiPolygon only if the
        footprint crosses the antimeridian.

        Raises:
            SceneError: The CRS has no transformation to WGS 84 here.
        """
        window = window or self.window
        share = max(window.height, window.width) / max(self.height, self.width)
        return to_wgs84(self._outline(window, math.ceil(_PIECES_PER_EDGE * share)), self.crs)

    def footprint_in(self, crs: str) -> Polygon:
        """Return the footprint of the whole grid, densified, in another CRS, in one piece.

        Across the antimeridian it is continued: longitudes may lie outside of -180 to 180 degrees. Around a pole it
        reaches up to the pole.

        Raises:
            SceneError: The grid cannot be transformed to that CRS.
        """
        moved = reproject(self._outline(None, _PIECES_PER_EDGE), self.crs, crs)
        turn = None if same_crs(self.crs, crs) else period(crs)
        return moved if turn is None else unwrap(moved, turn)

    def unknown_shift(self, crs: str) -> str | None:
        """Return which shift PROJ does not know between the datums of this grid and of another CRS, at its centre.

        Raises:
            SceneError: There is no transformation to that CRS.
        """
        x, y = self.affine @ (self.width / 2, self.height / 2)
        return unknown_shift(self.crs, crs, (x, y))

    def check_shift(self, crs: str) -> None:
        """Raise an error if what lies in another CRS cannot be placed on this grid because of an unknown shift.

        Raises:
            SceneError: PROJ does not know the shift (see `imagery.projection.unknown_shift`), or no transformation.
        """
        if shift := self.unknown_shift(crs):
            raise SceneError(
                f"found no known transformation {shift} at the scene; without one, places are off by tens to hundreds "
                "of metres; expected a known one: reproject the file of the older survey with its parameters (ogr2ogr "
                "or gdalwarp -t_srs EPSG:4326 -s_srs '+proj=... +ellps=... +towgs84=DX,DY,DZ')"
            )

    def centre_wgs84(self, window: Window | None = None) -> tuple[float, float]:
        """Return longitude (-180 to 180) and latitude of the centre of a window (of the whole grid if None).

        Raises:
            SceneError: The CRS has no transformation to WGS 84 here.
        """
        window = window or self.window
        x, y = self.window_transform(window) @ (window.width / 2, window.height / 2)
        lon, lat = shapely.get_coordinates(reproject(shapely.Point(x, y), self.crs, WGS84))[0]
        return float((lon + 180.0) % 360.0 - 180.0), float(lat)

    def from_crs(self, geometry: Any, crs: str) -> Any:
        """Transform a shapely geometry, or an array of them, from another CRS into the grid's.

        Raises:
            SceneError: A vertex cannot be transformed to the grid's CRS.
        """
        return reproject(geometry, crs, self.crs)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raise an error for an array (H, W) that is not of the grid's size.

        Raises:
            SceneError: The array's shape differs.
        """
        if shape != (self.height, self.width):
            raise SceneError(f"found an array of shape {shape}; expected {(self.height, self.width)}, the grid's")

    def coincides(self, other: "Grid") -> bool:
        """Return whether two grids have the same CRS and size, and corners within 0.01 pixel of each other."""
        if not same_crs(self.crs, other.crs) or (self.width, self.height) != (other.width, other.height):
            return False
        corners = np.array([[0, 0], [self.width, 0], [0, self.height]], dtype=np.float64)
        shift_px = _apply(~self.affine, _apply(other.affine, corners)) - corners
        return bool(np.abs(shift_px).max() <= _SAME_PLACE_PX)

    def _outline(self, window: Window | None, pieces: int) -> Polygon:
        window = window or self.window
        self.check_inside(window)
        left, top = window.col_off, window.row_off
        right, bottom = left + window.width, top + window.height
        corners = np.array([[left, top], [left, bottom], [right, bottom], [right, top]], dtype=np.float64)
        return orient(Polygon(_apply(self.affine, _densified(corners, pieces))), 1.0)


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
    _check_tiling(width, height, size, overlap)
    rows, cols = _starts(height, size, size - overlap), _starts(width, size, size - overlap)
    return [Window(row, col, size, size) for row in rows for col in cols]


def count_tiles(width: int, height: int, size: int, overlap: int = 0) -> int:
    """Return how many windows `tile` returns, without making them.

    Raises:
        SceneError: As `tile`.
    """
    _check_tiling(width, height, size, overlap)
    rows, cols = (len(range(0, length - size, size - overlap)) + 1 for length in (height, width))
    return rows * cols


def _check_tiling(width: int, height: int, size: int, overlap: int) -> None:
    if not 0 <= overlap < size:
        raise SceneError(f"found an overlap of {overlap} px; expected 0 to {size - 1} for windows of {size} px")
    if min(width, height) < size:
        raise SceneError(
            f"found a scene of {width} x {height} pixels (width x height); expected at least {size} x {size}, "
            "the size of one patch: choose a smaller patch size or a larger scene"
        )


def footprints_overlap(a: Grid, b: Grid) -> bool:
    """Return whether two scenes overlap, so that one must not test a model that was trained on the other.

    In one CRS the test is exact: they overlap if the common area is at least one pixel of the finer grid; touching
    edges do not count. Across CRSs, where neither edge is exact, coming within one pixel of each other counts.

    Raises:
        SceneError: There is no transformation between the grids' CRSs.
    """
    if same_crs(a.crs, b.crs):
        common = sum(a.footprint().intersection(other).area for other in _copies(b.footprint(), a.crs))
        finest = min(a.pixel_area(), b.pixel_area())
        return bool(common >= finest * (1 - 1e-6))  # the slack is for rounding in the intersection
    in_degrees = _copies(b.footprint_in(WGS84), WGS84)
    if min(a.footprint_in(WGS84).distance(other) for other in in_degrees) > _NEAR_DEG:
        return False
    there = _copies(b.footprint_in(a.crs), a.crs)
    return bool(min(a.footprint().distance(other) for other in there) <= math.sqrt(a.pixel_area()))


def first_overlap(grids: Sequence[Grid]) -> tuple[int, int] | None:
    """Return the places of the first two scenes that overlap (`footprints_overlap`); None if no two do.

    Only those near each other are compared, since hundreds of scenes have tens of thousands of pairs.

    Raises:
        SceneError: As `footprints_overlap`; or a grid cannot be transformed to WGS 84.
    """
    footprints = [grid.footprint_in(WGS84) for grid in grids]
    tree = STRtree(footprints)
    for place, footprint in enumerate(footprints):
        found = [tree.query(copy, predicate="dwithin", distance=_NEAR_DEG) for copy in _copies(footprint, WGS84)]
        for other in np.unique(np.concatenate(found)).tolist():
            if other > place and footprints_overlap(grids[place], grids[other]):
                return place, other
    return None


def blocks(width: int, height: int, side: int) -> list[Window]:
    """Cut a raster into square blocks that share no pixel; the last row and column of blocks may be smaller.

    Args:
        width: Columns of the raster.
        height: Rows of the raster.
        side: Side of a block in pixels, at least 1.

    Returns:
        The blocks, row by row from the first pixel.
    """
    return [
        Window(row, col, min(side, height - row), min(side, width - col))
        for row in range(0, height, side)
        for col in range(0, width, side)
    ]


def _copies(footprint: Polygon, crs: str) -> list[Polygon]:
    """Return a footprint at every x that is the same place, since grids may count longitudes beyond 180 degrees."""
    return [shapely.affinity.translate(footprint, shift) for shift in _turns(crs)]


def _turns(crs: str) -> list[float]:
    """Return the shifts of x that lead to the same place: whole turns, as far as grids may count longitudes."""
    turn = period(crs)
    return [0.0] if turn is None else [k * turn for k in range(-2, 3)]


def _around(windows: Sequence[Window]) -> Window | None:
    """Return the smallest window that holds all windows; None without any.

    Of windows that lie apart, as at both ends of a grid around the whole globe, only the widest: between them lies what
    nobody asked for.
    """
    if not windows:
        return None
    row_off, col_off = min(window.row_off for window in windows), min(window.col_off for window in windows)
    end_row = max(window.row_off + window.height for window in windows)
    end_col = max(window.col_off + window.width for window in windows)
    if end_col - col_off > sum(window.width for window in windows):
        return max(windows, key=lambda window: window.width)
    return Window(row_off, col_off, end_row - row_off, end_col - col_off)


def _densified(corners: NDArray[np.float64], pieces: int) -> NDArray[np.float64]:
    """Return the vertices of a ring (n, 2) whose edges are each cut into pieces, (n * pieces, 2)."""
    steps = np.arange(pieces)[:, None] / pieces
    edges = corners[:, None] + (np.roll(corners, -1, axis=0) - corners)[:, None] * steps
    return edges.reshape(-1, 2)


def _range_around(positions: NDArray[np.float64], margin_px: float, count: int) -> tuple[int, int]:
    """Return the first pixel of a row or column that holds positions, and the one after the last, within 0 to count."""
    first = math.floor(positions.min())
    end = max(first + 1, math.ceil(positions.max()))  # a point on the border of two pixels lies in the second
    margin = math.ceil(margin_px)
    return max(0, first - margin), min(count, end + margin)


def _apply(affine: Affine, points: NDArray[np.float64]) -> NDArray[np.float64]:
    a, b, c, d, e, f = affine[:6]
    x, y = points[:, 0], points[:, 1]
    return np.column_stack([a * x + b * y + c, d * x + e * y + f])


def _starts(length: int, size: int, step: int) -> list[int]:
    """First pixel of each window along one axis: regular steps, the last one moved back to end at the edge."""
    return [*range(0, length - size, step), length - size]
