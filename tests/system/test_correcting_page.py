"""Correcting the map in a real browser: what is stored is what was drawn."""

import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import shapely
from PIL import Image
from playwright.sync_api import Browser, Route, expect
from rasterio.features import rasterize
from sqlalchemy import func, select

from catalog.access_records import Role
from catalog.context import Catalog
from catalog.records import EventState, JobKind, Label, LabelEvent, Patch, Scene, SceneState
from catalog.settings import Settings
from imagery.classes import GLACIER_SCHEME
from imagery.grid import Window
from imagery.masks import mask_from_geotiff
from imagery.scene_reader import SceneReader
from imagery.superpixels import superpixels
from models.strokes import Stroke, as_probabilities, repaint
from services import raster_keys, users
from services.places import raster_store
from services.scenes import source_of, window_of
from tests.imagery.forge import ForgedScene
from tests.imagery.test_label_polygons import rectangle, write_drawn
from tests.real_services import free_port
from tests.system.correcting_page import NO_DOUBLE_CLICK, CorrectingPage
from tests.system.our_pages import PASSWORD, log_in, serious_faults, serving
from tests.workers.rows import context_of, finish, tiled
from workers.ingest_label import ingest_label

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    # rasterio silences it while it warps, in a way that threads undo for each other.
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]
UNKNOWN = 255
HEIGHT, WIDTH = 100, 160
DIAMETER = 5  # of the brush after it was made smaller twice
"""The scene is one window: all of it is shown and corrected."""


FILL_STORAGE = """() => {
    for (let size = 2 ** 20; size >= 1; size /= 2) {
        try {
            for (let number = 0; ; number++) localStorage.setItem(`${size}-${number}`, "x".repeat(size));
        } catch {}
    }
}"""


BEGAN_WITH_VERSION_5 = """() => {
    const name = Object.keys(localStorage).find((key) => key.startsWith("glacier-al:correction:"));
    const draft = JSON.parse(localStorage.getItem(name));
    localStorage.setItem(name, JSON.stringify({ ...draft, shown: { layer: "prior", version: 5 } }));
}"""


class Place:
    """A running server with a scene, whose old outlines are the map to correct."""

    def __init__(self, catalog: Catalog, scene: Scene, forged: ForgedScene) -> None:
        self.catalog, self.scene, self.forged, self.url = catalog, scene, forged, catalog.settings.api_url

    def labels(self) -> np.ndarray:
        """Ingest what waits; return all labels on the grid of the scene."""
        with self.catalog.read() as session:
            waiting = session.scalars(select(LabelEvent.id).where(LabelEvent.state == EventState.RECEIVED)).all()
        for number in waiting:
            context = context_of(self.catalog, JobKind.INGEST_LABEL, f"test-{number}", event_id=number)
            ingest_label(context, number)
            finish(context)
        store, found = raster_store(self.catalog), np.full((HEIGHT, WIDTH), UNKNOWN, np.uint8)
        with self.catalog.read() as session:
            for label in session.scalars(select(Label).order_by(Label.event_id)):
                mask = mask_from_geotiff(store.get(label.mask_key), GLACIER_SCHEME)
                rows, columns = window_of(label.patch).slices
                part = found[rows, columns]
                part[mask != UNKNOWN] = mask[mask != UNKNOWN]
        return found


@pytest.fixture
def place(settings: Settings, tmp_path: Path) -> Iterator[Place]:
    catalog = Catalog(settings.model_copy(update={"api_url": f"http://127.0.0.1:{free_port()}"}))
    scene, forged = tiled(catalog, tmp_path / "a.tif", priors=(0, 1))
    with catalog.database.write() as session:
        users.add(session, "anna", Role.ANNOTATOR, PASSWORD)
        users.add(session, "rita", Role.READER, PASSWORD)
    with serving(catalog):
        yield Place(catalog, scene, forged)
    catalog.close()


def brushed(mask: np.ndarray, row: int, first: int, last: int, value: int) -> None:
    """Paint a horizontal line as the brush does: all pixels whose centre is within half its diameter."""
    rows, columns = np.indices(mask.shape)
    beside = np.maximum(np.maximum(first - columns, columns - last), 0)
    mask[np.hypot(rows - row, beside) <= DIAMETER / 2] = value


def bands_of(scene: Scene) -> np.ndarray:
    """The bands of the whole scene, which the page is guided by."""
    source = source_of(scene)
    with SceneReader(source) as reader:
        return reader.read(source.band_names, Window(0, 0, HEIGHT, WIDTH))


def mended(place: Place, before: np.ndarray, row: int, first: int, last: int, value: int) -> np.ndarray:
    """What the model makes of a stroke."""
    bands = bands_of(place.scene)
    pixels = np.array([[row, column] for column in range(first, last + 1)])
    shown = as_probabilities(np.where(before == UNKNOWN, 3, before).astype(np.uint8), 4)
    return np.where(before == UNKNOWN, UNKNOWN, repaint([bands], shown, [Stroke(value, pixels)]))


def iou(one: np.ndarray, other: np.ndarray, value: int) -> float:
    return ((one == value) & (other == value)).sum() / ((one == value) | (other == value)).sum()


def test_what_is_drawn_with_each_tool_is_what_is_stored(place: Place, browser: Browser) -> None:
    editor = CorrectingPage(browser, place.url, "anna")
    editor.open_window()
    assert serious_faults(editor.page) == []
    expected = old_outlines(place)

    editor.keys("2", "[", "[")  # debris-covered ice
    expect(editor.page.locator(".options")).to_contain_text(f"{DIAMETER} px")
    editor.drag((8, 100), (8, 140))
    brushed(expected, 8, 100, 140, 2)

    editor.keys("1", "p")
    editor.ring((60, 100), (60, 150), (90, 150), (90, 100))
    expected[60:90, 100:150] = 1
    editor.keys("o")
    editor.ring((70, 115), (70, 135), (80, 135), (80, 115))
    expected[70:80, 115:135] = 0

    editor.keys("9", "b")  # not judged
    editor.drag((95, 20), (95, 60))
    brushed(expected, 95, 20, 60, UNKNOWN)

    # A draft survives a reload.
    editor.page.reload()
    editor.page.click("text=Continue the draft")
    editor.page.wait_for_selector(".correct-map canvas")

    editor.keys("2", "s")
    editor.page.wait_for_selector("text=Loading the window", state="detached")
    editor.drag((30, 140), (30, 140))
    cut = superpixels(bands_of(place.scene), 12)
    expected[cut == cut[30, 140]] = 2

    editor.keys("1", "m")
    editor.page.wait_for_selector("text=Loading the window", state="detached")
    editor.drag((45, 120), (45, 130))
    expected = mended(place, expected, 45, 120, 130, 1)

    editor.keys("e")
    editor.drag((20, 20), (20, 24))
    editor.keys("Control+z")  # and is undone

    editor.page.click("text=Submit…")
    assert "not judged" in editor.page.locator("dialog").inner_text()
    assert serious_faults(editor.page) == []
    editor.page.click("dialog button:text-is('Back')")
    editor.submit()
    editor.page.wait_for_selector("text=Submitted: a label for")
    editor.page.wait_for_selector("text=Continue the draft", state="detached")
    stored = place.labels()
    assert [round(iou(stored, expected, value), 3) >= 0.98 for value in (0, 1, 2, UNKNOWN)] == [True] * 4
    assert editor.faults == []


def test_outlines_are_reshaped_and_only_what_changed_is_submitted(place: Place, browser: Browser) -> None:
    editor = CorrectingPage(browser, place.url, "anna")
    editor.open_window()
    began = old_outlines(place)
    expected = began.copy()
    editor.keys("v")
    editor.click(40, 30)  # the clean ice
    editor.page.keyboard.down("Shift")
    editor.click(80, 110)
    editor.page.keyboard.up("Shift")
    editor.page.click(".options >> text=Merge")
    editor.click(80, 110)  # both are one outline now
    editor.keys("2")
    assert editor.summary() == {
        "background": 0,
        "clean ice": -(began == 1).sum(),
        "debris-covered ice": (began == 1).sum(),
    }
    editor.keys("Control+z", "Control+z")
    assert editor.summary() == {"background": 0, "clean ice": 0, "debris-covered ice": 0}
    editor.click(80, 55)  # the debris-covered ice of rows 60 to 89 and columns 50 to 129
    editor.keys("1")
    expected[began == 2] = 1
    editor.page.click(".options >> text=Hole")
    editor.ring((70, 60), (70, 80), (80, 80), (80, 60))
    expected[70:80, 60:80] = 0
    editor.page.click(".options >> text=Cut")
    editor.line((55, 90), (95, 90))
    editor.click(65, 95)  # what lies right of the cut
    editor.keys("Delete")
    expected[60:90, 90:130] = 0
    editor.click(65, 70)
    editor.drag((65, 70), (70, 100))  # five rows down, thirty columns to the right
    moved = expected[60:90, 50:90].copy()
    expected[60:90, 50:90] = 0
    expected[65:95, 80:120] = np.where(moved == 1, 1, expected[65:95, 80:120])

    # An error keeps what was drawn.
    with place.catalog.write() as session:
        session.get_one(Scene, place.scene.id).state = SceneState.REGISTERED
    editor.submit(only_changed=True)
    editor.page.wait_for_selector("text=is registered; only a ready scene can be corrected. The draft is kept.")
    assert [fault for fault in editor.faults if "409 (CONFLICT)" not in fault] == []
    editor.faults.clear()
    with place.catalog.write() as session:
        session.get_one(Scene, place.scene.id).state = SceneState.READY
    editor.submit(only_changed=True)
    editor.page.wait_for_selector("text=Submitted: a label for")
    stored = place.labels()
    expected[expected == began] = UNKNOWN
    assert [round(iou(stored, expected, value), 3) >= 0.98 for value in (0, 1, UNKNOWN)] == [True] * 3
    assert not (stored == 2).any()
    assert editor.faults == []


def test_corners_of_an_outline_and_of_its_hole_are_dragged(place: Place, browser: Browser) -> None:
    editor = CorrectingPage(browser, place.url, "anna")
    editor.open_window()
    expected = old_outlines(place)
    nothing = editor.summary()
    assert (expected[60:90, 50:130] == 2).all() and not expected[60:95, 130:140].any()
    editor.keys("v")
    editor.click(80, 55)  # the debris-covered ice of rows 60 to 89 and columns 50 to 129
    editor.page.click(".options >> text=Hole")
    editor.ring((70, 60), (70, 80), (80, 80), (80, 60))
    editor.drag_corner((90, 130), (95, 140))  # its lower right corner
    editor.drag_corner((80, 80), (85, 90))  # and that of the hole
    corners = [(50, 60), (130, 60), (140, 95), (50, 90)]
    hole = [(60, 70), (80, 70), (90, 85), (60, 80)]
    now = rasterize([shapely.Polygon(corners, [hole])], out_shape=expected.shape).astype(bool)
    change = {"background": 0, "clean ice": 0, "debris-covered ice": int(now.sum() - (expected == 2).sum())}
    change["background"] = -change["debris-covered ice"]
    assert change != nothing
    shown = editor.summary()
    assert shown == {name: pytest.approx(pixels, abs=10) for name, pixels in change.items()}
    assert editor.faults == []


def test_an_outline_keeps_what_it_took_from_another(place: Place, browser: Browser) -> None:
    editor = CorrectingPage(browser, place.url, "anna")
    editor.open_window()
    expected = old_outlines(place)
    editor.keys("v")
    for value, pixel in ((1, (40, 30)), (2, (75, 125))):
        editor.click(*pixel)
        editor.drag(pixel, (pixel[0] + 5, pixel[1]))  # five rows down: the ice over the debris, then this away from it
        own = expected == value
        expected[own] = 0
        expected[np.roll(own, 5, axis=0)] = value
    editor.submit()
    editor.page.wait_for_selector("text=Submitted: a label for")
    stored = place.labels()
    assert [round(iou(stored, expected, value), 3) >= 0.98 for value in (0, 1, 2)] == [True] * 3
    assert editor.faults == []


def test_undo_skips_what_changed_nothing(place: Place, browser: Browser) -> None:
    """A click or stroke beside the window and ice on ice are no steps; what was undone can be redone."""
    editor = CorrectingPage(browser, place.url, "anna")
    editor.open_window()
    undo, redo = (editor.page.get_by_role("button", name=name) for name in ("Undo", "Redo"))

    def change_nothing() -> None:
        editor.keys("2", "b")
        editor.drag((-10, 80), (-10, 90))
        editor.keys("f")
        editor.click(-10, 80)
        editor.click(65, 55)  # debris-covered ice already
        editor.keys("s")
        editor.page.wait_for_selector("text=Loading the window", state="detached")
        editor.click(-10, 80)
        editor.keys("m")
        editor.page.wait_for_selector("text=Loading the window", state="detached")
        editor.drag((-10, 80), (-10, 90))

    change_nothing()
    expect(undo).to_be_disabled()
    editor.keys("2", "b")
    editor.drag((8, 100), (8, 140))
    expect(undo).to_be_enabled()
    painted = editor.summary()
    assert painted["debris-covered ice"] > 0
    change_nothing()
    editor.keys("Control+z")
    assert set(editor.summary().values()) == {0}
    expect(undo).to_be_disabled()
    change_nothing()
    expect(redo).to_be_enabled()
    editor.keys("Control+Shift+z")
    assert editor.summary() == painted
    assert editor.faults == []


@pytest.mark.parametrize("tool", ["b", "f", "m"])
def test_two_fingers_move_the_view_and_draw_nothing(place: Place, browser: Browser, tool: str) -> None:
    editor = CorrectingPage(browser, place.url, "anna", width=390, has_touch=True, color_scheme="dark")
    editor.open_window()
    assert serious_faults(editor.page) == []
    editor.keys("2")
    editor.touch(((8, 100),), ((8, 120),), ((8, 140),))
    painted = editor.summary()
    assert painted["debris-covered ice"] > 0

    editor.keys(tool)
    editor.page.wait_for_selector("text=Loading the window", state="detached")
    editor.touch(
        ((50, 60),),
        ((50, 66),),
        ((50, 66), (80, 110)),
        ((45, 60), (84, 116)),
        ((40, 54), (88, 122)),
        ((40, 54),),  # the second finger is lifted
        ((30, 54),),
    )
    assert editor.summary() == painted
    editor.page.click("text=Show the whole window")
    editor.touch(((50, 60),), ((50, 60), (80, 110)))  # a tap
    assert editor.summary() == painted
    editor.keys("Control+z")
    assert set(editor.summary().values()) == {0}
    expect(editor.page.get_by_role("button", name="Undo")).to_be_disabled()
    assert editor.faults == []


def test_two_fingers_set_no_corner_and_move_no_outline(place: Place, browser: Browser) -> None:
    editor = CorrectingPage(browser, place.url, "anna", width=390, has_touch=True)
    editor.open_window()
    nothing = editor.summary()
    assert set(nothing.values()) == {0}
    background = old_outlines(place)[5:15, 100:150]
    assert not background.any()

    editor.keys("2", "p")
    for corner in ((5, 100), (5, 150), (15, 150)):
        editor.tap(*corner)
    editor.touch(  # the first finger stays where it is, and is lifted last
        ((60, 60),),
        ((60, 60), (80, 110)),
        ((60, 60), (84, 116)),
        ((60, 60),),
    )
    editor.page.click("text=Show the whole window")
    editor.tap(15, 100)
    editor.tap(5, 100)
    drawn = {**nothing, "background": -background.size, "debris-covered ice": background.size}
    assert editor.summary() == drawn

    editor.keys("v")
    editor.tap(75, 110)  # the debris-covered ice of rows 60 to 89 and columns 50 to 129
    editor.touch(
        ((75, 110),),
        ((70, 100),),
        ((70, 100), (90, 120)),
        ((65, 95), (94, 126)),
    )
    editor.page.click("text=Show the whole window")
    assert editor.summary() == drawn
    editor.keys("Delete")  # it is still selected
    assert editor.summary()["debris-covered ice"] == background.size - (old_outlines(place) == 2).sum()
    editor.keys("Control+z", "Control+z")
    assert editor.summary() == nothing
    assert editor.faults == []


def test_who_is_logged_out_stays_with_what_was_drawn(place: Place, browser: Browser) -> None:
    editor = CorrectingPage(browser, place.url, "anna")
    editor.open_window()
    editor.keys("2")
    editor.drag((8, 100), (8, 140))
    editor.page.context.clear_cookies()
    editor.keys("m")  # which asks the server for the bands
    editor.page.wait_for_selector("text=You are logged out. Log in in another tab, then try again here")
    assert editor.summary()["debris-covered ice"] > 0
    log_in(editor.page.context.new_page(), place.url, "anna", to="/map")
    editor.submit()
    editor.page.wait_for_selector("text=Submitted: a label for")
    assert (place.labels()[8, 100:141] == 2).all()
    assert [fault for fault in editor.faults if not re.search(r"status of 40[13] ", fault)] == []


def test_a_clock_that_is_set_back_keeps_nobody_from_submitting(place: Place, browser: Browser) -> None:
    editor = CorrectingPage(browser, place.url, "anna")
    editor.open_window()
    editor.keys("2")
    editor.page.evaluate("() => { const now = Date.now; Date.now = () => now() - 3600e3; }")
    editor.drag((8, 100), (8, 140))
    editor.submit()
    editor.page.wait_for_selector("text=Submitted: a label for")
    assert (place.labels()[8, 100:141] == 2).all()
    assert editor.faults == []


def test_the_space_bar_moves_the_view_after_a_tool_was_clicked(place: Place, browser: Browser) -> None:
    editor = CorrectingPage(browser, place.url, "anna")
    editor.open_window()
    editor.page.click("#class-2")
    editor.page.click("#tool-brush")
    editor.page.keyboard.down("Space")
    editor.drag((50, 80), (50, 100))
    editor.page.keyboard.up("Space")
    assert set(editor.summary().values()) == {0}
    editor.page.click("text=Show the whole window")
    editor.drag((8, 100), (8, 140))
    assert editor.summary()["debris-covered ice"] > 0
    assert editor.faults == []


def test_a_link_to_a_scene_that_is_gone_corrects_no_other(place: Place, browser: Browser) -> None:
    editor = CorrectingPage(browser, place.url, "anna")
    editor.page.goto("about:blank")
    editor.page.goto(f"{place.url}/map#scene=99&correct=32,64,32,32")
    editor.page.wait_for_selector("text=Scene 99 cannot be shown: it is not ready, or was removed.")
    editor.page.wait_for_selector("text=Correct a window…")
    editor.page.wait_for_load_state("networkidle")
    expect(editor.page.locator(".correct-map")).to_have_count(0)
    assert editor.faults == []


def test_a_draft_tells_the_version_that_it_began_with(place: Place, browser: Browser) -> None:
    """Another one may be served when it is gone on with."""
    editor = CorrectingPage(browser, place.url, "anna")
    editor.open_window()
    expect(editor.page.locator(".correct-tools")).to_contain_text("Began with: Old outlines")
    editor.keys("2")
    editor.drag((8, 100), (8, 140))
    editor.page.evaluate(BEGAN_WITH_VERSION_5)
    editor.page.reload()
    editor.page.click("text=Continue the draft")
    expect(editor.page.locator(".correct-tools")).to_contain_text("Began with: prior of version 5.")
    assert editor.faults == []


def test_superpixels_have_the_size_that_was_chosen_last(place: Place, browser: Browser) -> None:
    held: list[Route] = []
    editor = CorrectingPage(browser, place.url, "anna")
    editor.open_window()
    editor.page.route("**/superpixels*side_px=32", lambda route: held.append(route))  # noqa: PLW0108
    editor.keys("2", "s")
    with editor.page.expect_request("**/superpixels*side_px=32"):
        editor.page.select_option("#superpixel-side", "32")
    editor.page.select_option("#superpixel-side", "8")
    editor.page.wait_for_selector("text=Loading the window", state="detached")
    with editor.page.expect_event("requestfinished", lambda asked: "side_px=32" in asked.url):
        held[0].continue_()
    editor.page.evaluate(NO_DOUBLE_CLICK)
    editor.click(30, 140)
    cut = superpixels(bands_of(place.scene), 8)
    changed = (cut == cut[30, 140]) & (old_outlines(place) != 2)
    assert editor.summary()["debris-covered ice"] == changed.sum()
    assert editor.faults == []


@pytest.mark.parametrize("diameter", [5, 8])
def test_the_circle_at_the_pointer_is_as_large_as_the_brush(place: Place, browser: Browser, diameter: int) -> None:
    editor = CorrectingPage(browser, place.url, "anna")
    editor.open_window()
    if diameter == 5:
        editor.keys("[", "[")
    expect(editor.page.locator(".options")).to_contain_text(f"{diameter} px")
    (left, top), (right, bottom) = editor.at(40, 70), editor.at(60, 90)
    clip = {"x": left, "y": top, "width": right - left, "height": bottom - top}

    def seen() -> np.ndarray:
        editor.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 300)))")
        return np.asarray(Image.open(io.BytesIO(editor.page.screenshot(clip=clip))).convert("RGB")).astype(int)

    editor.page.mouse.move(*editor.at(10, 10))
    before = seen()
    editor.page.mouse.move(*editor.at(50.2, 80.2))
    rows, columns = np.nonzero((np.abs(seen() - before) > 8).any(axis=-1))
    scale = (right - left) / 20
    line_px = 3
    assert np.ptp(rows) + 1 == pytest.approx(diameter * scale + line_px, abs=2)
    assert np.ptp(columns) + 1 == pytest.approx(diameter * scale + line_px, abs=2)
    middle = 50.5 if diameter % 2 else 50.0  # the pixel of the pointer, or the corner next to it
    assert rows.mean() / scale + 40 == pytest.approx(middle, abs=0.3)
    editor.keys("f")
    assert (np.abs(seen() - before) <= 8).all()
    assert editor.faults == []


def test_a_correction_whose_answer_was_lost_can_be_sent_again_and_changed(place: Place, browser: Browser) -> None:
    def lose_answer(route: Route) -> None:
        route.fetch()
        route.abort()

    def received() -> int:
        with place.catalog.read() as session:
            return session.scalar(select(func.count(LabelEvent.id))) or 0

    editor = CorrectingPage(browser, place.url, "anna")
    editor.open_window()
    editor.keys("2")
    editor.drag((8, 100), (8, 140))
    editor.page.route("**/corrections", lose_answer, times=2)
    counts = []
    for _ in range(2):
        editor.submit()
        editor.page.wait_for_selector("dialog", state="detached")
        counts.append(received())
    assert counts[0] == counts[1] > 0  # the second time it was known
    editor.page.wait_for_selector("text=The draft is kept.")
    editor.drag((20, 100), (20, 140))
    editor.submit()
    editor.page.wait_for_selector("text=Submitted: a label for")
    assert received() == 2 * counts[0]
    stored = place.labels()
    assert (stored[[8, 20], 100:141] == 2).all()
    assert [fault for fault in editor.faults if "ERR_FAILED" not in fault] == []


def test_a_window_is_not_chosen_on_another_scene_than_the_one_that_shows(
    place: Place, browser: Browser, tmp_path: Path
) -> None:
    other, _ = tiled(place.catalog, tmp_path / "b.tif")
    editor = CorrectingPage(browser, place.url, "anna")
    editor.page.click("text=Correct a window…")
    editor.page.wait_for_selector(".correct-hint")
    editor.page.select_option("#scene", str(other.id))
    editor.page.wait_for_selector(".correct-hint", state="detached")
    assert editor.faults == []


def test_a_patch_is_corrected_from_its_page(place: Place, browser: Browser) -> None:
    """The link opens the editor on the very pixels of the patch: rows 32 to 63 and columns 64 to 95."""
    with place.catalog.read() as session:
        patch = session.scalars(select(Patch).where(Patch.row_off == 32, Patch.col_off == 64)).one()
    editor = CorrectingPage(browser, place.url, "anna")
    for begins in (True, False):
        editor.page.goto(f"{place.url}/patches/{patch.id}")
        editor.page.click("text=Correct it on the map")
        if begins:
            editor.page.wait_for_selector(".correct-map canvas")
            assert "correct=" not in editor.page.url
            editor.keys("9", "f")  # what is no ice around the middle of the patch is not judged
            editor.click_in(16, 16, side=32)
        else:
            editor.page.wait_for_selector("text=A draft was left in this browser: continue or discard it first.")
    editor.page.click("text=Continue the draft")
    editor.page.wait_for_selector(".correct-map canvas")
    editor.submit()
    editor.page.wait_for_selector("text=Submitted: a label for 1 patch")
    stored = place.labels()
    judged = stored[32:64, 64:96] != UNKNOWN
    assert 0 < judged.sum() < judged.size
    assert (stored != UNKNOWN).sum() == judged.sum()
    assert editor.faults == []


def test_labels_from_qgis_come_back_by_the_page(place: Place, browser: Browser, tmp_path: Path) -> None:
    drawn = {
        "outlines": [(rectangle(4, 8, 12, 40), "clean ice")],
        "judged": [(rectangle(4, 8, 20, 40), None)],
    }
    edited, strange = write_drawn(tmp_path / "edited.gpkg", drawn), tmp_path / "strange.gpkg"
    strange.write_text("hello")
    editor = CorrectingPage(browser, place.url, "anna")
    page = editor.page
    page.click("text=Labels from QGIS")
    page.set_input_files("#labels-file", strange)
    page.click("text=What is in it?")
    page.wait_for_selector("text=neither a GeoPackage nor a zip archive")
    assert [fault for fault in editor.faults if "422" not in fault] == []
    editor.faults.clear()

    other, _ = tiled(place.catalog, tmp_path / "b.tif")
    page.wait_for_selector(f"#scene option[value='{other.id}']", state="attached", timeout=40_000)
    page.set_input_files("#labels-file", edited)
    page.fill("#labels-minutes", "2")
    page.click("text=What is in it?")
    page.wait_for_selector("text=outlines: 1 of clean ice (EPSG:32645)")
    page.select_option("#scene", str(other.id))  # what was recognised was for the scene that showed
    page.wait_for_selector("text=Send as labels", state="detached")
    page.select_option("#scene", str(place.scene.id))
    page.wait_for_url(f"**scene={place.scene.id}&**")
    page.click("text=What is in it?")
    page.wait_for_selector("text=outlines: 1 of clean ice (EPSG:32645)")
    recognised = page.locator(".recognised").inner_text()
    assert "512 pixels are judged, 256 of them changed, in 32 × 16 pixels from row 4, column 8." in recognised
    assert serious_faults(page) == []
    assert (place.labels() == UNKNOWN).all()  # nothing was used yet
    page.click("text=Send as labels")
    page.wait_for_selector("text=Labels of 2 patches are taken in now")
    expected = np.full((HEIGHT, WIDTH), UNKNOWN, np.uint8)
    expected[4:20, 8:40], expected[4:12, 8:40] = 0, 1
    np.testing.assert_array_equal(place.labels(), expected)
    with place.catalog.read() as session:
        labels = session.scalars(select(Label)).all()
        assert {label.lead_time_s for label in labels} == {120 * 24 / 32, 120 * 8 / 32}
    assert editor.faults == []


def test_a_window_is_corrected_over_plain_http(place: Place, browser: Browser) -> None:
    """Inside a trusted network the server may be an IP address, where browsers have no `crypto.randomUUID`."""
    editor = CorrectingPage(browser, place.url, "anna")
    editor.page.add_init_script("Object.defineProperty(crypto, 'randomUUID', { value: undefined })")
    editor.page.reload()
    editor.page.wait_for_selector("#panel select")
    editor.open_window()
    assert editor.faults == []


def old_outlines(place: Place) -> np.ndarray:
    """The map that the correction begins with: the old outlines."""
    return mask_from_geotiff(raster_store(place.catalog).get(raster_keys.prior(place.scene.id)), GLACIER_SCHEME).copy()


def test_without_room_for_a_draft_a_correction_is_sent(place: Place, browser: Browser) -> None:
    editor = CorrectingPage(browser, place.url, "anna")
    editor.page.evaluate(FILL_STORAGE)
    editor.open_window()
    editor.keys("2")
    editor.drag((8, 100), (8, 140))
    editor.page.wait_for_selector("text=This browser has no room for the draft: submit before you leave.")
    editor.submit()
    editor.page.wait_for_selector("text=Submitted: a label for")
    assert (place.labels()[8, 100:141] == 2).all()
    assert editor.faults == []


def test_a_reader_is_not_offered_to_correct(place: Place, browser: Browser) -> None:
    reader = CorrectingPage(browser, place.url, "rita")
    reader.page.wait_for_selector("text=Layers")
    assert reader.page.locator("text=Correct a window").count() == 0
    assert reader.faults == []
