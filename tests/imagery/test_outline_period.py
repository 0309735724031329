"""Outlines of a period only, from real files of several dates."""

from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely
from pyproj import Transformer

from imagery.classes import GLACIER_SCHEME
from imagery.errors import ExportError, OutlineError
from imagery.glims_check import check_submission
from imagery.grid import Grid
from imagery.masks import OutlineLayer, rasterize_outlines, read_outlines
from imagery.outline_dating import date_outlines, find_doubled
from imagery.outline_period import OtherDates, Period
from tests.imagery.forge import NORTH_UP, UTM_45N

GRID = Grid(UTM_45N, NORTH_UP, width=160, height=100)
DATES = ("2000-10-30", "2003", "2003-08", "2010-01-01", None)


def squares(path: Path, dates: tuple[str | None, ...] = DATES, field: str = "src_date", crs: str = UTM_45N) -> str:
    """Squares of 10 x 10 pixels side by side in the topmost rows, one for each date, of one glacier."""
    x, y = NORTH_UP[2], NORTH_UP[5]
    shapes = [shapely.box(x + 300 * place, y - 300, x + 300 * (place + 1), y) for place in range(len(dates))]
    turn = Transformer.from_crs(UTM_45N, crs, always_xy=True).transform
    shapes = [shapely.transform(shape, turn, interleaved=False) for shape in shapes]
    pyogrio.raw.write(
        path,
        shapely.to_wkb(shapes),
        field_data=[np.array(dates, object), np.array(["ice"] * len(dates), object)],
        fields=[field, "kind"],
        geometry_type="Polygon",
        crs=crs,
    )
    return str(path)


@pytest.mark.parametrize(
    ("first", "last", "date", "held"),
    [
        ("2000", "2003", "2003-08-13", True),
        ("2000", "2003-07", "2003-08-13", False),
        ("2000", "2003-07", "2003", True),  # it may lie there
        ("2003-08-14", None, "2003-08-13", False),
        (None, "2003-08-13", "2003-08-13", True),
        (None, "2003", "2004-01", False),
    ],
)
def test_dates_are_compared_as_exactly_as_both_are(first: str | None, last: str | None, date: str, held: bool) -> None:
    assert Period(first, last).holds(date) is held


@pytest.mark.parametrize(("first", "last"), [("2005", "2000"), ("2000-06", "2000-05-31"), ("00-1", None)])
def test_a_period_that_is_none_is_refused(first: str, last: str | None) -> None:
    with pytest.raises(OutlineError, match=r"expected (it to begin before it ends|2000-10-30)"):
        Period(first, last)


@pytest.mark.parametrize("ending", ["gpkg", "shp", "geojson"])
@pytest.mark.parametrize(
    ("drawn_from", "drawn_to", "kept"),
    [(None, None, range(5)), ("2003", None, (1, 2, 3)), (None, "2002", (0,)), ("2003-08", "2009", (1, 2))],
)
def test_only_outlines_of_the_period_are_burnt(
    tmp_path: Path, ending: str, drawn_from: str | None, drawn_to: str | None, kept: tuple[int, ...]
) -> None:
    path = squares(tmp_path / f"a.{ending}", crs="EPSG:4326" if ending == "geojson" else UTM_45N)
    outlines = [OutlineLayer(path, None, "clean ice", drawn_from=drawn_from, drawn_to=drawn_to)]
    mask = rasterize_outlines(outlines, GRID, GLACIER_SCHEME)
    found = {place for place in range(5) if mask[5, 10 * place + 5]}
    assert found == set(kept)
    assert (mask != 0).sum() == pytest.approx(100 * len(kept), rel=0.1)


def test_what_a_period_leaves_out_is_told_in_numbers(tmp_path: Path) -> None:
    path = squares(tmp_path / "a.gpkg")
    outlines = [OutlineLayer(path, None, "clean ice", "kind", ("ice",), "2003", "2003")]
    ((_, layer),) = read_outlines(outlines, GRID, GLACIER_SCHEME)
    assert layer.other_dates == OtherDates(("2000-10-30", "2010-01-01"), 1)
    assert layer.other_dates.describe(Period("2003", "2003")) == (
        "of the period 2003 to 2003; left out: 2 of other dates (2000-10-30 to 2010-01-01) and 1 without a date"
    )
    assert date_outlines(path, None, GRID, Period("2003", "2003")).dates == ("2003", "2003-08")


def test_a_period_takes_one_of_several_dates_of_a_glacier(tmp_path: Path) -> None:
    x, y = NORTH_UP[2], NORTH_UP[5]
    shapes = [shapely.box(x, y - 30 * side, x + 30 * side, y) for side in (20, 10)]
    path = tmp_path / "glims.gpkg"
    pyogrio.raw.write(
        path,
        shapely.to_wkb(shapes),
        field_data=[np.array(["1990-08-01", "2015-08-01"], object)],
        fields=["src_date"],
        geometry_type="Polygon",
        crs=UTM_45N,
    )
    assert find_doubled(str(path), None, GRID) is not None
    assert find_doubled(str(path), None, GRID, period=Period("2010", None)) is None
    newer = [OutlineLayer(str(path), None, "clean ice", drawn_from="2010")]
    assert (rasterize_outlines(newer, GRID, GLACIER_SCHEME) != 0).sum() == 100


def test_a_period_without_outlines_or_without_dates_is_refused(tmp_path: Path) -> None:
    path = squares(tmp_path / "a.gpkg")
    with pytest.raises(
        OutlineError,
        match=r"no outlines near the scene .*period until 1990; left out: 4 of other dates \(2000-10-30 to 2010",
    ):
        read_outlines([OutlineLayer(path, None, "clean ice", drawn_to="1990")], GRID, GLACIER_SCHEME)
    other = squares(tmp_path / "b.gpkg", field="surveyed")
    with pytest.raises(OutlineError, match=r"found no field of dates in layer 'b'.*expected one of src_date, bgndate"):
        read_outlines([OutlineLayer(other, None, "clean ice", drawn_to="2005")], GRID, GLACIER_SCHEME)


@pytest.mark.parametrize(("date", "why"), [("20020231", "day is out of range"), ("00000101", "year 0 is out of range")])
def test_a_date_that_no_calendar_has_is_refused(tmp_path: Path, date: str, why: str) -> None:
    """In a field of dates, which a shapefile stores as eight digits; dates as text are only compared."""
    path = tmp_path / "glaciers.shp"
    square = shapely.box(NORTH_UP[2], NORTH_UP[5] - 300, NORTH_UP[2] + 300, NORTH_UP[5])
    pyogrio.raw.write(
        path,
        shapely.to_wkb([square]),
        field_data=[np.array(["2002-02-01"], "datetime64[D]")],
        fields=["src_date"],
        geometry_type="Polygon",
        crs=UTM_45N,
    )
    table = path.with_suffix(".dbf")
    table.write_bytes(table.read_bytes().replace(b"20020201", date.encode()))
    with pytest.raises(
        OutlineError, match=rf"glaciers\.shp: found a value that cannot be read \({why}.*expected dates that exist"
    ):
        read_outlines([OutlineLayer(str(path), None, "clean ice", drawn_to="2005")], GRID, GLACIER_SCHEME)
    with pytest.raises(ExportError, match=rf"found no readable shapefile \({why}"):
        check_submission(tmp_path)
