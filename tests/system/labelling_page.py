"""Label Studio's labelling page, driven as an annotator would."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from tests.system.our_pages import ARGUMENTS

SUBMIT = 'button[aria-label="Submit current annotation"]'
REGION = "[class*=outliner-item__title]"

Point = tuple[float, float]
"""Column and row in pixels of the patch; whole numbers are the edges between pixels."""


class LabellingPage:
    """One task, open in the quick view."""

    def __init__(self, page: Page, side_px: int) -> None:
        self._page = page
        self._side_px = side_px

    @classmethod
    @contextmanager
    def open(
        cls, chromium: str, url: str, login: tuple[str, str], project_id: int, task_id: int, side_px: int
    ) -> Iterator["LabellingPage"]:
        """Log in and open a task whose image is `side_px` pixels wide and high."""
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
            page = browser.new_context(viewport={"width": 1600, "height": 1200}).new_page()
            faults: list[str] = []
            page.on("pageerror", lambda error: faults.append(str(error)))
            page.goto(f"{url}/user/login/")
            page.fill("input[name=email]", login[0])
            page.fill("input[name=password]", login[1])
            page.click("button[type=submit]")
            page.wait_for_function("!location.pathname.startsWith('/user/login')")
            page.goto(f"{url}/projects/{project_id}/data?task={task_id}")
            page.wait_for_selector(".konvajs-content canvas", timeout=60_000)
            page.wait_for_selector(SUBMIT, timeout=60_000)
            page.wait_for_timeout(1500)  # masks are painted a little after the image
            yield cls(page, side_px)
            browser.close()
            assert faults == []

    @property
    def text(self) -> str:
        return self._page.locator("body").inner_text()

    @property
    def regions(self) -> list[str]:
        """The labels in the list of regions, in drawing order."""
        return [item.inner_text().strip() for item in self._page.locator(REGION).all()]

    def screenshot(self) -> bytes:
        return self._page.screenshot()

    def colours(self) -> NDArray[np.uint8]:
        """What the annotator sees of each pixel of the patch, at its centre: (side, side, 3) RGB."""
        self._page.keyboard.press("Escape")
        self._page.locator('button[aria-label="move-tool"]').first.click()  # the brush's slider would lie on the image
        self._page.mouse.move(5, 5)
        self._page.wait_for_timeout(800)  # its tooltip vanishes
        shown = np.asarray(Image.open(io.BytesIO(self.screenshot())).convert("RGB"))
        centres = [self._on_screen((i + 0.5, i + 0.5)) for i in range(self._side_px)]
        columns = np.array([x for x, _ in centres]).astype(int)
        rows = np.array([y for _, y in centres]).astype(int)
        return shown[rows[:, None], columns[None, :]]

    def paint(self, label: str, start: Point, end: Point) -> None:
        """Draw a new brush stroke with a label."""
        self._page.keyboard.press("Escape")
        self._page.locator(".lsf-label", has_text=label).first.click()  # the first tool is the brush
        self._drag(start, end)

    def erase(self, region: int, start: Point, end: Point) -> None:
        """Erase along a line from one region of the list."""
        self._page.locator(REGION).nth(region).click()
        self._page.wait_for_timeout(300)
        self._page.locator('button[aria-label="eraser"]').first.click()
        self._page.wait_for_timeout(300)
        self._drag(start, end)

    def switch_on_clicks(self) -> None:
        """Let Label Studio pass clicks to the server, and accept what it suggests."""
        for switch in ("Auto-Annotation", "Auto-Accept Suggestions"):
            self._page.locator("label", has_text=switch).click()
        self._page.locator(".glacier-first").click()  # while a switch has the focus, keys do nothing

    def mend(self, label: str, point: Point) -> list[dict[str, Any]]:
        """Click on a point with a label of the tool that mends; return the regions that the server suggests."""
        self._page.keyboard.press("Escape")
        self._page.keyboard.press("m")
        self._page.locator(".lsf-label", has_text=label).last.click()  # the last tool is the one that mends
        with self._page.expect_response(lambda response: "/interactive-annotating" in response.url) as answered:
            self._page.keyboard.down("Control")
            self._page.mouse.click(*self._on_screen(point))
            self._page.keyboard.up("Control")
        self._page.wait_for_timeout(1000)
        regions: list[dict[str, Any]] = answered.value.json()["data"]["result"]
        return regions

    def submit(self) -> dict[str, Any]:
        """Submit the annotation; return what the page sent."""
        with self._page.expect_response(
            lambda response: "/annotations" in response.url and response.request.method == "POST"
        ) as saved:
            self._page.locator(SUBMIT).first.click()
        assert saved.value.status == 201, saved.value.text()
        sent: dict[str, Any] = saved.value.request.post_data_json
        return sent

    def _drag(self, start: Point, end: Point) -> None:
        self._page.mouse.move(*self._on_screen(start))
        self._page.mouse.down()
        self._page.mouse.move(*self._on_screen(end), steps=20)
        self._page.mouse.up()
        self._page.wait_for_timeout(800)

    def _on_screen(self, point: Point) -> tuple[float, float]:
        box = self._page.locator(".konvajs-content").first.bounding_box()  # the first image is the one drawn on
        assert box is not None
        x, y = (coordinate / self._side_px for coordinate in point)
        return box["x"] + x * box["width"], box["y"] + y * box["height"]
