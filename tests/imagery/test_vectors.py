from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely

from imagery.classes import GLACIER_SCHEME
from imagery.errors import OutlineError
from imagery.grid import Grid
from imagery.masks import OutlineLayer, rasterize_outlines
from imagery.vectors import Repair, describe_repairs, read_layer
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
        read_layer(str(path), None, GRID, class_name="clean ice")


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
    assert len(read_layer(str(path), "at_0", GRID, class_name="clean ice").polygons) == 1
    assert len(read_layer(str(path), "at_50", GRID, class_name="clean ice").polygons) == 0
