"""The page on which a window of the map is corrected, driven as a person would: by mouse and keys."""

from typing import Any

from playwright.sync_api import Browser, Page

from tests.system.our_pages import log_in

PADDING_PX = 24  # of the canvas around the window
# The map waits 250 ms for a second click. A timer of the page itself ends after that of the map, however busy it is.
NO_DOUBLE_CLICK = "() => new Promise((done) => setTimeout(done, 300))"


class CorrectingPage:
    """The editor of a window of a scene, and what the browser said meanwhile."""

    def __init__(self, browser: Browser, url: str, name: str, width: int = 1440, **options: Any) -> None:
        self.faults: list[str] = []
        self.page: Page = browser.new_context(viewport={"width": width, "height": 900}, **options).new_page()
        self.page.on("console", lambda said: self.faults.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        own = (url, "data:", "blob:")
        self.page.on("request", lambda asked: None if asked.url.startswith(own) else self.faults.append(asked.url))
        log_in(self.page, url, name, to="/map")
        self.page.wait_for_selector("#panel select")

    def open_window(self) -> None:
        """Open the window around the middle of the view."""
        self.page.click("text=Correct a window…")
        self.page.wait_for_selector(".correct-hint")
        self.page.keyboard.press("Enter")
        self.page.wait_for_selector(".correct-map canvas")

    def at(self, row: float, column: float, height: int = 100, width: int = 160) -> tuple[float, float]:
        """The place on the screen of a place in the window, in pixels of the scene; the whole window is shown."""
        box = self.page.locator(".correct-map").bounding_box()
        assert box is not None
        scale = min((box["width"] - 2 * PADDING_PX) / width, (box["height"] - 2 * PADDING_PX) / height)
        x = box["x"] + box["width"] / 2 + (column - width / 2) * scale
        return x, box["y"] + box["height"] / 2 + (row - height / 2) * scale

    def drag(self, *pixels: tuple[int, int]) -> None:
        """Drag from the middle of a pixel to that of others."""
        mouse = self.page.mouse
        mouse.move(*self.at(pixels[0][0] + 0.5, pixels[0][1] + 0.5))
        mouse.down()
        for row, column in pixels[1:]:
            mouse.move(*self.at(row + 0.5, column + 0.5), steps=4)
        mouse.up()

    def drag_corner(self, corner: tuple[int, int], to: tuple[int, int]) -> None:
        """Drag a corner between pixels to another one."""
        self.page.mouse.move(*self.at(*corner))
        self.page.mouse.down()
        self.page.mouse.move(*self.at(*to), steps=4)
        self.page.mouse.up()

    def touch(self, *steps: tuple[tuple[int, int], ...]) -> None:
        """Move fingers over the middles of pixels, one for each finger that is down; at the end all are lifted."""
        touchscreen = self.page.context.new_cdp_session(self.page)
        down = 0
        for step in (*steps, ()):
            kind = "touchMove" if step else "touchEnd"
            if len(step) > down:
                kind = "touchStart"
            places = [self.at(row + 0.5, column + 0.5) for row, column in step]
            points = [{"x": x, "y": y, "id": finger} for finger, (x, y) in enumerate(places)]
            touchscreen.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
            down = len(step)
        touchscreen.detach()

    def tap(self, row: float, column: float) -> None:
        """Tap a place with a finger."""
        self.page.touchscreen.tap(*self.at(row, column))
        self.page.evaluate(NO_DOUBLE_CLICK)

    def ring(self, *corners: tuple[float, float], ends_at: int = 0) -> None:
        """Click the corners (row, column) of a polygon, and its first again."""
        for row, column in (*corners, corners[ends_at]):
            self.page.mouse.move(*self.at(row, column), steps=2)
            self.page.mouse.click(*self.at(row, column))
            self.page.evaluate(NO_DOUBLE_CLICK)

    def line(self, *corners: tuple[float, float]) -> None:
        """Click the corners (row, column) of a line, and its last again."""
        self.ring(*corners, ends_at=-1)

    def click(self, row: int, column: int) -> None:
        """Click the middle of a pixel."""
        self.page.mouse.click(*self.at(row + 0.5, column + 0.5))
        self.page.evaluate(NO_DOUBLE_CLICK)

    def click_in(self, row: int, column: int, *, side: int) -> None:
        """Click the middle of a pixel of a square window."""
        self.page.mouse.click(*self.at(row + 0.5, column + 0.5, side, side))

    def summary(self) -> dict[str, int]:
        """How many pixels more each class has, as the dialog of the submission says, which is left again."""
        self.page.click("text=Submit…")
        rows = [row.inner_text().split("\t") for row in self.page.locator("dialog tbody tr").all()]
        self.page.click("dialog button:text-is('Back')")
        return {row[0]: int(row[2].replace(",", "")) for row in rows if row[0] != "not judged"}

    def submit(self, *, only_changed: bool = False) -> None:
        self.page.click("text=Submit…")
        if only_changed:
            self.page.check("#only-changed")
        self.page.click("dialog button.main")

    def keys(self, *names: str) -> None:
        for name in names:
            self.page.keyboard.press(name)
