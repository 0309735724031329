from pathlib import Path

import pytest

from imagery.grid import Grid
from imagery.outline_dating import date_outlines, read_date
from tests.imagery.forge import NORTH_UP, UTM_45N, forge_scene

DATA = Path(__file__).parents[1] / "data"
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
