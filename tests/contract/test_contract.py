"""Every call of the API does what its OpenAPI document says, whatever is sent to it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
from flask import Flask

from catalog.access_records import Role
from catalog.context import Catalog
from catalog.records import Scene
from imagery.scene_source import SceneSource
from tests import dashboard_world as world
from tests.al_server.test_model_versions import bundle  # noqa: F401 - a fixture
from tests.catalog_fixtures import as_role
from tests.served_app import serving
from tests.served_version import add_version, serve

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    # rasterio silences it while it warps tiles, but two threads that do so at once undo each other's filter.
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]
EXAMPLES = os.environ.get("CONTRACT_EXAMPLES", "8")
CONFIG = Path(__file__).parent / "schemathesis.toml"


@pytest.fixture
def address(app: Flask, catalog: Catalog, bundle: Path, tmp_path: Path) -> Iterator[str]:  # noqa: F811
    """A loop in its third round, with a served version and the pixels of the first scene."""
    with catalog.database.write() as session:
        world.populate(session)
        world.add_failed_event(session)
        world.add_alert(session)
        write_pixels(session.get_one(Scene, 1), tmp_path / "khumbu.tif")
    world.tick(catalog)
    add_version(catalog, 1, bundle)
    serve(catalog, 1)
    with serving(app) as address:
        yield address


def write_pixels(scene: Scene, path: Path) -> None:
    """Write random digital numbers where a scene is said to lie."""
    source = SceneSource.from_json(scene.source)
    count, (height, width) = len(source.bands), (source.grid.height, source.grid.width)
    profile = {"driver": "GTiff", "dtype": "uint8", "count": count, "height": height, "width": width}
    with rasterio.open(path, "w", crs=source.grid.crs, transform=source.grid.affine, **profile) as file:
        file.write(np.random.default_rng(1).integers(0, 255, (count, height, width), dtype=np.uint8))
    scene.source = {**scene.source, "bands": [{**band, "path": str(path)} for band in scene.source["bands"]]}
    scene.stretch = {band.name: [0.0, 255.0] for band in source.bands}


def test_the_api_does_what_its_document_says(address: str, catalog: Catalog) -> None:
    """Schemathesis calls each operation with what its schemas allow and forbid, and judges each answer by them.

    CONTRACT_EXAMPLES says how many random calls there are of each operation, beside those at the limits of its schemas.
    """
    token = as_role(catalog, Role.ADMINISTRATOR.title)["Authorization"]
    command = [Path(sys.executable).with_name("schemathesis"), "--config-file", CONFIG, "run"]
    done = subprocess.run(
        [*command, f"{address}/openapi.json", f"--max-examples={EXAMPLES}"],
        env=os.environ | {"GLACIER_TOKEN": token, "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout[-20_000:], done.stderr)
    assert done.returncode == 0
