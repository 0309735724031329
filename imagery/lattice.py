"""Where the pixels of a scene lie on web maps, at few places between which a page interpolates, without PROJ."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from imagery.grid import Grid
from imagery.ground_metric import GroundMetric
from imagery.projection import transform_points
from imagery.tiles import WEB_MERCATOR

# Interpolation errs by about L^2 / (8 R) tan(latitude) over cells of L metres (R: radius of the Earth): by 1 m, a
# thirtieth of a pixel, with 32 cells across 8000 pixels of 30 m.
_CELLS: Final = 32
_WORLD_M: Final = 2 * math.pi * 6378137.0


@dataclass(frozen=True)
class Lattice:
    """Places of a grid on web maps.

    Attributes:
        rows: (n,) rows of the nodes in pixels, 0 being the upper edge of the first row.
        columns: (m,) columns of the nodes, likewise.
        mercator: (n * m, 2) x and y of the nodes in Web Mercator, row by row. Across the antimeridian x goes on.
        pixel_m2: (n * m,) area of a pixel on the ellipsoid at the nodes.
    """

    rows: NDArray[np.float64]
    columns: NDArray[np.float64]
    mercator: NDArray[np.float64]
    pixel_m2: NDArray[np.float64]


def lattice_of(grid: Grid) -> Lattice:
    """Compute the lattice of a scene.

    Raises:
        SceneError: The CRS has no transformation to Web Mercator, or a place has none, as the poles.
    """
    rows, columns = (
        np.linspace(0.0, side, min(_CELLS, side) + 1, dtype=np.float64) for side in (grid.height, grid.width)
    )
    row, column = (axis.ravel() for axis in np.meshgrid(rows, columns, indexing="ij"))
    a, b, c, d, e, f = grid.transform
    places = np.column_stack([a * column + b * row + c, d * column + e * row + f])
    mercator = transform_points(places, grid.crs, WEB_MERCATOR)
    mercator[:, 0] -= _WORLD_M * np.round((mercator[:, 0] - mercator[0, 0]) / _WORLD_M)
    return Lattice(rows, columns, mercator, GroundMetric(grid).pixel_area(rows, columns).ravel())
