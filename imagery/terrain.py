"""Computing slope from elevation."""

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

    A missing neighbour is extrapolated from the plane through the others (beside: 2 x centre - opposite; at a corner:
    the two beside it - centre), so that the slope of a plane is exact up to the edge. The slope is missing if the pixel
    itself or both neighbours on one axis are missing.

    Args:
        elevation: (h + 2, w + 2) metres: the window and one pixel around it, NaN where missing.
        metric: (3, h, w) square metres, as `imagery.ground_metric.GroundMetric.at` returns it; or (3, 1, 1) if it is
            the same everywhere.

    Returns:
        (h, w) degrees, 0 to 90, NaN where missing.
    """
    per_col, per_row = _horn(elevation.astype(np.float64))
    col_col, col_row, row_row = metric
    # The squared gradient is the quadratic form of the derivatives with the inverse of the metric.
    form = row_row * per_col**2 - 2 * col_row * per_col * per_row + col_col * per_row**2
    gradient = np.sqrt(form / (col_col * row_row - col_row**2))
    slope: NDArray[np.float32] = np.degrees(np.arctan(gradient)).astype(np.float32)
    return slope


def _horn(padded: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute the rise per column and per row, (h, w) each, from elevation with one pixel around the window."""
    rows, cols = padded.shape[0] - 2, padded.shape[1] - 2

    def shifted(row: int, col: int) -> NDArray[np.float64]:
        return padded[1 + row : 1 + row + rows, 1 + col : 1 + col + cols]

    centre = shifted(0, 0)
    north, south = _opposite(shifted(-1, 0), shifted(1, 0), centre)
    west, east = _opposite(shifted(0, -1), shifted(0, 1), centre)
    north_west = _filled(shifted(-1, -1), north + west - centre)
    north_east = _filled(shifted(-1, 1), north + east - centre)
    south_west = _filled(shifted(1, -1), south + west - centre)
    south_east = _filled(shifted(1, 1), south + east - centre)
    per_col = (north_east + 2 * east + south_east - north_west - 2 * west - south_west) / 8
    per_row = (south_west + 2 * south + south_east - north_west - 2 * north - north_east) / 8
    missing = np.isnan(centre)
    per_col[missing] = np.nan
    return per_col, per_row


def _opposite(
    one: NDArray[np.float64], other: NDArray[np.float64], centre: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return two opposite neighbours; if one is missing it is extrapolated from the other and the centre."""
    return _filled(one, 2 * centre - other), _filled(other, 2 * centre - one)


def _filled(values: NDArray[np.float64], otherwise: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.isnan(values), otherwise, values)
