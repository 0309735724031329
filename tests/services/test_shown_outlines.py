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
