"""What outlines hold is said before a scene is registered."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import shapely

from imagery.classes import GLACIER_SCHEME
from imagery.errors import OutlineError
from imagery.grid import Grid
from imagery.masks import OutlineLayer
from services.outline_check import check_outlines, layers_to_propose, outline_layers, propose_outlines
from tests.imagery.forge import NORTH_UP, UTM_45N, forge_scene, write_polygons

DATA = Path(__file__).parents[1] / "data"
GRID = Grid(UTM_45N, NORTH_UP, width=160, height=100)
CLEAN, DEBRIS = "clean ice", "debris-covered ice"


def _square(col: int, row: int, side: int = 10) -> shapely.Polygon:
    x, y = NORTH_UP[2] + 30 * col, NORTH_UP[5] - 30 * row
    return shapely.box(x, y - 30 * side, x + 30 * side, y)


def test_classes_are_counted_as_they_will_be_burnt(tmp_path: Path) -> None:
    forged = forge_scene(tmp_path / "a.tif")
    summary = check_outlines(forged.outlines, forged.grid, GLACIER_SCHEME)
    assert [(item.class_name, item.pixels) for item in summary.classes] == [
        (CLEAN, int((forged.truth == 1).sum())),
        (DEBRIS, int((forged.truth == 2).sum())),
    ]
    for item in summary.classes:  # a pixel is 900 square metres on the map, and UTM's scale is 0.9996 in the middle
        assert item.area_km2 == pytest.approx(item.pixels * 900e-6 / 0.9996**2, rel=2e-4)
    assert [layer.notes for layer in summary.layers] == [(), ()]


def test_a_real_inventory_has_its_own_area(tmp_path: Path) -> None:
    """The scene, in degrees, holds all 20 glaciers; their sum is in the inventory's field Area, square kilometres."""
    path = str(DATA / "rgi_oetztal.shp")
    x0, y0, x1, y1 = pyogrio.read_info(path)["total_bounds"]
    step = 0.0005
    grid = Grid(
        "EPSG:4326", (step, 0.0, x0, 0.0, -step, y1), width=int((x1 - x0) / step) + 1, height=int((y1 - y0) / step) + 1
    )
    _, outlines = propose_outlines(path, None, GLACIER_SCHEME)
    (ice,) = check_outlines(outlines, grid, GLACIER_SCHEME).classes
    (area,) = pyogrio.raw.read(path, columns=["Area"], read_geometry=False)[3]
    assert ice.polygons == 20
    assert ice.area_km2 == pytest.approx(area.sum(), rel=0.01)


def test_repairs_and_what_is_left_out_are_said(tmp_path: Path) -> None:
    x, y = NORTH_UP[2], NORTH_UP[5]
    bow_tie = shapely.Polygon([(x, y), (x + 300, y - 300), (x + 300, y), (x, y - 300)])
    path = write_polygons(tmp_path / "a.gpkg", {"a": [bow_tie, shapely.Point(x + 9, y - 9)]})
    (layer,) = check_outlines([OutlineLayer(str(path), None, CLEAN)], GRID, GLACIER_SCHEME).layers
    repaired, left_out = layer.notes
    assert repaired.startswith("invalid outlines: 1 repaired")
    assert left_out == "left out because they are no polygons: Point (1); the first is feature 2"


def test_equal_polygons_count_once_and_are_told(tmp_path: Path) -> None:
    """Three squares of 100 pixels: one is there three times, once from another corner and with a vertex more."""
    square = _square(0, 0)
    x, y = NORTH_UP[2], NORTH_UP[5]
    turned = shapely.Polygon([(x + 300, y), (x + 150, y), (x, y), (x, y - 300), (x + 300, y - 300)])
    twice = "equal to another of clean ice, and counted once with it: if a file holds features twice"
    path = write_polygons(
        tmp_path / "a.gpkg", {"a": [square, _square(20, 0), square, turned], "b": [square, _square(40, 0)]}
    )
    layers = [OutlineLayer(str(path), layer, CLEAN) for layer in ("a", "b")]
    summary = check_outlines(layers, GRID, GLACIER_SCHEME)
    assert [item.polygons for item in summary.layers] == [2, 2]
    (ice,) = summary.classes
    assert (ice.polygons, ice.pixels) == (3, 300)
    assert ice.area_km2 == pytest.approx(300 * 900e-6 / 0.9996**2, rel=2e-4)
    (of_a,), (of_b,) = (item.notes for item in summary.layers)
    assert of_a.startswith(f"2 of its polygons are {twice}")
    assert of_b.startswith(f"1 of its polygons is {twice}")


def test_equal_polygons_of_two_classes_are_polygons_of_both(tmp_path: Path) -> None:
    path = write_polygons(tmp_path / "a.gpkg", {"a": [_square(0, 0)], "b": [_square(0, 0)]})
    summary = check_outlines(
        [OutlineLayer(str(path), *item) for item in (("a", CLEAN), ("b", DEBRIS))], GRID, GLACIER_SCHEME
    )
    assert [(item.polygons, item.pixels) for item in summary.classes] == [(1, 0), (1, 100)]
    assert [item.notes for item in summary.layers] == [(), ()]


def test_values_that_are_mapped_to_no_class_are_said(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    pyogrio.raw.write(
        path,
        shapely.to_wkb(np.array([_square(0, 0), _square(20, 0), _square(40, 0)])),
        field_data=[np.array(["a", "b", "c"], object)],
        fields=["kind"],
        geometry_type="Polygon",
        crs=UTM_45N,
    )
    outlines = [OutlineLayer(str(path), None, name, "kind", (value,)) for name, value in ((CLEAN, "a"), (DEBRIS, "b"))]
    summary = check_outlines(outlines, GRID, GLACIER_SCHEME)
    assert [item.pixels for item in summary.classes] == [100, 100]
    assert summary.layers[0].notes == ("features whose 'kind' is mapped to no class are left out: 'c' (1)",)


def test_a_layer_far_from_the_scene_is_said(tmp_path: Path) -> None:
    near = write_polygons(tmp_path / "near.gpkg", {"near": [_square(0, 0)]})
    far = write_polygons(tmp_path / "far.gpkg", {"far": [_square(9000, 0)]})
    both = [OutlineLayer(str(near), None, CLEAN), OutlineLayer(str(far), None, DEBRIS)]
    assert [item.notes for item in check_outlines(both, GRID, GLACIER_SCHEME).layers] == [(), ("misses the scene",)]
    with pytest.raises(OutlineError, match="found outlines that miss the scene"):
        check_outlines(both[1:], GRID, GLACIER_SCHEME)


def test_what_cannot_be_proposed_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    path.write_text(
        json.dumps(
            {
                "type": "FeatureCollection",
                "features": [
                    {
                        "type": "Feature",
                        "properties": {"class": kind},
                        "geometry": shapely.geometry.mapping(_square(0, 0)),
                    }
                    for kind in ("clean", "firn")
                ],
                "crs": {"type": "name", "properties": {"name": UTM_45N}},
            }
        )
    )
    with pytest.raises(
        OutlineError, match=r"not recognised: 'firn'; .* --map \"clean=clean ice\" --map \"firn=CLASS\""
    ):
        propose_outlines(str(path), None, GLACIER_SCHEME)
    plain = write_polygons(tmp_path / "b.gpkg", {"b": [_square(0, 0)]})
    with pytest.raises(OutlineError, match="found neither a field nor a name that tells the class"):
        propose_outlines(str(plain), None, GLACIER_SCHEME)


def _of_kinds(path: Path, kinds: list[str], layer: str | None = None) -> str:
    """Write a square for each kind, beside each other."""
    pyogrio.raw.write(
        path,
        shapely.to_wkb(np.array([_square(20 * place, 0) for place in range(len(kinds))])),
        field_data=[np.array(kinds, object)],
        fields=["Typ"],
        geometry_type="Polygon",
        crs=UTM_45N,
        layer=layer,
        append=path.exists(),
    )
    return str(path)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ({"Debris Covered": DEBRIS, "clean": CLEAN}, "'Typ' is 'Debris Covered'; expected 'debris covered'"),
        ({"01": CLEAN, "clean": CLEAN}, "'Typ' is '01'; expected '1'"),
        (
            {"ice": CLEAN},
            r"no feature whose 'Typ' is 'ice'; its values are 'clean' \(2\), 'debris covered' \(1\), '1' \(1\)",
        ),
    ],
)
def test_misspelt_values_do_not_make_ice_background(tmp_path: Path, classes: dict[str, str], message: str) -> None:
    path = _of_kinds(tmp_path / "a.gpkg", ["clean", "clean", "debris covered", "1"])
    with pytest.raises(OutlineError, match=message):
        outline_layers(path, None, GLACIER_SCHEME, class_field="typ", classes=classes)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"classes": {"1": CLEAN}}, "without the field that holds them; expected it: --class-field"),
        ({"class_field": "Typ"}, r"the field 'Typ' without a class .* Typ \('a' \(1\), 'b' \(1\)\)"),
        ({"class_name": CLEAN, "class_field": "Typ"}, "found the class 'clean ice' and a field"),
    ],
)
def test_half_a_statement_of_classes_is_refused(tmp_path: Path, told: dict[str, Any], message: str) -> None:
    with pytest.raises(OutlineError, match=message):
        outline_layers(_of_kinds(tmp_path / "a.gpkg", ["a", "b"]), None, GLACIER_SCHEME, **told)


def test_a_mapped_value_that_no_feature_has_is_said(tmp_path: Path) -> None:
    path = _of_kinds(tmp_path / "a.gpkg", ["clean"])
    outlines = outline_layers(path, None, GLACIER_SCHEME, class_field="Typ", classes={"clean": CLEAN, "ice": CLEAN})
    (layer,) = check_outlines(outlines, GRID, GLACIER_SCHEME).layers
    assert layer.notes == ("no feature near the scene has the 'Typ' 'ice'",)


def test_fields_are_listed_where_no_class_is_recognised(tmp_path: Path) -> None:
    path = _of_kinds(tmp_path / "a.gpkg", ["molozlu buz", "molozlu buz", "temiz buz"])
    with pytest.raises(OutlineError, match=r"Typ \('molozlu buz' \(2\), 'temiz buz' \(1\)\)"):
        propose_outlines(path, None, GLACIER_SCHEME)


def test_all_layers_of_a_file_are_proposed(tmp_path: Path) -> None:
    for layer in ("clean_ice", "debris"):
        path = _of_kinds(tmp_path / "a.gpkg", ["a"], layer)
    assert layers_to_propose(path) == ["clean_ice", "debris"]
    proposed = [propose_outlines(path, layer, GLACIER_SCHEME)[1][0] for layer in layers_to_propose(path)]
    assert [(item.layer, item.class_name) for item in proposed] == [("clean_ice", CLEAN), ("debris", DEBRIS)]
    assert layers_to_propose(_of_kinds(tmp_path / "b.gpkg", ["a"])) == [None]


def test_no_outlines_are_no_classes() -> None:
    assert check_outlines([], GRID, GLACIER_SCHEME).classes == ()
