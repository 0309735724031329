"""Polygons drawn in a GIS as a label mask, with values that a reader can work out."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely
from shapely.geometry import Polygon

from imagery import label_polygons
from imagery.classes import GLACIER_SCHEME, UNKNOWN
from imagery.errors import OutlineError
from imagery.grid import Grid, Window
from imagery.label_polygons import read_label_polygons
from imagery.projection import transform_points
from tests.imagery.forge import NORTH_UP, UTM_45N

GRID = Grid(UTM_45N, NORTH_UP, width=160, height=100)
Drawn = Sequence[tuple[Polygon, str | None]]


def rectangle(top: int, left: int, bottom: int, right: int) -> Polygon:
    """The pixels of rows `top` to `bottom` and columns `left` to `right`, ends excluded, in map coordinates."""
    step, _, x, _, _, y = NORTH_UP
    return shapely.box(x + left * step, y - bottom * step, x + right * step, y - top * step)


def write_drawn(path: Path, layers: dict[str, Drawn], *, field: str = "class", crs: str = UTM_45N) -> str:
    """Write layers of polygons and the texts of a field, as QGIS saves them."""
    for name, drawn in layers.items():
        pyogrio.raw.write(
            path,
            np.array([shapely.to_wkb(polygon) for polygon, _ in drawn], dtype=object),
            field_data=[np.array([text for _, text in drawn], dtype=object)],
            fields=[field],
            layer=name,
            driver="GPKG",
            geometry_type="Polygon",
            crs=crs,
        )
    return str(path)


def test_polygons_are_judged_and_nothing_else(tmp_path: Path) -> None:
    ring = rectangle(10, 20, 30, 40).difference(rectangle(15, 25, 20, 30))
    drawn = {"outlines": [(ring, "clean ice"), (rectangle(25, 35, 35, 50), "debris-covered ice")]}
    found = read_label_polygons(write_drawn(tmp_path / "a.gpkg", drawn), GRID, GLACIER_SCHEME)
    expected = np.full((100, 160), UNKNOWN, dtype=np.uint8)
    expected[10:30, 20:40] = 1
    expected[15:20, 25:30] = UNKNOWN  # a hole says nothing
    expected[25:35, 35:50] = 2  # wins where both overlap
    assert found.window == Window(10, 20, 25, 30)
    np.testing.assert_array_equal(found.classes, expected[10:35, 20:50])
    (layer,) = found.layers
    assert (layer.features, layer.notes) == ({"clean ice": 1, "debris-covered ice": 1}, ())


def test_inside_of_the_judged_layer_all_else_is_background(tmp_path: Path) -> None:
    drawn: dict[str, Drawn] = {
        "outlines": [
            (rectangle(10, 20, 30, 40), "clean ice"),
            (rectangle(12, 22, 14, 24), "background"),
            (rectangle(50, 60, 52, 62), "masked/unknown"),
        ],
        "Judged": [(rectangle(5, 15, 60, 70), None)],
    }
    found = read_label_polygons(write_drawn(tmp_path / "a.gpkg", drawn), GRID, GLACIER_SCHEME)
    expected = np.zeros((55, 55), dtype=np.uint8)
    expected[5:25, 5:25] = 1
    expected[7:9, 7:9] = 0
    expected[45:47, 45:47] = UNKNOWN
    assert found.window == Window(5, 15, 55, 55)
    np.testing.assert_array_equal(found.classes, expected)
    assert [layer.features for layer in found.layers][1] == {"judged": 1}


def test_another_crs_and_an_invalid_polygon_are_taken_and_told(tmp_path: Path) -> None:
    bow = Polygon([(30, 10), (60, 40), (60, 10), (30, 40)])  # crosses itself at (45, 25): two triangles
    step, _, x, _, _, y = NORTH_UP
    corners = np.array(bow.exterior.coords) * (step, -step) + (x, y)
    degrees = Polygon(transform_points(corners, UTM_45N, "EPSG:4326"))
    path = write_drawn(tmp_path / "a.gpkg", {"outlines": [(degrees, "clean ice")]}, crs="EPSG:4326")
    found = read_label_polygons(path, GRID, GLACIER_SCHEME)
    assert (found.classes == 1).sum() == pytest.approx(450, abs=15)
    (note,) = found.layers[0].notes
    assert note.startswith("invalid outlines: 1 repaired, 0 dropped")


@pytest.mark.parametrize(
    ("layers", "field", "expected"),
    [
        (
            {"a": [(rectangle(1, 1, 9, 9), "ice")]},
            "class",
            r"ice \(1 features\); expected one of background, clean ice",
        ),
        ({"a": [(rectangle(1, 1, 9, 9), None)]}, "class", r"\(nothing\) \(1 features\)"),
        ({"a": [(rectangle(1, 1, 9, 9), "clean ice")]}, "kind", "found no field 'class' in layer 'a'"),
        ({"a": [(rectangle(900, 1, 909, 9), "clean ice")]}, "class", "found no polygon in the scene"),
    ],
)
def test_what_cannot_be_a_label_is_refused(tmp_path: Path, layers: dict[str, Drawn], field: str, expected: str) -> None:
    with pytest.raises(OutlineError, match=expected):
        read_label_polygons(write_drawn(tmp_path / "a.gpkg", layers, field=field), GRID, GLACIER_SCHEME)


def test_a_window_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_polygons, "LARGEST_PX", 80)
    drawn = {"a": [(rectangle(1, 1, 10, 10), "clean ice")]}
    with pytest.raises(OutlineError, match=r"a window of 9 x 9 px; expected at most 80 px"):
        read_label_polygons(write_drawn(tmp_path / "a.gpkg", drawn), GRID, GLACIER_SCHEME)
