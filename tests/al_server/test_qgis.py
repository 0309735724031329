"""What QGIS opens, over HTTP."""

import json
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from flask.testing import FlaskClient

from catalog.context import Catalog
from imagery.scene_source import SceneSource
from models.bundle import write_bundle
from tests.al_server.test_error_shape import assert_problem
from tests.catalog_fixtures import add_scene, as_role
from tests.imagery.forge import ForgedScene, forge_scene
from tests.models.cards import origin
from tests.models.networks import small_segmenter
from tests.served_version import add_version, serve


@pytest.fixture
def forged(tmp_path: Path) -> ForgedScene:
    return forge_scene(tmp_path / "scene.tif")


@pytest.fixture
def scene_id(catalog: Catalog, forged: ForgedScene) -> int:
    with catalog.write() as session:
        scene, _ = add_scene(session)
        scene.source = SceneSource(forged.bands, forged.grid, (0, 0)).to_json()
        scene.stretch = {band.name: [0.0, 255.0] for band in forged.bands}
        return scene.id


def test_the_champion_for_deepness_is_given_for_a_scene_and_again_only_if_changed(
    client: FlaskClient, catalog: Catalog, scene_id: int, forged: ForgedScene, tmp_path: Path
) -> None:
    reader, address = as_role(catalog, "reader"), f"/api/v1/scenes/{scene_id}/qgis/deepness.onnx"
    assert_problem(client.get(address, headers=reader), 409, "no model version has been promoted yet")
    write_bundle(tmp_path / "bundle", small_segmenter(), origin())  # of the channels red and nir
    add_version(catalog, 1, tmp_path / "bundle")
    serve(catalog, 1)
    found = client.get(address, headers=reader)
    assert (found.status_code, found.headers["X-Model-Version"]) == (200, "1")
    model = onnx.load_model_from_string(found.data)
    stated = {item.key: json.loads(item.value) for item in model.metadata_props}
    assert (stated["bands"], stated["tile_size"]) == (["red", "nir"], 64)
    assert stated["resolution"] == 3000.0  # 30 m
    with catalog.write() as session:
        degrees = replace(forged.grid, crs="EPSG:4326", transform=(1e-4, 0.0, 86.0, 0.0, -1e-4, 28.0))
        other, _ = add_scene(session, name="degrees")
        other.source = SceneSource(forged.bands, degrees, (0, 0)).to_json()
        number = other.id
    refused = client.get(f"/api/v1/scenes/{number}/qgis/deepness.onnx", headers=reader)
    assert_problem(refused, 422, "expected one in metres")
    again = client.get(address, headers={**reader, "If-None-Match": found.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
