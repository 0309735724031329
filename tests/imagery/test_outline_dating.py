from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import shapely

from imagery.grid import Grid
from imagery.outline_dating import date_outlines, find_doubled, read_date
from imagery.vectors import ClassFilter
from tests.imagery.forge import NORTH_UP, UTM_45N, forge_scene

DATA = Path(__file__).parents[1] / "data"
GRID = Grid(UTM_45N, NORTH_UP, width=160, height=100)
OETZTAL = Grid("EPSG:4326", (0.001, 0.0, 10.7, 0.0, -0.001, 46.94), width=300, height=170)


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("20001030", "2000-10-30"),
        ("2000-10-30T00:00:00", "2000-10-30"),
        ("2000-10", "2000-10"),
        ("20030799", "2003-07"),
        ("20009999", "2000"),
        ("2000", "2000"),
        ("-9999999", None),
        ("30.10.2000", None),
        ("", None),
    ],
)
def test_dates_are_as_exact_as_they_are_told(text: str, date: str | None) -> None:
    assert read_date(text) == date


def test_real_inventories_tell_their_dates_and_themselves() -> None:
    six = date_outlines(str(DATA / "rgi_oetztal.shp"), None, OETZTAL)
    assert (six.middle, six.field, six.features) == ("2003-07", "BgnDate", six.dated)
    assert six.source == "Randolph Glacier Inventory (version 6 or earlier)"
    seven = date_outlines(str(DATA / "rgi7g_hef_complex.shp"), None, OETZTAL)
    assert (seven.first, seven.middle, seven.last) == ("2003-07-30",) * 3
    assert (seven.field, seven.source) == ("src_date", "Randolph Glacier Inventory 7")


def test_a_file_that_tells_nothing_gives_nothing(tmp_path: Path) -> None:
    outlines = forge_scene(tmp_path / "a.tif").outlines[0]
    found = date_outlines(outlines.path, outlines.layer, Grid(UTM_45N, NORTH_UP, width=160, height=100))
    assert (found.middle, found.field, found.source, found.features) == (None, None, None, 1)


def _squares(path: Path, places: list[tuple[int, int]], **fields: list[Any]) -> str:
    """Write squares of pixels in the topmost rows, each (first column, side)."""
    x, y = NORTH_UP[2], NORTH_UP[5]
    shapes = [shapely.box(x + 30 * col, y - 30 * side, x + 30 * (col + side), y) for col, side in places]
    columns = [np.array(column, None if isinstance(column[0], int) else object) for column in fields.values()]
    pyogrio.raw.write(
        path, shapely.to_wkb(shapes), field_data=columns, fields=list(fields), geometry_type="Polygon", crs=UTM_45N
    )
    return str(path)


def test_a_glacier_of_two_dates_is_found_with_its_dates_and_the_area_that_both_cover(tmp_path: Path) -> None:
    """The later outline, 15 px wide, lies inside the earlier one; another glacier touches that one along its edge."""
    path = _squares(
        tmp_path / "glims.shp",
        [(0, 30), (0, 15), (30, 20)],
        glac_id=["G086932E27979N", "G086932E27979N", "G086941E27979N"],
        src_date=["1990-01-01T00:00:00", "2018-10-01T00:00:00", "2018-10-01T00:00:00"],
    )
    found = find_doubled(path, None, GRID)
    assert found is not None
    assert (found.names, found.dates) == (("G086932E27979N",), ("1990-01-01", "2018-10-01"))
    assert found.features == (0, 1)
    # 30 m on the map are 30 m / 0.9996 on the ground near the middle of the zone.
    assert found.area_km2 == pytest.approx(15 * 15 * 900e-6 / 0.9996**2, rel=1e-3)


@pytest.mark.parametrize(
    ("fields", "is_found"),
    [
        ({"year": [1980, 2010]}, True),  # without ids, years tell
        ({"year": [2010, 2010]}, False),  # two polygons that overlap, of one date
        ({"rgi_id": ["a", "a"]}, True),  # without dates, ids tell
        ({"rgi_id": ["a", "b"]}, False),
        ({"number": [1, 2]}, False),
    ],
)
def test_overlaps_are_doubled_glaciers_only_where_ids_or_years_say_so(
    tmp_path: Path, fields: dict[str, list[Any]], *, is_found: bool
) -> None:
    path = _squares(tmp_path / "a.gpkg", [(0, 30), (0, 15)], **fields)
    assert (find_doubled(path, None, GRID) is not None) == is_found


def test_only_what_is_burnt_together_inside_of_the_scene_is_counted(tmp_path: Path) -> None:
    """Debris lies on its own glacier. Of the pair at the right edge, 10 of 40 columns lie inside of the scene."""
    path = _squares(
        tmp_path / "a.gpkg",
        [(0, 30), (0, 15), (150, 40), (150, 40)],
        glac_id=["a", "a", "b", "b"],
        line_type=["glac_bound", "debris_cov", "glac_bound", "glac_bound"],
    )
    ice = find_doubled(path, None, GRID, ClassFilter("LINE_TYPE", ("glac_bound",)))
    assert ice is not None
    assert ice.names == ("b",)
    assert ice.area_km2 == pytest.approx(10 * 40 * 900e-6 / 0.9996**2, rel=1e-3)
    assert find_doubled(path, None, GRID, ClassFilter("line_type", ("debris_cov",))) is None


def test_a_slight_overlap_of_neighbours_is_none(tmp_path: Path) -> None:
    """Of 20 columns, 2 lie on the neighbour: not more than a tenth of it."""
    path = _squares(tmp_path / "a.gpkg", [(0, 20), (18, 20)], year=[2000, 2010])
    assert find_doubled(path, None, GRID) is None
    path = _squares(tmp_path / "b.gpkg", [(0, 20), (17, 20)], year=[2000, 2010])
    assert find_doubled(path, None, GRID) is not None


@pytest.mark.parametrize("name", ["rgi_oetztal", "rgi7g_hef_complex"])
def test_real_inventories_hold_every_glacier_once(name: str) -> None:
    assert find_doubled(str(DATA / f"{name}.shp"), None, OETZTAL) is None
