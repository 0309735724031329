"""The documentation says what is so: names, links, commands, settings and calls that it mentions exist."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name

import click
import pytest
import yaml
from flask import Flask
from playwright.sync_api import sync_playwright

from al_server.app import create_app
from catalog.context import Catalog
from catalog.settings import Settings
from catalog.settings_sources import OUTSIDE_SETTINGS, PREFIX, RENAMED
from cli.main import main as program
from services.class_scheme import configured_scheme
from tests.catalog_fixtures import as_role
from tests.system.our_pages import ARGUMENTS

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "docker" / "README.md", *DOCS]
ROOMS = "chaos|glacier_al_client|imagery|labeling|models|catalog|services|workers|al_server|experiments|cli"

# `module`, `module:function` or `module:Class.method`
CODE_NAME = re.compile(rf"`((?:{ROOMS})(?:\.\w+)+(?::\w+(?:\.\w+)?)?)`")
CODE_FILE = re.compile(rf"`((?:{ROOMS}|tests|docker)/[\w./-]+)`")
TEST_NAME = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
LINK = re.compile(r"\]\((?!https?://)([^)#\s]*)(#[^)\s]*)?\)")
SETTING = re.compile(rf"{PREFIX}[A-Z0-9_]*[A-Z0-9]")
API_ROW = re.compile(r"^\| `(GET|POST|PUT|PATCH|DELETE) (/[^`]*)` \|.*\| ([\w ]+) \|$", re.MULTILINE)

# What a compose file or a shell reads, rather than our settings.
NOT_OURS = frozenset({"GLACIER_AL_HOST"})


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def mentions(pattern: re.Pattern[str], pages: list[Path]) -> list[str]:
    return sorted({found for page in pages for found in pattern.findall(text_of(page))})


def code_blocks(page: Path) -> str:
    """The fenced blocks of a page that are shell commands, with continued lines joined."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", text_of(page), re.MULTILINE | re.DOTALL)
    return "\n".join(text for language, text in blocks if language in ("", "sh")).replace("\\\n", " ")


@pytest.mark.parametrize("name", mentions(CODE_NAME, PAGES))
def test_names_of_the_code_exist(name: str):
    resolve_name(name)


def test_the_path_of_a_patch_names_its_functions():
    path = text_of(ROOT / "docs" / "architecture.md").partition("## The path of one patch")[2].partition("\n## ")[0]
    steps = re.split(r"^\*\*\d+\.", path, flags=re.MULTILINE)[1:]
    assert len(steps) >= 12
    for step in steps:
        assert re.search(rf"`(?:{ROOMS})\.\w+:\w+", step), step


@pytest.mark.parametrize("name", mentions(CODE_FILE, PAGES))
def test_files_of_the_code_exist(name: str):
    assert (ROOT / name).exists()


@pytest.mark.parametrize(("file", "name"), mentions(TEST_NAME, PAGES))
def test_tests_that_pin_a_claim_exist(file: str, name: str):
    assert re.search(rf"^ *def {name}\(", text_of(ROOT / file), re.MULTILINE)


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {"#" + re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path):
    for target, anchor in LINK.findall(text_of(page)):
        linked = (page.parent / target) if target else page
        assert linked.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(linked), f"{page.name} links to {target}{anchor}"


def nav_pages(entry: object) -> Iterator[str]:
    """The files in a part of mkdocs' nav: lists of titles, each with a file or a list."""
    if isinstance(entry, str):
        yield entry
    else:
        for child in entry if isinstance(entry, list) else entry.values():
            yield from nav_pages(child)


def test_the_navigation_lists_every_page():
    nav = yaml.safe_load(text_of(ROOT / "mkdocs.yml"))["nav"]
    assert sorted(nav_pages(nav)) == [page.name for page in DOCS]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages as they are built."""
    folder = tmp_path_factory.mktemp("site")
    # Not --quiet: it would hide the warnings that --strict turns into errors.
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(folder)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_pages_load_nothing_from_elsewhere(site: Path):
    pages = list(site.glob("*.html"))
    assert {page.stem for page in pages} >= {page.stem for page in DOCS}
    for page in pages:
        assert not re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="(?:https?:)?//[^"]*', text_of(page)), page.name


@pytest.mark.slow
def test_the_search_works_from_the_file_system_and_asks_no_host(site: Path, chromium: str):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        page = browser.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto((site / "index.html").as_uri())
        page.fill(".md-search__input", "Deepness")
        first = page.locator(".md-search-result__item a").first
        first.wait_for(state="attached")
        assert "qgis" in (first.get_attribute("href") or "")
        browser.close()
    assert not [address for address in asked if not address.startswith(("file:", "data:", "blob:"))]


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z-]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    in_blocks = {name for page in PAGES for name in re.findall(r"^make ([a-z-]+)", code_blocks(page), re.MULTILINE)}
    assert {"demo", "up"} <= in_blocks
    assert {*in_blocks, *mentions(re.compile(r"`make ([a-z-]+)`"), PAGES)} <= targets


def command_lines() -> list[str]:
    in_blocks = [line for page in PAGES for line in re.findall(r"glacier-al (\w.*)", code_blocks(page))]
    return sorted({*in_blocks, *mentions(re.compile(r"`(?:\.venv/bin/)?glacier-al (\w[^`]*)`"), PAGES)})


@pytest.mark.parametrize("line", command_lines())
def test_commands_and_their_options_exist(line: str):
    command: click.Command = program
    context = click.Context(program)
    for word in line.split():
        if not isinstance(command, click.Group) or (child := command.get_command(context, word)) is None:
            break
        command = child
    assert command is not program, line
    known = {option for parameter in command.params for option in parameter.opts}
    assert set(re.findall(r"(?<= )--[a-z-]+", line)) <= known


def test_the_limits_of_bodies_are_those_of_the_settings():
    (told,) = re.findall(
        r"limited to (\d+) MiB, label events and clicks to (\d+) MiB", text_of(ROOT / "docs" / "api.md")
    )
    limits = [Settings.model_fields[name].default for name in ("request_max_bytes", "webhook_max_bytes")]
    assert [int(size) << 20 for size in told] == limits


def test_the_page_of_settings_lists_the_renamed_ones():
    page = text_of(ROOT / "docs" / "settings.md")
    assert dict(re.findall(r"^\| `(\w+)` \| `(\w+)` \|$", page, re.MULTILINE)) == RENAMED


def settings_shown(folder: Path) -> list[Settings]:
    """The files that the page of settings shows, each read as one would read it."""
    read = []
    for example in re.findall(r"^```toml\n(.*?)^```", text_of(ROOT / "docs" / "settings.md"), re.MULTILINE | re.DOTALL):
        (folder / "config.toml").write_text(example, encoding="utf-8")
        read.append(Settings(var_dir=folder))
    return read


def test_the_files_shown_on_the_page_of_settings_are_valid(tmp_path: Path):
    general, classes = settings_shown(tmp_path)
    assert (general.mc_passes, general.unet_depth) == (40, None)
    assert general.scene_root == tmp_path.parent / "scenes"
    scheme = configured_scheme(classes)
    assert (scheme.names, scheme.ranked, scheme.foreground) == (("other", "snow", "water"), (2, 1), "water or snow")


def test_settings_exist():
    known = {f"{PREFIX}{name}".upper() for name in Settings.model_fields} | OUTSIDE_SETTINGS | NOT_OURS
    assert set(mentions(SETTING, PAGES)) <= known


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    catalog = Catalog(Settings(var_dir=tmp_path_factory.mktemp("var")))
    catalog.database.migrate()
    yield create_app(catalog)
    catalog.close()


def documented_calls() -> list[tuple[str, str, str]]:
    return API_ROW.findall(text_of(ROOT / "docs" / "api.md"))


def test_the_table_of_calls_is_complete(app: Flask):
    served = {
        (method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if not rule.rule.startswith(("/static/", "/docs/"))  # what the status page and the page of the API load
    }
    assert {(method, path) for method, path, _ in documented_calls()} == served


def test_the_lists_that_are_given_as_a_whole_are_named(app: Flask):
    (told,) = re.findall(r"grows slowly \(([^)]+)\) gives 1000 items", text_of(ROOT / "docs" / "api.md"))
    long = {
        path.rpartition("/")[2].removeprefix("glims-").replace("-", " ")
        for path, calls in app.test_client().get("/openapi.json").json["paths"].items()
        for parameter in calls.get("get", {}).get("parameters", ())
        if parameter["name"] == "limit" and parameter["schema"]["default"] == 1000
    }
    assert set(told.split(", ")) == long


@pytest.mark.parametrize(("method", "path", "role"), documented_calls())
def test_calls_need_the_role_that_the_table_says(app: Flask, method: str, path: str, role: str):
    roles = ("reader", "annotator", "operator", "administrator")
    tokens = {name: as_role(app.extensions["catalog"], name)["Authorization"] for name in roles}
    address = re.sub(r"\{\w+\}", "1", path)
    if role not in tokens:  # open to all, or proved by something else than a token
        assert b"found no token" not in app.test_client().open(address, method=method).data
        return
    assert app.test_client().open(address, method=method).status_code == 401
    for name, token in tokens.items():
        if name == role:
            break
        headers = {"Authorization": token}
        assert app.test_client().open(address, method=method, headers=headers).status_code == 403


def test_the_runbook_says_of_each_role_what_its_calls_are_about():
    table = text_of(ROOT / "docs" / "operations.md").partition("| role | may |")[2].partition("\n\n")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", table.lower().replace("-", " "), re.MULTILINE))
    calls = [(path, role) for _, path, role in documented_calls() if path.startswith("/api/") and role in rows]
    assert set(rows) == {role for _, role in calls}
    about = {(role, path.split("/")[3].replace("-", " ").removesuffix("s")) for path, role in calls}
    assert sorted((role, what) for role, what in about if what not in rows[role]) == []
