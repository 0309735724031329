"""Outlines for GLIMS are asked for, listed, taken away and removed over HTTP, by operators."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from catalog.records import Scene, SceneState
from imagery.classes import GLACIER_SCHEME
from services import raster_keys
from services.places import raster_store
from services.submissions import SubmissionOptions
from tests.al_server.test_dashboard import Page
from tests.al_server.test_error_shape import assert_problem
from tests.catalog_fixtures import as_role
from tests.services.judging import judge
from tests.workers.test_export_glims import VERSION, Asking, asking  # noqa: F401 - a fixture
from tests.workers.test_export_submission import AN_INSTITUTE, ILA, SUBMISSIONS, ask, carry_out, corner, listed

NO_SUBMISSION = f"{SUBMISSIONS}/{'0' * 32}"


def test_one_is_asked_for_made_and_taken_away(asking: Asking) -> None:  # noqa: F811
    judge(asking.catalog, corner(asking), asking.forged.truth[:32, :32], minute=1, annotator=ILA)
    accepted = ask(asking, analysts=[f"{ILA} = {AN_INSTITUTE}"], image_id=" X1 ", geolocation_error_m=12)
    assert (accepted.status_code, accepted.json["kind"]) == (202, "export_submission")
    assert accepted.headers["Location"] == f"/api/v1/jobs/{accepted.json['id']}"
    (waiting,) = listed(asking)
    assert accepted.json["subject"] == {"uid": waiting["id"]}  # readers see jobs, and are not to read of accounts
    assert (waiting["contents"], waiting["file"], waiting["version"]) == (None, None, VERSION)
    address = f"{SUBMISSIONS}/{waiting['id']}/file"
    operator = as_role(asking.catalog, "operator")
    assert_problem(asking.client.get(address, headers=operator), 409, "the submission is queued")
    carry_out(asking, accepted.json["id"])
    (found,) = listed(asking)
    assert (found["scene"], found["asked_by"], found["file"]) == (asking.scene.name, "operator", address)
    assert (found["options"]["image_id"], found["options"]["analysts"]) == ("X1", [f"{ILA} = {AN_INSTITUTE}"])
    contents = found["contents"]
    assert (contents["fit"], contents["findings"]) == (True, [])
    assert (contents["glaciers"], contents["labels"], contents["left_out"]) == (2, 1, [])
    with asking.client.get(address, headers=operator) as sent:
        assert (sent.status_code, len(sent.data)) == (200, contents["size_bytes"])
        name = f"{asking.scene.name}-glims-{datetime.now(UTC):%Y-%m-%d}.zip"
        assert sent.headers["Content-Disposition"] == f"attachment; filename={name}"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"analysts": [", Ada"]}, "analysts: found the analyst ', Ada'; expected 'Surname, Given names, Affiliation'"),
        ({"analysts": ["=Rao"]}, "analysts: found the analyst '=Rao'"),
        ({"analysts": [f"{ILA}=Rao", f"{ILA.upper()}=Rao"]}, f"analysts: found the account '{ILA.upper()}' twice"),
        (
            {"analysts": ["eva@glacier.local=Rao"]},
            f"found the account 'eva@glacier.local', of which no label counts; expected one of {ILA}",
        ),
        ({"analysts": ["Rao\nIla"]}, "analysts.0"),
        ({"analysts": ["Rao"] * 101}, "analysts"),
        (
            {"line_types": {"forest": "none"}},
            "line_types: found a line type for the class 'forest'; expected one of clean ice",
        ),
        ({"line_types": {"clean ice": "rock"}}, "line_types.clean ice"),
        ({"min_area_km2": -1}, "min_area_km2"),
        ({"smoothing_px": 1001}, "smoothing_px"),
        ({"geolocation_error_m": -0.1}, "geolocation_error_m"),
        ({"image_id": "x" * 251}, "image_id"),
        ({"instrument": " "}, "instrument"),
        ({"acquired": "30.10.2000"}, "acquired"),
        ({"acquired": "2999-01-01"}, "acquired: found 2999-01-01; expected a day from 1849-01-01 to today"),
        ({"acquired": "1848-12-31"}, "acquired: found 1848-12-31"),
        ({"inventory": True}, "inventory: found none, as the setting glacier_inventory names no file"),
        ({"folder": "/tmp/out"}, "folder"),
    ],
    ids=lambda item: next(iter(item)) if isinstance(item, dict) else None,
)
def test_options_that_do_not_fit_are_refused_by_name(asking: Asking, options: dict[str, Any], told: str) -> None:  # noqa: F811
    judge(asking.catalog, corner(asking), np.zeros((32, 32), np.uint8), minute=1, annotator=ILA)
    refused = assert_problem(ask(asking, **options), 422, told)
    assert "--" not in json.dumps(refused)  # no option of the command line
    assert listed(asking) == []


@pytest.mark.parametrize(
    ("column", "option", "value"), [("acquired", "acquired", "2000-10-30"), ("sensor", "instrument", "ETM+")]
)
def test_what_is_not_known_of_the_image_is_asked_for(asking: Asking, column: str, option: str, value: str) -> None:  # noqa: F811
    with asking.catalog.write() as session:
        setattr(session.get_one(Scene, asking.scene.id), column, None)
    assert_problem(ask(asking), 422, f"state the option {option}")
    assert ask(asking, **{option: value}).status_code == 202


def test_scenes_that_cannot_be_outlined_are_refused(asking: Asking) -> None:  # noqa: F811
    assert_problem(ask(asking, scene=99), 404)
    assert_problem(ask(asking, labels_only=True), 409, "found neither a served version nor a label that counts")
    with asking.catalog.write() as session:
        session.get_one(Scene, asking.scene.id).state = SceneState.REGISTERED
    assert_problem(ask(asking), 409, "wait until it is ready")


@pytest.mark.parametrize("role", ["reader", "annotator"])
def test_only_operators_see_them(asking: Asking, role: str) -> None:  # noqa: F811
    carry_out(asking, ask(asking).json["id"])
    address, headers = listed(asking)[0]["file"], as_role(asking.catalog, role)
    for path in (SUBMISSIONS, address):
        assert asking.client.get(path, headers=headers).status_code == 403
    assert asking.client.post(SUBMISSIONS, json={"scene": asking.scene.id}, headers=headers).status_code == 403
    assert asking.client.delete(address.removesuffix("/file"), headers=headers).status_code == 403


def test_one_that_is_removed_is_gone_with_its_file(asking: Asking) -> None:  # noqa: F811
    carry_out(asking, ask(asking).json["id"])
    (found,), operator, client = listed(asking), as_role(asking.catalog, "operator"), asking.client
    key = raster_keys.data_set(found["id"])
    assert raster_store(asking.catalog).exists(key)
    assert_problem(client.delete(f"/api/v1/data-sets/{found['id']}", headers=operator), 404)  # it is no data set
    removed: Any = client.delete(f"{SUBMISSIONS}/{found['id']}", headers=operator)
    assert (removed.status_code, removed.json["id"], removed.json["file"]) == (200, found["id"], None)
    assert not raster_store(asking.catalog).exists(key)
    assert listed(asking) == []
    for address in (found["file"], f"{NO_SUBMISSION}/file"):
        assert_problem(client.get(address, headers=operator), 404, "there is no submission")
    assert_problem(client.delete(NO_SUBMISSION, headers=operator), 404)


def test_a_lost_file_is_said_to_be_lost(asking: Asking) -> None:  # noqa: F811
    carry_out(asking, ask(asking).json["id"])
    (found,) = listed(asking)
    Path(asking.catalog.settings.raster_store, raster_keys.data_set(found["id"])).unlink()
    response = asking.client.get(found["file"], headers=as_role(asking.catalog, "operator"))
    assert_problem(response, 404, "the file of this submission is missing or damaged; make the submission anew")


def page(asked: Asking) -> tuple[str, str]:
    """Return the page of data sets as HTML, and the text of its section about outlines."""
    response = asked.client.get("/data-sets", headers=as_role(asked.catalog, "operator"))
    assert response.status_code == 200, response.text
    shown = Page(response.text)
    assert shown.open == []
    words = " ".join(shown.text.split())
    return response.text, words.partition("Outlines for GLIMS and RGI")[2]


def test_the_page_tells_of_each_and_offers_what_can_be_done(asking: Asking) -> None:  # noqa: F811
    assert "None yet." in page(asking)[1]
    carry_out(asking, ask(asking).json["id"])
    failed = ask(asking, min_area_km2=1000).json["id"]
    carry_out(asking, failed)
    html, words = page(asking)
    contents = listed(asking)[1]["contents"]
    findings, area = contents["findings"], f"{contents['area_km2']:.2f}"
    assert f"2 glaciers, {area} km²; by version {VERSION} and 0 labels fit, with {len(findings)} findings" in words
    for finding in findings:
        assert finding["message"] in words
    assert "failed: LE71400412000304SGS00_B1-pool: found no glacier of at least 1000 km2" in words
    assert f'data-call="POST /api/v1/jobs/{failed}/retry"' in html
    assert html.count('data-call="DELETE /api/v1/glims-submissions/') == 2
    assert f'href="{listed(asking)[1]["file"]}" download' in html


def test_the_dialog_offers_every_option(asking: Asking) -> None:  # noqa: F811
    dialog = page(asking)[0].partition('<dialog id="make-glims"')[2].partition("</dialog>")[0]
    offered = set(re.findall(r'name="([a-z0-9_]+)"', dialog)) | set(re.findall(r'data-of="(\w+)"', dialog))
    assert offered == SubmissionOptions.model_fields.keys() - {"inventory"}  # none is set
    for name in GLACIER_SCHEME.names[1:]:
        assert f'name="{name}" data-of="line_types"' in dialog
    settings = asking.catalog.settings
    asking.catalog.settings = settings.model_copy(update={"glacier_inventory": "rgi.gpkg"})
    assert 'name="inventory" checked' in page(asking)[0]
