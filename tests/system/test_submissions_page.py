"""Outlines for GLIMS on the page of data sets, in a real browser before a real server: made, taken away and checked."""

from pathlib import Path
from zipfile import ZipFile

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from catalog import jobs
from catalog.context import Catalog
from catalog.records import Job, JobKind, JobState
from tests.services.test_glims_export import layer
from tests.system.our_pages import serious_faults
from tests.system.test_changing_pages import Open, open_as, row  # noqa: F401 - a fixture
from tests.system.test_data_sets_page import server  # noqa: F401 - a fixture
from workers.jobs import perform

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
CHECKED_MS = 60_000  # the process that reads a file loads its libraries first


def carry_out(catalog: Catalog) -> None:
    """Do the job that waits, as a worker does."""
    waiting = select(Job.id).where(Job.kind == JobKind.EXPORT_SUBMISSION, Job.state == JobState.QUEUED)
    with catalog.write() as session:
        job = jobs.claim(session, session.scalars(waiting).one())
    assert job is not None
    perform(catalog, job)


def ask(page: Page) -> None:
    """Ask for the outlines that experts drew, with all that is not known of the scene."""
    page.get_by_role("button", name="Make outlines for GLIMS…").click()
    page.check("#make-glims input[name=labels_only]")
    page.fill("#glims-analysts", "Rao, Ila, An institute\n\nNøstlinger, Ada\n")
    page.get_by_text("More", exact=True).click()
    page.fill("#glims-instrument", "ETM+")
    page.fill("#glims-acquired", "2000-10-30")
    page.fill("#glims-geolocation_error_m", "12.5")
    page.get_by_label("What debris-covered ice is").select_option("left out")
    page.get_by_role("button", name="Make them").click()


def test_an_operator_makes_outlines_and_takes_them_away(
    server: Catalog,  # noqa: F811
    open_as: Open,  # noqa: F811
    tmp_path: Path,
) -> None:
    page = open_as("olga", "/data-sets")
    ask(page)
    made = row(page, "submissions", "khumbu")
    expect(made).to_contain_text("waits for its turn")
    carry_out(server)
    expect(made).to_contain_text("1 label", timeout=10_000)
    made.locator("summary", has_text="finding").click()
    expect(made).to_contain_text("ends at the edge of the image or at unknown ground")
    with page.expect_download() as download:
        made.get_by_role("link", name="Download").click()
    download.value.save_as(tmp_path / "taken.zip")
    with ZipFile(tmp_path / "taken.zip") as archive:
        archive.extractall(tmp_path / "taken")
    _, glaciers = layer(tmp_path / "taken", "glaciers")
    assert set(glaciers["analysts"]) == {"Rao, Ila; Nøstlinger, Ada"}
    assert (set(glaciers["src_date"]), set(glaciers["glob_unc_x"])) == ({"2000-10-30"}, {12.5})
    assert not (tmp_path / "taken" / "debris.shp").exists()

    page.get_by_role("button", name="Check a package…").click()
    page.set_input_files("#check-file", tmp_path / "taken.zip")
    page.get_by_role("button", name="Check it").click()
    expect(page.locator("#check-found")).to_contain_text(
        "keeps GLIMS's published requirements, with these warnings.", timeout=CHECKED_MS
    )
    expect(page.locator("#check-found tr", has_text="ends at the edge of the image")).to_contain_text("warning")
    page.locator("#check [data-close]").click()

    made.get_by_role("button", name="Delete").click()
    page.click("#confirm-yes")
    expect(page.locator("#submissions")).to_contain_text("None yet.")


def test_what_is_refused_is_said_in_the_dialogs(
    server: Catalog,  # noqa: F811
    open_as: Open,  # noqa: F811
    tmp_path: Path,
) -> None:
    page = open_as("olga", "/data-sets")
    page.get_by_role("button", name="Make outlines for GLIMS…").click()
    page.check("#make-glims input[name=labels_only]")
    page.get_by_role("button", name="Make them").click()
    expect(page.locator("#make-glims .fault")).to_contain_text("state the option acquired")
    page.get_by_text("More", exact=True).click()
    page.fill("#glims-min_area_km2", "-1")
    page.get_by_text("More", exact=True).click()
    page.get_by_role("button", name="Make them").click()
    expect(page.locator("#glims-min_area_km2")).to_be_visible()  # the browser refuses it, in sight
    page.locator("#make-glims [data-close]").click()

    (tmp_path / "no.zip").write_bytes(b"hello")
    page.get_by_role("button", name="Check a package…").click()
    page.set_input_files("#check-file", tmp_path / "no.zip")
    page.get_by_role("button", name="Check it").click()
    expect(page.locator("#check .fault")).to_contain_text("found a file that is no zip archive")
    with ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("readme.txt", "nothing")
    page.set_input_files("#check-file", tmp_path / "empty.zip")
    page.get_by_role("button", name="Check it").click()
    expect(page.locator("#check-found")).to_contain_text("It is not fit for GLIMS yet.", timeout=CHECKED_MS)
    expect(page.locator("#check-found tr")).to_have_count(4)  # the head, and the three layers that are not there
    expect(page.locator("#check .fault")).to_be_empty()


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1440, "dark")])
def test_it_reads_well_on_a_phone_and_in_the_dark(
    server: Catalog,  # noqa: F811
    open_as: Open,  # noqa: F811
    tmp_path: Path,
    width: int,
    scheme: str,
) -> None:
    page = open_as("olga", "/data-sets", width, color_scheme=scheme)
    ask(page)
    made = row(page, "submissions", "khumbu")
    expect(made).to_be_visible()
    carry_out(server)
    made.locator("summary", has_text="finding").click(timeout=10_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert serious_faults(page) == []
    with ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("readme.txt", "nothing")
    page.get_by_role("button", name="Check a package…").click()
    page.set_input_files("#check-file", tmp_path / "empty.zip")
    page.get_by_role("button", name="Check it").click()
    expect(page.locator("#check-found")).to_contain_text("It is not fit for GLIMS yet.", timeout=CHECKED_MS)
    assert serious_faults(page) == []
    assert page.evaluate("document.querySelector('#check').scrollWidth <= document.querySelector('#check').clientWidth")
    page.locator("#check [data-close]").click()
    page.get_by_role("button", name="Make outlines for GLIMS…").click()
    assert serious_faults(page) == []
