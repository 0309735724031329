"""Zipped submissions for GLIMS are checked over HTTP, by operators."""

from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from al_server import sent_files
from al_server.turns import UPLOADS
from catalog.context import Catalog
from tests.al_server.test_error_shape import assert_problem
from tests.catalog_fixtures import as_role
from tests.imagery.test_glims_archives import Files, files, packed  # noqa: F401 - a fixture
from tests.imagery.test_glims_check import layers, outlines, whole  # noqa: F401 - fixtures

CHECKS = "/api/v1/glims-checks"


def check(client: FlaskClient, catalog: Catalog, content: bytes, role: str = "operator", kind: str = "zip") -> Any:
    headers = {**as_role(catalog, role), "Content-Type": f"application/{kind}"}
    return client.post(CHECKS, data=content, headers=headers)


def test_a_submission_that_lacks_nothing_is_fit(
    client: FlaskClient,
    catalog: Catalog,
    files: Files,  # noqa: F811
    tmp_path: Path,
) -> None:
    answer = check(client, catalog, Path(packed(tmp_path / "a.zip", files)).read_bytes())
    assert (answer.status_code, answer.json) == (200, {"fit": True, "findings": []})


def test_what_is_missed_is_told(
    client: FlaskClient,
    catalog: Catalog,
    files: Files,  # noqa: F811
    tmp_path: Path,
) -> None:
    del files["session.prj"]
    answer = check(client, catalog, Path(packed(tmp_path / "a.zip", files)).read_bytes())
    message = "found no session.prj; a shapefile is not complete without it"
    finding = {"severity": "error", "layer": "session", "feature": None, "message": message}
    assert (answer.status_code, answer.json) == (200, {"fit": False, "findings": [finding]})


def test_one_larger_than_other_requests_is_taken(
    client: FlaskClient,
    catalog: Catalog,
    files: Files,  # noqa: F811
    tmp_path: Path,
) -> None:
    with_notes = {**files, "notes.txt": bytes(2 << 20)}
    content = Path(packed(tmp_path / "a.zip", with_notes, method=0)).read_bytes()
    assert len(content) > catalog.settings.request_max_bytes
    assert check(client, catalog, content).json == {"fit": True, "findings": []}


def test_what_is_no_submission_is_refused(
    client: FlaskClient,
    catalog: Catalog,
    files: Files,  # noqa: F811
    tmp_path: Path,
) -> None:
    assert_problem(check(client, catalog, b""), 422, "no zip archive; expected one with shapefiles for GLIMS")
    assert_problem(check(client, catalog, b"PK\x03\x04"), 422, "the file: found an archive that cannot be read")
    out = Path(packed(tmp_path / "out.zip", {"../glaciers.shp": b"x"})).read_bytes()
    assert_problem(check(client, catalog, out), 422, "the file: found a member named '../glaciers.shp'")
    wrong = Path(packed(tmp_path / "wrong.zip", {**files, "glaciers.shp": b"{}"})).read_bytes()
    refused = assert_problem(check(client, catalog, wrong), 422, "glaciers.shp: found another kind of file")
    assert refused["detail"].startswith("glaciers.shp")  # and not by the name of a folder of this machine
    assert_problem(check(client, catalog, b" " * (64 * 2**20 + 1)), 413, "capacity limit")
    for role in ("annotator", "reader"):
        assert_problem(check(client, catalog, b"", role), 403, "needs operator")


def test_a_check_takes_no_thread_for_long(
    client: FlaskClient,
    catalog: Catalog,
    files: Files,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = Path(packed(tmp_path / "a.zip", files)).read_bytes()
    with UPLOADS.required("tests"):
        assert_problem(check(client, catalog, content), 503, "1 requests with vector files are being answered")
    monkeypatch.setattr(sent_files, "READ_S", 0.0)
    assert_problem(check(client, catalog, content), 422, "the file could not be read within 0 s")
