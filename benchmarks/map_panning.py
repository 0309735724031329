"""How smoothly does the map move under many outlines? ``python -m benchmarks.map_panning [--outlines N ...]``.

Opens the map page in a headless Chromium on a scene of 1024 px, puts that many outlines of glaciers in the place of
those of the server, drags the map to and fro, and counts the frames that the page gets meanwhile. Without a GPU, as
here, all is drawn by the processor. Prints frames a second and the intervals between frames.
"""

import argparse
import json
import math
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

from al_server.app import create_app
from al_server.http_server import make_server
from benchmarks.report import Result, markdown, publish
from benchmarks.scored_scene import add_pool, new_catalog
from catalog import registry_copy
from catalog.access_records import Role
from catalog.context import Catalog
from catalog.records import Scene, now
from catalog.registry import CHAMPION, ModelVersion
from services import users
from services.scenes import source_of

CORNERS: Final = 24
SIDE_PX: Final = 1024
STEPS: Final = 30  # moves of the mouse from one side to the other
STILL_MS: Final = 1500
NAME: Final = "reader"
PASSWORD: Final = "correct horse battery"  # noqa: S105 - of an installation that is thrown away
ARGUMENTS: Final = ("--no-sandbox", "--disable-gpu")
COUNT: Final = """() => {
    window.frames_ = [];
    const next = (time) => { window.frames_.push(time); window.frame_ = requestAnimationFrame(next); };
    requestAnimationFrame(next);
}"""
COUNTED: Final = "() => { cancelAnimationFrame(window.frame_); return window.frames_; }"


def outlines(count: int, bounds: tuple[float, float, float, float]) -> str:
    """Return a FeatureCollection of so many polygons with ``CORNERS`` corners, evenly spread over a box in degrees."""
    generator = np.random.default_rng(0)
    west, south, east, north = bounds
    side = max(1, math.ceil(math.sqrt(count)))
    width, height = (east - west) / side, (north - south) / side
    turns = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    features = []
    for number in range(count):
        row, column = divmod(number, side)
        radius = 0.25 + 0.2 * generator.random(CORNERS)
        x = west + (column + 0.5 + radius * np.cos(turns)) * width
        y = south + (row + 0.5 + radius * np.sin(turns)) * height
        ring = np.column_stack([x, y]).round(7).tolist()
        geometry = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
        properties = {"class": "clean ice", "area_km2": 0.1}
        features.append({"type": "Feature", "properties": properties, "geometry": geometry})
    return json.dumps({"type": "FeatureCollection", "features": features})


def show(page: Page, url: str, content: str) -> None:
    """Open the map of the first scene with these outlines, and wait until they are drawn."""
    page.route(
        "**/prediction.geojson**",
        lambda route: route.fulfill(status=200, content_type="application/geo+json", body=content),
    )
    with page.expect_response("**/prediction.geojson**"):
        page.goto(f"{url}/map#scene=1&layers=outlines&version=1")
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(2 * STILL_MS)


def pan(page: Page, times: int) -> list[float]:
    """Drag the map to and fro; return the intervals between the frames meanwhile, in milliseconds."""
    box = page.locator("#map").bounding_box()
    if box is None:
        raise RuntimeError("the page shows no map")
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    intervals: list[float] = []
    for _ in range(times):
        page.evaluate(COUNT)
        page.mouse.move(x, y)
        page.mouse.down()
        for to in (-1, 1, -1, 1):
            page.mouse.move(x + to * 0.4 * box["width"], y + to * 0.2 * box["height"], steps=STEPS)
        page.mouse.up()
        intervals += np.diff(page.evaluate(COUNTED)).tolist()
        page.wait_for_timeout(STILL_MS)  # the outlines are drawn anew once the map has stopped
    return intervals


@contextmanager
def served(catalog: Catalog) -> Iterator[str]:
    """Serve the pages of a catalog for a block; the value is their address."""
    app = create_app(catalog)
    url = catalog.settings.api_url
    server = make_server(app, "127.0.0.1", int(url.rpartition(":")[2]), app.extensions["body_limits"])
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield url
    finally:
        server.stop()
        thread.join()


def measure(browser: Browser, url: str, content: str, times: int) -> list[float]:
    """Pan in a page of its own."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(f"{url}/login?next=/map")
    page.fill("#name", NAME)
    page.fill("#password", PASSWORD)
    page.click("main button")
    page.wait_for_url(f"{url}/map**")
    page.goto("about:blank")
    show(page, url, content)
    intervals = pan(page, times)
    context.close()
    return intervals


def frames_a_second(intervals: list[float]) -> float:
    """Return the mean rate of frames with these intervals, which long ones lower however few they are."""
    return 1000 * len(intervals) / sum(intervals)


def row(count: int, intervals: list[float]) -> dict[str, Any]:
    """Return the figures of a number of outlines."""
    median, slow = np.percentile(intervals, [50, 95]).tolist()
    return {
        "outlines": count,
        "frames": len(intervals),
        "frames/s": frames_a_second(intervals),
        "median interval, ms": median,
        "95th percentile, ms": slow,
        "longest, ms": max(intervals),
    }


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--outlines", type=int, nargs="+", default=[0, 1000, 20_000], help="(default: %(default)s)")
    made.add_argument("--times", type=int, default=5, help="how often the map is dragged (default: %(default)s)")
    return made


def main() -> None:
    """Measure, print and publish."""
    given = parser().parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        catalog = new_catalog(Path(folder))
        add_pool(catalog, SIDE_PX)
        with catalog.database.write() as session:
            users.add(session, NAME, Role.READER, PASSWORD)
            registry_copy.store(session, [ModelVersion(1, "", now(), {})])
            registry_copy.set_aliases(session, {CHAMPION: 1})
            bounds = source_of(session.get_one(Scene, 1)).grid.footprint_wgs84().bounds
        path = shutil.which("chromium") or playwright.chromium.executable_path
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        with served(catalog) as url:
            for count in given.outlines:
                rows.append(row(count, measure(browser, url, outlines(count, bounds), given.times)))
        browser.close()
        catalog.close()
    print(markdown(rows))
    publish(Result("map_panning", rows, seeds=[0], conditions={"corners": CORNERS, "times": given.times}))


if __name__ == "__main__":
    main()
