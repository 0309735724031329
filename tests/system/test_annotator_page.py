"""The labelling page in a real browser: every view is drawn on, with one zoom; skips say why; nothing comes from afar.

Beside a real Label Studio, with tasks of 512 px as `benchmarks.offered_patches` makes them.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Page, Request
from rasterio.features import rasterize
from sqlalchemy import select

from benchmarks.annotator_page import READY, log_in, time_opening, time_stroke, time_view
from benchmarks.offered_patches import offer_patches
from benchmarks.scored_scene import PATCH_SIZE_PX
from catalog.context import Catalog
from catalog.records import EventState, JobKind, Label, LabelEvent, Proposal, ProposalState
from catalog.settings import Settings
from imagery.classes import DEBRIS_COVERED_ICE, GLACIER_SCHEME, UNKNOWN
from imagery.masks import mask_from_geotiff
from labeling.config import SKIP_REASONS
from services import raster_keys
from services.label_studio import connect
from services.label_studio import label_studio as studio_of
from services.places import raster_store
from tests.real_services import LabelStudioServer, free_port
from tests.system.our_pages import serving
from tests.workers.label_studio_desk import settings_beside
from tests.workers.rows import context_of, finish
from workers.ingest_label import ingest_label

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    # rasterio silences it while it warps, in a way that threads undo for each other.
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]

SUBMIT = 'button[aria-label="Submit current annotation"]'
SCREENS = [(1440, 900), (1366, 768)]


class Desk:
    """A running server with four patches in Label Studio, and a page that one of them is open in.

    Attributes:
        requested: The hosts that the page asked for anything.
        errors: What went wrong in the page.
    """

    def __init__(self, catalog: Catalog, page: Page, proposals: list[Proposal]) -> None:
        self.catalog, self.page, self.proposals = catalog, page, proposals
        self.requested: set[str] = set()
        self.errors: list[str] = []
        page.on("request", self._note)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _note(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme in {"http", "https"}:
            self.requested.add(address.netloc)

    def address(self, proposal: Proposal) -> str:
        url = self.catalog.settings.label_studio_url
        return f"{url}/projects/{proposal.project_id}/data?task={proposal.task_id}"

    def open(self, proposal: Proposal) -> None:
        self.page.goto(self.address(proposal))
        self.ready()

    def ready(self) -> None:
        self.page.wait_for_function(READY, polling="raf", timeout=60_000)
        self.page.wait_for_timeout(500)  # masks are painted a little after the picture

    def picture(self, proposal: Proposal, view: str) -> NDArray[np.float64]:
        png = raster_store(self.catalog).get(raster_keys.view(proposal.patch_id, (proposal.views or {})[view]))
        return np.asarray(Image.open(io.BytesIO(png))).astype(np.float64)

    def difference(self, picture: NDArray[np.float64]) -> float:
        """How far what is on the screen is from a picture of the patch, where the screen shows the patch: 0 to 255.

        The canvas beneath the drawing tells where the zoomed picture lies, as the style sheet uses it.
        """
        self.page.mouse.move(5, 5)
        self.page.wait_for_timeout(700)
        shown = np.asarray(Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")).astype(np.float64)
        whole = self.page.locator(".glacier-drawing .lsf-image canvas").bounding_box()
        seen = self.page.locator(".konvajs-content").first.bounding_box()
        assert whole is not None and seen is not None
        bottom = min(seen["y"] + seen["height"], self.page.locator(SUBMIT).first.bounding_box()["y"] - 12)
        xs = np.arange(int(seen["x"]) + 3, int(seen["x"] + seen["width"]) - 3)
        ys = np.arange(int(seen["y"]) + 3, int(bottom) - 3)
        columns = ((xs + 0.5 - whole["x"]) / whole["width"] * PATCH_SIZE_PX).astype(int)
        rows = ((ys + 0.5 - whole["y"]) / whole["height"] * PATCH_SIZE_PX).astype(int)
        return float(np.abs(shown[np.ix_(ys, xs)] - picture[np.ix_(rows, columns)]).mean())

    def choose(self, view: str) -> None:
        self.page.locator(f"#glacier-view-{view} summary").click()

    def hide_classes(self) -> None:
        """Hide all regions by Label Studio's own key, so that only the picture is seen."""
        self.page.keyboard.press("Control+h")
        self.page.wait_for_timeout(300)

    def zoom(self) -> None:
        box = self.page.locator(".konvajs-content").first.bounding_box()
        assert box is not None
        self.page.mouse.move(box["x"] + box["width"] / 3, box["y"] + box["height"] / 3)
        self.page.keyboard.down("Control")
        for _ in range(5):
            self.page.mouse.wheel(0, -100)
            self.page.wait_for_timeout(100)
        self.page.keyboard.up("Control")
        self.page.wait_for_timeout(500)

    def place(self, column: float, row: float) -> tuple[float, float]:
        """Where a place of the patch, in pixels of it, is on the page."""
        box = self.page.locator(".konvajs-content").first.bounding_box()
        assert box is not None
        return box["x"] + box["width"] * column / PATCH_SIZE_PX, box["y"] + box["height"] * row / PATCH_SIZE_PX

    def submit(self, proposal: Proposal) -> NDArray[np.uint8]:
        """Submit what is drawn, and return what is stored of it."""
        with self.page.expect_response(lambda answer: "/annotations" in answer.url and answer.request.method == "POST"):
            self.page.locator(SUBMIT).first.click()
        self.page.wait_for_timeout(1000)
        self.ingest()
        with self.catalog.read() as session:
            label = session.scalars(select(Label).where(Label.proposal_id == proposal.id)).one()
        return mask_from_geotiff(raster_store(self.catalog).get(label.mask_key), GLACIER_SCHEME)

    def ingest(self) -> None:
        """Apply what the webhook brought."""
        with self.catalog.read() as session:
            waiting = session.scalars(select(LabelEvent.id).where(LabelEvent.state == EventState.RECEIVED)).all()
        for number in waiting:
            context = context_of(self.catalog, JobKind.INGEST_LABEL, f"test-{number}", event_id=number)
            ingest_label(context, number)
            finish(context)


@pytest.fixture
def settings(settings: Settings, label_studio: LabelStudioServer, request: pytest.FixtureRequest) -> Settings:
    beside = settings_beside(label_studio, settings, request.node.name)
    return beside.model_copy(update={"api_url": f"http://127.0.0.1:{free_port()}"})


@pytest.fixture
def desk(catalog: Catalog, browser: Browser, label_studio: LabelStudioServer) -> Iterator[Desk]:
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    with serving(catalog):
        proposals = offer_patches(catalog, studio_of(catalog))
        log_in(page, label_studio.url, label_studio.email, label_studio.password)
        opened = Desk(catalog, page, proposals)
        yield opened
    page.context.close()
    assert opened.errors == []
    ours = {urlsplit(url).netloc for url in (catalog.settings.api_url, catalog.settings.label_studio_url)}
    assert opened.requested <= ours


def test_every_view_lies_beneath_one_drawing_with_one_zoom(desk: Desk, tmp_path: Path) -> None:
    first = desk.proposals[0]
    desk.open(first)
    assert set(first.views or {}) == {
        *("true_colour", "false_colour", "colour_infrared", "hillshade", "channel_slope"),
        *("uncertainty", "surroundings"),
    }
    for width, height in SCREENS:
        desk.page.set_viewport_size({"width": width, "height": height})
        desk.page.wait_for_timeout(500)
        desk.page.screenshot(path=tmp_path / f"page-{width}.png")
        # All of the picture and the first views are in sight without scrolling.
        submit = desk.page.locator(SUBMIT).first.bounding_box()
        for sight in (".konvajs-content", "#glacier-view-false-colour", "#glacier-outlines"):
            box = desk.page.locator(sight).first.bounding_box()
            assert box is not None and submit is not None
            assert box["y"] + box["height"] <= submit["y"], (width, sight)

    desk.hide_classes()
    for zoomed in (False, True):
        if zoomed:
            desk.zoom()
        assert desk.difference(desk.picture(first, "true_colour")) < 4
        for view in ("false-colour", "hillshade", "channel-slope"):
            desk.choose(view)
            assert desk.difference(desk.picture(first, view.replace("-", "_"))) < 4, view
        desk.choose("channel-slope")  # again: true colour returns
        assert desk.difference(desk.picture(first, "true_colour")) < 4
    desk.page.screenshot(path=tmp_path / "zoomed.png")
    assert "%" not in desk.page.locator(".lsf-annotations-carousel").inner_text()


def test_the_proposal_steps_aside_by_one_key(desk: Desk, tmp_path: Path) -> None:
    first = desk.proposals[0]
    desk.open(first)
    picture = desk.picture(first, "true_colour")
    tinted = desk.difference(picture)
    desk.page.keyboard.press("h")
    outlined = desk.difference(picture)
    desk.page.screenshot(path=tmp_path / "outlines.png")
    assert 0.05 * tinted < outlined < 0.5 * tinted  # the edges remain
    desk.page.keyboard.press("b")
    assert desk.difference(picture) == pytest.approx(tinted, rel=0.1)
    desk.page.locator("#glacier-outlines summary").click()
    assert desk.difference(picture) == pytest.approx(outlined, rel=0.3)
    desk.page.locator("#glacier-faint summary").click()
    assert desk.difference(picture) == pytest.approx(tinted * 0.2 / 0.45, rel=0.1)  # the opacities of the style sheet


def test_one_key_paints_what_cannot_be_told_on_any_view_and_it_is_stored_as_unjudged(desk: Desk) -> None:
    second = desk.proposals[1]
    desk.open(second)
    desk.choose("false-colour")
    desk.page.keyboard.press("3")
    row = PATCH_SIZE_PX // 2
    desk.page.mouse.move(*desk.place(100, row))
    desk.page.mouse.down()
    desk.page.mouse.move(*desk.place(400, row), steps=20)
    desk.page.mouse.up()
    desk.page.wait_for_timeout(500)
    assert desk.page.locator("#glacier-view-false-colour[open]").count() == 1  # the view stays while one draws
    mask = desk.submit(second)
    assert (mask[row, 100:400] == UNKNOWN).all()
    assert (mask[row + 100] != UNKNOWN).any()


def test_a_polygon_is_stored_as_drawn(desk: Desk) -> None:
    second, name = desk.proposals[1], DEBRIS_COVERED_ICE.name
    corners = [(100, 60), (400, 90), (350, 280), (140, 220)]  # columns and rows
    desk.open(second)
    desk.page.locator(".glacier-tool", has_text="Polygon").locator(".lsf-label", has_text=name).click()
    for corner in [*corners, corners[0]]:  # a click on the first closes it
        desk.page.mouse.click(*desk.place(*corner))
        desk.page.wait_for_timeout(300)
    mask = desk.submit(second)
    assert second.preannotated_by is not None
    shown = raster_store(desk.catalog).get(raster_keys.preannotation(second.uid, second.preannotated_by))
    drawn = rasterize([(shapely.Polygon(corners), 1)], out_shape=mask.shape).astype(bool)
    before = mask_from_geotiff(shown, GLACIER_SCHEME)
    expected = np.where(drawn, np.uint8(DEBRIS_COVERED_ICE.value), before)
    assert (expected != before).sum() > 10_000
    ours, theirs = mask == DEBRIS_COVERED_ICE.value, expected == DEBRIS_COVERED_ICE.value
    assert (ours & theirs).sum() / (ours | theirs).sum() >= 0.98
    assert (mask != expected).mean() <= 0.01  # of the other classes nothing is lost


def test_a_skip_says_why(desk: Desk) -> None:
    url, project = desk.catalog.settings.label_studio_url, desk.proposals[0].project_id
    desk.page.goto(f"{url}/projects/{project}/data?labeling=1")
    desk.ready()
    desk.page.locator(".lsf-modal-ls button").last.click()  # the instruction, which comes before the first task
    desk.page.locator("label", has_text=SKIP_REASONS[0]).click()  # followed by its key
    with desk.page.expect_response(lambda answer: "/annotations" in answer.url and answer.request.method == "POST"):
        desk.page.locator('button[aria-label="skip-task"]').click()
    desk.page.wait_for_timeout(1000)
    desk.ingest()
    with desk.catalog.read() as session:
        (event,) = session.scalars(select(LabelEvent)).all()
        states = session.scalars(select(Proposal.state)).all()
    assert (event.state, event.detail) == (EventState.APPLIED, f"skipped: {SKIP_REASONS[0]}")
    assert sorted(states) == [ProposalState.PUBLISHED] * 3 + [ProposalState.SKIPPED]


def test_a_patch_a_view_and_a_stroke_show_while_one_waits(desk: Desk) -> None:
    """What `benchmarks.annotator_page` measures; a busy machine is forgiven much."""
    desk.open(desk.proposals[1])  # an annotator's browser has Label Studio's own files already
    assert time_opening(desk.page, desk.address(desk.proposals[2])) < 15.0  # the aim is 3 s
    desk.ready()
    assert time_view(desk.page) < 2.0
    assert time_stroke(desk.page) < 1.0


def test_the_instruction_shows_examples_and_label_studio_keeps_it_as_it_is(desk: Desk, tmp_path: Path) -> None:
    studio, first = studio_of(desk.catalog), desk.proposals[0]
    before = studio._sdk.projects.get(first.project_id)
    connect(desk.catalog, studio)
    assert "/static/example-classes.png" in (before.expert_instruction or "")
    assert studio._sdk.projects.get(first.project_id) == before  # nothing to bring up to date
    desk.open(first)
    desk.page.get_by_role("button", name="Instructions").click()
    pictures = desk.page.locator('img[src*="/static/example-"]')
    pictures.last.wait_for()
    desk.page.wait_for_timeout(1000)
    desk.page.screenshot(path=tmp_path / "instruction.png")
    assert pictures.evaluate_all("all => all.map((picture) => picture.naturalWidth)") == [280] * 3
