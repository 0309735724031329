"""A first visit: from an empty system to a first map, with a browser and nothing else.

The system is started as an administrator of machines would start it. Whatever the browser complains of, and every
request to elsewhere, is a failure.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from catalog.secrets import load_or_create
from imagery.synthetic import SyntheticScene, write_scene
from imagery.synthetic_pixels import SyntheticOptions
from tests.real_services import free_port, running, wait_for_http

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PROGRAM = [str(Path(sys.executable).with_name("glacier-al")), "up"]
SIDE_PX = 256
READ_MS = 90_000  # a process of its own reads the files; the machine may be busy
TRAINED_MS = 420_000


@dataclass(frozen=True)
class Empty:
    """A system that nobody has visited.

    Attributes:
        url: Where its pages are.
        password: That of the account admin, as `up` prints it.
    """

    url: str
    password: str


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Empty]:
    folder = tmp_path_factory.mktemp("visited")
    environment = {
        f"GLACIER_AL_{name}_URL": f"http://127.0.0.1:{free_port()}" for name in ("API", "LABEL_STUDIO", "MLFLOW")
    }
    environment |= {
        "GLACIER_AL_REDIS_URL": f"redis://127.0.0.1:{free_port()}/0",
        "GLACIER_AL_VAR_DIR": str(folder / "var"),
    }
    small = {
        "PATCH_SIZE_PX": 64,
        "UNET_DEPTH": 3,
        "UNET_WIDTH": 8,
        "FINE_TUNE_STEPS": 40,
        "MC_PASSES": 4,
        "TORCH_THREADS": 1,
    }
    environment |= {f"GLACIER_AL_{name}": str(value) for name, value in small.items()}
    log = folder / "up.txt"
    with running(PROGRAM, environment, log=log) as process:
        # A visitor waits for the pages alone, and not for Label Studio, which takes minutes on a busy machine.
        wait_for_http(f"{environment['GLACIER_AL_API_URL']}/healthz", process, log)
        secrets = load_or_create(folder / "var" / "secrets.json")
        yield Empty(environment["GLACIER_AL_API_URL"], secrets.administrator_password)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> SyntheticScene:
    """What the visitor has at home: a scene, and outlines of its glaciers."""
    return write_scene(tmp_path_factory.mktemp("pool"), SIDE_PX, SIDE_PX, seed=1)


@pytest.fixture(scope="module")
def validation(tmp_path_factory: pytest.TempPathFactory) -> SyntheticScene:
    """Another one, 60 km further east."""
    options = SyntheticOptions(origin_m=(540_000.0, 3_110_400.0))
    return write_scene(tmp_path_factory.mktemp("validation"), SIDE_PX, SIDE_PX, seed=2, options=options)


@pytest.fixture
def visitor(empty: Empty, browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    faults: list[str] = []
    own = (empty.url, "data:", "blob:")
    context.on("request", lambda asked: asked.url.startswith(own) or faults.append(asked.url))
    page = context.new_page()
    page.on("console", lambda said: faults.append(said.text) if said.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    yield page
    context.close()
    assert faults == []


def add_scene(page: Page, scene: SyntheticScene, name: str, role: str, *, old: bool) -> None:
    """Add a scene from the dashboard, as its next step says, with outlines of clean ice."""
    home = scene.truth.parent
    page.click("#scenes a:has-text('Add a scene')")
    for field, file in (("path", "reflective.tif"), ("outlines", "outlines.gpkg"), ("dem", "dem.tif")):
        with page.expect_file_chooser() as chooser:
            page.click(f"[data-choose={field}]")
        chooser.value.set_files(home / file)
        expect(page.locator(f"#{field}")).to_have_value(re.compile(rf"^uploads/.*/{re.escape(file)}$"), timeout=READ_MS)
    page.select_option("#role", role)
    page.fill("#name", name)
    page.set_checked("#prior", old)
    page.click("#look")
    summary = page.locator("#summary")
    expect(summary).to_contain_text(f"{SIDE_PX} × {SIDE_PX} px of 30 m, EPSG:32645", timeout=READ_MS)
    expect(summary).to_contain_text("clean ice")
    page.click(f"text=Register {name}")
    page.wait_for_url("**/#scenes", timeout=READ_MS)


def test_a_visitor_gets_from_an_empty_system_to_a_first_map_without_a_terminal(
    visitor: Page, empty: Empty, pool: SyntheticScene, validation: SyntheticScene
) -> None:
    page = visitor
    page.goto(empty.url)
    page.fill("#name", "admin")
    page.fill("#password", empty.password)
    page.click("main button")
    expect(page.locator("#scenes")).to_contain_text("None yet")
    add_scene(page, pool, "my-valley", "pool", old=True)
    row = page.locator("#scenes tr", has_text="my-valley")
    expect(row).to_contain_text("ready", timeout=READ_MS)  # without a reload

    tiles: list[int] = []
    page.on("response", lambda answer: tiles.append(answer.status) if "/tiles/" in answer.url else None)
    row.get_by_role("link", name="my-valley").click()
    page.wait_for_url("**/map#scene=1*")
    expect(page.locator("#scene option:checked")).to_contain_text("my-valley")
    page.get_by_label("Old outlines").check()
    page.wait_for_load_state("networkidle")
    assert tiles and set(tiles) <= {200, 204}
    shown = page.locator("#map").screenshot()
    assert len(shown) > 100_000  # a picture of the ground, not an empty area

    page.goto(empty.url)
    add_scene(page, validation, "their-valley", "validation", old=False)
    # The first version, which learns from the outlines, comes by itself, and the dashboard tells of it.
    version = page.locator("#versions").get_by_role("link", name="1", exact=True)
    expect(version).to_be_visible(timeout=TRAINED_MS)
    page.goto(f"{empty.url}/map#scene=1")
    page.get_by_label("Outlines", exact=True).check()
    expect(page.get_by_text("Prediction of version 1")).to_be_visible(timeout=READ_MS)  # its map was made
