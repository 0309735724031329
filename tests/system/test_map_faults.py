"""What the map in a real browser says of tiles and layers that it could not load, and how they come back."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from catalog.access_records import Role
from catalog.context import Catalog
from catalog.records import Scene
from services import raster_keys, users
from services.places import raster_store
from tests.system.our_pages import PASSWORD, catalog_at, log_in, serious_faults, serving
from tests.workers.rows import tiled

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    # rasterio silences it while it warps tiles, but two threads that do so at once undo each other's filter.
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]
MISSING: Final = "Parts of the map could not be loaded: "
BACK_MS: Final = 30_000  # a browser connects to a server again after some seconds


class Place:
    """A system whose one scene has old outlines, and an annotator who looks at its map."""

    def __init__(self, catalog: Catalog, scene: Scene, file: Path, browser: Browser) -> None:
        self.catalog, self.scene, self.file, self.url = catalog, scene, file, catalog.settings.api_url
        self.context = browser.new_context(viewport={"width": 1440, "height": 900})
        self.page: Page = self.context.new_page()
        self.asked: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))

    def open(self, layers: str = "") -> None:
        log_in(self.page, self.url, "anna", to="/map")
        self.page.goto("about:blank")
        self.page.goto(f"{self.url}/map#layers={layers}")
        expect(self.page.locator("#scene")).to_be_visible()

    @property
    def note(self) -> Locator:
        return self.page.locator(".maps .load-faults")

    @property
    def aside(self) -> Path:
        return self.file.with_suffix(".aside")

    def tiles(self, of: str) -> int:
        """How many tiles were asked for so far."""
        return sum(f"/{of}/" in url and ".webp?" in url for url in self.asked)

    def all_tiles(self, of: str) -> int:
        """How many tiles were asked for once no more are."""
        for _ in range(20):
            before = self.tiles(of)
            self.page.wait_for_timeout(2000)
            if before == self.tiles(of) > 0:
                return before
        pytest.fail(f"tiles of {of} are asked for without end: {self.tiles(of)} so far")


@pytest.fixture
def place(tmp_path: Path, migrated_database: Path, redis_server: str, browser: Browser) -> Iterator[Place]:
    catalog = catalog_at(tmp_path, migrated_database, redis_server)
    file = tmp_path / "scene.tif"
    scene, _ = tiled(catalog, file, priors=(0, 1))
    with catalog.database.write() as session:
        users.add(session, "anna", Role.ANNOTATOR, PASSWORD)
    place = Place(catalog, scene, file, browser)
    yield place
    place.context.close()
    catalog.close()


def test_a_view_whose_file_is_gone_is_told_once_and_can_be_asked_for_again(place: Place) -> None:
    with serving(place.catalog):
        place.file.rename(place.aside)
        place.open()
        said = place.note.locator("p")
        expect(said).to_contain_text(f"{MISSING}True colour. {place.file}: found no such file; expected a GeoTIFF")
        expect(said).to_have_count(1)
        expect(place.note).to_have_role("status")
        asked = place.all_tiles("true-colour")
        assert asked > 1, "several tiles failed for the one cause"
        again = place.note.get_by_role("button", name="Try again")
        again.focus()
        with place.page.expect_response(lambda answer: "/true-colour/" in answer.url and not answer.ok):
            again.press("Enter")
        assert asked < place.all_tiles("true-colour") <= 2 * asked
        expect(again).to_have_attribute("aria-disabled", "false")
        expect(again).to_be_focused()
        place.aside.rename(place.file)
        with place.page.expect_response(lambda answer: "/true-colour/" in answer.url and answer.ok):
            again.press("Enter")
        expect(said).to_have_count(0)
        expect(place.page.locator("#map")).to_be_focused()


def test_what_a_lost_server_leaves_empty_comes_back_with_it(place: Place) -> None:
    """Tiles and layers that are loaded as a whole are told together: their cause is one."""
    with serving(place.catalog):
        place.open()
        place.page.wait_for_load_state("load")
        expect(place.note.locator("p")).to_have_count(0)
    place.page.locator("#view").select_option("false-colour")
    place.page.locator("#layer-labels").check()
    said = f"{MISSING}False colour, Labels. The server does not answer. Try again"
    expect(place.note.locator("p")).to_have_text(said)
    expect(place.note.locator("p")).to_have_count(1)
    with serving(place.catalog):
        expect(place.note.locator("p")).to_have_count(0, timeout=BACK_MS)
        assert place.page.evaluate("document.querySelectorAll('#map canvas').length") >= 1


def test_each_cause_is_told_by_itself_and_only_of_layers_that_show(place: Place) -> None:
    key = raster_keys.prior(place.scene.id)
    whole = raster_store(place.catalog).get(key)
    raster_store(place.catalog).put(key, b"no picture at all")
    place.file.rename(place.aside)
    with serving(place.catalog):
        place.open("prior")
        lines = place.note.locator("p")
        expect(lines).to_have_count(2)
        expect(lines.filter(has_text="True colour")).to_contain_text("found no such file")
        expect(lines.filter(has_text="Old outlines")).to_contain_text("found a file of another format")
        place.page.get_by_label("Old outlines").uncheck()
        expect(lines).to_have_count(1)
        raster_store(place.catalog).put(key, whole)
        with place.page.expect_response(lambda answer: "/maps/prior/" in answer.url and answer.ok):
            place.page.get_by_label("Old outlines").check()
        expect(lines).to_have_count(1)
        place.page.evaluate("location.hash = 'layers=prior&at=10,10,14'")  # far from the scene
        expect(lines).to_have_count(0)


def test_a_map_that_does_not_exist_any_more_leaves_the_panel(place: Place) -> None:
    with serving(place.catalog):
        place.open()
        old = place.page.get_by_label("Old outlines")
        expect(old).to_be_visible()
        raster_store(place.catalog).delete(raster_keys.prior(place.scene.id))
        old.check()
        said = "Old outlines does not exist any more."
        expect(place.page.get_by_role("alert").filter(has_text=said)).to_be_visible()
        expect(place.note.locator("p")).to_have_count(0)


def test_a_server_that_is_busy_is_asked_again_when_it_says(place: Place) -> None:
    busy: set[str] = set()

    def answer(route: Route) -> None:
        if route.request.url in busy:
            return route.continue_()
        busy.add(route.request.url)
        return route.fulfill(status=503, headers={"Retry-After": "1"}, body="")

    with serving(place.catalog):
        place.page.route("**/true-colour/**", answer)
        with place.page.expect_response(lambda response: "/true-colour/" in response.url and response.ok):
            place.open()
        assert place.all_tiles("true-colour") == 2 * len(busy)
        expect(place.note.locator("p")).to_have_count(0)


def test_a_map_without_its_scenes_says_so(place: Place) -> None:
    with serving(place.catalog):
        place.page.route("**/api/v1/scenes", lambda route: route.fulfill(status=502, body=""))
        log_in(place.page, place.url, "anna", to="/map")
        expect(place.note).to_contain_text(
            f"{MISSING}the scenes. The server answered with status 502, and does not say why."
        )
        place.page.unroute("**/api/v1/scenes")
        place.note.get_by_role("button", name="Try again").click()
        expect(place.page.locator("#scene")).to_be_visible()
        expect(place.note.locator("p")).to_have_count(0)


def test_the_editor_says_that_its_view_is_missing(place: Place) -> None:
    with serving(place.catalog):
        place.open()
        place.page.wait_for_load_state("load")
        views = "**/tiles/*/window?*"
        place.page.route(views, lambda route: route.abort())
        place.page.get_by_role("button", name="Correct a window…").click()
        place.page.keyboard.press("Enter")
        note = place.page.locator(".correct-map .load-faults")
        expect(note).to_contain_text(f"{MISSING}True colour. The server does not answer.")
        assert serious_faults(place.page) == []
        place.page.unroute(views)
        with place.page.expect_response(views) as view:
            note.get_by_role("button", name="Try again").click()
        assert view.value.ok
        expect(note.locator("p")).to_have_count(0)


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_everybody_can_read_what_is_missing(place: Place, width: int, scheme: str) -> None:
    place.page.set_viewport_size({"width": width, "height": 844})
    place.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    place.file.rename(place.aside)
    with serving(place.catalog):
        place.open()
        expect(place.note.locator("p")).to_be_in_viewport(ratio=1)
        assert serious_faults(place.page) == []
        assert place.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        place.page.get_by_role("button", name="Correct a window…").click()
        hint, note = (
            place.page.locator(selector).bounding_box() for selector in (".correct-hint", ".maps .load-faults p")
        )
        assert hint is not None and note is not None
        assert hint["y"] > note["y"] + note["height"], "neither covers the other"
