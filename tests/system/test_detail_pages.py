"""The pages of a version, a round, a patch and an annotator in a real browser: everybody can read them, everywhere."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page, expect

from catalog import labels
from catalog.access_records import Role
from catalog.context import Catalog
from catalog.records import Patch, Proposal, RunState, RunTrigger, Scene, SceneRole, TrainingRun
from catalog.settings import Settings
from imagery.classes import GLACIER_SCHEME
from imagery.masks import mask_to_geotiff
from models.area_error import AreaError, ClassAreaError
from models.block_counts import BlockCounts, SceneBlocks
from models.bundle import write_bundle
from models.calibration import UNCALIBRATED
from models.card import EvaluationSet, RegionMetrics
from models.saliency import BlockSaliency, Saliency
from services import users
from services.delivery import delivery_options, prediction_keys
from services.places import raster_store
from services.pseudonyms import of_account
from services.scenes import source_of, window_of
from tests.catalog_fixtures import NOBODY, add_round, add_scoring, label_of
from tests.dashboard_world import version_tags
from tests.models.cards import CLASSES, origin
from tests.models.networks import small_segmenter
from tests.real_services import free_port
from tests.served_version import add_version, serve
from tests.system.our_pages import PASSWORD, log_in, serious_faults, serving
from tests.workers.rows import patches, tiled
from workers.views import draw_views

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    # rasterio silences it while it warps tiles, but two threads that do so at once undo each other's filter.
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]
ANNA = "anna@glacier.local"
PEOPLE = {ANNA: Role.ANNOTATOR, "olga": Role.OPERATOR, "rita": Role.READER}
BLOCK_PX, UNKNOWN = 32, 255


@dataclass(frozen=True)
class World:
    """A running server with a round of six patches, and three versions, the last of which mapped no scene."""

    catalog: Catalog
    validation: Scene
    patch: int

    @property
    def url(self) -> str:
        return self.catalog.settings.api_url

    @property
    def paths(self) -> dict[str, str]:
        """The pages, by what they are of."""
        pages = {"version": "/versions/2", "round": "/rounds/1", "patch": f"/patches/{self.patch}"}
        return pages | {"annotator": f"/annotators/{of_account(self.catalog, ANNA)}"}


FILL = "square => getComputedStyle(square).fill.match(/\\d+/g).map(Number)"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, migrated_database: Path, redis_server: str) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("details")
    (folder / "catalog.sqlite").write_bytes(migrated_database.read_bytes())
    settings = Settings(
        var_dir=folder,
        api_url=f"http://127.0.0.1:{free_port()}",
        redis_url=redis_server,
        mlflow_url=NOBODY,
        label_studio_url=NOBODY,
        patch_size_px=32,
    )
    catalog = Catalog(settings)
    pool, forged = tiled(catalog, folder / "khumbu.tif")
    validation, _ = tiled(catalog, folder / "langtang.tif", SceneRole.VALIDATION, offset_px=400)
    for number, mapped in enumerate(mapped_by_versions(forged.truth), start=1):
        judge(catalog, folder / f"bundle-{number}", number, validation, forged.truth, mapped)
        key = prediction_keys(validation, number, delivery_options(settings))["tif"]
        raster_store(catalog).put(key, mask_to_geotiff(mapped, source_of(validation).grid, GLACIER_SCHEME))
    judge(catalog, folder / "bundle-3", 3, validation, forged.truth, forged.truth)
    serve(catalog, 2)
    first = label_patches(catalog, pool, forged.truth)
    with catalog.database.write() as session:
        for name, role in PEOPLE.items():
            users.add(session, name, role, PASSWORD)
    with serving(catalog):
        yield World(catalog, validation, first)
    catalog.close()


def mapped_by_versions(truth: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return what two versions map: the first misses the upper ice, the second some of the debris."""
    first, second = truth.copy(), truth.copy()
    first[10:20, 20:90] = 0
    second[64:72, 100:110] = 0
    return first, second


def judge(
    catalog: Catalog, folder: Path, number: int, scene: Scene, truth: NDArray[np.uint8], mapped: NDArray[np.uint8]
) -> None:
    """Register a version with a card of how it maps the validation scene."""
    blocks = SceneBlocks.empty(truth.shape, len(CLASSES), BLOCK_PX)
    blocks.add(mapped, truth, 0, UNKNOWN)
    brighter = np.zeros((2 * BLOCK_PX, 3 * BLOCK_PX), dtype=np.float32)  # a quarter of it lies beside the block
    brighter[:BLOCK_PX, BLOCK_PX : 2 * BLOCK_PX] = np.arange(BLOCK_PX) / BLOCK_PX
    brighter[BLOCK_PX, 0] = brighter.sum() / 3
    block = (slice(0, BLOCK_PX), slice(BLOCK_PX, 2 * BLOCK_PX))
    saliency = Saliency(
        windows=8,
        channels={"clean ice": {"red": 0.25, "nir": 0.75}, "debris-covered ice": {"red": 0.6, "nir": 0.4}},
        blocks=(BlockSaliency.of(brighter, block, (scene.id, 0, 1)),),
    )
    too_sure = ClassAreaError(table=tuple(UNCALIBRATED**1.5), calibration={}, blocks=1)
    about = origin().model_copy(
        update={
            "evaluation": {"validation": EvaluationSet(scenes=(scene.id,), truth_sha256="1" * 64)},
            "metrics": {"validation": RegionMetrics.from_confusion(blocks.confusion, CLASSES)},
            "blocks": {"validation": BlockCounts.of_scenes([blocks])},
            "saliency": saliency,
            "area_error": AreaError(
                classes=dict.fromkeys((*CLASSES[1:], "glacier"), too_sure),
                background=tuple(UNCALIBRATED),
                fewest_blocks=5,
            ),
        }
    )
    folder.mkdir()
    write_bundle(folder, small_segmenter(), about)
    add_version(catalog, number, folder, version_tags()[number - 1])


def label_patches(catalog: Catalog, pool: Scene, truth: NDArray[np.uint8]) -> int:
    """Have four of six patches labelled, the first of them twice, and learnt; return the first patch."""
    store, grid, chosen = raster_store(catalog), source_of(pool).grid, patches(catalog, pool.id)[2:8]
    views = draw_views(store, pool, chosen[0], None, len(CLASSES))
    with catalog.database.write() as session:
        _, proposals = add_round(session, chosen)
        proposals[0].views = views
        add_scoring(session, 2, {patch.id: 0.5 for patch in chosen})
        learnt = []
        for place, number in ((0, 1), (0, 1), (1, 2), (2, 3), (3, 4)):
            proposal = session.get_one(Proposal, proposals[place].id)
            window = window_of(proposal.patch)
            mask = mask_to_geotiff(truth[window.slices], grid, GLACIER_SCHEME, window)
            label = label_of(session, proposal, number, minutes=len(learnt), annotator=ANNA, lead_time_s=75.0)
            label.mask_sha256 = hashlib.sha256(mask).hexdigest()
            store.put(label.mask_key, mask)
            labels.store(session, label)
            learnt.append(label.id)
        run = TrainingRun(trigger=RunTrigger.LABELS, label_ids=learnt[1:], labels_sha256="a" * 64, seed=1)
        run.state, run.model_version = RunState.FINISHED, 2
        session.add(run)
    return chosen[0].id


@pytest.fixture
def visit(world: World, browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open a page as somebody; at the end nothing may have gone wrong on any page."""
    contexts, faults = [], list[str]()

    def open_as(name: str, path: str, width: int = 1280, scheme: str = "light", *, scripts: bool = True) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,  # type: ignore[arg-type]
            java_script_enabled=scripts,
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: faults.append(f"{path}: console: {said.text}"))
        page.on("pageerror", lambda error: faults.append(f"{path}: error: {error}"))
        page.on("response", lambda got: faults.append(f"{got.status}: {got.url}") if got.status >= 400 else None)
        own = (world.url, "data:", "blob:")
        page.on("request", lambda sent: None if sent.url.startswith(own) else faults.append(f"request: {sent.url}"))
        log_in(page, world.url, name)
        page.goto(f"{world.url}{path}")
        return page

    yield open_as
    for context in contexts:
        context.close()
    assert faults == []


def show_all(page: Page) -> None:
    """Open what is folded, and have all pictures loaded."""
    page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true })")
    for picture in page.locator("main img").all():
        picture.scroll_into_view_if_needed()
        picture.evaluate("picture => picture.decode()")  # fails if it cannot be drawn


@pytest.mark.parametrize("what", ["version", "round", "patch", "annotator"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_no_serious_fault_and_a_phone_does_not_scroll_sideways(
    world: World, visit: Callable[..., Page], what: str, scheme: str, width: int
) -> None:
    page = visit("olga", world.paths[what], width, scheme)
    show_all(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert serious_faults(page) == []


def test_a_version_shows_its_calibration_and_where_it_gained_and_lost(world: World, visit: Callable[..., Page]) -> None:
    page = visit("rita", "/versions/2", scripts=False)
    # The network of the cards is too sure: of what it gives p, p ** 1.5 is found; 0.5 ** 1.5 = 0.35, 0.9 ** 1.5 = 0.85.
    expect(page.locator(".curves figure", has_text="debris")).to_contain_text(
        "given 50 %, found 35 %; given 90 %, found 85 %"
    )
    # The ice that version 1 misses, rows 10 to 20 and columns 20 to 90, lies in three blocks: 12, 32 and 26 columns.
    # The debris that version 2 misses in rows 64 to 72 and columns 100 to 110 lies in one block.
    expect(page.locator("svg.blocks")).to_have_attribute(
        "aria-label", "langtang-validation: 3 blocks better, 1 worse, 16 the same"
    )
    # Told by more than a colour: the worse block is hatched, as the legend says.
    expect(page.locator("svg.blocks .hatch")).to_have_count(1)
    expect(page.locator(".keys", has_text="orange, hatched: fewer").locator(".block-key .hatch")).to_have_count(1)
    red, _, blue = page.locator("svg.blocks .better").first.evaluate(FILL)
    assert blue > red + 60  # who does not tell red from green tells blue from orange
    red, _, blue = page.locator("svg.blocks .worse").evaluate(FILL)
    assert red > blue + 60
    look = "own => { const { fill, fillOpacity } = getComputedStyle(own); return [fill, fillOpacity]; }"
    # As grey as the legend shows it, so that it differs from ground that is not judged.
    assert page.locator("svg.blocks .same").first.evaluate(look) == page.locator(".block-key .same").evaluate(look)
    gained = page.locator(".block p b").all_inner_texts()
    assert gained == ["+320 pixels", "+260 pixels", "+120 pixels", "-80 pixels"]
    expect(page.locator(".block").first.locator("figcaption")).to_have_text(
        [
            "False colour",
            "Outlines",
            "Prediction of version 2",
            "Prediction of version 1",
            "Where it looked, 75 % of it in here",
        ]
    )
    expect(page.locator(".block").nth(1).locator("figcaption")).to_have_count(4)
    expect(page.get_by_role("region", name="Share of each channel by class")).to_contain_text(
        "clean ice	nir 75 %, red 25 %", use_inner_text=True
    )
    diagonal = page.locator(".confusion .right-10")
    expect(diagonal).to_have_count(3)  # 99.5 % and more
    shades = diagonal.evaluate_all("cells => cells.map(cell => getComputedStyle(cell).backgroundColor)")
    assert "rgba(0, 0, 0, 0)" not in shades
    expect(page.get_by_role("region", name="Confusion, validation")).to_contain_text("true pixels")


def test_a_version_without_maps_leads_to_where_they_are_made(world: World, visit: Callable[..., Page]) -> None:
    page = visit("rita", "/versions/3")
    assert page.locator(".block p b").all_inner_texts() == ["+80 pixels"]
    expect(page.locator(".block figcaption")).to_have_text(["False colour", "Outlines", "Prediction of version 2"])
    link = page.get_by_role("link", name="have it mapped")
    expect(link).to_have_text(["have it mapped by version 3"])
    assert link.get_attribute("href") == f"/map#scene={world.validation.id}&version=3&layers=outlines"


def test_the_map_compares_a_version_with_the_one_before(world: World, visit: Callable[..., Page]) -> None:
    page = visit("rita", "/versions/2")
    page.get_by_role("link", name="What changed since version 1").click()
    expect(page.locator("#map input.swipe")).to_be_visible()
    state = page.evaluate("location.hash")
    assert "version=1" in state
    assert "otherVersion=2" in state
    assert f"scene={world.validation.id}" in state


def test_the_map_leads_to_the_patch_in_the_middle_and_to_one_that_is_clicked(
    world: World, visit: Callable[..., Page]
) -> None:
    with world.catalog.read() as session:
        patch = session.get_one(Patch, world.patch)
        lon, lat = source_of(patch.scene).grid.centre_wgs84(window_of(patch))
    page = visit("rita", f"/map#scene={patch.scene_id}&layers=patches&at={lon},{lat},15")
    expect(page.get_by_role("link", name=f"Patch {patch.id}, labelled")).to_be_visible()
    page.get_by_label("Patches").uncheck()
    expect(page.get_by_role("link", name="Patch ")).to_have_count(0)
    page.get_by_label("Patches").check()
    # 960 m to the east lies the next patch: at this zoom a pixel is 4.78 m * cos(28 degrees) = 4.2 m wide.
    box = page.locator("#map").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] / 2 + 960 / 4.2, box["y"] + box["height"] / 2)
    page.get_by_role("link", name=f"Patch {patch.id + 1}, labelled").click()
    expect(page.locator("h1")).to_have_text(f"Patch {patch.id + 1} of khumbu-pool, labelled")


def test_a_patch_is_reached_by_the_keyboard_and_shows_its_views_and_labels(
    world: World, visit: Callable[..., Page]
) -> None:
    page = visit(ANNA, "/rounds/1")
    link = page.locator(f"a[href='/patches/{world.patch}']")
    link.focus()
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text(f"Patch {world.patch} of khumbu-pool, labelled")
    titles = page.locator(".panel", has_text="Views").locator("figcaption").all_inner_texts()
    assert [title.splitlines()[0] for title in titles[:2]] == ["True colour", "False colour"]
    assert titles[-1].startswith("Surroundings")
    expect(page.get_by_role("region", name=f"Labels of patch {world.patch}").locator("tr")).to_have_count(3)
    pseudonym = of_account(world.catalog, ANNA)
    page.get_by_role("link", name=pseudonym).first.click()
    expect(page.locator("h1")).to_have_text(ANNA)  # the own page
    expect(page.locator("main")).to_contain_text(f"Others read {pseudonym}.")
    expect(page.locator("main")).not_to_contain_text("Agreement")
