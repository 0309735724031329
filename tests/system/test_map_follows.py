"""The map in a real browser follows what happens on the server and what is chosen: nobody has to load it again."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import shapely
from playwright.sync_api import Browser, Page, Request, Route, expect

from al_server import live
from catalog import registry_copy
from catalog.access_records import Role
from catalog.context import Catalog
from catalog.records import Scene, SceneState, Scoring, now
from catalog.registry import CHAMPION, ModelVersion
from catalog.settings import Settings
from imagery.window_files import image_to_geotiff
from services import raster_keys, users
from services.places import raster_store
from services.scenes import source_of
from tests.al_server.test_model_versions import bundle  # noqa: F401 - a fixture
from tests.catalog_fixtures import NOBODY
from tests.real_services import free_port
from tests.served_version import add_version, serve
from tests.services.judging import judge
from tests.system.our_pages import PASSWORD, log_in, serving, show
from tests.workers.rows import patches, tiled

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    # rasterio silences it while it warps tiles, but two threads that do so at once undo each other's filter.
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]
LIVE_MS = 10_000
MAPS_MS = 45_000  # jobs change all the time: the page looks every 20 s at most


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


def test_hidden_pages_hold_no_connection_and_take_in_later_what_changed(
    empty: Catalog, browser: Browser, tmp_path: Path
) -> None:
    """Browsers allow six connections to a server: more pages than that are open here."""
    context = browser.new_context()
    pages = [context.new_page() for _ in range(7)]
    log_in(pages[0], empty.settings.api_url, "olga", to="/map")
    for page in pages:
        page.goto(f"{empty.settings.api_url}/map#layers=")
        expect(page.locator("#panel")).to_contain_text("There is no scene to show yet")
        with page.expect_event("requestfailed", is_live):
            show(page, False)
    scene, _ = tiled(empty, tmp_path / "scene.tif")
    with page.expect_request(is_live) as missed:
        show(page, True)
    expect(page.locator("#scene")).to_contain_text(scene.name, timeout=LIVE_MS)
    expect(pages[0].locator("#panel")).to_contain_text("There is no scene to show yet")
    show(page, False)
    with page.expect_request(is_live) as later:
        show(page, True)
    assert since(later.value) != since(missed.value), "what it heard before would be told again"
    context.close()


def is_live(request: Request) -> bool:
    return "/api/v1/live" in request.url


def since(request: Request) -> str:
    """Return what a page said that it knows."""
    return request.url.partition("?since=")[2]


def test_all_versions_can_be_chosen_however_many_there_are(empty: Catalog, browser: Browser, tmp_path: Path) -> None:
    """The API lists a hundred at once, the newest first; the oldest one is on the second page."""
    tiled(empty, tmp_path / "scene.tif")
    with empty.database.write() as session:
        registry_copy.store(session, [ModelVersion(number, "", now(), {}) for number in range(1, 102)])
        registry_copy.set_aliases(session, {CHAMPION: 1})
    context = browser.new_context()
    page = context.new_page()
    log_in(page, empty.settings.api_url, "olga")
    expect(page.locator("#curve")).to_contain_text("versions 1 to 101")
    page.goto(f"{empty.settings.api_url}/map#layers=")
    expect(page.locator("#version option")).to_have_count(102)  # and the one that is served, whichever it is
    expect(page.locator("#version option").last).to_have_text("1, served")
    page.locator("#version").select_option("1")
    expect(page.locator("#version")).to_have_value("1")
    page.locator("#version").select_option("101")
    expect(page.locator("#version")).to_have_value("101")
    context.close()


@pytest.fixture
def scenes(empty: Catalog, tmp_path: Path) -> tuple[Scene, Scene]:
    """Two scenes beside each other."""
    first, _ = tiled(empty, tmp_path / "first.tif")
    second, _ = tiled(empty, tmp_path / "second.tif", offset_px=400)
    return first, second


@pytest.fixture
def page(empty: Catalog, scenes: tuple[Scene, Scene], browser: Browser) -> Iterator[Page]:
    """The map with the second scene and its patches."""
    context = browser.new_context()
    log_in(context.new_page(), empty.settings.api_url, "olga")
    page = context.new_page()
    page.goto(f"{empty.settings.api_url}/map#scene={scenes[1].id}&layers=patches")
    expect(page.locator("#scene")).to_have_value(str(scenes[1].id))
    yield page
    context.close()


def test_a_late_answer_does_not_overwrite_what_was_chosen_since(page: Page, scenes: tuple[Scene, Scene]) -> None:
    first, second = scenes
    held: list[Route] = []
    tiles: list[str] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route(f"**/api/v1/scenes/{first.id}/map*", hold)
    page.on("request", lambda request: tiles.append(request.url) if "/tiles/" in request.url else None)
    page.locator("#scene").select_option(str(first.id))
    while not held:
        page.wait_for_timeout(50)
    page.locator("#scene").select_option(str(second.id))
    expect(page.locator("#scene")).to_have_value(str(second.id))
    held[0].continue_()
    page.wait_for_timeout(1000)  # for what must not happen
    assert f"scene={second.id}" in page.url
    assert [url for url in tiles if f"/scenes/{first.id}/" in url] == []


def test_a_change_while_a_scene_is_loaded_does_not_lose_its_place(
    page: Page, empty: Catalog, scenes: tuple[Scene, Scene], tmp_path: Path
) -> None:
    first, second = scenes
    held: list[Route] = []
    page.route(f"**/api/v1/scenes/{first.id}/map*", lambda route: held.append(route), times=1)  # noqa: PLW0108
    page.locator("#scene").select_option(str(first.id))
    while not held:
        page.wait_for_timeout(50)
    tiled(empty, tmp_path / "third.tif", offset_px=800)  # the map is asked for again
    page.wait_for_url(f"**scene={first.id}&**at=*")
    lon, lat, _ = map(float, page.url.partition("at=")[2].split("&")[0].replace("%2C", ",").split(","))
    assert shapely.geometry.shape(first.footprint).contains(shapely.Point(lon, lat))
    assert not shapely.geometry.shape(second.footprint).contains(shapely.Point(lon, lat))


def test_the_focus_stays_where_it_is_when_something_changes(page: Page, empty: Catalog, tmp_path: Path) -> None:
    button = page.get_by_role("button", name="Correct a window…")
    around = page.locator("summary", has_text="Labels from QGIS")
    around.focus()
    tiled(empty, tmp_path / "third.tif", offset_px=800)
    expect(page.locator("#scene option")).to_have_count(3, timeout=LIVE_MS)
    expect(around).to_be_focused()
    expect(button).to_be_visible()


def test_a_scene_on_the_right_that_is_not_there_is_told(
    page: Page, empty: Catalog, scenes: tuple[Scene, Scene]
) -> None:
    page.goto("about:blank")
    page.goto(f"{empty.settings.api_url}/map#scene={scenes[0].id}&otherScene=99&mode=swipe&layers=")
    expect(page.get_by_role("alert")).to_contain_text("Scene 99 cannot be shown on the right")
    expect(page).not_to_have_url(re.compile("otherScene"))


def test_what_cannot_be_had_leaves_the_map_as_it_was(page: Page, scenes: tuple[Scene, Scene]) -> None:
    first, second = scenes
    answer = {"status": 503, "content_type": "application/problem+json", "body": '{"detail": "MLflow is away"}'}
    page.route(f"**/api/v1/scenes/{first.id}/map*", lambda route: route.fulfill(**answer))
    page.locator("#scene").select_option(str(first.id))
    expect(page.get_by_role("alert")).to_have_text("MLflow is away")
    expect(page.locator("#scene")).to_have_value(str(second.id))
    expect(page.locator("#layer-patches")).to_be_checked()
    assert f"scene={second.id}" in page.url


def test_what_shows_stays_while_the_maps_of_a_newly_served_version_cannot_be_had(
    page: Page,
    empty: Catalog,
    scenes: tuple[Scene, Scene],
    bundle: Path,  # noqa: F811
) -> None:
    add_version(empty, 1, bundle)
    serve(empty, 1)
    expect(page.locator("#version")).to_contain_text("1, served", timeout=LIVE_MS)
    in_the_middle = page.locator("#panel").get_by_role("link", name="Patch ")  # only while patches show
    expect(in_the_middle).to_be_visible()
    maps = f"**/api/v1/scenes/{scenes[1].id}/map*"
    answer = {"status": 503, "content_type": "application/problem+json", "body": '{"detail": "MLflow is away"}'}
    page.route(maps, lambda route: route.fulfill(**answer))
    add_version(empty, 2, bundle)
    serve(empty, 2)
    said = "Version 2 is served now, but its maps could not be loaded: MLflow is away. What was shown stays."
    expect(page.get_by_role("alert")).to_have_text(said, timeout=LIVE_MS)
    expect(in_the_middle).to_be_visible()
    page.unroute(maps)
    page.locator("#layer-labels").check()
    expect(page.locator("#version")).to_contain_text("2, served")
    expect(in_the_middle).to_be_visible()


def test_a_layer_that_failed_can_be_asked_for_again(page: Page, scenes: tuple[Scene, Scene]) -> None:
    asked: list[int] = []

    def fail_once(route: Route) -> None:
        asked.append(1)
        if len(asked) > 1:
            return route.continue_()
        return route.fulfill(status=500, body="")

    page.route(f"**/api/v1/scenes/{scenes[1].id}/labels?*", fail_once)
    page.locator("#layer-labels").check()
    expect(page.locator(".load-faults p")).to_contain_text("Parts of the map could not be loaded: Labels.")
    page.locator("#layer-labels").uncheck()
    expect(page.locator(".load-faults p")).to_have_count(0)
    with page.expect_response(f"**/api/v1/scenes/{scenes[1].id}/labels?*") as again:
        page.locator("#layer-labels").check()
    assert again.value.ok


def test_a_new_scoring_shows_by_itself_and_one_that_is_gone_is_told(
    page: Page, empty: Catalog, scenes: tuple[Scene, Scene]
) -> None:
    scene = scenes[1]
    grid = source_of(scene).grid
    entropy = image_to_geotiff(
        np.full((1, grid.height, grid.width), 0.5, np.float32), grid, ["entropy"], {"entropy": "nats"}
    )
    with empty.database.write() as session:
        registry_copy.store(session, [ModelVersion(number, "", now(), {}) for number in (1, 2, 3)])

    def score(version: int) -> int:
        with empty.database.write() as session:
            scoring = Scoring(model_version=version, passes=2, seed=0)
            session.add(scoring)
            session.flush()
            number = scoring.id
        raster_store(empty).put(raster_keys.scored(number, scene.id, "entropy"), entropy)
        with empty.database.write() as session:
            session.get_one(Scoring, number).completed_at = now()
        return number

    first = score(1)
    page.get_by_label("Uncertainty of version 1").check(timeout=MAPS_MS)
    expect(page.locator(".scale .ends")).to_contain_text("0 nats")
    expect(page.locator(".scale .ends")).to_contain_text("1.10 nats")
    with page.expect_response("**/maps/uncertainty/**version=2", timeout=MAPS_MS) as tile:
        second = score(2)
    assert tile.value.ok
    expect(page.get_by_label("Uncertainty of version 2")).to_be_checked()
    said = "Uncertainty of version 2 shows now, in place of Uncertainty of version 1."
    expect(page.get_by_role("status").filter(has_text=said)).to_be_visible()
    with empty.database.write() as session:
        for number in (first, second):
            session.get_one(Scoring, number).completed_at = None
    gone = "Uncertainty of version 2 does not exist any more."
    expect(page.get_by_role("alert").filter(has_text=gone)).to_be_visible(timeout=MAPS_MS)
    expect(page.get_by_label("Uncertainty: does not exist now")).to_be_checked()
    score(3)
    expect(page.get_by_label("Uncertainty of version 3")).to_be_checked(timeout=MAPS_MS)


def test_the_keyboard_keeps_its_place_in_the_panel(page: Page) -> None:
    for name in ("mode-swipe", "layer-labels"):
        page.locator(f"#{name}").focus()
        page.keyboard.press("Space")
        expect(page.locator(f"#{name}")).to_be_focused()
    expect(page.locator("#mode-swipe")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#layer-labels")).to_be_checked()


def test_the_colours_of_patches_are_explained_while_they_show(page: Page) -> None:
    legend = page.locator("#panel")
    expect(legend).to_contain_text("proposed to annotators")
    page.locator("#layer-patches").uncheck()
    expect(legend).not_to_contain_text("proposed to annotators")


def test_a_scene_that_is_removed_gives_way_to_another(page: Page, empty: Catalog, scenes: tuple[Scene, Scene]) -> None:
    first, second = scenes
    with empty.database.write() as session:
        session.get_one(Scene, second.id).state = SceneState.REMOVED
    expect(page.locator("#scene")).to_have_value(str(first.id), timeout=LIVE_MS)
    said = f"Scene {second.id} cannot be shown: it is not ready, or was removed."
    expect(page.get_by_role("alert").filter(has_text=said)).to_be_visible()
