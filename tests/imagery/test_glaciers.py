"""The glaciers of an inventory near a scene: their names, and what is repaired, left out or refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import shapely
from shapely.geometry import Polygon

from imagery.errors import OutlineError
from imagery.glaciers import count_glaciers, read_inventory
from imagery.grid import Grid
from imagery.outline_period import Period
from imagery.projection import reproject
from imagery.vectors import ClassFilter, FeatureFilter
from tests.imagery.forge import NORTH_UP, UTM_45N

GRID = Grid(UTM_45N, NORTH_UP, width=160, height=100)
X, Y = NORTH_UP[2], NORTH_UP[5]


def square(place: int) -> Polygon:
    """A square of 10 x 10 pixels in the topmost rows."""
    return shapely.box(X + 600 * place, Y - 300, X + 600 * place + 300, Y)


def write(path: Path, shapes: list[Any], crs: str = UTM_45N, **fields: list[Any]) -> str:
    columns = [np.array(column, dtype=object) for column in fields.values()]
    pyogrio.raw.write(
        path,
        shapely.to_wkb(np.array(shapes)),
        field_data=columns,
        fields=list(fields),
        geometry_type="Unknown",
        crs=crs,
    )
    return str(path)


def test_features_without_an_id_are_glaciers_of_their_own(tmp_path: Path) -> None:
    path = write(tmp_path / "own.gpkg", [square(place) for place in range(4)], rgi_id=["RGI-1", None, "", "RGI-1"])
    found = read_inventory(path, None, GRID)
    assert [(item.name, item.has_id) for item in found.glaciers] == [
        ("RGI-1", True), ("feature 2 of own.gpkg", False), ("feature 3 of own.gpkg", False), ("RGI-1", True),
    ]  # fmt: skip
    assert found.notes == (
        "2 polygons have no id in the field 'rgi_id': each is a glacier of its own, named by the number of its "
        "feature; the first is feature 2",
    )


def test_numbers_of_features_are_not_taken_for_ids(tmp_path: Path) -> None:
    """Other glaciers may have the ids 1 and 2, such as the connected ice of a comparison without an inventory."""
    found = read_inventory(write(tmp_path / "a.gpkg", [square(0), square(1)], code=["x", "x"]), None, GRID)
    assert [(item.name, item.has_id) for item in found.glaciers] == [
        ("feature 1 of a.gpkg", False), ("feature 2 of a.gpkg", False),
    ]  # fmt: skip
    assert "2 polygons have no id (none of the fields rgi_id, RGIId, glac_id)" in found.notes[0]


def test_without_an_id_of_its_own_a_glacier_has_that_of_glims(tmp_path: Path) -> None:
    ids = ["G086780E28060N", "G086780E28060N"]
    path = write(tmp_path / "a.gpkg", [square(0), square(1)], rgi_id=["RGI-1", None], glims_id=ids)
    found = read_inventory(path, None, GRID)
    assert [(item.name, item.has_id) for item in found.glaciers] == [("RGI-1", True), (ids[0], False)]
    assert found.notes == ()


def test_only_features_that_a_filter_lets_count_are_glaciers(tmp_path: Path) -> None:
    path = write(
        *(tmp_path / "glims.gpkg", [square(place) for place in range(4)]),
        glac_id=["old", "new", "rock", "undated"],
        src_date=["1970-01-01", "2001-10-30", "2001-10-30", None],
        line_type=["glac_bound", "glac_bound", "intrnl_rock", "glac_bound"],
    )

    def names(*filters: FeatureFilter) -> list[str]:
        return [item.name for item in read_inventory(path, None, GRID, filters=filters).glaciers]

    ice, later = ClassFilter("LINE_TYPE", ("glac_bound",)), Period("2000", "2005")
    assert names() == names(FeatureFilter()) == ["old", "new", "rock", "undated"]
    assert names(FeatureFilter(ice)) == ["old", "new", "undated"]
    assert names(FeatureFilter(None, later)) == ["new", "rock"]
    assert names(FeatureFilter(ice, later)) == ["new"]
    assert names(FeatureFilter(ice, later), FeatureFilter(ice, Period(None, "1980"))) == ["old", "new"]
    both = write(tmp_path / "own.gpkg", [square(0), square(1)], glac_id=["a", "b"], **{"class": ["ice", "lake"]})
    of_ice = FeatureFilter(class_name="ice", class_names=("ice", "lake"))
    assert [item.name for item in read_inventory(both, None, GRID, filters=[of_ice]).glaciers] == ["a"]
    with pytest.raises(OutlineError, match="found no field 'kind'"):
        names(FeatureFilter(ClassFilter("kind", ("ice",))))


def test_what_is_repaired_and_left_out_is_told(tmp_path: Path) -> None:
    bow = Polygon([(X, Y), (X + 300, Y - 300), (X + 300, Y), (X, Y - 300)])
    line = shapely.LineString([(X, Y), (X + 300, Y - 300)])
    found = read_inventory(write(tmp_path / "a.gpkg", [bow, line, square(2)], rgi_id=["a", "b", "c"]), None, GRID)
    assert [item.name for item in found.glaciers] == ["a", "c"]
    repaired, left_out = found.notes
    assert repaired.startswith("invalid outlines: 1 repaired, 0 dropped for having no area; Self-intersection (1)")
    assert left_out == "left out because they are no polygons: LineString (1); the first is feature 2"
    lines = write(tmp_path / "lines.gpkg", [line], rgi_id=["b"])
    with pytest.raises(OutlineError, match=r"found no glacier on the ground of the image \(left out .* LineString"):
        read_inventory(lines, None, GRID)
    assert count_glaciers(str(tmp_path / "a.gpkg"), None, GRID, None) == 2


def test_a_polygon_that_a_repair_would_lose_is_refused(tmp_path: Path) -> None:
    """The hole is the shell itself."""
    shell = square(0).exterior
    path = write(tmp_path / "a.gpkg", [square(2), Polygon(shell, [shell])], rgi_id=["a", "b"])
    with pytest.raises(OutlineError, match=r"1 polygons with a hole as large as the shell"):
        read_inventory(path, None, GRID)


def test_a_polygon_across_the_antimeridian_lies_where_it_is(tmp_path: Path) -> None:
    """Its longitudes jump from 179.9 to -179.9 degrees; read as they are, it would cover all but its own ground."""
    x, y = shapely.get_coordinates(reproject(shapely.Point(180.0, -17.0), "EPSG:4326", "EPSG:32701"))[0]
    grid = Grid("EPSG:32701", (30.0, 0.0, x - 3000, 0.0, -30.0, y + 3000), width=200, height=200)
    ring = [(179.99, -17.01), (-179.99, -17.01), (-179.99, -16.99), (179.99, -16.99)]
    (glacier,) = read_inventory(
        write(tmp_path / "a.gpkg", [Polygon(ring)], "EPSG:4326", rgi_id=["a"]), None, grid
    ).glaciers
    # At 17 degrees south a hundredth of a degree is 1.0648 km by 1.1067 km.
    assert glacier.polygon.area / 1e6 == pytest.approx(2 * 1.0648 * 2 * 1.1067, rel=2e-3)
