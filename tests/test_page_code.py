"""The pages' functions that need no browser."""

from typing import Any

import numpy as np
import pytest

from tests.page_code import run_page_code

SIDE = 120
BRUSH = 'export { Grid, brushCentre } from "./map/correct/grid";'
FOOTPRINT = """
const grid = new page.Grid(sent.side, sent.side);
const [from, to] = [sent.from, sent.to].map((place) => page.brushCentre(place, sent.diameter));
grid.paint(from, to, sent.diameter, 1);
return [...grid.values];
"""


def footprint(diameter: int, start: tuple[float, float], end: tuple[float, float]) -> np.ndarray[Any, Any]:
    """The pixels that a brush paints between two places, given as row and column."""
    sent = {"side": SIDE, "from": start, "to": end, "diameter": diameter}
    return np.array(run_page_code(BRUSH, FOOTPRINT, sent)).reshape(SIDE, SIDE)


@pytest.mark.parametrize(
    ("diameter", "pixels"),
    # A disc of this diameter holds as many centres of pixels: 2 x 2; 3 x 3; 4 x 4 and 5 x 5 without their corners.
    [(1, 1), (2, 4), (3, 9), (4, 12), (5, 21), (8, None), (12, None), (96, None)],
)
@pytest.mark.parametrize("place", [(60.2, 60.9), (59.6, 61.4)])
def test_a_brush_paints_as_many_pixels_across_as_its_size_says(
    diameter: int, pixels: int | None, place: tuple[float, float]
) -> None:
    painted = footprint(diameter, place, place)
    assert (np.count_nonzero(painted.any(axis=0)), np.count_nonzero(painted.any(axis=1))) == (diameter, diameter)
    assert pixels is None or painted.sum() == pixels
    assert painted.sum() == pytest.approx(np.pi * diameter**2 / 4, rel=0.3, abs=2)
    rows, columns = np.nonzero(painted)
    for found, pointed in zip((rows, columns), place, strict=True):
        assert abs(found.mean() + 0.5 - pointed) <= 0.5  # under the pointer


@pytest.mark.parametrize("diameter", [1, 2, 3, 4, 5, 8])
def test_a_stroke_is_as_wide_as_its_brush(diameter: int) -> None:
    painted = footprint(diameter, (60.3, 30.3), (60.3, 80.3))
    assert np.count_nonzero(painted, axis=0)[40:70].tolist() == [diameter] * 30
    upright = footprint(diameter, (30.3, 60.3), (80.3, 60.3))
    np.testing.assert_array_equal(upright, painted.T)
