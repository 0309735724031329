from datetime import date
from math import atanh, radians, sin, sqrt

import numpy as np
import pytest
import shapely
from pyproj import Geod

from imagery.classes import GLACIER_SCHEME
from imagery.errors import SceneError
from imagery.grid import Grid
from imagery.outline_table import TerrainStrip, tabulate
from tests.imagery.forge import UTM_45N

GRID = Grid(UTM_45N, (30.0, 0.0, 478000.0, 0.0, -30.0, 3108140.0), width=8, height=6)
TWO = np.zeros((6, 8), dtype=np.uint8)
TWO[0:2, 0:2] = 1
TWO[3:6, 3:8] = 2


def _zone_km2(south: float, north: float, width: float) -> float:
    """Exact area on the WGS 84 ellipsoid between two parallels and two meridians, all in degrees."""
    ellipsoid = Geod(ellps="WGS84")
    e, b_km = sqrt(ellipsoid.es), ellipsoid.b / 1000

    def authalic(latitude: float) -> float:
        s = sin(radians(latitude))
        return s / (1 - (e * s) ** 2) + atanh(e * s) / e

    return radians(width) * b_km**2 / 2 * (authalic(north) - authalic(south))


def test_the_formula_gives_the_area_of_the_whole_ellipsoid() -> None:
    assert _zone_km2(-90, 90, 360) == pytest.approx(510_065_621.7, rel=1e-9)


@pytest.mark.parametrize("latitude", [27.0, -48.0, 78.0])
def test_area_is_on_the_ellipsoid(latitude: float) -> None:
    # A cell of one degree by one degree, in pixels of half a minute; a hole of a quarter of a degree in its middle.
    grid = Grid("EPSG:4326", (1 / 120, 0, 86.0, 0, -1 / 120, latitude + 1), width=120, height=120)
    mask = np.ones((120, 120), dtype=np.uint8)
    mask[45:75, 45:75] = 0
    expected = _zone_km2(latitude, latitude + 1, 1) - _zone_km2(latitude + 0.375, latitude + 0.625, 0.25)
    assert tabulate(mask, grid, GLACIER_SCHEME.names).fields["area_km2"].tolist() == pytest.approx([expected], rel=1e-5)


def test_attributes_are_named_as_in_rgi_and_short_enough_for_shapefiles() -> None:
    terrain = [TerrainStrip(0, np.zeros((6, 8)), np.zeros((6, 8)))]
    fields = tabulate(TWO, GRID, GLACIER_SCHEME.names, terrain=terrain, src_date=date(2000, 10, 30)).fields
    assert list(fields) == [
        *("outline_id", "class", "area_km2", "cenlon", "cenlat", "src_date"),
        *("zmin_m", "zmed_m", "zmean_m", "zmax_m", "slope_deg"),
        *("smooth_px", "px_changed", "area_diff"),
    ]
    assert max(map(len, fields)) <= 10
    assert fields["outline_id"].tolist() == [1, 2]
    assert fields["class"].tolist() == ["clean ice", "debris-covered ice"]
    assert fields["src_date"].tolist() == ["2000-10-30"] * 2
    assert {len(column) for column in fields.values()} == {2}


def test_what_is_not_known_is_left_out() -> None:
    fields = tabulate(TWO, GRID, GLACIER_SCHEME.names).fields
    assert not {"src_date", "zmin_m", "slope_deg"} & set(fields)


@pytest.mark.parametrize("rows", [1, 2, 4, 6])
def test_relief_is_of_the_pixels_inside_and_nan_where_unknown_however_it_comes_in_strips(rows: int) -> None:
    elevation = np.full((6, 8), 9999.0)
    elevation[0:2, 0:2] = [[5000, 5100], [5200, np.nan]]
    elevation[3:6, 3:8] = np.nan
    slope = np.full((6, 8), 80.0)
    slope[0:2, 0:2] = [[10, 20], [30, 40]]
    slope[3:6, 3:8] = 5
    strips = (TerrainStrip(row, elevation[row : row + rows], slope[row : row + rows]) for row in range(0, 6, rows))
    fields = tabulate(TWO, GRID, GLACIER_SCHEME.names, terrain=strips).fields
    found = {name: fields[name][0] for name in ("zmin_m", "zmed_m", "zmean_m", "zmax_m", "slope_deg")}
    assert found == {"zmin_m": 5000, "zmed_m": 5100, "zmean_m": 5100, "zmax_m": 5200, "slope_deg": 25}
    assert np.isnan([fields[name][1] for name in ("zmin_m", "zmed_m", "zmean_m", "zmax_m")]).all()
    assert fields["slope_deg"][1] == 5


def test_relief_of_another_size_is_refused() -> None:
    def strip(row: int, height: int, width: int = 8) -> TerrainStrip:
        return TerrainStrip(row, np.zeros((height, width)), np.zeros((height, width)))

    with pytest.raises(SceneError, match=r"found relief of shape \(6, 7\) from row 0; expected strips"):
        tabulate(TWO, GRID, GLACIER_SCHEME.names, terrain=[strip(0, 6, 7)])
    with pytest.raises(SceneError, match=r"from row 4; expected .* the next from row 3"):
        tabulate(TWO, GRID, GLACIER_SCHEME.names, terrain=[strip(0, 3), strip(4, 2)])
    with pytest.raises(SceneError, match="found relief of 3 rows; expected that of all 6"):
        tabulate(TWO, GRID, GLACIER_SCHEME.names, terrain=[strip(0, 3)])


def test_the_centre_lies_inside_even_a_horseshoe() -> None:
    horseshoe = np.zeros((6, 8), dtype=np.uint8)
    horseshoe[:, 1:7] = 1
    horseshoe[1:, 2:6] = 0
    table = tabulate(horseshoe, GRID, GLACIER_SCHEME.names)
    centre = shapely.points(table.fields["cenlon"], table.fields["cenlat"])
    assert shapely.contains(table.wgs84, centre).tolist() == [True]
    assert not shapely.contains(table.wgs84, shapely.centroid(table.wgs84)).any()


def test_the_error_of_smoothing_is_stated_with_every_outline() -> None:
    rows, cols = np.indices((60, 60))
    mask = (np.hypot(rows - 30, cols - 30) < 20).astype(np.uint8)
    grid = Grid(UTM_45N, GRID.transform, width=60, height=60)
    exact, smooth = (
        tabulate(mask, grid, GLACIER_SCHEME.names).fields,
        tabulate(mask, grid, GLACIER_SCHEME.names, smoothing_px=1.0).fields,
    )
    assert [exact[name].tolist() for name in ("smooth_px", "px_changed", "area_diff")] == [[0], [0], [0]]
    assert smooth["smooth_px"].tolist() == [1]
    assert 0 < smooth["px_changed"][0] < 0.05
    assert smooth["area_diff"][0] == pytest.approx(smooth["area_km2"][0] / exact["area_km2"][0] - 1, abs=1e-5)
