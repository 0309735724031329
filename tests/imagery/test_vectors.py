import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import shapely
from pyproj import CRS

from imagery.classes import GLACIER_SCHEME
from imagery.errors import OutlineError
from imagery.grid import Grid
from imagery.masks import OutlineLayer, rasterize_outlines
from imagery.vector_geometry import Repair, describe_repairs
from imagery.vectors import read_layer
from tests.imagery.forge import UTM_45N, write_polygons

# One metre to the pixel, rows from the south: columns and rows are x and y.
GRID = Grid(UTM_45N, (1.0, 0.0, 500000.0, 0.0, 1.0, 3000000.0), width=10, height=10)


def _ground(geometry: shapely.Geometry) -> shapely.Geometry:
    return shapely.affinity.translate(geometry, 500000, 3000000)


def _read(tmp_path: Path, *geometries: shapely.Geometry) -> tuple[list[shapely.Geometry], tuple[Repair, ...]]:
    path = write_polygons(tmp_path / "a.gpkg", {"a": [_ground(geometry) for geometry in geometries]})
    layer = read_layer(str(path), None, GRID)
    return [shapely.affinity.translate(item, -500000, -3000000) for item in layer.polygons], layer.repairs


def test_valid_geometry_is_left_alone_and_nothing_is_reported(tmp_path: Path) -> None:
    ring = shapely.box(0, 0, 6, 6).difference(shapely.box(2, 2, 4, 4))
    (found,), repairs = _read(tmp_path, ring)
    assert found.equals(ring)
    assert repairs == ()


def test_a_repair_is_reported_with_its_feature_its_reason_and_its_place(tmp_path: Path) -> None:
    bow_tie = shapely.Polygon([(0, 0), (8, 8), (8, 0), (0, 8)])
    polygons, repairs = _read(tmp_path, shapely.box(0, 0, 1, 1), bow_tie)
    assert [polygon.area for polygon in polygons] == [1, 32]
    assert repairs == (Repair(2, "Self-intersection[500004 3000004]", dropped=False),)


def test_what_has_no_area_is_dropped_and_reported(tmp_path: Path) -> None:
    sliver = shapely.Polygon([(0, 0), (8, 8), (0, 0)])
    polygons, (repair,) = _read(tmp_path, sliver, shapely.box(0, 0, 1, 1))
    assert [polygon.area for polygon in polygons] == [1]
    assert (repair.feature, repair.dropped) == (1, True)


def test_a_hole_that_crosses_its_shell_stays_a_hole(tmp_path: Path) -> None:
    # Mended by even and odd crossings, the part of the hole beyond the shell (2 px) would become ice.
    shell, hole = shapely.box(0, 0, 4, 4), shapely.box(2, 2, 6, 3)
    (found,), _ = _read(tmp_path, shapely.Polygon(shell.exterior, [hole.exterior]))
    assert found.equals(shell.difference(hole))


def test_parts_that_overlap_make_no_hole(tmp_path: Path) -> None:
    parts = shapely.MultiPolygon([shapely.box(0, 0, 4, 4), shapely.box(2, 0, 6, 4)])
    (found,), repairs = _read(tmp_path, parts)
    assert found.equals(shapely.box(0, 0, 6, 4))
    assert len(repairs) == 1


SHELL, HOLE, ISLAND = shapely.box(0, 0, 6, 6), shapely.box(1, 1, 5, 5), shapely.box(2, 2, 4, 4)


def _shapefile(path: Path, rings: list[shapely.LinearRing]) -> Path:
    """Write one polygon with rings in the order and direction given, which GDAL would turn."""
    points = np.concatenate([shapely.get_coordinates(_ground(ring)) for ring in rings])
    starts = np.cumsum([0, *(len(ring.coords) for ring in rings[:-1])])
    bounds = struct.pack("<4d", *points.min(axis=0), *points.max(axis=0))
    record = struct.pack("<i", 5) + bounds + struct.pack(f"<2i{len(rings)}i", len(rings), len(points), *starts)
    record += points.astype("<f8").tobytes()

    def header(size: int) -> bytes:
        return struct.pack(">7i", 9994, 0, 0, 0, 0, 0, size // 2) + struct.pack("<2i", 1000, 5) + bounds + bytes(32)

    words = len(record) // 2
    path.write_bytes(header(108 + len(record)) + struct.pack(">2i", 1, words) + record)
    path.with_suffix(".shx").write_bytes(header(108) + struct.pack(">2i", 50, words))
    path.with_suffix(".prj").write_text(CRS(UTM_45N).to_wkt("WKT1_ESRI"))
    return path


def _wound(shape: shapely.Polygon, direction: str) -> shapely.LinearRing:
    return shapely.geometry.polygon.orient(shape, -1 if direction == "cw" else 1).exterior


@pytest.mark.parametrize("spike", [False, True], ids=["plain", "with a spike"])
@pytest.mark.parametrize(
    "winding",
    [
        ("cw", "ccw", "cw"),  # as the format says: shells clockwise
        ("ccw", "cw", "ccw"),
        ("cw", "cw", "cw"),
        ("ccw", "ccw", "ccw"),
    ],
    ids="-".join,
)
def test_shells_and_holes_are_told_apart_however_their_rings_wind(
    tmp_path: Path, winding: tuple[str, ...], spike: bool
) -> None:
    """A glacier of 36 px with a rock of 16 px in it, and 4 px of ice on the rock; perhaps a ring touches itself."""
    rings = [_wound(shape, way) for shape, way in zip((SHELL, HOLE, ISLAND), winding, strict=True)]
    if spike:  # a spike without area at a corner of the shell
        corners = list(rings[0].coords)
        rings[0] = shapely.LinearRing([*corners[:2], (8, 8), *corners[1:]])
    layer = read_layer(str(_shapefile(tmp_path / "a.shp", rings)), None, GRID)
    (found,) = layer.polygons
    assert found.equals(_ground(SHELL.difference(HOLE).union(ISLAND)))
    assert [repair.nested for repair in layer.repairs] == ([winding != ("cw", "ccw", "cw")] if layer.repairs else [])


def test_a_part_inside_of_another_is_a_hole_unless_it_lies_along_its_edge(tmp_path: Path) -> None:
    inside, at_edge = shapely.MultiPolygon([SHELL, HOLE]), shapely.MultiPolygon([SHELL, shapely.box(0, 1, 3, 3)])
    (rock, drawn_twice), (first, second) = _read(tmp_path, inside, at_edge)
    assert rock.equals(SHELL.difference(HOLE))
    assert drawn_twice.equals(SHELL)
    assert (first.nested, second.nested) == (True, False)
    assert "; of 1, rings inside of other rings are taken as holes; the first is" in describe_repairs([first, second])


def test_a_hole_beside_its_shell_is_ice(tmp_path: Path) -> None:
    """A shapefile's second ring with the winding of a hole, along an edge of the first: nothing is lost."""
    beside = shapely.box(6, 0, 8, 3)
    (found,), _ = _read(tmp_path, shapely.Polygon(SHELL.exterior, [beside.exterior]))
    assert found.area == 36 + 6


@pytest.mark.parametrize("hole", [SHELL, shapely.box(-1, -1, 8, 5)], ids=["the same", "larger, crossing"])
def test_a_polygon_that_a_repair_would_lose_is_refused(tmp_path: Path, hole: shapely.Polygon) -> None:
    with pytest.raises(OutlineError, match=r"1 polygons with a hole as large as the shell .* the first is feature 1"):
        _read(tmp_path, shapely.Polygon(SHELL.exterior, [hole.exterior]))


def test_repairs_are_described_in_one_line() -> None:
    repairs = [
        Repair(7, "Self-intersection[1 2]", dropped=False),
        Repair(8, "Too few points in geometry component[3 4]", dropped=True),
        Repair(9, "Self-intersection[5 6]", dropped=False),
    ]
    assert describe_repairs(repairs) == (
        "invalid outlines: 2 repaired, 1 dropped for having no area; Self-intersection (2), "
        "Too few points in geometry component (1); the first is feature 7: Self-intersection[1 2]"
    )
    with pytest.raises(ValueError, match="found no repairs"):
        describe_repairs([])


@pytest.mark.parametrize(
    ("classes", "covered"),
    [
        (["clean ice", "debris-covered ice"], 1),  # one of our own files: only the class that was asked for
        (["valley glacier", "ice cap"], 2),  # somebody else's field: everything
    ],
)
def test_a_layer_of_several_classes_gives_the_one_asked_for(tmp_path: Path, classes: list[str], covered: int) -> None:
    path = tmp_path / "a.gpkg"
    pyogrio.raw.write(
        path,
        shapely.to_wkb(np.array([_ground(shapely.box(0, 0, 1, 1)), _ground(shapely.box(5, 5, 6, 6))])),
        field_data=[np.array(classes, dtype=object)],
        fields=["class"],
        geometry_type="Polygon",
        crs=UTM_45N,
    )
    assert (
        rasterize_outlines([OutlineLayer(str(path), None, "clean ice")], GRID, GLACIER_SCHEME) == 1
    ).sum() == covered


def test_a_layer_in_which_one_feature_has_no_class_is_refused_by_its_number(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    pyogrio.raw.write(
        path,
        shapely.to_wkb(np.array([_ground(shapely.box(place, 0, place + 1, 1)) for place in (0, 2, 4)])),
        field_data=[np.array(["clean ice", "debris-covered ice", None], dtype=object)],
        fields=["class"],
        geometry_type="Polygon",
        crs=UTM_45N,
    )
    with pytest.raises(OutlineError, match="found None as the class of feature 3"):
        read_layer(str(path), None, GRID, class_name="clean ice", class_names=GLACIER_SCHEME.names)


def test_a_field_of_numbers_named_class_is_nobodys_legend(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    for place in (0, 50):  # inside the scene, and far from it, where no feature is left to ask
        pyogrio.raw.write(
            path,
            shapely.to_wkb(np.array([_ground(shapely.box(place, place, place + 1, place + 1))])),
            field_data=[np.array([3])],
            fields=["class"],
            layer=f"at_{place}",
            geometry_type="Polygon",
            crs=UTM_45N,
        )
    assert (
        len(read_layer(str(path), "at_0", GRID, class_name="clean ice", class_names=GLACIER_SCHEME.names).polygons) == 1
    )
    assert (
        len(read_layer(str(path), "at_50", GRID, class_name="clean ice", class_names=GLACIER_SCHEME.names).polygons)
        == 0
    )


SQUARE = _ground(shapely.box(0, 0, 5, 5))
LOCAL_CRS = (
    'ENGCRS["Undefined Cartesian SRS",EDATUM["x"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["metre",1]]'
)


def _geojson(path: Path, *geometries: dict[str, Any] | None) -> None:
    features = [{"type": "Feature", "properties": {}, "geometry": geometry} for geometry in geometries]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))


def _triangulated(path: Path) -> None:
    """A 3-D surface of triangles (WKB type TIN Z), as multipatch shapefiles hold them."""
    corners = [(500000, 3000000, 1), (500005, 3000000, 1), (500005, 3000005, 1), (500000, 3000000, 1)]
    ring = struct.pack("<I12d", 4, *(number for corner in corners for number in corner))
    surface = struct.pack("<BII", 1, 1016, 1) + struct.pack("<BII", 1, 1017, 1) + ring
    pyogrio.raw.write(
        path,
        np.array([SQUARE.wkb, surface], dtype=object),
        field_data=[np.array([1, 2])],
        fields=["i"],
        geometry_type="Unknown",
        crs=UTM_45N,
    )


def _damaged(path: Path, change: Callable[[Path], None]) -> None:
    write_polygons(path, {path.stem: [SQUARE] * 3})
    change(path)


def _in_latin_1(path: Path) -> None:
    pyogrio.raw.write(
        path,
        shapely.to_wkb(np.array([SQUARE])),
        field_data=[np.array(["Übergossene Alm"], dtype=object)],
        fields=["class"],
        geometry_type="Polygon",
        crs=UTM_45N,
        encoding="ISO-8859-1",
    )
    path.with_suffix(".cpg").write_text("UTF-8")


FAULTY: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "nothing but lines": (
        "a.gpkg",
        lambda path: write_polygons(path, {"a": [shapely.LineString(SQUARE.exterior)]}) and None,
        r"no polygon near .* LineString \(1\); the first is feature 1; expected polygons \(QGIS",
    ),
    "metres without a CRS": (
        "a.geojson",
        lambda path: _geojson(path, shapely.geometry.mapping(SQUARE)),
        "found x 500000 to 500005 and y 3e.06 to .* in WGS 84; expected longitude and latitude in degrees",
    ),
    "CRS that is a link": (
        "a.geojson",
        lambda path: (
            path.write_text('{"type": "X", "crs": {"type": "link", "properties": {"href": "http://a/b"}}}') and None
        ),
        'found .*"link".* at byte 14, where a coordinate reference system may be a link',
    ),
    "algorithm that GDAL would run": (
        "a.json",
        lambda path: (
            path.write_text('{"type": "gdal_streamed_alg", "command_line": "gdal vector read /etc/x"}') and None
        ),
        "found JSON that is no GeoJSON .* convert it with ogr2ogr",
    ),
    "nothing but null": ("a.geojson", lambda path: _geojson(path, None), "found no geometry in layer 'a'"),
    "empty polygon": (
        "a.geojson",
        lambda path: _geojson(path, {"type": "Polygon", "coordinates": []}),
        "found no geometry in layer 'a'",
    ),
    "coordinates that are none": (
        "a.geojson",
        lambda path: _geojson(path, {"type": "Polygon", "coordinates": [[1, 2]]}),
        "invalid Point",
    ),
    "CRS without a place on Earth": (
        "a.gpkg",
        lambda path: write_polygons(path, {"a": [SQUARE]}, crs=LOCAL_CRS) and None,
        "'Undefined Cartesian SRS', which has no place on Earth",
    ),
    "truncated GeoJSON": (
        "a.geojson",
        lambda path: path.write_text('{"type": "FeatureCollection", "features": [{"ty') and None,
        "Unterminated string",
    ),
    "truncated GeoPackage": (
        "a.gpkg",
        lambda path: _damaged(path, lambda file: file.write_bytes(file.read_bytes()[:5000]) and None),
        "malformed",
    ),
    "truncated shapefile": (
        "a.shp",
        lambda path: _damaged(path, lambda file: file.write_bytes(file.read_bytes()[:300]) and None),
        "fread",
    ),
    "shapefile without an index": (
        "a.shp",
        lambda path: _damaged(path, lambda file: file.with_suffix(".shx").unlink()),
        "found no .shx file beside it; expected .shp, .shx, .dbf and .prj together",
    ),
    "text in another encoding": ("a.shp", _in_latin_1, "attributes that are not valid utf-8; expected text in the enc"),
}


@pytest.mark.parametrize("fault", FAULTY)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # GDAL's own, about some of these files
def test_a_file_that_the_libraries_cannot_read_is_refused_by_its_name(tmp_path: Path, fault: str) -> None:
    name, write, message = FAULTY[fault]
    write(tmp_path / name)
    with pytest.raises(OutlineError, match=rf"{tmp_path / name}: .*{message}"):
        read_layer(str(tmp_path / name), None, GRID, class_name="clean ice", class_names=GLACIER_SCHEME.names)


def test_features_without_a_geometry_are_ignored_beside_others(tmp_path: Path) -> None:
    corners = shapely.box(86.9, 27.1, 87.1, 27.2)  # around the grid's first pixel
    _geojson(tmp_path / "a.geojson", None, shapely.geometry.mapping(corners))
    assert len(read_layer(str(tmp_path / "a.geojson"), None, GRID).polygons) == 1
