"""The page of settings in a real browser, before a real server: what is changed there is in force without a restart."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from catalog.access_records import Role
from catalog.context import Catalog
from catalog.settings import Settings
from services import users
from tests.real_services import free_port
from tests.system.our_pages import PASSWORD, log_in, serious_faults, serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
PEOPLE = {"olga": Role.OPERATOR, "rita": Role.READER}
REFUSED = "Failed to load resource: the server responded with a status of 422"  # Chromium itself writes of it
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def server(tmp_path: Path, migrated_database: Path) -> Iterator[Catalog]:
    """A running server whose file gives one setting."""
    (tmp_path / "catalog.sqlite").write_bytes(migrated_database.read_bytes())
    (tmp_path / "config.toml").write_text("# ours\nmc_passes = 30\n")
    catalog = Catalog(
        Settings(
            var_dir=tmp_path,
            api_url=f"http://127.0.0.1:{free_port()}",
            redis_url="redis://127.0.0.1:9/0",
            mlflow_url=NOWHERE,
            label_studio_url=NOWHERE,
        )
    )
    with catalog.database.write() as session:
        for name, role in PEOPLE.items():
            users.add(session, name, role, PASSWORD)
    with serving(catalog):
        yield catalog
    catalog.close()


@pytest.fixture
def faults() -> Iterator[list[str]]:
    """What consoles and scripts said; at the end that must be nothing."""
    found: list[str] = []
    yield found
    assert [fault for fault in found if REFUSED not in fault] == []


def open_as(name: str, server: Catalog, browser: Browser, faults: list[str], width: int = 1280, **options: str) -> Page:
    context = browser.new_context(viewport={"width": width, "height": 900}, **options)  # type: ignore[arg-type]
    page = context.new_page()
    own = server.settings.api_url
    page.on("console", lambda said: faults.append(f"console: {said.text}"))
    page.on("pageerror", lambda error: faults.append(f"error: {error}"))
    page.on("request", lambda sent: None if sent.url.startswith(own) else faults.append(f"request: {sent.url}"))
    log_in(page, own, name, "/settings")
    expect(page.locator("#find")).to_be_visible()
    return page


def in_force(page: Page, name: str) -> object:
    """The value of a setting as the API tells it."""
    response = page.request.get(f"{page.url.partition('/settings')[0]}/api/v1/settings")
    return {item["name"]: item["value"] for item in response.json()}[name]


def test_an_operator_changes_settings_and_takes_one_back(server: Catalog, browser: Browser, faults: list[str]) -> None:
    page = open_as("olga", server, browser, faults)
    rounds = page.locator("#auto_rounds")
    expect(rounds.locator(".value")).to_have_text("off")
    rounds.get_by_role("button", name="Change Auto rounds").click()
    rounds.get_by_label("New value").select_option("on")
    rounds.get_by_role("button", name="Save").click()
    expect(rounds.locator(".value")).to_have_text("on")
    expect(rounds).to_contain_text("Changed by olga")
    assert in_force(page, "auto_rounds") is True
    assert server.settings.auto_rounds  # of the running server, without a restart
    expect(page.locator("#changes tr").nth(1)).to_contain_text("auto_rounds")

    size = page.locator("#round_size")
    size.locator("[data-does=edit]").focus()
    page.keyboard.press("Enter")  # all by the keyboard
    expect(size.get_by_label("New value")).to_be_focused()
    page.keyboard.press("Control+a")
    page.keyboard.type("12")
    page.keyboard.press("Enter")
    expect(size.locator(".value")).to_have_text("12")
    expect(size.locator("[data-does=edit]")).to_be_focused()
    assert in_force(page, "round_size") == 12

    flags = page.locator("#masked_flags")
    flags.locator("[data-does=edit]").click()
    flags.get_by_label("cirrus").uncheck()
    flags.get_by_role("button", name="Save").click()
    expect(flags.locator(".value")).to_have_text("fill, cloud, cloud shadow")

    rounds.get_by_role("button", name="Set Auto rounds back to the default").click()
    expect(rounds.locator(".value")).to_have_text("off")
    expect(rounds).to_contain_text("The default; set back by olga")
    assert not server.settings.auto_rounds
    page.reload()
    expect(page.locator("#round_size .value")).to_have_text("12")


def test_a_wrong_value_is_refused_beside_its_field(server: Catalog, browser: Browser, faults: list[str]) -> None:
    page = open_as("olga", server, browser, faults)
    size = page.locator("#round_size")
    size.locator("[data-does=edit]").click()
    for wrong, found in (("0", "0"), ("", '""'), ("twelve", '"twelve"')):
        size.get_by_label("New value").fill(wrong)
        size.get_by_role("button", name="Save").click()
        expect(size.locator(".fault")).to_have_text(
            f"round_size is {found}, expected a whole number, at least 1 and at most 10,000"
        )
    expect(size.get_by_label("New value")).to_have_attribute("aria-invalid", "true")
    assert serious_faults(page) == []
    page.keyboard.press("Escape")
    expect(size.locator(".value")).to_have_text("20")
    assert in_force(page, "round_size") == 20


def test_what_the_file_gives_says_where_and_offers_nothing(
    server: Catalog, browser: Browser, faults: list[str]
) -> None:
    page = open_as("olga", server, browser, faults)
    passes = page.locator("#mc_passes")
    expect(passes.locator(".value")).to_have_text("30")
    expect(passes).to_contain_text("Fixed by config.toml, line 2: whoever runs this server changes it there.")
    expect(passes.locator("button")).to_have_count(0)
    refused = page.request.patch(
        f"{server.settings.api_url}/api/v1/settings",
        data=json.dumps({"settings": {"mc_passes": 40}}),
        headers={
            "Content-Type": "application/json",
            "X-CSRFToken": str(page.locator("body").get_attribute("data-csrf")),
        },
    )
    assert (refused.status, server.settings.mc_passes) == (422, 30)


def test_a_reader_reads_and_is_offered_nothing(server: Catalog, browser: Browser, faults: list[str]) -> None:
    page = open_as("rita", server, browser, faults)
    expect(page.locator("#round_size .value")).to_have_text("20")
    expect(page.locator("button[data-does]")).to_have_count(0)
    expect(page.locator("#others")).to_have_count(0)
    page.fill("#find", "canary area")
    expect(page.locator(".setting:visible")).to_have_count(1)
    expect(page.locator("#found")).to_have_text("1 found")
    expect(page.get_by_role("heading", name="Scoring and choosing")).to_be_hidden()


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1440, "dark")])
def test_it_reads_well_on_a_phone_and_in_the_dark(
    server: Catalog, browser: Browser, faults: list[str], width: int, scheme: str
) -> None:
    page = open_as("olga", server, browser, faults, width, color_scheme=scheme)
    for name in ("round_size", "masked_flags", "round_strategy"):
        page.locator(f"#{name} [data-does=edit]").click()
    page.locator("#others summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert serious_faults(page) == []


def test_without_javascript_it_is_a_page_to_read(server: Catalog, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    log_in(page, server.settings.api_url, "olga", "/settings")
    expect(page.locator("#round_size .value")).to_have_text("20")
    expect(page.locator("#find")).to_be_hidden()
    expect(page.locator("button.act:visible")).to_have_count(0)
    context.close()
