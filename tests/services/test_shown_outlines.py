"""What is understood of outlines is shown before a scene is registered."""

from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import shapely

from catalog.settings import Settings
from imagery.classes import GLACIER_SCHEME
from services.scene_description import describe_scene
from services.scene_files import AnyFile
from services.scene_request import SceneRequest
from tests.imagery.forge import NORTH_UP, UTM_45N, forge_scene

CLEAN = "clean ice"


def _square(col: int, row: int, side: int) -> shapely.Polygon:
    x, y = NORTH_UP[2] + 30 * col, NORTH_UP[5] - 30 * row
    return shapely.box(x, y - 30 * side, x + 30 * side, y)


def _write(path: Path, squares: list[shapely.Polygon], **fields: list[Any]) -> str:
    pyogrio.raw.write(
        path,
        shapely.to_wkb(np.array(squares)),
        field_data=[
            np.array(column, None if isinstance(column[0], int | float) else object) for column in fields.values()
        ],
        fields=list(fields),
        geometry_type="Polygon",
        crs=UTM_45N,
    )
    return str(path)


def _notes(tmp_path: Path, **given: Any) -> list[str]:
    """Return the notes on the outlines of a scene of 2018-10-26."""
    scene = tmp_path / "scene.tif"
    forge_scene(scene)
    request = {"name": "khumbu", "role": "pool", "path": str(scene), "patch_size_px": 32, "acquired": "2018-10-26"}
    summary = describe_scene(
        Settings(var_dir=tmp_path / "var"), SceneRequest.model_validate(request | given), AnyFile(), GLACIER_SCHEME
    ).summary
    return [note for note in summary.notes if "scene.tif" not in note]


def test_codes_of_a_layer_that_is_named_for_a_class_are_told(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.gpkg", [_square(0, 0, 10), _square(20, 0, 10)], TYPE=[1, 2])
    note = (
        "a.gpkg: its fields TYPE ('1' (1), '2' (1)) were not recognised: if one tells classes, name it with "
        "--class-field and --map"
    )
    assert note in _notes(tmp_path, outlines=[{"path": path, "class": CLEAN}])
    mapped = {"path": path, "class_field": "TYPE", "classes": {"1": CLEAN, "2": "debris-covered ice"}}
    assert note not in _notes(tmp_path, outlines=[mapped])


def test_outlines_of_other_years_than_the_scene_are_doubted(tmp_path: Path) -> None:
    path = _write(
        tmp_path / "glaciers.shp",
        [_square(0, 0, 20), _square(0, 0, 10), _square(40, 0, 10)],
        year=[1980, 2017, 2018],
        Glaciers=["Clean Ice"] * 3,
    )
    told = [note for note in _notes(tmp_path, outlines=[{"path": path}]) if note.startswith("glaciers.shp: ")]
    assert told[1:] == [
        "glaciers.shp: 1 of 3 features are more than a year from the scene by their 'year' (1980), and taken as true "
        "of it: if the ice has changed, give them as prior outlines, or use those of a period only (--outlines-from, "
        "--outlines-to)",
        # 100 pixels of 900 square metres.
        "glaciers.shp: 2 features of clean ice lie on each other (the first is feature 0, of 1980, 2017), on 0.0901 "
        "km2: clean ice of every date counts. Keep one date of each glacier: in QGIS, with --outlines-from and "
        "--outlines-to, or with --class-field and --map of the field that tells them apart",
    ]
    one_year = {"path": path, "class_field": "year", "classes": {"2017": CLEAN, "2018": CLEAN}}
    assert not [note for note in _notes(tmp_path, outlines=[one_year]) if "lie on each other" in note]


def test_prior_outlines_of_several_dates_are_doubted_too(tmp_path: Path) -> None:
    path = _write(
        tmp_path / "rgi.gpkg", [_square(0, 0, 20), _square(0, 0, 10)], rgi_id=["a", "a"], src_date=["1990", "2000"]
    )
    notes = _notes(tmp_path, prior_outlines=[{"path": path}])
    (doubt,) = [note for note in notes if "lie on each other" in note]
    assert doubt.startswith(
        "prior outlines: rgi.gpkg: 2 features of clean ice lie on each other (a, of 1990, 2000), on 0.0901 km2"
    )
