"""The glaciers of a scene with their ids, over HTTP: of the inventory of the settings, else of its prior outlines."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import shapely.affinity
from flask.testing import FlaskClient

from catalog.context import Catalog
from catalog.records import Scene
from imagery.masks import OutlineLayer
from services.prior_outlines import PriorOutlines
from tests.catalog_fixtures import as_role
from tests.imagery.forge import ForgedScene, write_glaciers
from tests.workers.rows import tiled


@pytest.fixture
def pool(catalog: Catalog, tmp_path: Path) -> tuple[Scene, ForgedScene]:
    return tiled(catalog, tmp_path / "scene.tif")


def glaciers(client: FlaskClient, catalog: Catalog, scene: Scene) -> list[tuple[str, str | None]]:
    answer = client.get(f"/api/v1/scenes/{scene.id}/glaciers", headers=as_role(catalog, "reader"))
    assert (answer.status_code, answer.content_type) == (200, "application/geo+json")
    features: list[dict[str, Any]] = json.loads(answer.data)["features"]
    for feature in features:
        west, south, east, north = shapely.from_geojson(json.dumps(feature["geometry"])).bounds
        assert 86.7 < west < east < 86.9 and 28.0 < south < north < 28.2
    return [(feature["properties"]["id"], feature["properties"]["name"]) for feature in features]


def halves(forged: ForgedScene) -> dict[tuple[str, str | None], Any]:
    """The west and the east of a scene as two glaciers."""
    left, bottom, right, top = forged.grid.bounds
    middle = (left + right) / 2
    west, east = shapely.box(left, bottom, middle, top), shapely.box(middle, bottom, right, top)
    return {("RGI-1", "Khumbu"): west, ("RGI-2", None): east}


def test_prior_outlines_name_glaciers(
    client: FlaskClient, catalog: Catalog, pool: tuple[Scene, ForgedScene], tmp_path: Path
) -> None:
    scene, forged = pool
    assert glaciers(client, catalog, scene) == []
    path = write_glaciers(tmp_path / "rgi.gpkg", halves(forged))
    unnamed = forged.outlines[1]  # a layer without ids
    named = OutlineLayer(str(path), None, "clean ice")
    with catalog.database.write() as session:
        prior = PriorOutlines((named, unnamed), None, None, 0.0, "2" * 64)
        session.get_one(Scene, scene.id).prior_outlines = prior.to_json()
    assert glaciers(client, catalog, scene) == [("RGI-1", "Khumbu"), ("RGI-2", None)]
    path.unlink()
    assert glaciers(client, catalog, scene) == []


def test_only_what_is_a_prior_outline_names_a_glacier(
    client: FlaskClient, catalog: Catalog, pool: tuple[Scene, ForgedScene], tmp_path: Path
) -> None:
    """Of the glacier "a" there is an outline of 1970, and rock inside of it; the prior outlines are of 2000 to 2005."""
    scene, forged = pool
    path, box = str(tmp_path / "glims.gpkg"), shapely.box(*forged.grid.bounds)
    columns = {
        "glac_id": ["a", "a", "a", "lake"],
        "glac_name": ["old", "new", "rock", "lake"],
        "src_date": ["1970", "2001", "2001", "2001"],
        "line_type": ["glac_bound", "glac_bound", "intrnl_rock", "supra_lake"],
    }
    pyogrio.raw.write(
        path,
        shapely.to_wkb([box] * 4),
        field_data=[np.array(values, object) for values in columns.values()],
        fields=list(columns),
        geometry_type="Polygon",
        crs=forged.grid.crs,
    )
    layers = tuple(
        OutlineLayer(path, None, name, "line_type", (value,), "2000", "2005")
        for name, value in (("clean ice", "glac_bound"), ("background", "intrnl_rock"))
    )
    with catalog.database.write() as session:
        prior = PriorOutlines(layers, None, None, 0.0, "2" * 64)
        session.get_one(Scene, scene.id).prior_outlines = prior.to_json()
    assert glaciers(client, catalog, scene) == [("a", "new")]
    Path(path).unlink()
    write_glaciers(Path(path), halves(forged))  # another file there, without these fields
    assert glaciers(client, catalog, scene) == []


def test_the_inventory_of_the_settings_comes_first(
    client: FlaskClient, catalog: Catalog, pool: tuple[Scene, ForgedScene], tmp_path: Path
) -> None:
    scene, forged = pool
    path = write_glaciers(tmp_path / "inventory.gpkg", {("G1", None): shapely.box(*forged.grid.bounds)})
    catalog.settings = catalog.settings.model_copy(update={"glacier_inventory": str(path)})
    assert glaciers(client, catalog, scene) == [("G1", None)]


def test_polygons_without_an_id_are_glaciers_of_their_own_in_an_inventory_and_left_out_of_prior_outlines(
    client: FlaskClient, catalog: Catalog, pool: tuple[Scene, ForgedScene], tmp_path: Path
) -> None:
    scene, forged = pool
    west, east = halves(forged).values()
    south = shapely.affinity.translate(west, yoff=-1000)
    unnamed: dict[tuple[Any, str | None], Any] = {("RGI-1", None): west, (None, None): east, ("", None): south}
    path = write_glaciers(tmp_path / "rgi.gpkg", unnamed)
    with catalog.database.write() as session:
        prior = PriorOutlines((OutlineLayer(str(path), None, "clean ice"),), None, None, 0.0, "2" * 64)
        session.get_one(Scene, scene.id).prior_outlines = prior.to_json()
    assert glaciers(client, catalog, scene) == [("RGI-1", None)]
    catalog.settings = catalog.settings.model_copy(update={"glacier_inventory": str(path)})
    own = [("feature 2 of rgi.gpkg", None), ("feature 3 of rgi.gpkg", None)]
    assert glaciers(client, catalog, scene) == [("RGI-1", None), *own]
