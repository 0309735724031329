"""The page of experiments in a real browser, before a real server: one is made, followed, looked at and deleted."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect
from sqlalchemy import select

from catalog import jobs
from catalog.access_records import Role
from catalog.context import Catalog
from catalog.records import Job, JobKind, JobState
from services import users
from tests.system.our_pages import PASSWORD, catalog_at, serious_faults, serving
from tests.system.test_changing_pages import Open, open_as  # noqa: F401 - a fixture
from tests.workers.rows import tiled
from workers.jobs import JobContext, perform

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    # Of MLflow's own models, when it opens a database in this process.
    pytest.mark.filterwarnings("ignore:.*noload.* loader strategy is deprecated:DeprecationWarning"),
]


@pytest.fixture
def server(tmp_path: Path, migrated_database: Path, redis_server: str) -> Iterator[Catalog]:
    """A running server with a scene that has outlines; its workers are the tests."""
    catalog = catalog_at(tmp_path, migrated_database, redis_server)
    tiled(catalog, tmp_path / "khumbu.tif")
    with catalog.database.write() as session:
        users.add(session, "olga", Role.OPERATOR, PASSWORD)
        users.add(session, "rita", Role.READER, PASSWORD)
    with serving(catalog):
        yield catalog
    catalog.close()


def begin(catalog: Catalog) -> Job:
    """Begin the job that waits, as a worker does."""
    waiting = select(Job.id).where(Job.kind == JobKind.RUN_EXPERIMENT, Job.state == JobState.QUEUED)
    with catalog.write() as session:
        job = jobs.claim(session, session.scalars(waiting).one())
    assert job is not None
    return job


def test_an_operator_makes_one_looks_at_it_takes_it_away_and_deletes_it(
    server: Catalog,
    open_as: Open,  # noqa: F811
    tmp_path: Path,
) -> None:
    page = open_as("olga", "/")
    page.get_by_role("link", name="Experiments").click()
    made = page.locator("#made")
    expect(made).to_contain_text("None yet.")
    expect(page.locator("#duration")).to_contain_text("lets fine-tunes, scorings and all else that waits go first")
    page.get_by_role("button", name="Make an experiment…").click()
    page.select_option("#compare-name", "label-shares")
    page.check('#compare input[value="khumbu-pool"]')
    page.select_option("#compare-split", "random")
    page.fill("#compare-patch_size", "32")
    page.fill("#compare-depth", "9")
    page.get_by_role("button", name="Make it").click()
    expect(page.locator("#compare")).to_be_visible()  # the browser itself finds fault with a depth above 7
    page.fill("#compare-depth", "")
    page.get_by_role("button", name="Make it").click()
    expect(made).to_contain_text("waits for its turn")
    expect(made).to_contain_text("khumbu-pool")

    job = begin(server)
    JobContext(server, job).progress(1, 4, "unet, seed 0: step 100 of 400, 1 of 1")
    expect(made).to_contain_text("unet, seed 0: step 100 of 400, 1 of 1 25 %", timeout=10_000)
    assert serious_faults(page) == []
    perform(server, job)
    expect(made).to_contain_text("1 table and a figure", timeout=10_000)
    result = page.locator("section[id^=results-]")
    expect(result.locator("h2")).to_contain_text("label-shares on khumbu-pool")
    expect(
        result.locator("td", has_text="clean ice").or_(result.locator("th", has_text="clean ice")).first
    ).to_be_visible()
    figure = result.locator("figure img")
    figure.scroll_into_view_if_needed()
    expect(figure).not_to_have_js_property("naturalWidth", 0)
    assert figure.evaluate("image => image.naturalWidth") > 100
    result.locator("summary").click()
    expect(result.locator("li", has_text="Study area: khumbu-pool")).to_be_visible()
    assert serious_faults(page) == []

    with page.expect_download() as download:
        made.get_by_role("link", name="Download CSV").click()
    download.value.save_as(tmp_path / "taken.csv")
    assert (tmp_path / "taken.csv").read_text("utf-8").startswith("table,row,column,value,spread,low,high,blocks\n")

    made.get_by_role("button", name="Delete").click()
    expect(page.locator("#confirm-hint")).to_contain_text("its MLflow run stays")
    page.click("#confirm-yes")
    expect(made).to_contain_text("None yet.")
    expect(result).to_have_count(0)


def test_a_simulation_is_refused_where_it_is_asked_for_and_cancelled(
    server: Catalog,
    open_as: Open,  # noqa: F811
) -> None:
    page = open_as("olga", "/experiments", width=360)
    page.get_by_role("button", name="Simulate strategies…").click()
    page.check('#simulate input[value="random"]')
    page.get_by_role("button", name="Simulate", exact=True).click()
    expect(page.locator("#simulate .fault")).to_contain_text(
        "in each of three roles: pool, where the strategies choose"
    )
    assert serious_faults(page) == []
    page.check('#simulate input[value="khumbu-pool"]')
    page.get_by_role("button", name="Simulate", exact=True).click()
    made = page.locator("#made")
    expect(made).to_contain_text("simulation: What would each strategy have given?")
    made.locator("summary").click()
    expect(made).to_contain_text("strategies: random; seeds: 3; rounds: 6")
    made.get_by_role("button", name="Cancel").click()
    page.click("#confirm-yes")
    expect(made).to_contain_text("cancelled by a person", timeout=10_000)
    expect(made.get_by_role("button", name="Retry")).to_be_visible()
    assert serious_faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_readers_have_no_link_to_it(server: Catalog, open_as: Open) -> None:  # noqa: F811
    page = open_as("rita", "/")
    expect(page.get_by_role("link", name="Settings")).to_be_visible()
    expect(page.get_by_role("link", name="Experiments")).to_have_count(0)
