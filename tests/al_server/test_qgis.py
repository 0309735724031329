"""What QGIS opens, over HTTP."""

import json
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, quote

import onnx
import pytest
from defusedxml.ElementTree import fromstring
from flask import Flask
from flask.testing import FlaskClient

from catalog.context import Catalog
from imagery.classes import GLACIER_SCHEME
from imagery.cog import class_map_to_cog
from imagery.masks import mask_to_geotiff
from imagery.outline_table import tabulate
from imagery.outlines import write_outlines_gpkg
from imagery.scene_source import SceneSource
from models.bundle import write_bundle
from services import raster_keys
from services.places import raster_store
from services.signatures import SignatureError, Signatures
from services.tile_urls import tile_signatures
from tests.al_server.test_error_shape import assert_problem
from tests.catalog_fixtures import add_scene, as_role
from tests.imagery.forge import ForgedScene, forge_scene
from tests.models.cards import origin
from tests.models.networks import small_segmenter
from tests.real_qgis import in_qgis, needs_qgis
from tests.served_app import serving
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


@pytest.fixture
def mapped(catalog: Catalog, scene_id: int, forged: ForgedScene) -> int:
    """The scene with old outlines, a map."""
    mask = mask_to_geotiff(forged.truth, forged.grid, GLACIER_SCHEME)
    raster_store(catalog).put(raster_keys.prior(scene_id), mask)
    return scene_id


def addresses(definition: str) -> dict[str, str]:
    """Return the address of the tiles of each layer."""
    found = {}
    for layer in fromstring(definition).iter("maplayer"):
        source = parse_qs(layer.findtext("datasource", ""))
        assert source["type"] == ["xyz"]
        (found[layer.findtext("layername", "")],) = source["url"]
    return found


def test_layers_are_tiles_that_need_no_token_until_they_expire(
    client: FlaskClient, catalog: Catalog, mapped: int
) -> None:
    reader = as_role(catalog, "reader")
    answer = client.get(f"/api/v1/scenes/{mapped}/qgis/layers.qlr", headers=reader)
    assert answer.status_code == 200, answer.text
    found = addresses(answer.text)
    assert next(iter(found)) == "Old outlines"  # on top of the views
    assert "True colour" in found
    for address, shown in ((found["Old outlines"], "maps/prior"), (found["True colour"], "tiles/true-colour")):
        assert address.startswith(f"{catalog.settings.api_url}/api/v1/scenes/{mapped}/qgis/{shown}/")
        path = address.removeprefix(catalog.settings.api_url).format(z=12, x=3035, y=1719)
        tile = client.get(path)  # without a token
        assert (tile.status_code, tile.content_type) == (200, "image/webp")
        plain = path.replace("/qgis", "").partition("?")[0]
        assert tile.data == client.get(plain, headers=reader).data
        assert_problem(client.get(path.partition("?")[0]), 422, "signature: Field required")
        assert_problem(client.get(path.replace(f"/scenes/{mapped}/", "/scenes/999/")), 403, "another scene")
        assert_problem(client.get(path[:-2]), 403, "no valid signature")


def test_a_signature_expires(catalog: Catalog) -> None:
    def signatures(lifetime_s: int) -> Signatures:
        catalog.settings = catalog.settings.model_copy(update={"image_url_lifetime_s": lifetime_s})
        return tile_signatures(catalog)

    with pytest.raises(SignatureError, match="has expired"):
        signatures(-1).check(1, signatures(60).sign(1))


@pytest.mark.slow
@needs_qgis
def test_a_real_qgis_shows_styles_and_tiles(
    app: Flask, client: FlaskClient, catalog: Catalog, mapped: int, forged: ForgedScene, tmp_path: Path
) -> None:
    reader = as_role(catalog, "reader")
    table = tabulate(forged.truth, forged.grid, GLACIER_SCHEME.names)
    colours = GLACIER_SCHEME.colours_of(GLACIER_SCHEME.names)
    files = {
        "outlines.gpkg": write_outlines_gpkg(table, "glacier_outlines", colours),
        "classes.tif": class_map_to_cog(forged.truth, forged.grid, GLACIER_SCHEME, GLACIER_SCHEME.names),
        "classes.qml": client.get("/api/v1/qgis/classes.qml", headers=reader).data,
    }
    definition = client.get(f"/api/v1/scenes/{mapped}/qgis/layers.qlr", headers=reader).text
    with serving(app) as url:
        files["layers.qlr"] = definition.replace(quote(catalog.settings.api_url, safe=""), quote(url, safe="")).encode()
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
        found = in_qgis(tmp_path, "show", *(tmp_path / name for name in files))
    colours = {item.name: item.colour for item in GLACIER_SCHEME.classes[1:]}
    assert found["outlines"] == {**colours, "": "#6b7280"}
    assert found["classes"] == colours
    assert found["fault"] == ""
    assert found["names"] == list(addresses(definition))
    assert all(is_valid for is_valid, _ in found["tiles"].values())
    assert found["tiles"]["Old outlines"][1] >= 3  # two classes on nothing, and their mixtures
    assert found["tiles"]["True colour"][1] > 20
