"""Our pages in a real browser: log in and out, forms of other origins, and nothing that the security policy forbids."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from playwright.sync_api import Browser, Page

from catalog.access_records import LogIn, Role
from catalog.context import Catalog
from catalog.records import EventState, LabelEvent
from catalog.settings import Settings
from services import users
from tests.real_services import free_port
from tests.system.our_pages import PASSWORD, serious_faults, serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def server(settings: Settings) -> Iterator[Catalog]:
    """A running server with an operator and a failed label event."""
    catalog = Catalog(settings.model_copy(update={"api_url": f"http://127.0.0.1:{free_port()}"}))
    with catalog.database.write() as session:
        users.add(session, "anna", Role.OPERATOR, PASSWORD)
        session.add(
            LabelEvent(
                dedupe_key="x",
                action="ANNOTATION_CREATED",
                origin="webhook",
                annotation_updated_at=datetime.now(UTC),
                state=EventState.FAILED,
                body=b"{}",
            )
        )
    with serving(catalog):
        yield catalog
    catalog.close()


@pytest.fixture
def foreign_page(server: Catalog) -> Iterator[str]:
    """The port of a page of somebody else, which sends a form to our server as soon as it is opened."""

    class Lure(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            target = f"{server.settings.api_url}{self.path}"
            self.wfile.write(
                f"<form method=post action='{target}'></form><script>document.forms[0].submit()</script>".encode()
            )

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Lure) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield str(running.server_port)
        running.shutdown()
        thread.join()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    yield context.new_page()
    context.close()


def test_log_in_and_out_and_a_form_of_another_origin(server: Catalog, foreign_page: str, page: Page) -> None:
    forbidden: list[str] = []  # by the content security policy; a refused request is told by its status
    page.on("console", lambda said: forbidden.append(said.text) if "Security Policy" in said.text else None)
    own = server.settings.api_url
    page.goto(f"{own}/")
    assert page.url == f"{own}/login?next=/"
    page.fill("#name", "anna")
    page.fill("#password", "wrong password")
    page.click("main button")
    assert "no user has this name and password" in page.locator("[role=alert]").inner_text()
    page.fill("#password", PASSWORD)
    page.click("main button")
    page.wait_for_url(f"{own}/")
    assert "anna" in page.locator("header").inner_text()
    # The style sheet is loaded: its colour, not the browser's.
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(248, 250, 252)"
    page.goto(f"{own}/docs/swagger")
    page.wait_for_selector(".opblock")  # Swagger's script runs, and reads the description
    page.locator(".opblock-summary-control").first.click()
    page.wait_for_selector(".opblock.is-open .responses-table")
    assert serious_faults(page) == []
    assert forbidden == []

    # The same host with another port is another origin but the same site: the browser sends the cookie along.
    for host in ("127.0.0.1", "localhost"):
        for call in ("/api/v1/label-events/1/replay", "/logout"):
            with page.expect_response(lambda answer: answer.request.method == "POST") as answer:
                page.goto(f"http://{host}:{foreign_page}{call}")
            assert answer.value.status == 403
    with server.read() as session:
        assert session.get_one(LabelEvent, 1).state is EventState.FAILED
        assert session.query(LogIn).count() == 1

    page.goto(f"{own}/")
    page.click("text=Log out")
    page.wait_for_url(f"{own}/login")
    with server.read() as session:
        assert session.query(LogIn).count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_reads_well_on_a_phone_and_in_the_dark(server: Catalog, browser: Browser, width: int, scheme: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    faults: list[str] = []
    page.on("console", lambda said: faults.append(said.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(f"{server.settings.api_url}/login")
    assert serious_faults(page) == []
    assert faults == []
    page.fill("#name", "anna")
    page.fill("#password", "wrong password")
    page.click("main button")
    page.locator("[role=alert]").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert serious_faults(page) == []
    context.close()
