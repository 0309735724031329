"""The form of a scene in a real Chromium: a scene is replaced, and one is described by more than a product's files."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select

from catalog import labels
from catalog.access_records import Role
from catalog.context import Catalog
from catalog.records import Label, Patch, Proposal, RunState, RunTrigger, Scene, SceneState, TrainingRun
from catalog.settings import Settings
from services import users
from services.registration import check, register
from services.scene_files import BelowRoot
from services.scene_request import SceneRequest
from services.scenes import registered_scenes, source_of
from tests.catalog_fixtures import NOBODY, add_round, add_scene, label_of
from tests.imagery.forge import NORTH_UP, UTM_45N, forge_scene, write_geotiff
from tests.real_services import free_port
from tests.system.our_pages import PASSWORD, log_in, serious_faults, serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
READ_MS = 60_000  # a process of its own reads the files; the machine may be busy
Visit = Callable[..., Page]


@pytest.fixture
def server(tmp_path: Path, migrated_database: Path, redis_server: str) -> Iterator[Catalog]:
    """A running server with an operator, and with files in its scene folder."""
    (tmp_path / "catalog.sqlite").write_bytes(migrated_database.read_bytes())
    settings = Settings(
        var_dir=tmp_path,
        api_url=f"http://127.0.0.1:{free_port()}",
        redis_url=redis_server,
        mlflow_url=NOBODY,
        label_studio_url=NOBODY,
        patch_size_px=32,
    )
    settings.scene_root.mkdir()
    forge_scene(settings.scene_root / "scene.tif")
    catalog = Catalog(settings)
    with catalog.database.write() as session:
        users.add(session, "olga", Role.OPERATOR, PASSWORD)
    with serving(catalog):
        yield catalog
    catalog.close()


@pytest.fixture
def visit(server: Catalog, browser: Browser) -> Iterator[Visit]:
    """Open a page for the operator, in a window of some width."""
    contexts = []

    def opened(path: str = "/", width: int = 1280, scheme: str = "light") -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        log_in(page, server.settings.api_url, "olga", path)
        return page

    yield opened
    for context in contexts:
        context.close()


def labelled(catalog: Catalog, name: str) -> int:
    """Add a scene of the pixels of the file, with two labels from which version 3 has learnt; return its id."""
    with catalog.database.write() as session:
        scene, patches = add_scene(session, name)
        task = 100 * scene.id
        _, proposals = add_round(session, patches[:2], first_task=task)
        for proposal in proposals:
            labels.store(session, label_of(session, proposal, task + proposal.id))
            labels.refresh_states(session, proposal, skipped=False)
        run = TrainingRun(trigger=RunTrigger.MANUAL, labels_sha256="0" * 64, seed=0, model_version=3)
        run.state, run.label_ids = RunState.FINISHED, list(session.scalars(select(Label.id)))
        session.add(run)
        return scene.id


def write_fields(path: Path, field: str, values: list[str]) -> None:
    """Write a layer of one square for each value of a field, side by side on the scene."""
    _, _, left, _, _, top = NORTH_UP
    squares = [shapely.box(left + at, top - 1500, left + at + 900, top - 600) for at in range(300, 4000, 1200)]
    pyogrio.raw.write(
        path,
        shapely.to_wkb(squares[: len(values)]),
        field_data=[np.array(values, dtype=object)],
        fields=[field],
        geometry_type="Polygon",
        crs=UTM_45N,
        layer="all",
        driver="GPKG",
    )


def look(page: Page) -> None:
    page.click("#look")
    expect(page.locator("#summary")).to_be_visible(timeout=READ_MS)
    expect(page.locator("#summary")).to_contain_text("160 × 100 px of 30 m, EPSG:32645")


def standing(catalog: Catalog) -> int:
    with catalog.read() as session:
        return len(session.scalars(select(Label).where(Label.superseded_at.is_(None))).all())


def test_a_scene_without_labels_is_replaced_by_what_is_known_of_it_and_outlines(server: Catalog, visit: Visit) -> None:
    asked = {"name": "khumbu", "role": "pool", "path": "scene.tif", "sensor": "landsat-8-oli"}
    request = SceneRequest.model_validate(asked)
    old, _ = register(server, check(server, request, BelowRoot(server.settings.scene_root)))
    page = visit()
    page.locator("#scenes tr", has_text="khumbu").get_by_role("link", name="Replace…").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Replace scene khumbu")
    expect(page.locator("#path")).to_have_value("scene.tif")
    expect(page.get_by_role("combobox", name="Sensor")).to_have_value("landsat-8-oli")
    expect(page.locator("#fate")).to_have_count(0)
    page.fill("#outlines", "scene_outlines.gpkg")
    page.fill("#layer", "clean_ice")
    page.select_option("#class", "clean ice")
    look(page)
    expect(page.locator("#summary")).to_contain_text("clean ice from scene_outlines.gpkg, layer clean_ice: 1 polygon")
    page.click("text=Replace khumbu")
    expect(page.get_by_role("heading", level=1)).to_have_text("Scene khumbu is replaced", timeout=READ_MS)
    assert serious_faults(page) == []
    with server.read() as session:
        (scene,) = registered_scenes(session)
        assert (scene.name, scene.sensor) == ("khumbu", "landsat-8-oli")
        assert scene.id != old.id
        assert scene.outlines[0]["class_name"] == "clean ice"
    page.click("text=To the scenes")
    page.wait_for_url("**/#scenes")


def test_labels_are_kept_once_a_person_says_so(server: Catalog, visit: Visit) -> None:
    scene_id = labelled(server, "khumbu")
    page = visit(f"/scenes/{scene_id}/replace")
    expect(page.locator("#fate")).to_contain_text("2 labels stand on it")
    page.fill("#path", "scene.tif")
    look(page)
    page.click("text=Replace khumbu")
    expect(page.locator("#fault")).to_contain_text("2 labels stand on scene 'khumbu' (2 were drawn)", timeout=READ_MS)
    expect(page.locator("#path")).to_have_value("scene.tif")  # nothing is lost
    assert standing(server) == 2
    page.get_by_role("radio", name="Keep them").check()
    page.click("text=Replace khumbu")  # what was shown holds on
    expect(page.locator("main")).to_contain_text("2 labels kept; 0 labels do not count any more", timeout=READ_MS)
    expect(page.locator("main")).to_contain_text("Versions that learnt from its labels stay as they are: 3.")
    with server.read() as session:
        scene = session.get_one(Scene, scene_id)
        assert (scene.name, scene.state) == ("khumbu", SceneState.REGISTERED)
        assert source_of(scene).bands[0].path == str(server.settings.scene_root / "scene.tif")
    assert standing(server) == 2


def test_labels_are_discarded_but_not_while_a_round_asks_for_more(server: Catalog, visit: Visit) -> None:
    scene_id = labelled(server, "khumbu")
    with server.database.write() as session:
        patch = session.scalars(select(Patch).where(Patch.scene_id == scene_id).order_by(Patch.id.desc())).first()
        assert patch is not None
        asked, (proposal,) = add_round(session, [patch], first_task=900)
        round_id = asked.id
    page = visit(f"/scenes/{scene_id}/replace")
    page.fill("#path", "scene.tif")
    page.get_by_role("radio", name="Discard them").check()
    look(page)
    page.click("text=Replace khumbu")
    refused = f"round {round_id} asks annotators about scene 'khumbu'"
    expect(page.locator("#fault")).to_contain_text(refused, timeout=READ_MS)
    assert standing(server) == 2
    with server.database.write() as session:
        answered = session.get_one(Proposal, proposal.id)
        labels.store(session, label_of(session, answered, 901))
        labels.refresh_states(session, answered, skipped=False)
    page.click("text=Replace khumbu")
    expect(page.locator("main")).to_contain_text("0 labels kept; 3 labels do not count any more", timeout=READ_MS)
    assert standing(server) == 0
    with server.read() as session:
        assert session.get_one(Scene, scene_id).state is SceneState.REMOVED


def test_single_bands_with_a_unit_and_a_further_channel_are_registered(server: Catalog, visit: Visit) -> None:
    root = server.settings.scene_root
    random = np.random.default_rng(0)
    for name in ("red", "nir", "coherence"):
        write_geotiff(root / f"{name}.tif", random.uniform(0.1, 0.9, (100, 160)).astype(np.float32))
    page = visit("/scenes/add")
    page.fill("#name", "single")
    page.click("text=More about the files")
    page.get_by_role("combobox", name="The numbers are").select_option("reflectance")
    page.get_by_role("combobox", name="Reflectances are of").select_option("surface")
    page.get_by_label("Taken: day, or time with its zone").fill("2019-08-13")
    for place, name in enumerate(("red", "pan", "nir")):
        page.get_by_role("button", name="Add a band").click()
        row = page.locator("#bands .row").nth(place)
        expect(row.get_by_label("Name", exact=True)).to_be_focused()
        row.get_by_label("Name", exact=True).fill(name)
        row.get_by_label("File in the scene folder").fill(f"{name}.tif")
    page.get_by_role("button", name="Remove: Band 2").click()
    expect(page.locator("#bands legend")).to_have_text(["Band 1", "Band 2"])
    page.get_by_role("button", name="Add a channel").click()
    channel = page.locator("#channels .row")
    channel.get_by_label("Name", exact=True).fill("coherence")
    channel.get_by_label("File in the scene folder").fill("coherence.tif")
    channel.get_by_label("Unit", exact=True).fill("1")
    look(page)
    for shown in (
        "2019-08-13",
        "surface reflectance",
        "– nir: nir.tif",
        "without a unit",
        "– coherence: coherence.tif",
    ):
        expect(page.locator("#summary")).to_contain_text(shown)
    page.click("text=Register single")
    page.wait_for_url("**/#scenes", timeout=READ_MS)
    with server.read() as session:
        source = source_of(session.scalars(select(Scene)).one())
    assert [(band.name, band.unit) for band in source.bands] == [("red", "reflectance"), ("nir", "reflectance")]
    assert [(band.name, band.unit) for band in source.extras] == [("coherence", "1")]


def test_the_class_of_each_value_of_a_field_is_recognised_changed_and_said(server: Catalog, visit: Visit) -> None:
    write_fields(server.settings.scene_root / "inventory.gpkg", "Glaciers", ["Clean Ice", "Debris covered"])
    write_fields(server.settings.scene_root / "codes.gpkg", "code", ["7", "8"])
    page = visit("/scenes/add")
    summary = page.locator("#summary")
    page.fill("#path", "scene.tif")
    page.fill("#outlines", "inventory.gpkg")
    look(page)
    expect(summary).to_contain_text("where Glaciers is “Debris covered”: 1 polygon")
    page.get_by_label("Glaciers: “Debris covered” is").select_option("clean ice")
    expect(summary).to_contain_text("where Glaciers is “Clean Ice” or “Debris covered”: 2 polygons", timeout=READ_MS)
    page.fill("#outlines", "codes.gpkg")
    page.locator("#first-outlines summary", has_text="A field tells the class").click()
    page.get_by_label("Name of the field").fill("code")
    page.get_by_label("Each of its values with a class").fill("7")
    page.click("#look")
    expect(page.locator("#fault")).to_contain_text("Found “7” among the values of the field")
    page.get_by_label("Each of its values with a class").fill("7 = clean ice\n8 = debris-covered ice")
    look(page)
    expect(summary).to_contain_text("where code is “8”: 1 polygon")
    page.get_by_label("code: “8” is").select_option("clean ice")
    expect(summary).to_contain_text("where code is “7” or “8”: 2 polygons", timeout=READ_MS)
    expect(page.get_by_label("Each of its values with a class")).to_have_value("7 = clean ice\n8 = clean ice")


def test_a_product_and_single_bands_are_not_named_together(server: Catalog, visit: Visit) -> None:
    page = visit("/scenes/add")
    page.click("text=More about the files")
    page.get_by_role("button", name="Add a band").click()
    page.locator("#bands").get_by_label("Name", exact=True).fill("red")
    page.locator("#bands").get_by_label("File in the scene folder").fill("scene.tif")
    page.fill("#path", "scene.tif")
    page.click("#look")
    assert "Name a product or single bands" in page.evaluate("document.getElementById('path').validationMessage")
    page.get_by_role("button", name="Remove: Band 1").click()
    page.click("text=More about the files")
    page.get_by_label("Side in pixels").evaluate("field => { field.value = 8; }")
    page.click("#look")
    expect(page.get_by_label("Side in pixels")).to_be_visible()  # what is wrong is not folded away
    page.get_by_label("Side in pixels").fill("")
    look(page)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_everything_can_be_read_and_named(server: Catalog, visit: Visit, width: int, scheme: str) -> None:
    page = visit(f"/scenes/{labelled(server, 'khumbu')}/replace", width, scheme)
    page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true })")
    for button in page.locator("[data-add]").all():
        button.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert serious_faults(page) == []
    for remove in page.get_by_role("button", name="Remove:").all()[::-1]:
        remove.click()
    page.fill("#path", "scene.tif")
    look(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert serious_faults(page) == []
