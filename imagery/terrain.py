"""Slope from elevation."""

from functools import lru_cache

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS

from imagery.errors import SceneError


@lru_cache(maxsize=64)
def metres_per_unit(crs: str) -> float:
    """Metres in one unit of a projected CRS (1 in UTM).

    Raises:
        SceneError: The CRS is geographic: its pixels are degrees, which rise over metres of elevation has no slope in.
    """
    system = CRS.from_user_input(crs)
    if not system.is_projected:
        raise SceneError(
            f"found a scene in {crs}, which is not projected; expected one in metres to work out slope: "
            "warp it first, for example with gdalwarp -t_srs EPSG:32645 (the UTM zone of the scene)"
        )
    return float(system.axis_info[0].unit_conversion_factor)


def slope_degrees(elevation: NDArray[np.float32], transform: Affine, crs: str) -> NDArray[np.float32]:
    """Steepest slope at each pixel, by the weighted differences over its 3 x 3 neighbours of Horn (1981).

    Horn, B.K.P.: Hill shading and the reflectance map, Proceedings of the IEEE 69(1), 14-47: per axis the differences
    of the three pairs on either side of the pixel, weighted 1, 2, 1, over 8 pixel sides. The two derivatives along rows
    and columns are turned into ground coordinates, so that pixels may be oblong, rotated, or run south-up.

    A missing neighbour is continued from the plane through those present (beside: 2 x centre - opposite; at a corner:
    the two beside it - centre), which keeps a plane's slope exact up to the edge. Slope is missing where the pixel
    itself is, or both neighbours on one axis are.

    Args:
        elevation: (h + 2, w + 2) metres: the window and one pixel around it, NaN where missing.
        transform: From (column, row) to ground coordinates; its origin does not matter.
        crs: Of the ground coordinates, projected.

    Returns:
        (h, w) degrees, 0 to 90, NaN where missing.

    Raises:
        SceneError: The CRS is not projected.
    """
    per_col, per_row = _horn(elevation.astype(np.float64))
    scale = metres_per_unit(crs)
    a, b, d, e = (coefficient * scale for coefficient in (transform.a, transform.b, transform.d, transform.e))
    # per_col = a dz/dx + d dz/dy and per_row = b dz/dx + e dz/dy, solved for the ground derivatives.
    determinant = a * e - b * d
    per_x = (e * per_col - d * per_row) / determinant
    per_y = (a * per_row - b * per_col) / determinant
    slope: NDArray[np.float32] = np.degrees(np.arctan(np.hypot(per_x, per_y))).astype(np.float32)
    return slope


def _horn(around: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rise per column and per row, (h, w) each."""
    rows, cols = around.shape[0] - 2, around.shape[1] - 2

    def shifted(row: int, col: int) -> NDArray[np.float64]:
        return around[1 + row : 1 + row + rows, 1 + col : 1 + col + cols]

    centre = shifted(0, 0)
    north, south = _opposite(shifted(-1, 0), shifted(1, 0), centre)
    west, east = _opposite(shifted(0, -1), shifted(0, 1), centre)
    north_west = _or_else(shifted(-1, -1), north + west - centre)
    north_east = _or_else(shifted(-1, 1), north + east - centre)
    south_west = _or_else(shifted(1, -1), south + west - centre)
    south_east = _or_else(shifted(1, 1), south + east - centre)
    per_col = (north_east + 2 * east + south_east - north_west - 2 * west - south_west) / 8
    per_row = (south_west + 2 * south + south_east - north_west - 2 * north - north_east) / 8
    missing = np.isnan(centre)
    per_col[missing] = np.nan
    return per_col, per_row


def _opposite(
    one: NDArray[np.float64], other: NDArray[np.float64], centre: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two neighbours on either side of the centre, one that is missing continued from the other."""
    return _or_else(one, 2 * centre - other), _or_else(other, 2 * centre - one)


def _or_else(values: NDArray[np.float64], otherwise: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.isnan(values), otherwise, values)
