"""The served network in a real Chromium: the server's map, the probe, and a new version that shows by itself.

What is compared: the classes of every pixel of a scene, edges included, as the page's worker computes them and as the
server writes them to `prediction.tif`.
"""

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright
from sqlalchemy import select

from al_server import live
from al_server.app import create_app
from catalog import jobs
from catalog.access_records import Role
from catalog.bundle_cache import CARD, WEIGHTS
from catalog.context import Catalog
from catalog.records import Job, JobKind
from catalog.registry import registry_of
from catalog.registry_copy import RegistryCopy
from catalog.settings import Settings
from imagery.describe_scene import describe
from models.bundle import CARD_FILE, read_bundle, write_bundle
from models.heads import Head, logits_per_network
from models.segmenter import build_segmenter
from models.symmetries import Orientations
from models.unet import UNetConfig
from services import users
from services.delivery import delivery_options
from services.places import bundle_cache, graph_cache
from tests.catalog_fixtures import NOBODY, add_scene, as_role
from tests.imagery.forge import BAND_NAMES, forge_scene, write_geotiff
from tests.models.cards import origin
from tests.real_services import free_port
from tests.served_version import add_version, serve
from tests.system.our_pages import ARGUMENTS, PASSWORD, log_in, serious_faults, serving
from tests.workers.rows import MEAN, STD, context_of, finish, tiled
from workers import predict_area
from workers.jobs import perform
from workers.predict_scene import predict_by
from workers.versions import LoadedVersion

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    # rasterio silences it while it warps tiles, but two threads that do so at once undo each other's filter.
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]

PATCH_PX = 32
MULTICLASS, TWO_BINARIES, ALL_ORIENTATIONS, DAMAGED, WITHOUT_PROBE = 1, 2, 3, 4, 5


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory, migrated_database: Path, redis_server: str) -> Iterator[Catalog]:
    """A system with a scene, five versions and a reader, whose server runs."""
    folder = tmp_path_factory.mktemp("predict")
    database = folder / "catalog.sqlite"
    database.write_bytes(migrated_database.read_bytes())
    settings = Settings(
        var_dir=folder,
        database_url=f"sqlite:///{database}",
        redis_url=redis_server,
        mlflow_url=NOBODY,
        label_studio_url=NOBODY,
        api_url=f"http://127.0.0.1:{free_port()}",
        patch_size_px=PATCH_PX,
    )
    catalog = Catalog(settings)
    with catalog.database.write() as session:
        users.add(session, "rita", Role.READER, PASSWORD)
    tiled(catalog, folder / "scene.tif", nodata_columns=13)
    add_large_scene(catalog, folder)
    add_network(catalog, folder / "1", MULTICLASS)
    add_network(catalog, folder / "2", TWO_BINARIES, head="two_binaries")
    add_network(catalog, folder / "3", ALL_ORIENTATIONS, orientations="all")
    add_network(catalog, folder / "4", DAMAGED, probe_of=folder / "2")
    add_network(catalog, folder / "5", WITHOUT_PROBE, without_probe=True)
    serve(catalog, MULTICLASS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live, "LOOK_EVERY_S", 0.1)
        with serving(catalog):
            yield catalog
    catalog.close()


def add_large_scene(catalog: Catalog, folder: Path) -> None:
    """Add a scene of 700 x 1120 px, which is not tiled: seven by seven times the other, beside it."""
    small = forge_scene(folder / "small.tif", offset_px=1000)
    with rasterio.open(small.path) as file:
        pixels = np.tile(file.read(), (1, 7, 7))
    write_geotiff(folder / "large.tif", pixels, transform=small.grid.transform, descriptions=BAND_NAMES)
    source = describe([replace(band, path=str(folder / "large.tif")) for band in small.bands])
    with catalog.database.write() as session:
        scene, _ = add_scene(session, "large")
        scene.source, scene.footprint = source.to_json(), source.grid.footprint_wgs84().__geo_interface__


def add_network(
    catalog: Catalog,
    bundle: Path,
    number: int,
    *,
    head: Head = "multiclass",
    orientations: Orientations = "alternating",
    probe_of: Path | None = None,
    without_probe: bool = False,
) -> None:
    """Add an untrained network as a version, with the probe of another one or without."""
    config = UNetConfig(in_channels=4, classes=logits_per_network(head, 3), depth=2, width=4)
    precedence = (1, 2) if head == "two_binaries" else None
    segmenter = build_segmenter(BAND_NAMES, MEAN, STD, config, 1, head, precedence=precedence)
    segmenter.orientations = orientations
    described = origin(BAND_NAMES).model_copy(update={"patch_size_px": PATCH_PX})
    write_bundle(bundle, segmenter, described, graph_cache(catalog.settings))
    card = json.loads((bundle / CARD_FILE).read_text())
    if probe_of is not None:
        card["probe"] = json.loads((probe_of / CARD_FILE).read_text())["probe"]
    if without_probe:
        del card["probe"]
    (bundle / CARD_FILE).write_text(json.dumps(card))
    version = add_version(catalog, number, bundle)
    if probe_of is None and not without_probe:
        context = context_of(catalog, JobKind.PREDICT_SCENE, str(number))
        loaded = LoadedVersion(version, *read_bundle(bundle))
        predict_by(context, loaded, 1, delivery_options(catalog.settings))
        finish(context)


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """A browser with a graphics card, which its own library computes on the processor."""
    with sync_playwright() as playwright:
        others = [argument for argument in ARGUMENTS if argument != "--disable-gpu"]
        gpu = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"]
        launched = playwright.chromium.launch(executable_path=chromium, args=[*others, *gpu])
        yield launched
        launched.close()


@pytest.fixture
def faults() -> list[str]:
    """What the console complained of, and requests to elsewhere."""
    return []


@pytest.fixture
def page(browser: Browser, catalog: Catalog, faults: list[str]) -> Iterator[Page]:
    """A reader's page, on which no fault may be left at the end."""
    own = catalog.settings.api_url
    context = browser.new_context()
    context.on("request", lambda asked: asked.url.startswith((own, "data:")) or faults.append(asked.url))
    page = context.new_page()
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.route("**/favicon.ico", lambda route: route.fulfill(status=204))
    log_in(page, own, "rita")
    yield page
    context.close()
    assert faults == []


def open_map(page: Page, catalog: Catalog) -> None:
    page.goto(f"{catalog.settings.api_url}/map#layers=")
    page.get_by_role("button", name="Around the centre").wait_for()


def served_map(catalog: Catalog, version: int) -> NDArray[np.uint8]:
    """The map that the server delivers."""
    client = create_app(catalog).test_client()
    answer = client.get(f"/api/v1/scenes/1/prediction.tif?version={version}", headers=as_role(catalog, "reader"))
    assert answer.status_code == 200, answer.text
    with rasterio.open(io.BytesIO(answer.data)) as dataset:
        classes: NDArray[np.uint8] = dataset.read(1)
    return classes


PREDICT = """([backend, areas]) => new Promise((resolve, reject) => {
    const worker = new Worker("/static/app/predict-worker.js", { type: "module" });
    const found = [];
    const next = () => {
        const area = areas[found.length];
        if (area) worker.postMessage({ id: 2, kind: "predict", scene: 1, size: { width: 160, height: 100 }, area });
        else resolve(found);
    };
    worker.onmessage = ({ data }) => {
        if (data.kind === "failed") reject(new Error(data.message));
        if (data.kind === "predicted") found.push(Array.from(data.outcome.classes));
        if (data.kind !== "progress") next();
    };
    worker.postMessage({ id: 1, kind: "load", backend });
})"""


@pytest.mark.parametrize(
    ("version", "backend"),
    [
        (MULTICLASS, "processor"),
        (TWO_BINARIES, "processor"),
        (ALL_ORIENTATIONS, "processor"),
        (MULTICLASS, "graphics card"),
        (TWO_BINARIES, "graphics card"),
    ],
)
def test_a_browser_maps_as_the_server_does(page: Page, catalog: Catalog, version: int, backend: str) -> None:
    serve(catalog, version)
    open_map(page, catalog)
    expected = served_map(catalog, version)
    assert len(np.unique(expected)) > 2, "the map must show several classes beside what has no data"
    # The whole scene; and a window whose edges lie within the scene and are no edges of windows of the network.
    windows = ((0, 0, 100, 160), (23, 37, 50, 71))
    areas = [dict(zip(("row", "column", "height", "width"), window, strict=True)) for window in windows]
    for (row, column, height, width), found in zip(windows, page.evaluate(PREDICT, [backend, areas]), strict=True):
        part = expected[row : row + height, column : column + width]
        equal = (np.reshape(found, (height, width)) == part).mean()
        print(f"version {version} on the {backend}: {100 * equal:.4f} % of {part.size} pixels are equal")
        assert equal >= 0.999


def test_a_window_shows_with_areas_and_time(page: Page, catalog: Catalog) -> None:
    serve(catalog, MULTICLASS)
    open_map(page, catalog)
    page.get_by_role("button", name="Around the centre").click()
    expect(page.locator(".predicted")).to_contain_text("Version 1: 160 x 100 px", timeout=60_000)
    expect(page.locator(".predict")).to_contain_text("this browser passed its probe: 100.00 %")
    client = create_app(catalog).test_client()
    outlines = client.get("/api/v1/scenes/1/prediction.geojson?version=1", headers=as_role(catalog, "reader")).json
    assert outlines is not None
    for row in page.locator(".predicted tr").all():
        name, shown = row.locator("th").inner_text(), float(row.locator("td").inner_text().removesuffix(" km²"))
        areas = [item["properties"]["area_km2"] for item in outlines["features"] if item["properties"]["class"] == name]
        assert shown == pytest.approx(sum(areas), rel=1e-3, abs=0.002)
    expect(page.locator(".predicted")).to_contain_text(f"{len(outlines['features'])} outlines")
    assert serious_faults(page) == []
    page.get_by_role("button", name="Remove").click()
    expect(page.locator(".predicted")).to_be_empty()


def test_a_box_is_drawn_and_one_that_is_too_small_is_refused(page: Page, catalog: Catalog) -> None:
    serve(catalog, MULTICLASS)
    open_map(page, catalog)
    box = page.locator("#map").bounding_box()
    assert box is not None
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    for by, says in ((4, "at least 16 x 16 are needed"), (60, "Version 1: ")):
        page.get_by_role("button", name="Draw a box").click()
        page.mouse.move(middle[0] - by, middle[1] - by)
        page.mouse.down()
        page.mouse.move(middle[0] + by, middle[1] + by, steps=4)
        page.mouse.up()
        expect(page.locator(".predict")).to_contain_text(says, timeout=60_000)


def test_a_box_that_is_too_large_for_the_browser_is_mapped_by_the_server(
    page: Page, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(catalog, MULTICLASS)
    version = RegistryCopy(catalog).get(MULTICLASS)
    bundles = bundle_cache(catalog.settings, registry_of(catalog.settings))
    loaded = LoadedVersion(version, *read_bundle(bundles.directory(version, (CARD, WEIGHTS))))
    monkeypatch.setattr(predict_area, "load_version", lambda *_: loaded)
    page.goto(f"{catalog.settings.api_url}/map#scene=2&layers=")
    page.get_by_role("button", name="Draw a box").click()
    box = page.locator("#map").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] - 8, box["y"] + box["height"] - 8)  # in the other corner are controls
    page.mouse.down()
    page.mouse.move(box["x"] + 8, box["y"] + 8, steps=4)
    page.mouse.up()
    expect(page.locator(".predict")).to_contain_text("The window has 1120 x 700 px; in the browser at most 1024 x 1024")
    page.get_by_role("button", name="Have the server map it").click()
    expect(page.locator(".on-server")).to_contain_text("when nothing else waits")
    with catalog.database.write() as session:
        waiting = session.scalars(select(Job).where(Job.kind == JobKind.PREDICT_AREA)).one()
        job = jobs.claim(session, waiting.id)
    assert job is not None
    perform(catalog, job)
    expect(page.locator(".on-server")).to_contain_text("Version 1: ", timeout=30_000)
    assert serious_faults(page) == []
    with page.expect_download() as download:
        page.get_by_role("link", name="Outlines, GeoPackage").click()
    assert download.value.suggested_filename == "large-0-0-v1.gpkg"


def test_a_backend_that_fails_the_probe_is_refused(page: Page, catalog: Catalog) -> None:
    serve(catalog, DAMAGED)
    open_map(page, catalog)
    page.get_by_role("button", name="Around the centre").click()
    expect(page.locator(".predict [role=alert]")).to_contain_text(
        "this browser computes something else than the model", timeout=60_000
    )
    expect(page.locator(".predicted")).to_be_empty()


def test_a_graphics_card_is_used_where_it_is_asked_for(page: Page, catalog: Catalog) -> None:
    """By itself the page uses the processor here: this browser's card is the processor in disguise, and slower."""
    serve(catalog, MULTICLASS)
    open_map(page, catalog)
    page.get_by_role("button", name="Around the centre").click()
    expect(page.locator(".predict")).to_contain_text("on the processor; this browser passed its probe", timeout=60_000)
    expect(page.locator(".predict")).not_to_contain_text("The graphics card is not used")
    for title in ("graphics card", "processor"):
        page.get_by_label("Computed by").select_option(f"the {title}")
        expect(page.locator(".predict")).to_contain_text(
            f"on the {title}; this browser passed its probe", timeout=60_000
        )
        expect(page.locator(".predicted")).to_contain_text("Version 1: 160 x 100 px", timeout=60_000)


REAL = "Object.defineProperty(GPUAdapterInfo.prototype, 'isFallbackAdapter', { get: () => false });"
LOST = "GPUAdapter.prototype.requestDevice = () => Promise.reject(new Error('the driver crashed'));"
LOST_LATER = """
    const request = GPUAdapter.prototype.requestDevice;
    GPUAdapter.prototype.requestDevice = async function (...given) {
        const device = await request.apply(this, given);
        self.addEventListener("message", ({ data }) => { if (data.kind === "predict") device.destroy(); });
        return device;
    };
"""


def with_card(page: Page, script: str) -> None:
    """Give the worker a card that passes for a real one, and has a fault."""
    page.route(
        "**/predict-worker.js*",
        lambda route: route.fulfill(response=(answer := route.fetch()), body=f"{REAL}{script};{answer.text()}"),
    )


def test_a_graphics_card_that_cannot_be_used_leaves_the_work_to_the_processor(page: Page, catalog: Catalog) -> None:
    serve(catalog, MULTICLASS)
    with_card(page, LOST)
    open_map(page, catalog)
    page.get_by_role("button", name="Around the centre").click()
    expect(page.locator(".predicted")).to_contain_text("Version 1: ", timeout=60_000)
    expect(page.locator(".predict")).to_contain_text("on the processor; this browser passed its probe")
    expect(page.locator(".predict")).to_contain_text("The graphics card is not used: ")


def test_a_graphics_card_that_fails_later_is_not_used_again(page: Page, catalog: Catalog) -> None:
    serve(catalog, MULTICLASS)
    with_card(page, LOST_LATER)
    open_map(page, catalog)
    page.get_by_role("button", name="Around the centre").click()
    expect(page.locator(".predict [role=alert]")).to_contain_text("the graphics card failed", timeout=60_000)
    page.get_by_role("button", name="Around the centre").click()
    expect(page.locator(".predicted")).to_contain_text("Version 1: ", timeout=60_000)
    expect(page.locator(".predict")).to_contain_text("The graphics card is not used: the graphics card failed")


def test_a_version_of_an_earlier_release_has_no_probe_and_says_so(page: Page, catalog: Catalog) -> None:
    serve(catalog, WITHOUT_PROBE)
    open_map(page, catalog)
    page.get_by_role("button", name="Around the centre").click()
    expect(page.locator(".predicted")).to_contain_text("Version 5: ", timeout=60_000)
    expect(page.locator(".predict")).to_contain_text("ships no probe, so that this browser was not checked")


@pytest.mark.parametrize("told_by", ["event", "polling"])
def test_a_new_version_shows_by_itself(page: Page, catalog: Catalog, told_by: str) -> None:
    serve(catalog, MULTICLASS)
    if told_by == "polling":
        page.route("**/api/v1/live*", lambda route: route.fulfill(status=204))  # an empty answer ends the stream
        page.clock.install()
    open_map(page, catalog)
    page.get_by_role("button", name="Around the centre").click()
    expect(page.locator(".predicted")).to_contain_text("Version 1: ", timeout=60_000)
    serve(catalog, TWO_BINARIES)
    if told_by == "polling":
        page.clock.fast_forward(30_000)
    expect(page.locator(".predicted")).to_contain_text("Version 2: ", timeout=20_000)


def test_a_version_that_is_served_while_a_window_is_predicted_shows_afterwards(page: Page, catalog: Catalog) -> None:
    """It shows long before the next look at what is served, which follows every 30 s."""
    held: list[Route] = []
    serve(catalog, MULTICLASS)
    open_map(page, catalog)
    page.route("**/api/v1/scenes/*/pixels*", lambda route: held.append(route))  # noqa: PLW0108
    with page.expect_request("**/api/v1/scenes/*/pixels*", timeout=60_000):
        page.get_by_role("button", name="Around the centre").click()
    with page.expect_response("**/api/v1/models"):  # the page has heard of it
        serve(catalog, TWO_BINARIES)
    page.unroute("**/api/v1/scenes/*/pixels*")
    for route in held:
        route.continue_()
    expect(page.locator(".predicted")).to_contain_text("Version 2: ", timeout=20_000)


def test_a_look_that_fails_leaves_what_was_predicted(page: Page, catalog: Catalog) -> None:
    serve(catalog, MULTICLASS)
    page.route("**/api/v1/live*", lambda route: route.fulfill(status=204))  # only the clock makes it look
    page.clock.install()
    open_map(page, catalog)
    page.get_by_role("button", name="Around the centre").click()
    expect(page.locator(".predicted")).to_contain_text("Version 1: ", timeout=60_000)
    page.route("**/api/v1/models/latest/onnx", lambda route: route.fulfill(body="<html>the page of a proxy</html>"))
    page.clock.fast_forward(30_000)
    expect(page.locator(".predict .bad")).to_contain_text("changed again and again while it was fetched; try again")
    expect(page.locator(".predicted")).to_contain_text("Version 1: ")
    page.unroute("**/api/v1/models/latest/onnx")
    page.clock.fast_forward(30_000)
    expect(page.locator(".predict .bad")).to_be_empty()
    expect(page.locator(".predicted")).to_contain_text("Version 1: ")


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("predict-worker.js", "the worker that predicts stopped: it could not be loaded"),
        ("ort-wasm-simd-threaded.wasm", "no available backend found"),
    ],
)
def test_what_could_not_be_loaded_is_loaded_at_the_next_click(
    page: Page, catalog: Catalog, faults: list[str], file: str, says: str
) -> None:
    serve(catalog, MULTICLASS)
    open_map(page, catalog)
    page.route(f"**/{file}", lambda route: route.abort())
    page.get_by_role("button", name="Around the centre").click()
    expect(page.locator(".predict [role=alert]")).to_contain_text(says, timeout=60_000)
    faults.clear()  # the console tells what could not be loaded
    page.unroute(f"**/{file}")
    page.get_by_role("button", name="Around the centre").click()
    expect(page.locator(".predicted")).to_contain_text("Version 1: 160 x 100 px", timeout=60_000)


KEPT = "caches.open('glacier-al-model').then((cache) => cache.keys()).then((keys) => keys.length)"


def test_a_model_that_was_damaged_on_its_way_is_not_kept(page: Page, catalog: Catalog) -> None:
    onnx, card = "**/api/v1/models/latest/onnx", "**/api/v1/models/latest/card"
    held: list[Route] = []
    serve(catalog, MULTICLASS)
    open_map(page, catalog)
    page.route(onnx, lambda route: route.fulfill(response=(whole := route.fetch()), body=whole.body()[:-1] + b"?"))
    page.route(card, lambda route: held.append(route))  # noqa: PLW0108
    with page.expect_request(card, timeout=60_000):
        page.get_by_role("button", name="Around the centre").click()
    assert page.evaluate(KEPT) == 0, "it cannot be checked yet"
    page.unroute(card)
    held[0].continue_()
    expect(page.locator(".predict [role=alert]")).to_contain_text("the model was damaged on its way; try again")
    assert page.evaluate(KEPT) == 0
    page.unroute(onnx)
    page.get_by_role("button", name="Around the centre").click()
    expect(page.locator(".predicted")).to_contain_text("Version 1: ", timeout=60_000)
    assert page.evaluate(KEPT) == 1


def test_it_is_cancelled_while_the_model_is_fetched(page: Page, catalog: Catalog) -> None:
    held: list[Route] = []
    asked: list[str] = []
    serve(catalog, MULTICLASS)
    open_map(page, catalog)
    page.on("request", lambda request: asked.append(request.url))
    page.route("**/api/v1/models/latest/onnx", lambda route: held.append(route))  # noqa: PLW0108
    with page.expect_request("**/api/v1/models/latest/onnx", timeout=60_000):
        page.get_by_role("button", name="Around the centre").click()
    page.get_by_role("button", name="Cancel").click()
    for route in held:
        route.continue_()
    expect(page.get_by_role("button", name="Around the centre")).to_be_enabled(timeout=60_000)
    expect(page.locator(".predicted")).to_be_empty()
    assert [url for url in asked if "/pixels" in url] == []


def test_two_versions_are_compared(page: Page, catalog: Catalog) -> None:
    serve(catalog, MULTICLASS)
    own = catalog.settings.api_url
    asked: list[str] = []
    held: list[Route] = []
    page.on("request", lambda request: asked.append(request.url))
    # Layers of one side that lie upon each other share an element, so that those of the left have to be there first.
    page.route("**/prediction.geojson?version=2", lambda route: held.append(route))  # noqa: PLW0108
    with page.expect_request("**/prediction.geojson?version=2"):
        page.goto(f"{own}/map#mode=swipe&view=true-colour&other=true-colour&version=1&otherVersion=2&layers=outlines")
    page.locator(".side-left").first.wait_for(state="attached")
    expect(page.locator(".side-right")).to_have_count(1, timeout=30_000)  # the view
    held.pop().continue_()
    expect(page.locator(".side-right")).to_have_count(2, timeout=30_000)  # and the outlines
    assert {url.rpartition("?")[2] for url in asked if "prediction.geojson" in url} == {"version=1", "version=2"}
    page.get_by_label("Version on the right").select_option("the same")
    expect(page.locator(".side-left")).to_have_count(0)
    page.get_by_role("button", name="Side by side").click()
    page.get_by_label("Version on the right").select_option("3")
    page.wait_for_url("**otherVersion=3**")
