"""The pages of people, events and quality in a real browser, before a real server: what is done there is in force."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page, Route, expect

from catalog import references
from catalog.access_records import LogIn, Role
from catalog.context import Catalog
from catalog.records import Label, Scene
from catalog.reference_records import Reference
from catalog.withdrawal_records import Withdrawal
from imagery.masks import OutlineLayer
from services import scene_changes, users
from services.change_maps import Subject
from tests import dashboard_world as world
from tests.cli.test_change_command import TEXTURE, add
from tests.imagery.forge import NORTH_UP
from tests.system.our_pages import PASSWORD, catalog_at, log_in, serious_faults, serving
from tests.workers.test_compare_scenes import work

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
PEOPLE = {"anna": Role.ADMINISTRATOR, "olga": Role.OPERATOR, "rita": Role.READER}
RECEIVER = "https://receiver.example.org/hook?key=1"
REFUSED = "Failed to load resource: the server responded with a status of 4"  # Chromium itself writes of it

Open = Callable[..., Page]


@pytest.fixture
def server(tmp_path: Path, migrated_database: Path, redis_server: str) -> Iterator[Catalog]:
    """A running server with two complete rounds and a third, drawn by two annotators."""
    catalog = catalog_at(tmp_path, migrated_database, redis_server, event_hosts=["receiver.example.org"])
    with catalog.database.write() as session:
        for name, role in PEOPLE.items():
            users.add(session, name, role, PASSWORD)
        world.populate(session)
    with serving(catalog):
        yield catalog
    catalog.close()


@pytest.fixture
def open_as(server: Catalog, browser: Browser) -> Iterator[Open]:
    """Open a page as somebody; at the end nothing may have gone wrong on any."""
    faults: list[str] = []
    contexts = []

    def opened(name: str, path: str, width: int = 1280, **options: Any) -> Page:
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, **options))
        page, own = contexts[-1].new_page(), server.settings.api_url
        page.on("console", lambda said: faults.append(f"console: {said.text}"))
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on("request", lambda sent: None if sent.url.startswith(own) else faults.append(f"request: {sent.url}"))
        log_in(page, own, name, path)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert [fault for fault in faults if REFUSED not in fault] == []


def row(page: Page, panel: str, words: str) -> Any:
    return page.locator(f"#{panel} tr", has_text=words)


def read_with(server: Catalog, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.get(f"{server.settings.api_url}/api/v1/rounds", headers=headers).status_code


def test_an_administrator_changes_a_role_and_a_password_and_lets_somebody_in_no_more(
    server: Catalog, open_as: Open
) -> None:
    ritas = open_as("rita", "/")
    page = open_as("anna", "/people")
    row(page, "people", "rita").get_by_role("button", name="Role…").click()
    expect(page.get_by_role("heading", name="Role of rita")).to_be_visible()
    expect(page.locator("#role-now")).to_have_value("reader")
    page.select_option("#role-now", "operator")
    page.get_by_role("button", name="Change the role").click()
    expect(row(page, "people", "rita")).to_contain_text("operator")
    ritas.goto(f"{server.settings.api_url}/quality")
    expect(ritas.get_by_role("heading", name="Quality of labels")).to_be_visible()

    row(page, "people", "rita").get_by_role("button", name="New password…").click()
    page.get_by_role("button", name="Set the password").click()
    password = page.locator("#shown-once").inner_text()
    assert len(password) == 20
    page.get_by_role("button", name="Close").click()
    ritas.goto(server.settings.api_url)
    expect(ritas.locator("#password")).to_be_visible()  # logged out everywhere
    ritas.fill("#name", "rita")
    ritas.fill("#password", password)
    ritas.click("main button")
    expect(ritas.locator("#next-step")).to_be_visible()

    row(page, "people", "rita").get_by_role("button", name="Disable").click()
    page.click("#confirm-yes")
    expect(row(page, "people", "rita")).to_contain_text("not since")
    ritas.goto(server.settings.api_url)
    expect(ritas.locator("#password")).to_be_visible()
    row(page, "people", "rita").get_by_role("button", name="Let in again").click()
    page.click("#confirm-yes")
    expect(row(page, "people", "rita").get_by_role("button", name="Disable")).to_be_focused()


def test_the_last_administrator_is_not_shut_out(open_as: Open) -> None:
    page = open_as("anna", "/people")
    row(page, "people", "you").get_by_role("button", name="Disable").click()
    page.click("#confirm-yes")
    expect(page.locator("#confirm .fault")).to_have_text("anna is the only administrator; make another user one first")
    page.keyboard.press("Escape")
    expect(row(page, "people", "you")).to_contain_text("yes")


def test_a_token_is_made_shown_once_replaced_and_revoked(server: Catalog, open_as: Open) -> None:
    page = open_as("anna", "/people")
    page.get_by_role("button", name="Add a token…").click()
    page.fill("#token-name", "web-tool")
    page.fill("#token-days", "")
    page.select_option("#token-user", "olga")
    page.locator("#add-token .main").click()
    first = page.locator("#shown-once").inner_text()
    assert read_with(server, first) == 200
    page.get_by_role("button", name="Close").click()
    expect(row(page, "tokens", "web-tool")).to_contain_text("it does not end")
    expect(row(page, "tokens", "web-tool")).to_contain_text("olga")

    row(page, "tokens", "web-tool").get_by_role("button", name="Replace…").click()
    page.locator("#rotate-token .main").click()
    second = page.locator("#shown-once").inner_text()
    page.get_by_role("button", name="Close").click()
    assert (read_with(server, first), read_with(server, second)) == (401, 200)
    row(page, "tokens", "web-tool").get_by_role("button", name="Revoke").click()
    page.click("#confirm-yes")
    expect(row(page, "tokens", "web-tool")).to_contain_text("revoked")
    assert read_with(server, second) == 401


def test_an_address_is_told_of_events_gets_another_secret_and_is_removed(server: Catalog, open_as: Open) -> None:
    page = open_as("olga", "/events")
    page.get_by_role("button", name="Add an address…").click()
    page.fill("#subscribe-url", "https://elsewhere.example.org/hook")
    page.locator("#subscribe .main").click()
    expect(page.locator("#subscribe .fault")).to_contain_text("elsewhere.example.org")
    assert page.input_value("#subscribe-url") == "https://elsewhere.example.org/hook"
    page.fill("#subscribe-url", RECEIVER)
    page.locator("#subscribe .main").click()
    first = page.locator("#shown-once").inner_text()
    page.get_by_role("button", name="Close").click()
    told = row(page, "subscriptions", RECEIVER)
    expect(told).to_contain_text("olga")
    told.get_by_role("button", name="New secret…").click()
    page.locator("#rotate .main").click()
    second = page.locator("#shown-once").inner_text()
    assert first.startswith("whsec_")
    assert second.startswith("whsec_")
    assert first != second
    page.get_by_role("button", name="Close").click()
    told.get_by_role("button", name="Send again…").click()
    page.fill("#replay-since", "2026-01-01T00:00")
    page.locator("#replay .main").click()
    expect(page.locator("#replay")).to_be_hidden()
    told.get_by_role("button", name="Remove").click()
    page.click("#confirm-yes")
    expect(page.locator("#subscriptions")).to_contain_text("Nobody.")


def test_a_dialog_begins_anew_unless_what_was_written_could_not_be_sent(open_as: Open) -> None:
    page = open_as("anna", "/people")
    adds, back = page.get_by_role("button", name="Add a token…"), page.locator("#add-token [data-close]")
    days = page.locator("#token-days").get_attribute("value")
    adds.click()
    page.fill("#token-name", "left")
    page.fill("#token-days", "7")
    back.click()
    adds.click()
    expect(page.locator("#token-name")).to_have_value("")
    expect(page.locator("#token-days")).to_have_value(days or "")
    page.fill("#token-name", "not a name")  # the server refuses it
    page.locator("#add-token .main").click()
    expect(page.locator("#add-token .fault")).not_to_be_empty()
    back.click()
    adds.click()
    expect(page.locator("#token-name")).to_have_value("not a name")
    expect(page.locator("#add-token .fault")).not_to_be_empty()
    page.fill("#token-name", "web-tool")
    page.locator("#add-token .main").click()
    page.get_by_role("button", name="Close").click()
    adds.click()
    expect(page.locator("#token-name")).to_have_value("")
    expect(page.locator("#add-token .fault")).to_be_empty()
    back.click()

    # A dialog for several people keeps what failed for the one it was about only.
    row(page, "people", "you").get_by_role("button", name="Role…").click()
    page.select_option("#change-role select", "reader")
    page.locator("#change-role .main").click()
    expect(page.locator("#change-role .fault")).to_contain_text("anna is the only administrator")
    page.locator("#change-role [data-close]").click()
    row(page, "people", "olga").get_by_role("button", name="Role…").click()
    expect(page.locator("#change-role-title")).to_have_text("Role of olga")
    expect(page.locator("#change-role select")).to_have_value("operator")
    expect(page.locator("#change-role .fault")).to_be_empty()


def test_labels_are_withdrawn_after_what_it_would_do_was_seen(server: Catalog, open_as: Open) -> None:
    """Of the 16 labels of the two annotators, who took turns, ben drew every second one."""
    page = open_as("olga", "/quality")
    page.get_by_role("button", name="Withdraw labels…").click()
    page.select_option("#withdraw-annotator", "ben@glacier.local")
    page.fill("#withdraw-reason", "drew another season")
    page.get_by_role("button", name="See what it would do").click()
    effect = page.locator("#withdraw .effect")
    expect(effect).to_contain_text("8 labels of ben@glacier.local would be withdrawn; 8 of them stand now.")
    expect(effect).to_contain_text("8 patches may be proposed again, and training learns from 8 labels afterwards.")
    expect(effect).to_contain_text("Versions that learnt from them, or go on from one that did: 1, 2.")
    with server.read() as session:
        assert session.query(Withdrawal).count() == 0
    page.fill("#withdraw-reason", "drew the snow of another season")  # what was seen does not hold any more
    expect(page.get_by_role("button", name="Withdraw them")).to_be_hidden()
    page.get_by_role("button", name="See what it would do").click()
    page.get_by_role("button", name="Withdraw them").click()
    expect(row(page, "withdrawals", "drew the snow of another season")).to_contain_text("ben@glacier.local")
    with server.read() as session:
        withdrawal = session.query(Withdrawal).one()
        assert (withdrawal.actor, withdrawal.since) == ("olga", None)
        assert session.query(Label).filter(Label.superseded_at.is_(None)).count() == 8


def test_a_label_is_accepted_as_the_truth_on_the_page_of_its_patch_and_released(server: Catalog, open_as: Open) -> None:
    with server.read() as session:
        label = session.query(Label).order_by(Label.id).first()
        assert label is not None
    page = open_as("olga", f"/patches/{label.patch_id}")
    page.get_by_role("button", name="Accept as the truth").click()
    page.click("#confirm-yes")
    expect(page.get_by_role("button", name="Release")).to_be_visible()
    with server.read() as session:
        assert session.query(Reference).one().label_id == label.id
    page.goto(f"{server.settings.api_url}/quality")
    expect(row(page, "references", "anna@glacier.local")).to_contain_text("yes")
    page.get_by_role("button", name="Release").click()
    page.click("#confirm-yes")
    expect(page.locator("#references")).to_contain_text("None.")
    with server.read() as session:
        assert session.query(Reference).count() == 0


def test_two_scenes_without_common_ground_are_not_compared(open_as: Open) -> None:
    page = open_as("rita", "/changes")
    expect(page.locator("#all")).to_contain_text("None yet.")
    page.get_by_role("button", name="Compare two scenes…").click()
    page.select_option("#compare-earlier", label="khumbu")
    page.select_option("#compare-later", label="rongbuk")
    page.select_option("#compare-of", "outlines")
    page.get_by_role("button", name="Compare them").click()
    expect(page.locator("#compare .fault")).to_have_text("scene 'khumbu' has no outlines; compare predictions")


@pytest.fixture
def compared(server: Catalog) -> str:
    """The path of the page of a finished comparison: a glacier that has lost its lowest 12 rows in ten years."""
    before: NDArray[np.uint8] = np.zeros((120, 160), dtype=np.uint8)
    before[30:70, 40:90] = 1
    after = before.copy()
    after[58:70] = 0
    first = add(server, "early", "2000-10-30", TEXTURE, NORTH_UP, outlines=before)
    second = add(server, "late", "2010-10-30", TEXTURE, NORTH_UP, outlines=after)
    with server.write() as session:
        earlier, later = (session.get_one(Scene, scene.id) for scene in (first, second))
        for scene in (earlier, later):
            scene.outlines = [vars(OutlineLayer("a.gpkg", None, "clean ice"))]
    change = scene_changes.ask(server, earlier, later, Subject.OUTLINES, None)
    work(server, change.job.id)
    return f"/changes/{change.uid}"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_a_comparison_reads_well_on_a_phone_and_in_the_dark(
    open_as: Open, compared: str, width: int, scheme: str
) -> None:
    page = open_as("rita", compared, width, color_scheme=scheme)
    expect(page.get_by_role("region", name="Areas")).to_contain_text("clean ice")
    picture = page.locator(".change img")
    expect(picture).to_have_js_property("complete", True)
    assert picture.evaluate("picture => picture.naturalWidth") > 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert serious_faults(page) == []


def test_a_late_answer_leaves_what_the_dialog_is_opened_for_since(open_as: Open) -> None:
    page = open_as("anna", "/people")
    held: list[Route] = []
    page.route("**/api/v1/users/anna", lambda route: held.append(route), times=1)  # noqa: PLW0108
    row(page, "people", "you").get_by_role("button", name="Role…").click()
    page.select_option("#change-role select", "reader")
    page.locator("#change-role .main").click()
    page.keyboard.press("Escape")
    row(page, "people", "olga").get_by_role("button", name="Role…").click()
    page.select_option("#change-role select", "annotator")
    held[0].continue_()
    expect(page.locator("#messages")).to_contain_text("anna is the only administrator")
    expect(page.locator("#change-role .fault")).to_be_empty()
    expect(page.locator("#change-role select")).to_have_value("annotator")
    page.locator("#change-role .main").click()
    expect(row(page, "people", "olga")).to_contain_text("annotator")


def test_what_is_being_written_stays_when_the_session_ends(server: Catalog, browser: Browser) -> None:
    context = browser.new_context()
    page = context.new_page()
    log_in(page, server.settings.api_url, "anna")
    page.get_by_role("button", name="Add a person…").first.click()
    page.fill("#add-user input[name=name]", "tenzin")
    with page.expect_response(lambda answer: answer.status == 401, timeout=40_000), server.write() as session:
        session.query(LogIn).delete()
        world.add_failed_event(session)  # labels have changed
    page.wait_for_timeout(500)
    expect(page.locator("#add-user input[name=name]")).to_have_value("tenzin")
    page.locator("#add-user .main").click()
    expect(page.locator("#add-user .fault")).to_contain_text("Log in in another tab")
    context.close()


def test_the_page_follows_what_happens(server: Catalog, open_as: Open) -> None:
    page = open_as("olga", "/quality")
    with server.write() as session:
        label = session.query(Label).order_by(Label.id).first()
        assert label is not None
        references.accept(session, label.id)
        world.add_failed_event(session)  # labels have changed
    expect(row(page, "references", "anna@glacier.local")).to_be_visible(timeout=10_000)


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1440, "dark")])
@pytest.mark.parametrize(
    "path", ["/people", "/installation", "/events", "/quality", "/changes", "/patches/1", "/account"]
)
def test_they_read_well_on_a_phone_and_in_the_dark(open_as: Open, path: str, width: int, scheme: str) -> None:
    page = open_as("anna", path, width, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert serious_faults(page) == []
    for button in page.locator("button[data-opens]:visible").all():
        button.click()
        assert serious_faults(page) == []
        page.keyboard.press("Escape")


def test_others_are_not_offered_what_they_may_not_do(server: Catalog, open_as: Open) -> None:
    page = open_as("rita", "/patches/1")
    expect(page.locator("button.act")).to_have_count(0)
    for path, name in (("/people", "olga"), ("/quality", "rita"), ("/events", "rita")):
        refused = open_as(name, "/map")
        response = refused.goto(f"{server.settings.api_url}{path}")
        assert response is not None
        assert response.status == 403
