"""The dashboard in a real browser: it follows what happens, acts for those who may, and reads well everywhere."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from al_server.live import LOOK_EVERY_S
from catalog import failures, jobs, labels
from catalog.access_records import Role, User
from catalog.bundle_cache import FILES, checksum_tag
from catalog.context import Catalog
from catalog.records import EventState, Job, JobState, LabelEvent, Proposal, ProposalState
from catalog.registry import CHAMPION, registry_of
from catalog.settings import Settings
from services import users
from services.promotion import apply_verdict
from services.registry_watch import RegistryWatcher
from tests import dashboard_world as world
from tests.al_server.test_model_versions import bundle  # noqa: F401 - a fixture
from tests.real_services import free_port
from tests.system.our_pages import PASSWORD, log_in, serious_faults, serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
PEOPLE = {"anna": Role.ADMINISTRATOR, "olga": Role.OPERATOR, "rita": Role.READER}
BUDGET_BYTES = 500_000
BUDGET_S = 6.0  # the aim is 1.5 s (docs/benchmarks.md); a busy machine is forgiven much
LIVE_MS = 10_000  # an event is told within a second or two; the machine may be busy


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory,
    migrated_database: Path,
    redis_server: str,
    mlflow_server: str,
    bundle: Path,  # noqa: F811
) -> Iterator[Catalog]:
    """A running server with a loop in its third round, versions in a real MLflow, and a clock of its own."""
    from catalog.tracking import Tracking

    folder = tmp_path_factory.mktemp("dashboard")
    (folder / "catalog.sqlite").write_bytes(migrated_database.read_bytes())
    settings = Settings(
        var_dir=folder,
        api_url=f"http://127.0.0.1:{free_port()}",
        redis_url=redis_server,
        mlflow_url=mlflow_server,
        registered_model=f"model-{folder.name}",
        patch_size_px=32,
    )
    catalog = Catalog(settings)
    with catalog.database.write() as session:
        for name, role in PEOPLE.items():
            users.add(session, name, role, PASSWORD)
        world.populate(session)
    tracking, registry = Tracking(mlflow_server, "tests", settings.registered_model), registry_of(settings)
    sums = {checksum_tag(name): hashlib.sha256((bundle / name).read_bytes()).hexdigest() for name in FILES}
    watcher = RegistryWatcher(catalog)
    for number, tags in enumerate(world.version_tags(), start=1):
        run = tracking.start_run("fine-tune", {}, {})
        tracking.register(run, bundle, {**sums, **tags}, "for a test")
        tracking.end_run(run, "FINISHED")
        watcher.look()
        apply_verdict(catalog, registry, number, tags["verdict.reason"], None, promoted=tags["verdict"] == "promoted")
    with catalog.database.write() as session:
        for job in session.query(Job).filter(Job.state == JobState.QUEUED):  # of the promotions: no worker does them
            job.state = JobState.FINISHED
    stop = threading.Event()

    def clock() -> None:
        while not stop.wait(1.0):
            world.tick(catalog)
            watcher.look()  # carries out what was asked for

    world.tick(catalog)
    ticking = threading.Thread(target=clock)
    ticking.start()
    with serving(catalog):
        yield catalog
    stop.set()
    ticking.join()
    catalog.close()


@dataclass
class Visit:
    """A logged-in page, and what went wrong on it: whatever the console says, errors, and requests to elsewhere."""

    page: Page
    own: str
    faults: list[str] = field(default_factory=list)
    loaded_bytes: int = 0

    def watch(self) -> None:
        self.page.on("console", lambda said: self.faults.append(f"console: {said.text}"))
        self.page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        self.page.on(
            "request",
            lambda sent: (
                None if sent.url.startswith((self.own, "data:")) else self.faults.append(f"request: {sent.url}")
            ),
        )


@pytest.fixture
def visit(server: Catalog, browser: Browser) -> Iterator[Callable[..., Visit]]:
    """Open the dashboard as somebody; at the end nothing may have gone wrong on any page."""
    contexts, visits = [], []

    def open_as(name: str, width: int = 1280, scheme: str = "light") -> Visit:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
        contexts.append(context)
        opened = Visit(context.new_page(), server.settings.api_url)
        visits.append(opened)
        opened.watch()
        log_in(opened.page, opened.own, name)
        expect(opened.page.locator("#curve canvas")).to_be_visible()
        return opened

    yield open_as
    for context in contexts:
        context.close()
    assert [fault for opened in visits for fault in opened.faults] == []


def test_the_next_step_is_said_and_follows_what_happens_without_a_reload(
    server: Catalog, visit: Callable[..., Visit]
) -> None:
    page = visit("olga").page
    step = page.locator("#next-step")
    expect(step).to_have_text("Round 3 waits for its annotators: 4 of 6 patches are done.")
    expect(page.locator(".light")).to_have_text("Healthy: all parts answer, and nothing has failed")
    page.evaluate("window.notReloaded = true")
    page.locator("#queues summary").click()
    with server.database.write() as session:
        waiting = (
            session.query(Proposal).filter(Proposal.state == ProposalState.PUBLISHED).order_by(Proposal.id).first()
        )
        labels.refresh_states(session, waiting, skipped=True)
    expect(step).to_have_text("Round 3 waits for its annotators: 5 of 6 patches are done.", timeout=LIVE_MS)
    expect(page.locator("#rounds")).to_contain_text("1 published, 4 labelled, 1 skipped", timeout=LIVE_MS)

    with server.database.write() as session:
        job = world.run_fine_tune(session)
    running = page.locator("#work li", has_text="fine tune")
    expect(running).to_contain_text("training: loss 0.4", timeout=LIVE_MS)
    expect(running).to_contain_text("50 %")
    expect(page.locator("#queues")).to_have_attribute("open", "")  # what a person opened stays open
    running.get_by_role("button", name="Cancel").click()
    page.click("#confirm-yes")
    expect(running).to_contain_text("stopping", timeout=LIVE_MS)
    with server.database.write() as session:
        session.get_one(Job, job).state = JobState.CANCELLED
    expect(page.locator("#work")).to_contain_text("Nothing is running or queued.", timeout=LIVE_MS)
    assert page.evaluate("window.notReloaded")


def test_a_refresh_leaves_readers_where_they_are(server: Catalog, visit: Callable[..., Visit]) -> None:
    page = visit("olga", 390).page
    page.locator("#queues summary").click()
    page.locator("#queues summary").focus()
    page.evaluate("document.querySelector('#trouble table').notReplaced = true")
    page.evaluate("document.querySelector('#work h2').replaced = false")
    with server.database.write() as session:
        job = world.run_fine_tune(session)
    expect(page.locator("#work li")).to_contain_text("50 %", timeout=LIVE_MS)
    assert page.evaluate("document.querySelector('#work h2').replaced") is None
    assert page.evaluate("document.querySelector('#trouble table').notReplaced")  # it says what it said before
    expect(page.locator("#queues")).to_have_attribute("open", "")
    expect(page.locator("#queues summary")).to_be_focused()

    table, link = page.locator("#rounds .scroll").first, page.locator("#rounds a[href='/rounds/2']")
    link.focus()
    table.evaluate("table => table.scrollTo(150, 0)")
    with server.database.write() as session:
        waiting = session.query(Proposal).filter(Proposal.state == ProposalState.PUBLISHED).first()
        waiting.state = ProposalState.SKIPPED  # of the row alone: the round stays as it is
        number = waiting.id
    expect(page.locator("#rounds")).to_contain_text("4 labelled, 2 skipped", timeout=LIVE_MS)
    assert table.evaluate("table => table.scrollLeft") == 150
    expect(link).to_be_focused()
    with server.database.write() as session:
        session.get_one(Proposal, number).state = ProposalState.PUBLISHED
    expect(page.locator("#rounds")).to_contain_text("1 published, 4 labelled", timeout=LIVE_MS)
    assert table.evaluate("table => table.scrollLeft") == 150

    cancel = page.locator("#work li").get_by_role("button", name="Cancel")
    cancel.click()
    with server.database.write() as session:
        jobs.report_progress(session, job, 1, 60, 100, "training: loss 0.3")
    expect(page.locator("#work li")).to_contain_text("60 %", timeout=LIVE_MS)
    page.keyboard.press("Escape")
    expect(cancel).to_be_focused()
    with server.database.write() as session:
        session.get_one(Job, job).state = JobState.CANCELLED
    expect(page.locator("#work")).to_contain_text("Nothing is running or queued.", timeout=LIVE_MS)


def test_an_operator_trains_without_waiting_for_more_labels(server: Catalog, visit: Callable[..., Visit]) -> None:
    page = visit("olga").page
    button = page.locator("#work").get_by_role("button", name="Train now")
    button.click()
    expect(page.locator("#confirm-title")).to_have_text("Train a version now?")
    page.click("#confirm-yes")
    expect(page.locator("#work li")).to_contain_text("fine tune queued", timeout=LIVE_MS)
    expect(button).to_have_count(0)  # one is open at a time
    with server.database.write() as session:
        failures.cancel(session, session.query(Job).filter(Job.state == JobState.QUEUED).one().id)
    expect(button).to_be_visible(timeout=LIVE_MS)


def test_a_mistyped_address_is_a_page_with_the_way_back(visit: Callable[..., Visit]) -> None:
    opened = visit("rita", 390)
    page = opened.page
    page.goto(f"{opened.own}/dashbord")
    expect(page.get_by_role("alert")).to_have_text("There is no page at this address.")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert serious_faults(page) == []
    page.click("text=Go to the dashboard")
    expect(page.locator("#next-step")).to_be_visible()
    assert [fault for fault in opened.faults if "404" not in fault] == []  # Chromium writes of it
    opened.faults.clear()


def test_an_operator_promotes_with_a_reason_and_a_reader_is_offered_nothing(
    server: Catalog, visit: Callable[..., Visit]
) -> None:
    reader, page = visit("rita").page, visit("olga").page
    assert reader.locator("button.act").count() == 0
    assert page.locator("#versions tr", has=page.locator(".champion")).locator("td").first.inner_text() == "2"
    page.locator("#versions tr").nth(1).get_by_role("button", name="Promote…").click()
    page.click("#confirm-yes")
    assert page.locator("#confirm-text").evaluate("field => field.matches(':invalid')")  # a reason is required
    page.fill("#confirm-text", "better on Khumbu's debris")
    page.click("#confirm-yes")
    for seen in (page, reader):  # the other page hears of it
        champion = seen.locator("#versions tr", has=seen.locator(".champion")).locator("td").first
        expect(champion).to_have_text("3", timeout=LIVE_MS)
    page.locator("#decisions summary").click()
    newest = page.locator("#decisions tr").nth(1).locator("td")
    expect(newest).to_contain_text(["3", "promoted", "better on Khumbu's debris", "olga", "20"])

    roll_back(server, page)


def roll_back(server: Catalog, page: Page) -> None:
    """Have version 2 served again, by the dashboard, and do what is to be done after that."""
    page.get_by_role("button", name="Roll back…").click()
    page.fill("#confirm-text", "it was better before")
    page.click("#confirm-yes")
    champion = page.locator("#versions tr", has=page.locator(".champion")).locator("td").first
    expect(champion).to_have_text("2", timeout=LIVE_MS)
    assert registry_of(server.settings).aliases()[CHAMPION] == 2
    with server.database.write() as session:
        for job in session.query(Job).filter(Job.state == JobState.QUEUED):
            job.state = JobState.FINISHED


def test_the_page_of_a_version_shows_that_it_was_promoted_there(server: Catalog, visit: Callable[..., Visit]) -> None:
    page = visit("olga").page
    board = page.url
    page.goto(f"{server.settings.api_url}/versions/3")
    page.get_by_role("button", name="Promote…").click()
    page.fill("#confirm-text", "better on Khumbu's debris")
    page.click("#confirm-yes")
    expect(page.locator("h1 .champion")).to_be_visible(timeout=LIVE_MS)
    expect(page.get_by_role("button", name="Promote…")).to_have_count(0)
    page.goto(board)
    roll_back(server, page)


def test_a_failed_event_is_the_next_step_and_is_replayed(server: Catalog, visit: Callable[..., Visit]) -> None:
    page = visit("olga").page
    with server.database.write() as session:
        event = world.add_failed_event(session).id
    expect(page.locator("#next-step")).to_have_text(
        "1 drawing was not understood: look at the reason, and replay.", timeout=LIVE_MS
    )
    expect(page.locator(".light")).to_have_text("Not healthy: 1 failure waits for a person")
    page.locator("#labels").get_by_role("button", name="Replay").click()
    page.click("#confirm-yes")
    expect(page.locator(".light")).to_have_text("Healthy: all parts answer, and nothing has failed", timeout=LIVE_MS)
    with server.read() as session:
        assert session.get_one(LabelEvent, event).state is EventState.RECEIVED


def test_what_happens_before_the_page_listens_is_shown(server: Catalog, visit: Callable[..., Visit]) -> None:
    page = visit("olga").page

    def late(route: Route) -> None:
        with server.database.write() as session:
            world.add_alert(session)
        time.sleep(2 * LOOK_EVERY_S)  # those who listen already have been told
        route.continue_()

    page.route("**/api/v1/live*", late, times=1)
    page.reload()
    expect(page.locator("#versions .alert")).to_be_visible(timeout=LIVE_MS)


@pytest.mark.parametrize("answers", [lambda route: route.abort(), lambda route: route.fulfill(status=503)])
def test_a_page_that_cannot_listen_says_so_and_tries_again(
    visit: Callable[..., Visit], answers: Callable[[Route], None]
) -> None:
    opened = visit("olga")
    page = opened.page
    page.route("**/api/v1/live*", answers)
    page.reload()
    expect(page.locator(".unreachable-note")).to_contain_text("what shows may be old", timeout=30_000)
    assert page.locator(".unreachable .lamp").count() == 1
    page.unroute("**/api/v1/live*")
    expect(page.locator(".unreachable-note")).to_have_count(0, timeout=30_000)
    assert page.locator(".unreachable").count() == 0
    # Chromium itself writes of the failed requests.
    assert [fault for fault in opened.faults if "503" not in fault and "ERR_FAILED" not in fault] == []
    opened.faults.clear()


def test_an_alert_is_acknowledged_with_a_note(server: Catalog, visit: Callable[..., Visit]) -> None:
    """The alert of the test before."""
    page = visit("olga").page
    expect(page.locator("#next-step")).to_contain_text(
        "Version 2 maps the pool much otherwise than the version before", timeout=LIVE_MS
    )
    page.get_by_role("button", name="Acknowledge…").click()
    page.fill("#confirm-text", "the new debris is real")
    page.click("#confirm-yes")
    expect(page.locator("#versions .alert")).to_have_count(0, timeout=LIVE_MS)


def test_a_refusal_is_shown_and_nothing_is_lost(visit: Callable[..., Visit]) -> None:
    """No version has scored what a round of this strategy needs: the server refuses, the dialog keeps its values."""
    opened = visit("olga")
    page = opened.page
    page.click("#open-round-button")
    page.fill("#round-size", "3")
    page.fill("#round-looks", "4")
    page.locator("#open-round .main").click()
    expect(page.locator("#open-round .fault")).to_contain_text("found 4 second looks in a round of 3 patches")
    assert page.input_value("#round-size") == "3"
    page.keyboard.press("Escape")
    expect(page.locator("#open-round")).to_be_hidden()
    # Chromium itself writes of the refused request; that is all that it may say.
    assert [fault for fault in opened.faults if "409" not in fault] == []
    opened.faults.clear()


def test_an_administrator_adds_a_person_who_can_log_in(server: Catalog, visit: Callable[..., Visit]) -> None:
    opened = visit("anna")
    page = opened.page
    page.locator("section button[data-opens=add-user]").last.click()
    page.fill("#user-name", "carla")
    page.locator("#add-user .main").click()
    password = page.locator("#shown-once").inner_text()
    assert len(password) == 20
    with server.read() as session:
        assert session.query(User).filter(User.name == "carla").one().role is Role.ANNOTATOR
    page.get_by_role("button", name="Close").click()
    expect(page.locator("#shown-once")).to_have_count(0)
    page.click("text=Log out")
    page.fill("#name", "carla")
    page.fill("#password", password)
    page.click("main button")
    expect(page.locator("#next-step")).to_be_visible()
    # A section that asked for its contents while the session ended is told so.
    assert [fault for fault in opened.faults if "401" not in fault] == []
    opened.faults.clear()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_no_serious_fault_and_a_phone_does_not_scroll_sideways(
    visit: Callable[..., Visit], scheme: str, width: int
) -> None:
    page = visit("anna", width, scheme).page
    page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert serious_faults(page) == []
    page.click("#open-round-button")
    assert serious_faults(page) == []
    page.goto(f"{page.url.rstrip('/#')}/scenes/add?role=validation")
    assert page.input_value("#role") == "validation"
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert serious_faults(page) == []


def test_the_first_view_is_small_and_reads_without_scripts(server: Catalog, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    log_in(page, server.settings.api_url, "olga")
    expect(page.locator("#next-step")).to_contain_text("Round 3")
    expect(page.locator("#versions")).to_contain_text("debris-covered ice")
    assert page.locator("button.act:visible").count() == 0  # without the script they could do nothing
    cookies = context.cookies()
    context.close()
    context = browser.new_context()
    context.add_cookies(cookies)  # type: ignore[arg-type]
    page = context.new_page()
    loaded: list[int] = []
    page.on("requestfinished", lambda sent: loaded.append(sent.sizes()["responseBodySize"]))
    began = time.monotonic()
    page.goto(server.settings.api_url)
    expect(page.locator("#curve canvas")).to_be_visible()
    seconds = time.monotonic() - began
    print(f"first view: {sum(loaded)} bytes in {len(loaded)} responses, {seconds:.2f} s")
    assert 0 < sum(loaded) < BUDGET_BYTES
    assert seconds < BUDGET_S
    context.close()
