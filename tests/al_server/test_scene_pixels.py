"""Pixels and grids of scenes, and predictions by any version, over HTTP."""

import json
from pathlib import Path

import numpy as np
import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from catalog.context import Catalog
from catalog.records import Job
from imagery.projection import transform_points
from imagery.scene_source import SceneSource
from tests.al_server.test_error_shape import assert_problem
from tests.catalog_fixtures import add_scene, as_role
from tests.imagery.forge import ForgedScene, forge_scene
from tests.served_version import add_version, serve


@pytest.fixture
def forged(tmp_path: Path) -> ForgedScene:
    """A scene whose last ten columns have no data."""
    return forge_scene(tmp_path / "scene.tif", nodata_columns=10)


@pytest.fixture
def address(catalog: Catalog, forged: ForgedScene) -> str:
    with catalog.write() as session:
        scene, _ = add_scene(session)
        scene.source = SceneSource(forged.bands, forged.grid, (0, 0)).to_json()
        return f"/api/v1/scenes/{scene.id}"


@pytest.fixture
def versions(catalog: Catalog, tmp_path: Path) -> None:
    """Version 1 of the channels nir and red, which is served, and version 2 of green."""
    for number, channels in ((1, ["nir", "red"]), (2, ["green"])):
        folder = tmp_path / f"bundle-{number}"
        folder.mkdir()
        (folder / "card.json").write_text(json.dumps({"channels": channels}))
        for name in ("weights.safetensors", "model.onnx"):
            (folder / name).write_bytes(b"not asked for here")
        add_version(catalog, number, folder)
    serve(catalog, 1)


WINDOW = "row_off=20&col_off=140&height=4&width=16"


@pytest.mark.usefixtures("versions")
def test_a_window_has_the_channels_of_the_version(client: FlaskClient, catalog: Catalog, address: str) -> None:
    reader = as_role(catalog, "reader")
    answer = client.get(f"{address}/pixels?{WINDOW}", headers=reader)
    assert (answer.status_code, answer.content_type) == (200, "application/octet-stream")
    assert json.loads(answer.headers["X-Pixels"]) == {
        "channels": ["nir", "red"],
        "measured": [0, 1],
        "shape": [2, 4, 16],
    }
    assert answer.headers["X-Model-Version"] == "1"
    pixels = np.frombuffer(answer.data, "<f4").reshape(2, 4, 16)
    assert np.isnan(pixels[:, :, 10:]).all()  # columns 150 to 155
    # Rock has 90 in nir and 70 in red, with a noise of 6.
    np.testing.assert_allclose(pixels[:, :, :10].mean(axis=(1, 2)), [90, 70], atol=4)
    green = client.get(f"{address}/pixels?{WINDOW}&version=2", headers=reader)
    assert json.loads(green.headers["X-Pixels"])["shape"] == [1, 4, 16]
    again = client.get(f"{address}/pixels?{WINDOW}", headers={**reader, "If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    assert green.headers["ETag"] != answer.headers["ETag"]


@pytest.mark.usefixtures("versions")
@pytest.mark.parametrize(
    ("query", "status", "says"),
    [
        ("row_off=0&col_off=0&height=1025&width=1024", 422, "1049600 pixels; expected at most 1048576"),
        ("row_off=0&col_off=150&height=10&width=11", 422, "expected it inside 100 rows x 160 columns"),
        ("row_off=-1&col_off=0&height=1&width=1", 422, "row_off"),
        ("row_off=0&col_off=0&height=0&width=1", 422, "height"),
        ("row_off=0&col_off=0&height=1", 422, "width"),
        (f"{WINDOW}&version=9", 404, "there is no version 9"),
    ],
)
def test_a_window_that_cannot_be_had_is_refused(
    client: FlaskClient, catalog: Catalog, address: str, query: str, status: int, says: str
) -> None:
    answer = client.get(f"{address}/pixels?{query}", headers=as_role(catalog, "reader"))
    assert_problem(answer, status, says)


def test_before_the_first_version_there_are_no_channels(client: FlaskClient, catalog: Catalog, address: str) -> None:
    answer = client.get(f"{address}/pixels?{WINDOW}", headers=as_role(catalog, "reader"))
    assert_problem(answer, 409, "no model version has been promoted yet")


def test_a_grid_says_where_pixels_lie(client: FlaskClient, catalog: Catalog, address: str, forged: ForgedScene) -> None:
    """Between the nodes a place is found as closely as on them."""
    grid = client.get(f"{address}/grid", headers=as_role(catalog, "reader")).get_json()
    assert (grid["width"], grid["height"], grid["crs"]) == (160, 100, "EPSG:32645")
    assert grid["transform"] == list(forged.grid.transform)
    shape = (len(grid["rows"]), len(grid["columns"]))
    assert (grid["rows"][-1], grid["columns"][-1]) == (100, 160)
    nodes = np.reshape(grid["mercator"], (*shape, 2))
    middle = nodes[3:5, 7:9].mean(axis=(0, 1))
    row, column = np.mean(grid["rows"][3:5]), np.mean(grid["columns"][7:9])
    place = np.array([forged.grid.affine @ (column, row)])
    np.testing.assert_allclose(middle, transform_points(place, "EPSG:32645", "EPSG:3857")[0], atol=0.01)
    # 30 m on a map whose scale is 0.9996 in the middle of the zone, and 0.9996 here, 3.5 km from it.
    np.testing.assert_allclose(grid["pixel_m2"], 900 / 0.9996**2, rtol=1e-4)


@pytest.mark.usefixtures("versions")
def test_a_scene_is_predicted_by_the_version_that_is_named(client: FlaskClient, catalog: Catalog, address: str) -> None:
    def ask(query: str) -> dict[str, object]:
        answer = client.get(f"{address}/prediction.tif{query}", headers=as_role(catalog, "reader"))
        assert answer.status_code == 202, answer.text
        with catalog.read() as session:
            job = session.scalars(select(Job).where(Job.id == answer.get_json()["id"])).one()
        return dict(job.subject)

    assert ask("")["version"] == 1
    assert ask("?version=2")["version"] == 2
    missing = client.get(f"{address}/prediction.tif?version=9", headers=as_role(catalog, "reader"))
    assert_problem(missing, 404, "there is no version 9", "GET /api/v1/models lists")
