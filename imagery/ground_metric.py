"""How far apart the pixels of a scene lie on the Earth's surface, which differs from their distance on the map."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from imagery.grid import Grid, Window
from imagery.projection import geodesic_offsets

# Nodes per axis. Those of a whole Landsat scene are 25 km apart; between them the scale of a projection departs from a
# straight line by only some millionths.
_NODES: Final = 9


class GroundMetric:
    """Lengths on the Earth's surface of the steps from each pixel of a scene to the next column and the next row.

    A projection distorts lengths, depending on place and often on direction: by up to 0.1 % in UTM and by 13 % at 28
    degrees north in Web Mercator (where a slope of 45 degrees would read 41.4), and a pixel in degrees has different
    lengths in its two directions. Therefore the steps are measured on the ellipsoid (Karney 2013, Algorithms for
    geodesics) at nodes spread over the whole scene, and their products are interpolated linearly between the nodes.
    They depend on the place alone, so that windows agree with the whole scene. Products, unlike components east and
    north, are smooth at the poles too; so lengths and slopes are taken from them, and only directions from components.
    """

    def __init__(self, grid: Grid) -> None:
        """Measure the steps of a scene.

        Raises:
            SceneError: The grid's CRS has no transformation to WGS 84.
        """
        # From the first pixel's centre to the last one's; half a pixel to either side of each is still on the grid.
        self._rows = np.linspace(0.5, grid.height - 0.5, _NODES, dtype=np.float64)
        self._cols = np.linspace(0.5, grid.width - 0.5, _NODES, dtype=np.float64)
        across, down = (_steps(grid, self._rows, self._cols, to_next) for to_next in ((0, 1), (1, 0)))
        self._components = np.stack([across, down])
        self._products = np.stack([(a * b).sum(axis=0) for a, b in ((across, across), (across, down), (down, down))])

    def at(self, window: Window) -> NDArray[np.float64]:
        """Return the metric at the pixels of a window: the coefficients E, F, G of the first fundamental form.

        Args:
            window: Relative to the grid.

        Returns:
            (3, h, w) square metres: the square of the step to the next column, the scalar product of the two steps,
            the square of the step to the next row.
        """
        return self._interpolated(self._products, window)

    def steps_at(self, window: Window) -> NDArray[np.float64]:
        """Return the steps themselves at the pixels of a window, which tell where north is.

        Not exact within some nodes of a pole, where north turns from pixel to pixel.

        Args:
            window: Relative to the grid.

        Returns:
            (2, 2, h, w) metres: of the step to the next column, then of that to the next row, the components east and
            north.
        """
        return self._interpolated(self._components, window)

    def _interpolated(self, at_nodes: NDArray[np.float64], window: Window) -> NDArray[np.float64]:
        rows = _linear(window.row_off + 0.5 + np.arange(window.height, dtype=np.float64), self._rows)
        cols = _linear(window.col_off + 0.5 + np.arange(window.width, dtype=np.float64), self._cols)
        values: NDArray[np.float64] = rows @ at_nodes @ cols.T
        return values

    def pixel_area(self, rows: NDArray[np.float64], cols: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the area of a pixel at places of the grid, in square metres on the ellipsoid.

        Args:
            rows: (h,) in pixels, 0 being the upper edge of the first row.
            cols: (w,), likewise.

        Returns:
            (h, w).
        """
        across, between, down = _linear(rows, self._rows) @ self._products @ _linear(cols, self._cols).T
        area: NDArray[np.float64] = np.sqrt(across * down - between**2)
        return area


def _steps(
    grid: Grid, rows: NDArray[np.float64], cols: NDArray[np.float64], to_next: tuple[int, int]
) -> NDArray[np.float64]:
    """Measure a step of `to_next` (rows, columns), centred on each node.

    Returns:
        (2, len(rows), len(cols)) metres: the components east and north.
    """
    row, col = (axis.ravel() for axis in np.meshgrid(rows, cols, indexing="ij"))

    def place(share: float) -> NDArray[np.float64]:
        a, b, c, d, e, f = grid.transform
        at_row, at_col = row + share * to_next[0], col + share * to_next[1]
        return np.column_stack([a * at_col + b * at_row + c, d * at_col + e * at_row + f])

    ahead, back = (geodesic_offsets(place(0.0), place(share), grid.crs) for share in (0.5, -0.5))
    return (ahead - back).reshape(2, len(rows), len(cols))


def _linear(at: NDArray[np.float64], nodes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights (len(at), len(nodes)) of linear interpolation between nodes."""
    return np.column_stack([np.interp(at, nodes, unit) for unit in np.eye(len(nodes))])


def pixel_size_m(grid: Grid) -> tuple[float, float]:
    """Return the size of the pixel in the middle of a grid on the Earth's surface: along rows and along columns.

    Raises:
        SceneError: The CRS has no transformation to WGS 84.
    """
    across, _, down = GroundMetric(grid).at(Window(grid.height // 2, grid.width // 2, 1, 1))[:, 0, 0]
    return math.sqrt(across), math.sqrt(down)
