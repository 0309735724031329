"""The map in a real browser follows what happens on the server: nobody has to load it again."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, expect

from al_server import live
from catalog.access_records import Role
from catalog.context import Catalog
from catalog.settings import Settings
from services import users
from tests.al_server.test_model_versions import bundle  # noqa: F401 - a fixture
from tests.catalog_fixtures import NOBODY
from tests.real_services import free_port
from tests.served_version import add_version, serve
from tests.services.judging import judge
from tests.system.our_pages import PASSWORD, log_in, serving
from tests.workers.rows import patches, tiled

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    # rasterio silences it while it warps tiles, but two threads that do so at once undo each other's filter.
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]
LIVE_MS = 10_000


@pytest.fixture
def empty(
    tmp_path: Path, migrated_database: Path, redis_server: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Catalog]:
    """A system with an operator and nothing else, whose server runs."""
    (tmp_path / "catalog.sqlite").write_bytes(migrated_database.read_bytes())
    settings = Settings(
        var_dir=tmp_path,
        redis_url=redis_server,
        mlflow_url=NOBODY,
        label_studio_url=NOBODY,
        api_url=f"http://127.0.0.1:{free_port()}",
        patch_size_px=32,
    )
    catalog = Catalog(settings)
    with catalog.database.write() as session:
        users.add(session, "olga", Role.OPERATOR, PASSWORD)
    monkeypatch.setattr(live, "LOOK_EVERY_S", 0.1)
    with serving(catalog):
        yield catalog
    catalog.close()


def test_scenes_and_versions_show_by_themselves(
    empty: Catalog,
    browser: Browser,
    tmp_path: Path,
    bundle: Path,  # noqa: F811
) -> None:
    context = browser.new_context()
    log_in(context.new_page(), empty.settings.api_url, "olga")  # leaving the dashboard would cut its requests off
    page = context.new_page()
    faults: list[str] = []
    page.on("console", lambda said: faults.append(said.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(f"{empty.settings.api_url}/map#layers=")
    expect(page.locator("#panel")).to_contain_text("There is no scene to show yet")
    expect(page.get_by_role("link", name="Add a scene")).to_have_attribute("href", "/scenes/add")
    scene, _ = tiled(empty, tmp_path / "scene.tif")
    expect(page.locator("#scene")).to_contain_text(scene.name, timeout=LIVE_MS)
    expect(page.locator("#layer-outlines")).to_have_count(0)
    for number in (1, 2):
        add_version(empty, number, bundle)
        serve(empty, number)
        expect(page.locator("#version")).to_contain_text(f"{number}, served", timeout=LIVE_MS)
        expect(page.locator("#layer-outlines")).to_be_visible()
    # What people draw meanwhile shows, too.
    (patch, *_) = patches(empty, scene.id)
    with page.expect_response(f"**/api/v1/scenes/{scene.id}/labels?*") as first:
        page.locator("#layer-labels").check()
    assert first.value.json()["features"] == []
    with page.expect_response(f"**/api/v1/scenes/{scene.id}/labels?*", timeout=30_000) as second:
        judge(empty, patch, np.ones((32, 32), np.uint8), minute=1)
    assert {item["properties"]["patch"] for item in second.value.json()["features"]} == {patch.id}
    assert faults == []
    context.close()
