"""Files of a scene leave a person's computer by the page that adds a scene, in a real Chromium."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from catalog.access_records import Role
from catalog.context import Catalog
from catalog.records import Scene
from catalog.settings import Settings
from imagery.synthetic import SyntheticScene, write_scene
from services import users
from tests.catalog_fixtures import NOBODY
from tests.real_services import free_port
from tests.system.our_pages import PASSWORD, log_in, serious_faults, serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
READ_MS = 60_000  # a process of its own reads the files; the machine may be busy
SIDE_PX = 256


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, migrated_database: Path, redis_server: str) -> Iterator[Catalog]:
    """A running server without scenes, and an operator."""
    folder = tmp_path_factory.mktemp("uploading")
    (folder / "catalog.sqlite").write_bytes(migrated_database.read_bytes())
    settings = Settings(
        var_dir=folder,
        api_url=f"http://127.0.0.1:{free_port()}",
        redis_url=redis_server,
        mlflow_url=NOBODY,
        label_studio_url=NOBODY,
        patch_size_px=64,
    )
    catalog = Catalog(settings)
    with catalog.database.write() as session:
        users.add(session, "olga", Role.OPERATOR, PASSWORD)
    with serving(catalog):
        yield catalog
    catalog.close()


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> SyntheticScene:
    return write_scene(tmp_path_factory.mktemp("home"), SIDE_PX, SIDE_PX, seed=1)


@pytest.fixture
def page(server: Catalog, browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    log_in(page, server.settings.api_url, "olga", "/scenes/add")
    yield page
    context.close()


def choose(page: Page, field: str, *files: Path) -> None:
    """Choose files in the window that opens."""
    with page.expect_file_chooser() as chooser:
        page.click(f"[data-choose={field}]")
    chooser.value.set_files(list(files))


def test_product_outlines_and_elevation_are_sent_and_registered(
    page: Page, server: Catalog, synthetic: SyntheticScene
) -> None:
    home = synthetic.truth.parent
    choose(page, "path", home / "reflective.tif")
    expect(page.locator("#path")).to_have_value("uploads/reflective/reflective.tif", timeout=READ_MS)
    expect(page.locator("#upload-text")).to_have_text("reflective.tif uploaded.")
    choose(page, "outlines", home / "outlines.gpkg")
    expect(page.locator("#outlines")).to_have_value("uploads/outlines/outlines.gpkg", timeout=READ_MS)
    choose(page, "dem", home / "dem.tif")
    expect(page.locator("#dem")).to_have_value("uploads/dem/dem.tif", timeout=READ_MS)
    page.fill("#layer", "clean_ice")
    page.select_option("#class", "clean ice")
    page.fill("#name", "sent")
    page.click("#look")
    summary = page.locator("#summary")
    expect(summary).to_contain_text(f"{SIDE_PX} × {SIDE_PX} px of 30 m, EPSG:32645", timeout=READ_MS)
    expect(summary).to_contain_text("elevation")
    assert serious_faults(page) == []
    page.click("text=Register sent")
    page.wait_for_url("**/#scenes", timeout=READ_MS)
    with server.read() as session:
        (scene,) = session.query(Scene).all()
    sent = server.settings.scene_root / "uploads" / "reflective" / "reflective.tif"
    assert scene.source["bands"][0]["path"] == str(sent)
    assert sent.read_bytes() == (home / "reflective.tif").read_bytes()


def test_a_file_of_several_parts_arrives_although_the_line_is_cut(page: Page, server: Catalog, tmp_path: Path) -> None:
    content = bytes(range(256)) * (5 * 2**20 // 256)  # 5 MiB: two parts of 2 MiB, and the rest
    (tmp_path / "Größe 1.tif").write_bytes(content)
    cut: list[str] = []

    def break_once(route) -> None:  # type: ignore[no-untyped-def]
        if len(cut) < 2 and "offset=2097152" in route.request.url:
            cut.append(route.request.url)
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route("**/api/v1/scenes/uploads/**", break_once)
    choose(page, "path", tmp_path / "Größe 1.tif")
    expect(page.locator("#path")).to_have_value("uploads/Gro_e_1/Gro_e_1.tif", timeout=READ_MS)
    assert len(cut) == 2
    assert (server.settings.scene_root / "uploads" / "Gro_e_1" / "Gro_e_1.tif").read_bytes() == content


def test_several_files_are_named_by_their_folder_and_a_shapefile_by_one_of_them(page: Page, tmp_path: Path) -> None:
    for name in ("LC08_B4.TIF", "LC08_B5.TIF", "ice.shp", "ice.shx", "ice.dbf", "ice.prj"):
        (tmp_path / name).write_bytes(b"II*\0")
    choose(page, "path", tmp_path / "LC08_B4.TIF", tmp_path / "LC08_B5.TIF")
    expect(page.locator("#path")).to_have_value("uploads/LC08_B", timeout=READ_MS)
    choose(page, "outlines", *(tmp_path / f"ice.{ending}" for ending in ("dbf", "prj", "shp", "shx")))
    expect(page.locator("#outlines")).to_have_value("uploads/ice/ice.shp", timeout=READ_MS)


def test_what_the_server_does_not_take_is_left_out_and_named(page: Page, server: Catalog, tmp_path: Path) -> None:
    names = ("LC09_thumb_large.jpeg", ".DS_Store", "LC09_B4.TIF", "LC09_MTL.txt")
    for name in names:
        (tmp_path / name).write_bytes(b"II*\0")
    choose(page, "path", *(tmp_path / name for name in names))
    expect(page.locator("#path")).to_have_value("uploads/LC09", timeout=READ_MS)
    expect(page.locator("#upload-text")).to_have_text("2 files uploaded.")
    expect(page.locator("#upload-left-out")).to_contain_text(": LC09_thumb_large.jpeg, .DS_Store.")
    sent = server.settings.scene_root / "uploads" / "LC09"
    assert {file.name for file in sent.iterdir() if file.suffix} == {"LC09_B4.TIF", "LC09_MTL.txt"}


def test_of_several_files_of_outlines_none_is_taken_silently(page: Page, tmp_path: Path) -> None:
    for name in ("ice.gpkg", "debris.gpkg"):
        (tmp_path / name).write_bytes(b"II*\0")
    choose(page, "outlines", tmp_path / "ice.gpkg", tmp_path / "debris.gpkg")
    expect(page.locator("#fault")).to_contain_text("found 2 files, ice.gpkg, debris.gpkg; expected one")
    expect(page.locator("#outlines")).to_have_value("")
    choose(page, "outlines", tmp_path / "debris.gpkg")
    expect(page.locator("#outlines")).to_have_value("uploads/debris/debris.gpkg", timeout=READ_MS)
    expect(page.locator("#fault")).to_be_empty()


def test_each_uploaded_band_gets_a_row_and_a_border_a_name(page: Page, tmp_path: Path) -> None:
    for name in ("a_B4.tif", "a_B5.tif", "land.gpkg"):
        (tmp_path / name).write_bytes(b"II*\0")
    page.click("text=More about the files")
    choose(page, "bands", tmp_path / "a_B4.tif", tmp_path / "a_B5.tif")
    files = page.locator("#bands").get_by_label("File in the scene folder")
    expect(files.nth(1)).to_have_value("uploads/a_B/a_B5.tif", timeout=READ_MS)
    expect(files.nth(0)).to_have_value("uploads/a_B/a_B4.tif")
    border = page.get_by_role("group", name="Border")
    with page.expect_file_chooser() as chooser:
        border.get_by_role("button").click()
    chooser.value.set_files(tmp_path / "land.gpkg")
    expect(border.get_by_label("Vector file")).to_have_value("uploads/land/land.gpkg", timeout=READ_MS)


def test_files_that_are_dropped_are_sent(page: Page, server: Catalog) -> None:
    page.evaluate(
        """() => {
            const data = new DataTransfer();
            data.items.add(new File(["II*dropped"], "dropped.tif"));
            document.getElementById("drop").dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true }));
        }"""
    )
    expect(page.locator("#path")).to_have_value("uploads/dropped/dropped.tif", timeout=READ_MS)
    assert (server.settings.scene_root / "uploads" / "dropped" / "dropped.tif").read_bytes() == b"II*dropped"


def test_an_upload_can_be_stopped_and_a_refusal_says_why(page: Page, server: Catalog, tmp_path: Path) -> None:
    (tmp_path / "large.tif").write_bytes(bytes(2**23))
    (tmp_path / "notes.docx").write_bytes(b"PK")
    page.route("**offset=2097152**", lambda route: None)  # the second part is never answered
    choose(page, "path", tmp_path / "large.tif")
    expect(page.locator("#upload-text")).to_contain_text("2.1 MB of 8.4 MB", timeout=READ_MS)
    expect(page.locator("#look")).to_be_disabled()
    page.click("#upload-stop")
    expect(page.locator("#upload")).to_be_hidden()
    expect(page.locator("#look")).to_be_enabled()
    assert not (server.settings.scene_root / "uploads" / "large" / "large.tif").exists()
    choose(page, "path", tmp_path / "notes.docx")
    expect(page.locator("#fault")).to_contain_text("found notes.docx; expected files with the endings .tif")
    expect(page.locator("#path")).to_have_value("")
