"""Files of a scene come part by part, into folders that nothing else is in, and never over those of a scene."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from al_server.body_limits import body_limits
from catalog.context import Catalog
from catalog.records import Scene
from services.scene_uploads import remove_abandoned
from tests.al_server.test_error_shape import assert_problem
from tests.catalog_fixtures import as_role
from tests.imagery.forge import forge_scene
from workers.mend_files import mend

UPLOADS = "/api/v1/scenes/uploads"


class Browser:
    """Sends files as an operator's page does."""

    def __init__(self, client: FlaskClient, catalog: Catalog) -> None:
        self.client, self.catalog = client, catalog

    def folder(self, name: str = "langtang") -> Any:
        return self.client.post(UPLOADS, json={"name": name}, headers=as_role(self.catalog, "operator"))

    def send(self, place: str, content: bytes, *, offset: int = 0, size: int | None = None) -> TestResponse:
        headers = {**as_role(self.catalog, "operator"), "Content-Type": "application/octet-stream"}
        query = f"offset={offset}&size={len(content) if size is None else size}"
        return self.client.put(f"{UPLOADS}/{place}?{query}", data=content, headers=headers)

    def register(self, **body: Any) -> TestResponse:
        asked = {"name": "langtang", "role": "pool", **body}
        return self.client.post("/api/v1/scenes", json=asked, headers=as_role(self.catalog, "operator"))


@pytest.fixture
def browser(client: FlaskClient, catalog: Catalog) -> Browser:
    return Browser(client, catalog)


@pytest.fixture
def sent(browser: Browser, tmp_path: Path) -> Path:
    """The folder of a forged scene that was uploaded, not yet registered."""
    folder = browser.folder().json
    assert browser.send("langtang/scene.tif", forge_scene(tmp_path / "scene.tif").path.read_bytes()).status_code == 200
    return browser.catalog.settings.scene_root / folder["path"]


def grow_old(folder: Path, catalog: Catalog) -> None:
    for path in (folder, *folder.iterdir()):
        age_s = 86_400 * (catalog.settings.scene_upload_keep_days + 1)
        os.utime(path, (path.stat().st_atime - age_s, path.stat().st_mtime - age_s))


def test_a_folder_whose_name_is_taken_gets_a_number(browser: Browser, catalog: Catalog) -> None:
    first, second = browser.folder(), browser.folder()
    assert (first.status_code, first.json["path"]) == (201, "uploads/langtang")
    assert second.json["path"] == "uploads/langtang-2"
    assert first.json["part_max_bytes"] == catalog.settings.upload_max_bytes
    assert first.json["keep_days"] == 14


def test_the_page_knows_the_endings_that_the_server_takes(browser: Browser, catalog: Catalog) -> None:
    page = browser.client.get("/scenes/add", headers=as_role(catalog, "operator")).text
    (endings,) = re.findall('data-endings="([^"]+)"', page)
    browser.folder()
    assert {browser.send(f"langtang/a{ending}", b"ab").status_code for ending in endings.split()} == {200}


def test_a_file_appears_when_its_last_part_is_there(browser: Browser, catalog: Catalog) -> None:
    browser.folder()
    file = catalog.settings.scene_root / "uploads" / "langtang" / "b4.tif"
    half = browser.send("langtang/b4.tif", b"abcd", size=10)
    assert half.json == {"path": "uploads/langtang/b4.tif", "received": 4, "size": 10}
    assert not file.exists()
    assert browser.send("langtang/b4.tif", b"efghij", offset=4, size=10).json["received"] == 10
    assert file.read_bytes() == b"abcdefghij"


def test_a_part_whose_answer_was_lost_may_come_again(browser: Browser, catalog: Catalog) -> None:
    browser.folder()
    browser.send("langtang/b4.tif", b"abcd", size=6)
    assert browser.send("langtang/b4.tif", b"abcd", size=6).json["received"] == 4
    browser.send("langtang/b4.tif", b"ef", offset=4, size=6)
    assert browser.send("langtang/b4.tif", b"ef", offset=4, size=6).json["received"] == 6
    assert (catalog.settings.scene_root / "uploads" / "langtang" / "b4.tif").read_bytes() == b"abcdef"


def test_a_part_after_a_gap_is_refused_with_the_byte_that_is_expected(browser: Browser) -> None:
    browser.folder()
    browser.send("langtang/b4.tif", b"abcd", size=10)
    assert "expected byte 4" in assert_problem(browser.send("langtang/b4.tif", b"x", offset=9, size=10), 409)["detail"]


def test_a_file_that_nobody_uses_may_be_replaced(browser: Browser, catalog: Catalog) -> None:
    browser.folder()
    browser.send("langtang/b4.tif", b"wrong")
    browser.send("langtang/b4.tif", b"right")
    browser.send("langtang/b4.tif", b"rightest")
    assert (catalog.settings.scene_root / "uploads" / "langtang" / "b4.tif").read_bytes() == b"rightest"


def test_more_bytes_than_announced_are_refused(browser: Browser, catalog: Catalog) -> None:
    browser.folder()
    assert "more than the 3 bytes" in assert_problem(browser.send("langtang/b4.tif", b"abcd", size=3), 422)["detail"]
    assert not (catalog.settings.scene_root / "uploads" / "langtang" / "b4.tif").exists()


@pytest.mark.parametrize("name", ["b4.vrt", ".b4.tif", "b4", "b4.tif%00", "b 4.tif", "..", "b4.tif.part"])
def test_other_names_of_files_are_refused(browser: Browser, catalog: Catalog, name: str) -> None:
    browser.folder()
    assert browser.send(f"langtang/{name}", b"abcd").status_code in {404, 405, 422}
    folder = catalog.settings.scene_root / "uploads" / "langtang"
    assert [path.name for path in folder.iterdir()] == [".uploaded"]


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "a b", "x" * 100])
def test_other_names_of_folders_are_refused(browser: Browser, name: str) -> None:
    assert_problem(browser.folder(name), 422)


def test_a_folder_that_was_not_made_for_it_takes_nothing(browser: Browser, catalog: Catalog, tmp_path: Path) -> None:
    uploads = catalog.settings.scene_root / "uploads"
    (uploads / "by-hand").mkdir(parents=True)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / ".uploaded").touch()
    (uploads / "link").symlink_to(outside)
    for folder in ("by-hand", "link", "missing"):
        assert_problem(browser.send(f"{folder}/b4.tif", b"abcd"), 404)
    assert [path.name for path in outside.iterdir()] == [".uploaded"]


def test_a_file_above_the_limit_or_for_which_there_is_no_disk_is_refused(browser: Browser, catalog: Catalog) -> None:
    browser.folder()
    limit = catalog.settings.scene_upload_max_bytes
    assert (
        "scene_upload_max_bytes"
        in assert_problem(browser.send("langtang/b.tif", b"abcd", size=limit + 1), 422)["detail"]
    )
    catalog.settings = catalog.settings.model_copy(update={"scene_upload_max_bytes": 2**60})
    refused = assert_problem(browser.send("langtang/b.tif", b"abcd", size=2**50), 507)["detail"]  # a million gigabytes
    assert "make room on the server first" in refused


def test_parts_are_taken_as_large_as_other_files_and_not_larger(catalog: Catalog) -> None:
    limits = body_limits(catalog.settings, catalog.secrets)
    assert limits.most_bytes(f"{UPLOADS}/langtang/b4.tif") == catalog.settings.upload_max_bytes
    assert limits.most_bytes("/api/v1/scenes/1/corrections") == catalog.settings.request_max_bytes


def test_what_was_uploaded_is_registered_and_then_closed(browser: Browser, sent: Path, catalog: Catalog) -> None:
    accepted = browser.register(path="uploads/langtang/scene.tif")
    assert accepted.status_code == 202, accepted.text
    before = (sent / "scene.tif").read_bytes()
    for name in ("scene.tif", "scene.tif.aux.xml"):  # metadata beside a file would change what is read of it
        assert "the scene langtang uses" in assert_problem(browser.send(f"langtang/{name}", b"abcd"), 409)["detail"]
    assert (sent / "scene.tif").read_bytes() == before
    assert not (sent / "scene.tif.aux.xml").exists()


def test_a_folder_whose_outlines_a_scene_uses_is_closed_too(browser: Browser, catalog: Catalog) -> None:
    browser.folder("outlines")
    forged = forge_scene(catalog.settings.scene_root / "scene.tif")
    browser.send("outlines/glaciers.gpkg", Path(forged.outlines[0].path).read_bytes())
    told = {"path": "uploads/outlines/glaciers.gpkg", "layer": "clean_ice", "class": "clean ice"}
    assert browser.register(path="scene.tif", outlines=[told]).status_code == 202
    assert_problem(browser.send("outlines/glaciers.gpkg", b"abcd"), 409)


def test_what_no_scene_came_to_use_is_removed_after_its_time(browser: Browser, sent: Path, catalog: Catalog) -> None:
    assert remove_abandoned(catalog) == []
    grow_old(sent, catalog)
    mend(catalog, lambda *_: None)
    assert not sent.exists()


def test_what_a_request_names_is_kept_while_it_is_carried_out(browser: Browser, sent: Path, catalog: Catalog) -> None:
    grow_old(sent, catalog)
    assert browser.register(path="uploads/langtang/scene.tif", dry_run=True).status_code == 200
    assert remove_abandoned(catalog) == []
    grow_old(sent, catalog)
    browser.register(path="uploads/langtang-2/scene.tif", dry_run=True)  # another folder
    assert remove_abandoned(catalog) == ["langtang"]


def test_what_a_scene_uses_is_never_removed(browser: Browser, sent: Path, catalog: Catalog) -> None:
    browser.register(path="uploads/langtang/scene.tif")
    grow_old(sent, catalog)
    assert remove_abandoned(catalog) == []
    with catalog.read() as session:
        scene = session.get_one(Scene, 1)
        assert scene.source["bands"][0]["path"] == str(sent / "scene.tif")
    assert (sent / "scene.tif").exists()


def test_folders_that_a_person_put_there_are_never_removed(browser: Browser, sent: Path, catalog: Catalog) -> None:
    by_hand = sent.parent / "by-hand"
    by_hand.mkdir()
    (by_hand / "scene.tif").touch()
    grow_old(by_hand, catalog)
    assert remove_abandoned(catalog) == []
    assert (by_hand / "scene.tif").exists()


def test_nothing_is_removed_if_the_setting_says_never(browser: Browser, sent: Path, catalog: Catalog) -> None:
    grow_old(sent, catalog)
    catalog.settings = catalog.settings.model_copy(update={"scene_upload_keep_days": 0})
    assert remove_abandoned(catalog) == []


def test_a_part_without_its_size_is_refused(browser: Browser, client: FlaskClient, catalog: Catalog) -> None:
    browser.folder()
    headers = {**as_role(catalog, "operator"), "Content-Type": "application/octet-stream"}
    assert_problem(client.put(f"{UPLOADS}/langtang/b4.tif", data=b"abcd", headers=headers), 422)
    assert_problem(
        client.put(f"{UPLOADS}/langtang/b4.tif?size=4", data=b"abcd", headers=as_role(catalog, "operator")), 415
    )
