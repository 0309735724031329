"""The page of the installation in a real browser, before a real server: checked, followed, mended."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from catalog import jobs
from catalog.access_records import Role
from catalog.context import Catalog
from catalog.records import Job, JobKind, JobState
from services import raster_keys, users
from services.places import raster_store
from tests.system.our_pages import PASSWORD, catalog_at, serious_faults, serving
from tests.system.test_changing_pages import Open, open_as, row  # noqa: F401 - a fixture
from tests.workers.installed import populate
from workers.jobs import JobContext, perform

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def server(tmp_path: Path, migrated_database: Path, redis_server: str) -> Iterator[Catalog]:
    """A running server that lacks a mask; its workers are the tests."""
    catalog = catalog_at(tmp_path, migrated_database, redis_server)
    populate(catalog, tmp_path)
    raster_store(catalog).delete(raster_keys.truth(1))
    with catalog.database.write() as session:
        users.add(session, "anna", Role.ADMINISTRATOR, PASSWORD)
        users.add(session, "olga", Role.OPERATOR, PASSWORD)
    with serving(catalog):
        yield catalog
    catalog.close()


def begin(catalog: Catalog) -> Job:
    """Begin the check that waits, as a worker does."""
    waiting = select(Job.id).where(Job.kind == JobKind.CHECK_INSTALLATION, Job.state == JobState.QUEUED)
    with catalog.write() as session:
        job = jobs.claim(session, session.scalars(waiting).one())
    assert job is not None
    return job


def ask(page: Page, button: str) -> None:
    page.get_by_role("button", name=button).click()
    page.click("#confirm-yes")
    expect(page.locator("#newest")).to_contain_text("waits for its turn")


def test_an_administrator_has_it_checked_follows_that_and_has_it_mended(
    server: Catalog,
    open_as: Open,  # noqa: F811
) -> None:
    page = open_as("anna", "/")
    page.get_by_role("link", name="Check the installation…").click()
    expect(page.locator("#newest")).to_contain_text("No check has been made here yet.")
    ask(page, "Check now")
    expect(page.get_by_role("button", name="Check and mend")).to_have_count(0)
    job = begin(server)
    JobContext(server, job).progress(1, 4, "reading files: 30 of 120")
    expect(page.locator("#newest")).to_contain_text("reading files: 30 of 120 25 %", timeout=10_000)
    perform(server, job)
    expect(page.locator("#newest")).to_contain_text("for anna: 8 faults", timeout=10_000)  # no service is there
    lost = row(page, "findings", "rows without file")
    expect(lost).to_contain_text(raster_keys.truth(1))
    expect(lost).to_contain_text("Check and mend does it")
    expect(page.locator("#well li").first).not_to_be_visible()
    page.locator("#well summary").click()
    expect(page.locator("#well")).to_contain_text("packages: Python")

    page.get_by_role("button", name="Check and mend").click()
    expect(page.locator("#confirm-hint")).to_contain_text("Nothing that an annotator drew is ever deleted.")
    page.click("#confirm-yes")
    expect(page.locator("#newest")).to_contain_text("Checking and mending for anna")
    perform(server, begin(server))
    expect(page.locator("#newest")).to_contain_text("7 faults", timeout=10_000)
    expect(page.locator("#newest")).to_contain_text("left, 1 mended")
    expect(row(page, "findings", "rows without file")).to_contain_text("done: 1 made again")
    assert raster_store(server).exists(raster_keys.truth(1))


def test_a_check_is_cancelled(server: Catalog, open_as: Open) -> None:  # noqa: F811
    page = open_as("anna", "/installation")
    ask(page, "Check now")
    page.get_by_role("button", name="Cancel").click()
    page.click("#confirm-yes")
    expect(page.locator("#newest")).to_contain_text("cancelled by a person")
    expect(page.get_by_role("button", name="Check now")).to_be_visible()


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1440, "dark")])
def test_it_reads_well_on_a_phone_and_in_the_dark(
    server: Catalog,
    open_as: Open,  # noqa: F811
    width: int,
    scheme: str,
) -> None:
    page = open_as("anna", "/installation", width, color_scheme=scheme)
    ask(page, "Check and mend")
    assert serious_faults(page) == []
    perform(server, begin(server))
    expect(page.locator("#findings")).to_contain_text("mended", timeout=10_000)
    page.locator("#well summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert serious_faults(page) == []
    page.get_by_role("button", name="Check and mend").click()
    assert serious_faults(page) == []


def test_operators_are_not_led_there(server: Catalog, open_as: Open) -> None:  # noqa: F811
    page = open_as("olga", "/")
    expect(page.locator('nav a[href="/data-sets"]')).to_be_visible()
    expect(page.locator('a[href="/installation"]')).to_have_count(0)
    response = page.goto(f"{server.settings.api_url}/installation")
    assert response is not None
    assert response.status == 403
