"""The form of a scene, in a real browser: of one at an address it waits for the job that reads it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect, sync_playwright
from sqlalchemy import select

from al_server.app import create_app
from al_server.http_server import make_server
from catalog import jobs
from catalog.access_records import Role
from catalog.context import Catalog
from catalog.records import Job, JobKind, JobState, Scene
from services import users
from tests.imagery.range_server import serve
from tests.imagery.test_products_stac import item, sentinel
from tests.system.labelling_page import ARGUMENTS
from workers.jobs import perform

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
PASSWORD = "correct horse battery"
READ_MS = 60_000  # the job reads six bands; the machine may be busy


@contextmanager
def running(catalog: Catalog) -> Iterator[str]:
    """Run the API, and a worker that does descriptions; yields the address."""
    app, stop = create_app(catalog), threading.Event()
    server = make_server(app, "127.0.0.1", 0, app.extensions["body_limits"])

    def work() -> None:
        queued = select(Job.id).where(Job.kind == JobKind.DESCRIBE_SCENE, Job.state == JobState.QUEUED)
        while not stop.is_set():
            with catalog.write() as session:
                found = session.scalar(queued)
                job = jobs.claim(session, found) if found else None
            if job is not None:
                perform(catalog, job)
            time.sleep(0.2)

    threads = [threading.Thread(target=server.run), threading.Thread(target=work)]
    for thread in threads:
        thread.start()
    yield f"http://127.0.0.1:{server.effective_port}"
    stop.set()
    server.stop()
    for thread in threads:
        thread.join()


def test_a_scene_at_an_address_is_registered_and_replaced(catalog: Catalog, chromium: str, tmp_path: Path) -> None:
    folder = tmp_path / "far"
    folder.mkdir()
    assets = sentinel(folder, add=1000, raster={"nodata": 0, "scale": 0.0001, "offset": -0.1})
    (folder / "item.json").write_text(item(assets, platform="sentinel-2a"))
    with catalog.database.write() as session:
        users.add(session, "olga", Role.OPERATOR, PASSWORD)
    with serve(folder, tmp_path / "log") as far, sync_playwright() as playwright:
        catalog.settings = catalog.settings.model_copy(update={"scene_hosts": [urlsplit(far).netloc]})
        with running(catalog) as own:
            browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
            page = browser.new_page()
            page.goto(f"{own}/login?next=/scenes/add")
            page.fill("#name", "olga")
            page.fill("#password", PASSWORD)
            page.click("main button")
            page.fill("#path", f"{far}/nothing.json")
            page.click("#look")
            expect(page.locator("#fault")).to_contain_text("found the answer 404", timeout=READ_MS)
            page.fill("#path", f"{far}/item.json")
            page.fill("#name", "far")
            page.click("#look")
            expect(page.locator("#progress")).to_contain_text("reads from another machine")
            expect(page.locator("#summary")).to_contain_text("sentinel-2-msi", timeout=READ_MS)
            expect(page.locator("#progress")).to_be_empty()
            page.click("text=Register far")
            page.wait_for_url("**/#scenes", timeout=READ_MS)
            page.goto(f"{own}/scenes/1/replace")
            expect(page.locator("#path")).to_be_empty()  # where the item lies is not stored
            page.fill("#path", f"{far}/item.json")
            page.click("#look")
            page.click("text=Replace far", timeout=READ_MS)
            expect(page.locator("main")).to_contain_text("It has the number 2", timeout=READ_MS)
            browser.close()
    with catalog.read() as session:
        assert session.scalars(select(Scene.name).order_by(Scene.id)).all() == ["far (removed 1)", "far"]
