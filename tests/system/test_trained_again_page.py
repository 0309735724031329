"""A version is trained again on its page in a real browser, before a real server; the workers are the tests."""

from datetime import UTC, datetime

import pytest
from playwright.sync_api import Page, expect

from catalog import jobs, registry_copy
from catalog.context import Catalog
from catalog.failures import note_cancelled
from catalog.records import Job, JobKind
from catalog.registry import ModelVersion
from services import reproductions
from services.reproductions import Options, Reproduction, Tolerance
from tests.dashboard_world import version_tags
from tests.system.our_pages import serious_faults
from tests.system.test_changing_pages import Open, open_as, server  # noqa: F401 - fixtures
from workers.jobs import JobContext

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
PAGE = "/versions/2"
FOUND = Reproduction(
    version=2,
    largest_difference=0.5,
    rms_difference=0.125,
    rms_weight=1.0,
    metrics={
        role: {"mean": (0.6, 0.58), "clean ice": (0.7, 0.69), "rock": (None, None)} for role in ("validation", "test")
    },
    same_class=0.96,
    same_circumstances=False,
    notes=("threads: then 1, here 2", "it was trained in float32, here in bfloat16"),
)


@pytest.fixture
def installed(server: Catalog) -> Catalog:  # noqa: F811
    """The running server, whose registry holds three versions."""
    made = datetime(2026, 11, 20, tzinfo=UTC)
    versions = [ModelVersion(number, "run", made, tags) for number, tags in enumerate(version_tags(), start=1)]
    with server.database.write() as session:
        registry_copy.store(session, versions)
    return server


def begin(catalog: Catalog) -> Job:
    """Begin the job that waits, as a worker does."""
    with catalog.write() as session:
        waiting = jobs.last_of(session, JobKind.REPRODUCE_VERSION, "2")
        assert waiting is not None
        job = jobs.claim(session, waiting.id)
    assert job is not None
    return job


def end(catalog: Catalog, job: Job, tolerance: Tolerance) -> None:
    JobContext(catalog, job).report(FOUND.to_json(tolerance))
    with catalog.write() as session:
        jobs.finish(session, job.id, job.attempt)


def made(catalog: Catalog) -> None:
    """Have version 2 trained again, without the page."""
    with catalog.write() as session:
        reproductions.ask(session, 2, Options(threads=2), "olga")
    end(catalog, begin(catalog), Tolerance(0.1, 0.1))


def ask(page: Page) -> None:
    page.get_by_role("button", name="Train it again…").click()
    page.get_by_role("button", name="Train it again", exact=True).click()


def test_an_operator_asks_follows_cancels_retries_and_reads_the_outcome(
    installed: Catalog,
    open_as: Open,  # noqa: F811
) -> None:
    page = open_as("olga", PAGE)
    page.evaluate("document.querySelector('h1').dataset.stays = 'yes'")
    section = page.locator("#trained-again")
    expect(section).to_contain_text("Not yet.")
    page.get_by_role("button", name="Train it again…").click()
    expect(page.locator("#reproduce")).to_contain_text("fine-tunes wait")
    page.get_by_label("CPU threads").fill("2")
    page.get_by_label("Share of the pixels").fill("0.05")
    page.get_by_role("button", name="Train it again", exact=True).click()
    expect(section).to_contain_text("olga asked for it, with 2 threads: it waits for its turn")
    expect(page.get_by_role("button", name="Train it again…")).to_have_count(0)

    job = begin(installed)
    assert job.subject == {"version": 2, "by": "olga", "threads": 2, "pixels": 0.05}
    JobContext(installed, job).progress(3, 4, "training: step 3 of 4")
    expect(section).to_contain_text("training: step 3 of 4 75 %", timeout=10_000)
    section.get_by_role("button", name="Cancel").click()
    expect(page.locator("#confirm-title")).to_have_text("Train version 2 no further?")
    page.click("#confirm-yes")
    expect(section).to_contain_text("it is being stopped")
    with installed.write() as session:
        note_cancelled(session, job)
    expect(section).to_contain_text("cancelled by a person", timeout=10_000)

    section.get_by_role("button", name="Retry").click()
    page.click("#confirm-yes")
    expect(section).to_contain_text("it waits for its turn")
    end(installed, begin(installed), Tolerance(0.05, 0.1))
    expect(section).to_contain_text(
        "Version 2 is within the tolerance (pixels 0.05, metrics 0.1). olga asked for it, with 2 threads;",
        timeout=10_000,
    )
    expect(section).to_contain_text("Weights differ by 0.5 at most, 0.125 root mean square")
    rows = page.get_by_role("region", name="IoU registered and again").locator("tr")
    expect(rows).to_have_count(1 + 2 * 3)
    expect(rows.nth(1)).to_have_text("validationmean0.60000.5800-0.0200")
    expect(section.locator("li")).to_have_text(list(FOUND.notes))
    expect(page.locator("h1")).to_have_attribute("data-stays", "yes")  # only the section was replaced


def test_all_fields_may_stay_empty_and_what_is_refused_is_said_in_the_dialog(
    installed: Catalog,
    open_as: Open,  # noqa: F811
) -> None:
    first, second = (open_as("olga", PAGE) for _ in range(2))
    second.get_by_role("button", name="Train it again…").click()
    ask(first)
    expect(first.locator("#trained-again")).to_contain_text("olga asked for it: it waits for its turn")
    second.select_option("#reproduce-precision", "float32")
    second.get_by_role("button", name="Train it again", exact=True).click()
    expect(second.locator("#reproduce .fault")).to_contain_text("is being trained again already, asked for by olga")
    expect(second.locator("#reproduce-precision")).to_have_value("float32")
    second.keyboard.press("Escape")
    expect(second.locator("#trained-again")).to_contain_text("it waits for its turn", timeout=10_000)


def test_readers_follow_it_and_read_the_outcome(installed: Catalog, open_as: Open) -> None:  # noqa: F811
    with installed.write() as session:
        reproductions.ask(session, 2, Options(), "olga")
    page = open_as("rita", PAGE)
    section = page.locator("#trained-again")
    expect(section).to_contain_text("it waits for its turn")
    expect(section.get_by_role("button")).to_have_count(0)
    end(installed, begin(installed), Tolerance(0.0, 0.0))
    expect(section).to_contain_text("is outside of the tolerance (pixels 0, metrics 0).", timeout=10_000)
    expect(page.locator("dialog")).to_have_count(0)


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1440, "dark")])
def test_it_reads_well_on_a_phone_and_in_the_dark_and_works_by_the_keyboard(
    installed: Catalog,
    open_as: Open,  # noqa: F811
    width: int,
    scheme: str,
) -> None:
    made(installed)
    page = open_as("olga", PAGE, width, color_scheme=scheme)
    expect(page.locator("#trained-again")).to_contain_text("is within the tolerance")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert serious_faults(page) == []
    page.locator("#do-reproduce").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#reproduce")).to_be_visible()
    assert serious_faults(page) == []
    page.keyboard.press("Escape")
    expect(page.locator("#do-reproduce")).to_be_focused()
