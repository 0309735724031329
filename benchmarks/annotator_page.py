"""How soon is a patch of 512 px ready in Label Studio, and how soon does a stroke show?

``python -m benchmarks.annotator_page [--rounds N] [--picture FILE]``

Starts a real Label Studio, the API and Redis, and publishes four patches with all views and pre-annotations
(`benchmarks.offered_patches`). Chromium opens each by its address, N times after a first one that does not count, with
pictures cached as by an annotator's browser: *ready* is when picture and proposal are drawn and the patch can be
submitted. Then a view is chosen, and one stroke painted: *shown* is the first frame after the pointer's last move in
which it is there. Writes ``var/bench/annotator_page.json``, and with ``--picture`` the picture of the guide. On a busy
machine the figures are too high, so the load is written beside them.
"""

import argparse
import io
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from benchmarks.offered_patches import offer_patches
from benchmarks.reconciliation import label_studio
from benchmarks.report import Result, markdown, publish
from benchmarks.scored_scene import PATCH_SIZE_PX, services

BROWSER: Final = shutil.which("chromium")  # None: the one that Playwright has installed
ARGUMENTS: Final = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
VIEW: Final = "false-colour"
READY: Final = """() => {
  const pixels = (canvas) => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  const drawn = (canvas) => pixels(canvas).some((value) => value);
  const layers = [...document.querySelectorAll(".konvajs-content canvas")];
  const submit = document.querySelector('button[aria-label="Submit current annotation"]');
  const listed = document.querySelectorAll("[class*=outliner-item__title]").length;
  const usable = submit && !submit.disabled && listed > 0;
  return usable && layers.length > 1 && drawn(layers[0]) && layers.slice(1).some(drawn);
}"""
VIEW_SHOWN: Final = """async (url) => {
  const picture = new Image();
  picture.src = url;
  await picture.decode();
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
}"""
# Counts what is painted on all layers above the picture, and resolves with the milliseconds from the last move of the
# pointer to the first frame in which more is painted than before.
WATCH: Final = """([x, y]) => {
  const layers = [...document.querySelectorAll(".konvajs-content canvas")].slice(1);
  const alphas = () => layers.map((layer) => layer.getContext("2d").getImageData(x, y, 1, 1).data.join());
  const before = alphas().join(";");
  window.strokeShown = new Promise((resolve) => {
    let moved = null;
    document.addEventListener("mousemove", () => { moved = performance.now(); }, { capture: true });
    const look = () => {
      if (moved !== null && alphas().join(";") !== before) resolve(performance.now() - moved);
      else requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  });
}"""


def log_in(page: Page, url: str, email: str, password: str) -> None:
    """Log in to Label Studio."""
    page.goto(f"{url}/user/login/")
    page.fill("input[name=email]", email)
    page.fill("input[name=password]", password)
    page.click("button[type=submit]")
    page.wait_for_function("!location.pathname.startsWith('/user/login')")


def time_opening(page: Page, address: str) -> float:
    """Open a task by its address; return the seconds until it is ready."""
    began = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.wait_for_function(READY, polling="raf", timeout=60_000)
    return time.perf_counter() - began


def time_view(page: Page) -> float:
    """Choose another view; return the seconds until it is on the screen."""
    card = page.locator(f"#glacier-view-{VIEW} summary")
    url = card.locator("img").get_attribute("src")
    began = time.perf_counter()
    card.click()
    page.evaluate(VIEW_SHOWN, url)
    return time.perf_counter() - began


def time_stroke(page: Page) -> float:
    """Paint a short stroke; return the seconds from the pointer's first move to the first frame that shows it."""
    box = page.locator(".konvajs-content").first.bounding_box()
    if box is None:
        raise RuntimeError("the picture is not on the screen")
    x, y = box["width"] / 2, box["height"] / 2
    page.keyboard.press("2")
    page.mouse.move(box["x"] + x - 20, box["y"] + y)
    page.mouse.down()
    page.evaluate(WATCH, [x - 5, y + 3])  # within the stroke, beside the lines of the crosshair
    page.mouse.move(box["x"] + x, box["y"] + y)
    milliseconds: float = page.evaluate("window.strokeShown")
    page.mouse.up()
    return milliseconds / 1000


def measure(url: str, login: tuple[str, str], addresses: list[str], turns: int) -> dict[str, list[float]]:
    """Return the seconds of every opening, view and stroke."""
    taken: dict[str, list[float]] = {"ready": [], "another view": [], "a stroke": []}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=ARGUMENTS)
        page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
        log_in(page, url, *login)
        for turn in range(turns + 1):
            for address in addresses:
                seconds = time_opening(page, address), time_view(page), time_stroke(page)
                if turn:
                    for name, value in zip(taken, seconds, strict=True):
                        taken[name].append(value)
        browser.close()
    return taken


def take_picture(url: str, login: tuple[str, str], address: str, file: Path) -> None:
    """Write a picture of the page, with another view and outlines chosen, in 256 colours."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=ARGUMENTS)
        page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
        log_in(page, url, *login)
        time_opening(page, address)
        time_view(page)
        page.locator("#glacier-outlines summary").click()
        page.mouse.move(5, 5)
        page.wait_for_timeout(1000)
        Image.open(io.BytesIO(page.screenshot())).quantize(256).save(file, optimize=True)
        browser.close()


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--rounds", type=int, default=5, metavar="N", help="openings of each of the four patches")
    made.add_argument("--picture", type=Path, metavar="FILE", help="where to write a picture of the page (PNG)")
    return made


def main() -> None:
    """Measure, print a table and write the result."""
    given = parser().parse_args()
    turns: int = given.rounds
    with (
        tempfile.TemporaryDirectory() as folder,
        services(Path(folder) / "ours", "redis", "api") as running,
        label_studio(running.catalog, Path(folder) / "label-studio") as studio,
    ):
        catalog = running.catalog
        proposals = offer_patches(catalog, studio)
        url, secrets = catalog.settings.label_studio_url, catalog.secrets
        addresses = [f"{url}/projects/{item.project_id}/data?task={item.task_id}" for item in proposals]
        login = secrets.label_studio_email, secrets.label_studio_password
        taken = measure(url, login, addresses, turns)
        if given.picture is not None:
            take_picture(url, login, addresses[0], given.picture)
    rows: list[dict[str, Any]] = [
        {
            "what": what,
            "p50 s": float(np.median(seconds)),
            "p95 s": float(np.percentile(seconds, 95)),
            "most s": max(seconds),
        }
        for what, seconds in taken.items()
    ]
    print(markdown(rows))
    conditions = {"openings": turns * len(addresses), "patch_px": PATCH_SIZE_PX, "load": os.getloadavg()[0]}
    publish(Result("annotator_page", rows, seeds=[0], conditions=conditions))


if __name__ == "__main__":
    main()
