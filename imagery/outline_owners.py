"""Which outline each pixel lies in, strip by strip."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize

from imagery.grid import Grid, Window

_POLYGONS_PER_CALL: Final = 256  # Rasterio converts all vertices of one call to Python objects first


class OutlineOwners:
    """The outlines of one class on the grid that they were made from."""

    def __init__(self, polygons: NDArray[np.object_], grid: Grid) -> None:
        """Remember which rows each polygon has.

        Args:
            polygons: (n,) polygons in the grid's CRS that do not overlap.
            grid: The grid.
        """
        self._polygons = polygons
        self._grid = grid
        self._spans = np.array([_rows_of(polygon, grid) for polygon in polygons]).reshape(-1, 2)

    def in_rows(self, first: int, count: int) -> NDArray[np.int32]:
        """Return the number of the outline (from 1) that holds each pixel's centre, 0 for none.

        Returns:
            (count, W).
        """
        window = Window(first, 0, count, self._grid.width)
        owner = np.zeros(window.shape, dtype=np.int32)
        numbers = np.flatnonzero((self._spans[:, 0] < first + count) & (self._spans[:, 1] > first))
        transform = self._grid.window_transform(window)
        for part in _parts(numbers.tolist()):
            rasterize([(self._polygons[number], number + 1) for number in part], out=owner, transform=transform)
        return owner


def _rows_of(polygon: Any, grid: Grid) -> tuple[float, float]:
    """Return the first and the last row, in pixels, that the box around a polygon reaches."""
    corners = shapely.get_coordinates(shapely.box(*polygon.bounds))
    rows = [(~grid.affine @ (x, y))[1] for x, y in corners.tolist()]
    return min(rows), max(rows)


def _parts(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(numbers), _POLYGONS_PER_CALL):
        yield numbers[start : start + _POLYGONS_PER_CALL]
