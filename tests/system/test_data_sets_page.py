"""The page of data sets in a real browser, before a real server: one is made, followed, taken away and deleted."""

from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from catalog import jobs
from catalog.access_records import Role
from catalog.context import Catalog
from catalog.records import Job, JobKind, JobState
from services import users
from services.scenes import window_of
from tests.services.judging import judge
from tests.system.our_pages import PASSWORD, catalog_at, serious_faults, serving
from tests.system.test_changing_pages import Open, open_as, row  # noqa: F401 - a fixture
from tests.workers.rows import patches, tiled
from workers.jobs import JobContext, perform

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def server(tmp_path: Path, migrated_database: Path, redis_server: str) -> Iterator[Catalog]:
    """A running server with a scene of which one window is labelled; its workers are the tests."""
    catalog = catalog_at(tmp_path, migrated_database, redis_server)
    scene, forged = tiled(catalog, tmp_path / "khumbu.tif")
    patch = patches(catalog, scene.id)[6]
    judge(catalog, patch, forged.truth[window_of(patch).slices], minute=0)
    with catalog.database.write() as session:
        users.add(session, "olga", Role.OPERATOR, PASSWORD)
        users.add(session, "rita", Role.READER, PASSWORD)
    with serving(catalog):
        yield catalog
    catalog.close()


def begin(catalog: Catalog) -> Job:
    """Begin the newest job that waits, as a worker does."""
    waiting = select(Job.id).where(Job.kind == JobKind.EXPORT_DATASET, Job.state == JobState.QUEUED)
    with catalog.write() as session:
        job = jobs.claim(session, session.scalars(waiting.order_by(Job.created_at.desc())).first() or "")
    assert job is not None
    return job


def fill_in(page: Page, title: str) -> None:
    """Ask for the arrays of two channels of the pool."""
    page.get_by_role("button", name="Make a data set…").click()
    page.fill("#make-name", title)
    for value in ("validation", "test", "geotiff", "stac"):
        page.uncheck(f'#make input[value="{value}"]')
    for value in ("red", "ndvi"):
        page.check(f'#make input[value="{value}"]')
    page.fill("#make-licence", "CC-BY-4.0")
    page.get_by_role("button", name="Make it").click()


def test_an_operator_makes_one_follows_it_takes_it_away_and_deletes_it(
    server: Catalog,
    open_as: Open,  # noqa: F811
    tmp_path: Path,
) -> None:
    page = open_as("olga", "/data-sets")
    fill_in(page, "Khumbu 2026")
    made = row(page, "data-sets", "Khumbu 2026")
    expect(made).to_contain_text("waits for its turn")
    job = begin(server)
    JobContext(server, job).progress(1, 4, "writing windows: 1 of 4 windows")
    expect(made).to_contain_text("25 %", timeout=10_000)
    perform(server, job)
    expect(made).to_contain_text("1 window train, 1 label", timeout=10_000)
    expect(made).to_contain_text("CC-BY-4.0")
    with page.expect_download() as download:
        made.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename.startswith("khumbu-2026-")
    download.value.save_as(tmp_path / "taken.zip")
    with ZipFile(tmp_path / "taken.zip") as archive:
        names = [name.partition("/")[2] for name in archive.namelist()]
    assert len([name for name in names if name.startswith("npy/train/images/")]) == 1
    assert not [name for name in names if name.startswith(("geotiff/", "stac/"))]
    made.get_by_role("button", name="Delete").click()
    page.click("#confirm-yes")
    expect(page.locator("#data-sets")).to_contain_text("None yet.")


def test_what_is_refused_is_said_in_the_dialog_which_keeps_what_was_chosen(
    server: Catalog,
    open_as: Open,  # noqa: F811
) -> None:
    page = open_as("olga", "/data-sets")
    page.get_by_role("button", name="Make a data set…").click()
    for value in ("geotiff", "npy", "stac"):
        page.uncheck(f'#make input[value="{value}"]')
    page.get_by_role("button", name="Make it").click()
    expect(page.locator("#make .fault")).to_contain_text("forms")
    page.check('#make input[value="npy"]')
    page.uncheck('#make input[value="pool"]')
    page.get_by_role("button", name="Make it").click()
    expect(page.locator("#make .fault")).to_contain_text("found no labels in scenes of the roles validation, test")
    expect(page.locator('#make input[value="npy"]')).to_be_checked()


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1440, "dark")])
def test_it_reads_well_on_a_phone_and_in_the_dark(
    server: Catalog,
    open_as: Open,  # noqa: F811
    width: int,
    scheme: str,
) -> None:
    page = open_as("olga", "/data-sets", width, color_scheme=scheme)
    fill_in(page, "Khumbu 2026")
    expect(row(page, "data-sets", "Khumbu 2026")).to_be_visible()
    perform(server, begin(server))
    expect(row(page, "data-sets", "Khumbu 2026")).to_contain_text("made", timeout=10_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert serious_faults(page) == []
    page.get_by_role("button", name="Make a data set…").click()
    assert serious_faults(page) == []


def test_readers_are_not_led_there(server: Catalog, open_as: Open) -> None:  # noqa: F811
    page = open_as("rita", "/")
    expect(page.locator('nav a[href="/settings"]')).to_be_visible()
    expect(page.locator('nav a[href="/data-sets"]')).to_have_count(0)
    response = page.goto(f"{server.settings.api_url}/data-sets")
    assert response is not None
    assert response.status == 403
