"""What tests of our own pages have in common: a server, the browser's arguments, and the log-in."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page

from al_server.app import create_app
from al_server.http_server import make_server
from catalog.context import Catalog
from catalog.settings import Settings
from tests.real_services import free_port

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]
AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
PASSWORD = "correct horse battery"
NOWHERE = "http://127.0.0.1:9"


@contextmanager
def serving(catalog: Catalog) -> Iterator[None]:
    """Serve the API and the pages at the address of the settings, as the process `api` does, for a block."""
    app = create_app(catalog)
    port = int(catalog.settings.api_url.rpartition(":")[2])
    server = make_server(app, "127.0.0.1", port, app.extensions["body_limits"])
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield
    finally:
        server.stop()
        thread.join(20)


def log_in(page: Page, url: str, name: str, to: str = "/") -> None:
    """Log in by the page for it, which leads on to another page."""
    page.goto(f"{url}/login?next={to}")
    page.fill("#name", name)
    page.fill("#password", PASSWORD)
    page.click("main button")
    page.wait_for_url(f"{url}{to}")


def show(page: Page, is_shown: bool) -> None:
    """Show or hide a page, as its browser does when another tab is chosen; those of tests always show."""
    page.evaluate(
        """(isShown) => {
            Object.defineProperty(document, "hidden", { configurable: true, value: !isShown });
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        is_shown,
    )


def serious_faults(page: Page) -> list[str]:
    """Return what axe-core finds on a page that is serious or worse."""
    found = page.evaluate(f"{AXE.read_text()}\n; axe.run(document, {{ resultTypes: ['violations'] }})")
    return [
        f"{fault['id']}: {fault['nodes'][0]['html'][:200]}: {fault['nodes'][0]['failureSummary']}"
        for fault in found["violations"]
        if fault["impact"] in {"serious", "critical"}
    ]


def catalog_at(folder: Path, migrated_database: Path, redis_url: str, **changes: object) -> Catalog:
    """The catalog of a system in a folder, without MLflow and Label Studio."""
    (folder / "catalog.sqlite").write_bytes(migrated_database.read_bytes())
    values = {
        "var_dir": folder,
        "api_url": f"http://127.0.0.1:{free_port()}",
        "redis_url": redis_url,
        "mlflow_url": NOWHERE,
        "label_studio_url": NOWHERE,
        "patch_size_px": 32,
        **changes,
    }
    return Catalog(Settings(**values))
