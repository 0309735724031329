"""Computing slope, aspect, curvature and ruggedness from elevation.

All functions look at a pixel and its eight neighbours, and take elevation with one pixel around the window. A missing
neighbour is extrapolated from the plane through the others (beside: 2 x centre - opposite; at a corner: the two beside
it - centre), so that all measures of a plane are exact up to the edge. A measure is missing if the pixel itself or both
neighbours on one axis are missing.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray


def slope_degrees(elevation: NDArray[np.float32], metric: NDArray[np.float64]) -> NDArray[np.float32]:
    """Compute the steepest slope at each pixel by the method of Horn (1981).

    Horn, B.K.P.: Hill shading and the reflectance map, Proceedings of the IEEE 69(1), 14-47: along each axis, the
    differences of the three pairs of neighbours on either side of the pixel, weighted 1, 2, 1 and divided by 8 pixel
    sides. The two derivatives are combined into a gradient with the true lengths of the steps on the Earth's surface
    and the angle between them. So pixels may be oblong, rotated, south-up, distorted by a projection, or in degrees.
    (With pixel sides in map units, as the formula is usually applied, a slope of 45 degrees reads 41.4 in Web Mercator
    at 28 degrees north.)

    Args:
        elevation: (h + 2, w + 2) metres: the window and one pixel around it, NaN where missing.
        metric: (3, h, w) square metres, as `imagery.ground_metric.GroundMetric.at` returns it; or (3, 1, 1) if it is
            the same everywhere.

    Returns:
        (h, w) degrees, 0 to 90, NaN where missing.
    """
    per_col, per_row = _Neighbours.of(elevation).derivatives()
    col_col, col_row, row_row = metric
    # The squared gradient is the quadratic form of the derivatives with the inverse of the metric.
    form = row_row * per_col**2 - 2 * col_row * per_col * per_row + col_col * per_row**2
    gradient = np.sqrt(form / (col_col * row_row - col_row**2))
    slope: NDArray[np.float32] = np.degrees(np.arctan(gradient)).astype(np.float32)
    return slope


def aspect(
    elevation: NDArray[np.float32], steps: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Compute sine and cosine of the aspect: the azimuth of the steepest descent, clockwise from true north.

    A slope that faces east has (1, 0), one that faces north (0, 1). The two are continuous where the angle jumps from
    360 to 0 degrees, so they can be averaged and fed to a network. From the derivatives of Horn (1981), as the slope.

    Args:
        elevation: (h + 2, w + 2) metres: the window and one pixel around it, NaN where missing.
        steps: (2, 2, h, w) metres, as `imagery.ground_metric.GroundMetric.steps_at` returns them; or (2, 2, 1, 1).

    Returns:
        Sine and cosine, (h, w) each: -1 to 1, both 0 on flat ground, NaN where missing.
    """
    per_col, per_row = _Neighbours.of(elevation).derivatives()
    (col_east, col_north), (row_east, row_north) = steps
    # The gradient's products with the two steps are the two derivatives. The area of a pixel, which both components
    # are divided by, cancels out; its sign, which tells a south-up grid, does not.
    area = col_east * row_north - col_north * row_east
    east = (per_col * row_north - per_row * col_north) / area
    north = (per_row * col_east - per_col * row_east) / area
    steepness = np.hypot(east, north)
    steepness[steepness == 0] = np.inf
    return (-east / steepness).astype(np.float32), (-north / steepness).astype(np.float32)


def curvature(elevation: NDArray[np.float32], metric: NDArray[np.float64]) -> NDArray[np.float32]:
    """Compute the curvature of Zevenbergen & Thorne (1987): minus the sum of elevation's second derivatives.

    Zevenbergen, L.W., Thorne, C.R.: Quantitative analysis of land surface topography, Earth Surface Processes and
    Landforms 12(1), 47-56: -2 (D + E), with D and E half the second derivatives along the two axes. It is the
    "curvature" of ArcGIS and xDEM without their factor of 100. Unlike profile and plan curvature it is defined on flat
    ground too. Here the second derivatives are combined by the true lengths of the steps, as in `slope_degrees`. (That
    the lengths change from pixel to pixel is left out: less than 1e-6 per metre below 85 degrees of latitude.)

    Args:
        elevation: (h + 2, w + 2) metres: the window and one pixel around it, NaN where missing.
        metric: As for `slope_degrees`.

    Returns:
        (h, w) per metre: positive on ridges and summits (2 / R on a dome of radius R), negative in valleys and hollows,
        0 on planes; NaN where missing.
    """
    at = _Neighbours.of(elevation)
    along_row = at.west - 2 * at.centre + at.east
    along_col = at.north - 2 * at.centre + at.south
    mixed = (at.south_east - at.south_west - at.north_east + at.north_west) / 4
    col_col, col_row, row_row = metric
    form = row_row * along_row - 2 * col_row * mixed + col_col * along_col
    minus_laplacian: NDArray[np.float32] = (-form / (col_col * row_row - col_row**2)).astype(np.float32)
    return minus_laplacian


def ruggedness(elevation: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute the terrain ruggedness index of Riley et al. (1999).

    Riley, S.J., DeGloria, S.D., Elliot, R.: A terrain ruggedness index that quantifies topographic heterogeneity,
    Intermountain Journal of Sciences 5(1-4), 23-27: the root of the summed squares of the differences between a pixel
    and its eight neighbours. It grows with the pixel size, so it compares only between models of one resolution.

    Args:
        elevation: (h + 2, w + 2) metres: the window and one pixel around it, NaN where missing.

    Returns:
        (h, w) metres, at least 0, NaN where missing.
    """
    at = _Neighbours.of(elevation)
    squares = np.zeros_like(at.centre)
    for neighbour in at.around():
        squares += (neighbour - at.centre) ** 2
    index: NDArray[np.float32] = np.sqrt(squares).astype(np.float32)
    return index


# Rows and columns from the centre to the neighbours, in the order of the attributes of `_Neighbours`.
_ORDER: Final = ((-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))


@dataclass(frozen=True)
class _Neighbours:
    """Elevation of each pixel and of its eight neighbours in the file's order of rows and columns, (h, w) each."""

    centre: NDArray[np.float64]
    north: NDArray[np.float64]
    south: NDArray[np.float64]
    west: NDArray[np.float64]
    east: NDArray[np.float64]
    north_west: NDArray[np.float64]
    north_east: NDArray[np.float64]
    south_west: NDArray[np.float64]
    south_east: NDArray[np.float64]

    @classmethod
    def of(cls, elevation: NDArray[np.float32]) -> Self:
        """Cut the neighbours from elevation with one pixel around the window; fill in missing ones."""
        padded = elevation.astype(np.float64)
        rows, cols = padded.shape[0] - 2, padded.shape[1] - 2

        def shifted(row: int, col: int) -> NDArray[np.float64]:
            return padded[1 + row : 1 + row + rows, 1 + col : 1 + col + cols]

        centre = shifted(0, 0)
        if not np.isnan(padded).any():
            around = (shifted(row, col) for row, col in _ORDER)
            return cls(centre, *around)
        north, south = _opposite(shifted(-1, 0), shifted(1, 0), centre)
        west, east = _opposite(shifted(0, -1), shifted(0, 1), centre)
        return cls(
            centre,
            north,
            south,
            west,
            east,
            _filled(shifted(-1, -1), north + west - centre),
            _filled(shifted(-1, 1), north + east - centre),
            _filled(shifted(1, -1), south + west - centre),
            _filled(shifted(1, 1), south + east - centre),
        )

    def around(self) -> tuple[NDArray[np.float64], ...]:
        """The eight neighbours."""
        return (
            self.north,
            self.south,
            self.west,
            self.east,
            self.north_west,
            self.north_east,
            self.south_west,
            self.south_east,
        )

    def derivatives(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Compute the rise per column and per row by Horn's weights, NaN where the pixel is missing."""
        per_col = (
            self.north_east + 2 * self.east + self.south_east - self.north_west - 2 * self.west - self.south_west
        ) / 8
        per_row = (
            self.south_west + 2 * self.south + self.south_east - self.north_west - 2 * self.north - self.north_east
        ) / 8
        per_col[np.isnan(self.centre)] = np.nan
        return per_col, per_row


def _opposite(
    one: NDArray[np.float64], other: NDArray[np.float64], centre: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return two opposite neighbours; if one is missing it is extrapolated from the other and the centre."""
    return _filled(one, 2 * centre - other), _filled(other, 2 * centre - one)


def _filled(values: NDArray[np.float64], otherwise: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.isnan(values), otherwise, values)
