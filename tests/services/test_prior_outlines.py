"""Prior outlines: what they tell apart, what is guessed of them, and where they are refused."""

import json
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely
from pydantic import ValidationError

from catalog.context import Catalog
from catalog.records import Scene
from imagery.classes import GLACIER_SCHEME
from services.prior_outlines import PriorOutlines, told_apart
from services.registration import check, register
from services.scene_files import AnyFile
from services.scene_replacement import LabelFate, check_replacement, replace
from services.scene_request import SceneRequest
from services.scenes import priors_of
from tests.imagery.forge import NORTH_UP, UTM_45N, forge_scene

CLEAN, DEBRIS = "clean ice", "debris-covered ice"


def rgi(path: Path) -> str:
    """An inventory of three whole glaciers in the scene of `forge_scene`, as RGI 7 has them."""
    x, y = NORTH_UP[2], NORTH_UP[5]
    squares = [shapely.box(x + left, y - 600, x + left + 300, y - 300) for left in (0, 600, 1200)]
    pyogrio.raw.write(
        path,
        shapely.to_wkb(np.array(squares)),
        field_data=[np.array(["1", "2", "3"], object), np.array(["1999-08-01", "2003-07-30", "2009-01-01"], object)],
        fields=["rgi_id", "src_date"],
        geometry_type="Polygon",
        crs=UTM_45N,
    )
    return str(path)


def request(tmp_path: Path, **changes: object) -> SceneRequest:
    scene = tmp_path / "scene.tif"
    if not scene.exists():
        forge_scene(scene)
    given = {"name": "khumbu", "role": "pool", "path": str(scene), "patch_size_px": 32}
    return SceneRequest.model_validate({**given, **changes})


def stored(catalog: Catalog, scene_id: int) -> PriorOutlines | None:
    with catalog.read() as session:
        return priors_of(session.get_one(Scene, scene_id))


def test_outlines_of_every_class_tell_all_apart() -> None:
    told = told_apart({CLEAN, DEBRIS}, GLACIER_SCHEME)
    assert (told.ambiguous, told.background, told.sentence) == (frozenset(), True, None)


def test_outlines_of_whole_glaciers_only_tell_glacier_from_background() -> None:
    told = told_apart({CLEAN}, GLACIER_SCHEME)
    assert (told.ambiguous, told.background) == (frozenset({1}), True)
    assert told.sentence == "they have no layer of debris-covered ice, so that clean ice in them only means glacier"


def test_nothing_is_known_outside_of_outlines_of_debris() -> None:
    told = told_apart({DEBRIS}, GLACIER_SCHEME)
    assert (told.ambiguous, told.background) == (frozenset(), False)
    assert told.sentence == "they do not outline clean ice, so that nothing is known outside of them"


def test_date_and_source_of_an_inventory_are_guessed_and_shown(catalog: Catalog, tmp_path: Path) -> None:
    file = rgi(tmp_path / "rgi.gpkg")
    checked = check(catalog, request(tmp_path, prior_outlines=[{"path": file}]), AnyFile())
    shown = checked.summary.prior_outlines
    assert shown is not None
    assert (shown.date, shown.source) == ("2003-07-30", "Randolph Glacier Inventory 7")
    assert [(item.class_name, item.polygons, item.pixels) for item in shown.classes] == [(CLEAN, 3, 300)]
    guessed = [note for note in checked.summary.notes if note.startswith("prior outlines")]
    assert guessed[0] == (
        "prior outlines: the date 2003-07-30 is guessed, the median of 'src_date' (1999-08-01 to 2009-01-01; 3 of 3 "
        "features)"
    )
    assert guessed[1].startswith("prior outlines: the source 'Randolph Glacier Inventory 7' is guessed")
    assert guessed[2].endswith("so that clean ice in them only means glacier")
    scene, _ = register(catalog, checked)
    found = stored(catalog, scene.id)
    assert found is not None
    assert (found.date, found.ring_m, [layer.path for layer in found.layers]) == ("2003-07-30", 30.0, [file])
    assert PriorOutlines.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_what_a_person_states_is_not_guessed(catalog: Catalog, tmp_path: Path) -> None:
    prior = {"prior_outlines": [{"path": rgi(tmp_path / "rgi.gpkg")}], "prior_date": "2001", "prior_source": "ours"}
    checked = check(catalog, request(tmp_path, **prior), AnyFile())
    shown = checked.summary.prior_outlines
    assert shown is not None
    assert (shown.date, shown.source) == ("2001", "ours")
    assert not [note for note in checked.summary.notes if "guess" in note]


def dated(path: Path, date: str, **fields: str) -> str:
    x, y = NORTH_UP[2], NORTH_UP[5]
    columns = {"src_date": date, **fields}
    pyogrio.raw.write(
        path,
        shapely.to_wkb(np.array([shapely.box(x, y - 600, x + 300, y - 300)])),
        field_data=[np.array([value], object) for value in columns.values()],
        fields=list(columns),
        geometry_type="Polygon",
        crs=UTM_45N,
    )
    return str(path)


@pytest.mark.parametrize(
    ("later", "date"), [("2003-08-01", "2003-07-30"), ("2004-01-01", "2003-07-30"), ("2005", None)]
)
def test_layers_of_other_dates_are_told_and_have_no_common_date_if_years_apart(
    catalog: Catalog, tmp_path: Path, later: str, date: str | None
) -> None:
    files = [
        dated(tmp_path / "ice.gpkg", "2003-07-30", rgi_id="1"),
        dated(tmp_path / "debris.gpkg", later, line_type="debris_cov", glac_id="G086780E28060N"),
    ]
    given = [{"path": files[0], "class": CLEAN}, {"path": files[1], "class": DEBRIS}]
    checked = check(catalog, request(tmp_path, prior_outlines=given), AnyFile())
    shown = checked.summary.prior_outlines
    assert shown is not None
    assert (shown.date, shown.source) == (date, "Randolph Glacier Inventory 7 and GLIMS")
    (note,) = (note for note in checked.summary.notes if "2003-07-30 in ice.gpkg" in note)
    assert note.endswith(
        f": 2003-07-30 in ice.gpkg, the median of 'src_date' (2003-07-30; 1 of 1 features); {later} in debris.gpkg, "
        f"the median of 'src_date' ({later}; 1 of 1 features)"
    )
    start = "the layers are of different dates, so that none is taken for all" if date is None else f"the date {date}"
    assert note.startswith(f"prior outlines: {start}")
    assert any("the source 'GLIMS' is guessed from the fields of debris.gpkg" in note for note in checked.summary.notes)


@pytest.mark.parametrize("role", ["validation", "test"])
def test_scenes_that_judge_take_none(tmp_path: Path, role: str) -> None:
    with pytest.raises(
        ValidationError, match=f"prior outlines for a scene with the role '{role}', which judges models"
    ):
        request(tmp_path, role=role, prior_outlines=[{"path": "rgi.gpkg"}])


@pytest.mark.parametrize("stated", [{"prior_date": "2001"}, {"prior_source": "ours"}])
def test_a_date_or_source_of_nothing_is_refused(tmp_path: Path, stated: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="without prior outlines"):
        request(tmp_path, **stated)


@pytest.mark.parametrize("date", ["2001-13", "01.02.2001", "1799"])
def test_a_date_has_one_form(tmp_path: Path, date: str) -> None:
    with pytest.raises(ValidationError, match="prior_date"):
        request(tmp_path, prior_outlines=[{"path": "rgi.gpkg"}], prior_date=date)


def test_a_replaced_scene_has_the_prior_outlines_of_its_new_description(catalog: Catalog, tmp_path: Path) -> None:
    scene, _ = register(catalog, check(catalog, request(tmp_path), AnyFile()))
    assert stored(catalog, scene.id) is None
    new = request(tmp_path, prior_outlines=[{"path": rgi(tmp_path / "rgi.gpkg")}])
    done = replace(catalog, check_replacement(catalog, scene.id, new, AnyFile()), LabelFate.KEEP)
    assert stored(catalog, done.scene.id) is not None
    done = replace(catalog, check_replacement(catalog, done.scene.id, request(tmp_path), AnyFile()), LabelFate.KEEP)
    assert stored(catalog, done.scene.id) is None
