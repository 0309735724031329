import numpy as np
import pytest

from imagery.errors import SceneError
from imagery.geotiff import encode, open_bytes
from imagery.grid import Grid
from imagery.raster_file import grid_of

GRID = Grid("EPSG:32645", (30.0, 0.0, 478000.0, 0.0, -30.0, 3108140.0), width=5, height=3)


@pytest.mark.parametrize(
    "grid",
    [
        GRID,
        Grid("EPSG:4326", (0.01, 0.0, 86.0, 0.0, -0.01, 28.0), 5, 3),
        Grid("EPSG:3413", (100.0, 0.0, -2e5, 0.0, 100.0, -2e6), 5, 3),
        Grid("EPSG:32645", (20.0, 10.0, 478000.0, 10.0, -20.0, 3108140.0), 5, 3),
    ],
    ids=["utm", "degrees", "polar south-up", "rotated"],
)
def test_a_grid_survives_a_file(grid: Grid) -> None:
    data = encode(np.zeros((3, 5), dtype=np.uint8), grid, nodata=255)
    with open_bytes(data) as dataset:
        assert grid_of(dataset).coincides(grid)
        assert grid_of(dataset).crs == grid.crs


def test_an_array_of_another_size_is_refused() -> None:
    with pytest.raises(SceneError, match=r"found an array of shape \(5, 3\); expected \(3, 5\), the grid's"):
        encode(np.zeros((5, 3), dtype=np.uint8), GRID, nodata=255)


def test_bytes_that_are_no_geotiff_are_refused() -> None:
    with pytest.raises(SceneError, match="found 4 bytes that are no GeoTIFF"), open_bytes(b"%PDF"):
        pass
