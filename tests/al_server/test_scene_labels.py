"""What people drew on a scene, over HTTP."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from flask.testing import FlaskClient

from catalog.context import Catalog
from catalog.records import Label, Patch, Scene, now
from imagery.projection import reproject
from services.places import raster_store
from tests.catalog_fixtures import as_role
from tests.imagery.forge import ForgedScene
from tests.services.judging import judge
from tests.workers.rows import patches, tiled

NAMES = ("background", "clean ice", "debris-covered ice")


@pytest.fixture
def pool(catalog: Catalog, tmp_path: Path) -> tuple[Scene, ForgedScene]:
    return tiled(catalog, tmp_path / "scene.tif")


def patch_at(catalog: Catalog, scene: Scene, row: int, column: int) -> Patch:
    return next(item for item in patches(catalog, scene.id) if (item.row_off, item.col_off) == (row, column))


def ask(client: FlaskClient, catalog: Catalog, scene: Scene, role: str = "reader", **query: int) -> dict[str, Any]:
    address = f"/api/v1/scenes/{scene.id}/labels"
    answer = client.get(address, headers=as_role(catalog, role), query_string=query)
    assert (answer.status_code, answer.content_type) == (200, "application/geo+json"), answer.text
    found: dict[str, Any] = json.loads(answer.data)
    return found


def drawn(features: list[dict[str, Any]], forged: ForgedScene) -> np.ndarray:
    """The pixels of the scene that the polygons hold, by value; 255 where there are none."""
    shapes = [
        (
            reproject(shapely.from_geojson(json.dumps(item["geometry"])), "EPSG:4326", forged.grid.crs),
            NAMES.index(item["properties"]["class"]),
        )
        for item in features
    ]
    return np.asarray(
        rasterio.features.rasterize(shapes, forged.truth.shape, fill=255, transform=forged.grid.affine, dtype="uint8")
    )


def test_labels_are_the_pixels_that_were_judged(
    client: FlaskClient, catalog: Catalog, pool: tuple[Scene, ForgedScene]
) -> None:
    """Of two labels of a patch the newer counts where it was asked; the island of rock stays a hole."""
    scene, forged = pool
    patch = patch_at(catalog, scene, 32, 32)
    truth = forged.truth[32:64, 32:64]
    first = judge(catalog, patch, truth, minute=1)
    asked = np.zeros((32, 32), dtype=np.bool_)
    asked[:, :4] = True
    second = judge(catalog, patch, np.full((32, 32), 2, np.uint8), minute=2, region=asked)
    features = ask(client, catalog, scene)["features"]
    expected = np.full_like(forged.truth, 255)
    expected[32:64, 32:64] = np.where(asked, 2, truth)
    np.testing.assert_array_equal(drawn(features, forged), expected)
    about = features[0]["properties"]
    assert (about["patch"], about["labels"], about["simulated"]) == (patch.id, [first, second], False)


def test_only_operators_read_who_drew(client: FlaskClient, catalog: Catalog, pool: tuple[Scene, ForgedScene]) -> None:
    scene, forged = pool
    label_id = judge(catalog, patch_at(catalog, scene, 0, 0), forged.truth[:32, :32], minute=1)
    with catalog.read() as session:
        account = session.get_one(Label, label_id).annotator
    shown = {role: ask(client, catalog, scene, role)["features"][0]["properties"] for role in ("reader", "operator")}
    assert shown["operator"]["annotators"] == [account]
    (pseudonym,) = shown["reader"]["annotators"]
    assert pseudonym.startswith("analyst-")
    assert account not in json.dumps(shown["reader"])


def test_what_was_superseded_is_not_shown(
    client: FlaskClient, catalog: Catalog, pool: tuple[Scene, ForgedScene]
) -> None:
    scene, forged = pool
    label_id = judge(catalog, patch_at(catalog, scene, 0, 0), forged.truth[:32, :32], minute=1)
    with catalog.database.write() as session:
        session.get_one(Label, label_id).superseded_at = now()
    assert ask(client, catalog, scene) == {
        "type": "FeatureCollection",
        "features": [],
        "left_out": [],
        "withheld": [],
        "next": None,
    }


def test_a_mask_that_is_missing_hides_no_other(
    client: FlaskClient, catalog: Catalog, pool: tuple[Scene, ForgedScene]
) -> None:
    scene, forged = pool
    gone, there = (patch_at(catalog, scene, 0, column) for column in (0, 32))
    label_id = judge(catalog, gone, forged.truth[:32, :32], minute=1)
    judge(catalog, there, forged.truth[:32, 32:64], minute=2)
    with catalog.read() as session:
        raster_store(catalog).delete(session.get_one(Label, label_id).mask_key)
    page = ask(client, catalog, scene)
    assert page["left_out"] == [gone.id]
    assert {item["properties"]["patch"] for item in page["features"]} == {there.id}


def test_pages_hold_every_patch_once(client: FlaskClient, catalog: Catalog, pool: tuple[Scene, ForgedScene]) -> None:
    scene, forged = pool
    for minute, column in enumerate((64, 0, 32), start=1):
        patch = patch_at(catalog, scene, 0, column)
        judge(catalog, patch, forged.truth[:32, column : column + 32], minute=minute)
    seen: list[int] = []
    page = ask(client, catalog, scene, limit=1)
    while True:
        seen += dict.fromkeys(item["properties"]["patch"] for item in page["features"])
        if page["next"] is None:
            break
        page = json.loads(client.get(page["next"], headers=as_role(catalog, "reader")).data)
    assert seen == sorted(patch_at(catalog, scene, 0, column).id for column in (0, 32, 64))
