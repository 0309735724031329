"""The contract of errors.

Every error, whoever raises it, is ``application/problem+json`` (RFC 9457) with exactly the members ``type``,
``title``, ``status`` and ``detail``, and ``errors`` where several fields are at fault. ``status`` repeats the status of
the answer, ``title`` is its standard phrase, and ``detail`` says what was found and what was expected. Nothing of our
insides (tracebacks, SQL, names of files, modules and classes) is told. A 401 says how to authenticate.

A browser that asks for one of our pages gets a page instead (`test_error_page`).

That nothing leaks is checked by the test client (`tests.leaks.StrictClient`), in the error responses of all tests.
"""

import traceback
from http import HTTPStatus
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.test import TestResponse

from al_server.problems import problem
from catalog.context import Catalog
from labeling.webhook import SECRET_HEADER
from tests.catalog_fixtures import as_role
from tests.leaks import leaks


def nested(levels: int) -> object:
    """A list of a list of ... of 1."""
    innermost: object = 1
    for _ in range(levels):
        innermost = [innermost]
    return innermost


def assert_problem(response: TestResponse, status: int, *fragments: str) -> dict[str, Any]:
    assert response.status_code == status, response.get_data(as_text=True)
    assert response.content_type == "application/problem+json"
    body: dict[str, Any] = response.get_json(force=True)
    assert set(body) - {"errors"} == {"type", "title", "status", "detail"}
    assert (body["type"], body["title"], body["status"]) == ("about:blank", HTTPStatus(status).phrase, status)
    assert body["detail"]
    for fragment in fragments:
        assert fragment in body["detail"]
    if status == HTTPStatus.UNAUTHORIZED and "webhook" not in body["detail"]:
        assert response.headers["WWW-Authenticate"].startswith(("Basic realm=", "Bearer realm="))
    return body


SCENE = {"name": "everest", "role": "pool", "path": "scene.tif"}
SCENES, ROUNDS, JOBS, EVENTS = "/api/v1/scenes", "/api/v1/rounds", "/api/v1/jobs", "/api/v1/label-events"
WITHDRAWALS = "/api/v1/withdrawals"
NO_JOB = f"{JOBS}/{'0' * 32}"

CASES = [
    # Addresses and methods
    ("GET", "/nowhere", {}, 404, ["not found"]),
    ("DELETE", SCENES, {}, 405, ["method is not allowed"]),
    ("GET", f"{SCENES}/", {}, 404, ["not found"]),
    # What is not there
    ("GET", f"{SCENES}/7", {}, 404, ["there is no scene 7"]),
    ("GET", f"{SCENES}/7/patches", {}, 404, ["there is no scene 7"]),
    ("GET", f"{SCENES}/7/prediction.tif", {}, 404, ["there is no scene 7"]),
    ("GET", f"{ROUNDS}/7", {}, 404, ["there is no round 7"]),
    ("GET", NO_JOB, {}, 404, ["there is no job"]),
    ("POST", f"{NO_JOB}/retry", {}, 404, ["there is no job"]),
    ("POST", f"{EVENTS}/7/replay", {}, 404, ["there is no label event 7"]),
    # Types are those of JSON, and times are written out
    ("POST", ROUNDS, {"json": {"seed": False}}, 422, ["seed: Input should be a valid integer (found False)"]),
    ("POST", ROUNDS, {"json": {"seed": "3"}}, 422, ["seed: Input should be a valid integer (found '3')"]),
    ("POST", SCENES, {"json": SCENE | {"dry_run": 0}}, 422, ["dry_run: Input should be a valid boolean (found 0)"]),
    ("GET", "/api/v1/models/champion?at=0.5", {}, 422, ["at: ", "expected a time with its zone in ISO 8601"]),
    ("GET", "/api/v1/models/champion?at=2026-11-26T12:00:00", {}, 422, ["at: Input should have timezone info"]),
    (
        "GET",
        "/api/v1/models/champion?at=0001-01-01T00:00:00%2B14:00",
        {},
        422,
        ["at: ", "expected a time with its zone"],
    ),
    ("GET", "/api/v1/models/champion?at=9999-12-31T23:59:59-14:00", {}, 422, ["at: ", "expected a time with its zone"]),
    # Paths and queries
    ("GET", f"/versions/{2**63}", {}, 404, ["there is no version", "2147483647"]),
    ("GET", f"/rounds/{2**63}", {}, 404, ["there is no round 9", "2147483647"]),
    ("GET", f"/patches/{2**63}", {}, 404, ["there is no patch 9", "2147483647"]),
    ("GET", f"/scenes/{2**63}/replace", {}, 404, ["there is no scene 9", "2147483647"]),
    ("GET", f"{SCENES}/{10**20}", {}, 422, ["scene_id", "less than or equal"]),
    ("GET", f"{JOBS}/not-an-id", {}, 422, ["job_id", "'not-an-id'"]),
    ("GET", f"{SCENES}/7?sort=name", {}, 422, ["unknown query parameter(s) sort", "expected none"]),
    ("GET", f"{SCENES}?sort=name", {}, 422, ["unknown query parameter(s) sort", "expected only after, limit"]),
    ("GET", f"{JOBS}?stat=failed", {}, 422, ["unknown query parameter(s) stat", "expected only before, limit, state"]),
    ("GET", f"{JOBS}?state=dead", {}, 422, ["state", "'queued'", "'dead'"]),
    ("GET", f"{JOBS}?limit=1001", {}, 422, ["limit", "1000"]),
    ("GET", f"{EVENTS}?after=-1", {}, 422, ["after"]),
    ("GET", f"{EVENTS}?after={2**63}", {}, 422, ["after"]),
    ("POST", f"{ROUNDS}?dry=1", {"json": {}}, 422, ["unknown query parameter(s) dry"]),
    # Bodies
    ("POST", SCENES, {"data": b"{", "content_type": "application/json"}, 422, ["the body is not JSON"]),
    (
        *("POST", SCENES, {"data": b"{}", "environ_overrides": {"HTTP_CONTENT_ENCODING": "gzip"}}, 415),
        ["a body encoded with 'gzip', expected one that is not compressed"],
    ),
    ("POST", SCENES, {"data": b"", "content_type": "application/json"}, 422, ["the body is not JSON"]),
    ("POST", SCENES, {"data": b"[" * 100_000, "content_type": "application/json"}, 422, ["nested too deeply"]),
    ("POST", SCENES, {"data": b"\xff", "content_type": "application/json"}, 422, ["the body is not JSON"]),
    ("POST", SCENES, {"data": b"a=1", "content_type": "text/plain"}, 415, ["'text/plain'", "'application/json'"]),
    ("POST", SCENES, {"data": b" " * (2**20 + 1), "content_type": "application/json"}, 413, ["capacity limit"]),
    ("POST", SCENES, {"json": []}, 422, ["a list, expected a JSON object"]),
    ("POST", SCENES, {"json": '{"name": "x"}'}, 422, ["a string, expected a JSON object"]),
    ("POST", SCENES, {"json": {}}, 422, ["role: Field required"]),
    ("POST", SCENES, {"json": {**SCENE, "colour": "red"}}, 422, ["colour: Extra inputs are not permitted"]),
    ("POST", SCENES, {"json": {**SCENE, "role": "train"}}, 422, ["role", "'train'", "'validation'"]),
    ("POST", SCENES, {"json": {**SCENE, "name": "../etc"}}, 422, ["name", "'../etc'"]),
    # Text that no database stores
    ("POST", SCENES, {"json": {**SCENE, "path": "a\0b"}}, 422, ["path: found a null byte"]),
    ("POST", SCENES, {"json": {**SCENE, "dem": [{"path": "\ud800"}]}}, 422, ["path: found a null byte or half"]),
    ("POST", WITHDRAWALS, {"json": {"annotator": "\ud800", "reason": "test"}}, 422, ["annotator: found a null byte"]),
    ("GET", f"{JOBS}/a%00b", {}, 422, ["the address: found a null byte"]),
    ("GET", f"{JOBS}?state=failed&state=a%00b", {}, 422, ["the address: found a null byte"]),
    ("GET", "/annotators/a%00b", {}, 422, ["the address: found a null byte"]),
    ("GET", "/nowhere?a=%00", {}, 404, ["not found"]),
    ("POST", SCENES, {"json": {**SCENE, "name": nested(64)}}, 422, ["name: found lists", "more than 64 levels deep"]),
    ("POST", SCENES, {"json": {**SCENE, "name": nested(63)}}, 422, ["name: Input should be a valid string"]),
    ("POST", SCENES, {"json": {**SCENE, "name": nested(500)}}, 422, ["name: found lists", "more than 64 levels deep"]),
    ("POST", SCENES, {"json": {**SCENE, "region": {"row_off": -1}}}, 422, ["region.row_off"]),
    ("POST", ROUNDS, {"json": {"strategy": "margin"}}, 422, ["strategy", "'margin'", "'entropy_top10'"]),
    ("POST", ROUNDS, {"json": {"size": 0}}, 422, ["size"]),
    ("POST", ROUNDS, {"json": {"seed": 2**31}}, 422, ["seed"]),
    ("POST", ROUNDS, {"json": {"sise": 5}}, 422, ["sise: Extra inputs"]),
    ("POST", ROUNDS, {"json": {}}, 409, ["no patch in the pool", "register a scene"]),
    ("POST", "/api/v1/models/rollback", {"json": {}}, 422, ["reason: Field required"]),
    # Versions, which are told from the copy of the registry, though MLflow is down
    ("GET", "/api/v1/models/3", {}, 404, ["there is no version 3"]),
    ("POST", "/api/v1/models/3/promote", {"json": {"reason": "looks better"}}, 404, ["there is no version 3"]),
    ("POST", "/api/v1/models/rollback", {"json": {"reason": "looks worse"}}, 409, ["no version is served"]),
    ("GET", "/api/v1/models/requests/3", {}, 404, ["there is no request 3"]),
    ("GET", "/api/v1/models/latest", {}, 404, ["no model version has been promoted yet", "label a round"]),
    ("GET", "/api/v1/models/latest/onnx", {}, 404, ["no model version has been promoted yet"]),
    # Signed pictures
    ("GET", "/api/v1/patches/1/composites/heat.png", {}, 422, ["signature: Field required"]),
    ("GET", "/api/v1/patches/1/composites/heat.png?signature=x", {}, 403, ["no valid signature"]),
]


@pytest.mark.parametrize(
    ("method", "address", "request_", "status", "fragments"), CASES, ids=[f"{i}" for i in range(len(CASES))]
)
def test_every_error_has_the_one_shape(
    client: FlaskClient,
    catalog: Catalog,
    method: str,
    address: str,
    request_: dict[str, Any],
    status: int,
    fragments: list[str],
) -> None:
    response = client.open(address, method=method, headers=as_role(catalog, "operator"), **request_)
    assert_problem(response, status, *fragments)


def test_several_faults_are_told_at_once(client: FlaskClient, catalog: Catalog) -> None:
    body = {**SCENE, "role": "train", "colour": "red", "nodata": "none"}
    refused = assert_problem(client.post(SCENES, json=body, headers=as_role(catalog, "operator")), 422)
    assert {fault["field"] for fault in refused["errors"]} == {"role", "colour", "nodata"}
    assert {frozenset(fault) for fault in refused["errors"]} == {frozenset({"field", "fault", "found"})}


def test_what_we_did_not_foresee_tells_nothing_of_our_insides(client: FlaskClient, catalog: Catalog) -> None:
    client.application.view_functions["rounds.list_rounds"] = lambda: 1 / 0
    failed = assert_problem(client.get(ROUNDS, headers=as_role(catalog, "reader")), 500, "its log says why")
    assert "division" not in failed["detail"]


def caught() -> Exception:
    """An exception of the database, with a traceback that leads through a file of ours."""
    try:
        create_engine("sqlite://").connect().execute(text("SELECT name FROM scenes"))
    except SQLAlchemyError as error:
        return error
    raise AssertionError


@pytest.mark.parametrize(
    ("leak", "what"),
    [
        ("".join(traceback.format_exception(caught())), "a traceback"),
        (str(caught()), "a module: 'sqlite3.OperationalError'|the class of an exception: 'OperationalError'"),
        (repr(caught()), "the class of an exception: 'OperationalError'"),
        (str(type(caught())), "an object"),
        ("[SQL: SELECT name FROM scenes]", "SQL"),
        ("(sqlalchemy.exc.NoResultFound) no row", "a module: 'sqlalchemy.exc.NoResultFound'"),
        ('the scene could not be read, see "scenes.py"', "a file of code: 'scenes.py'"),
        (f"{__file__}:17", "a file of code"),
        ("raised in services.scenes.find_scene", "a module"),
        ("raised in al_server.scenes", "a module: 'al_server.scenes'"),
        ("found a SceneSource without bands", "a class: 'SceneSource'"),
        ("ConnectionError", "the class of an exception: 'ConnectionError'"),
        ("HTTPConnectionPool(host='127.0.0.1')", "a call"),
        ("<object object at 0x7f92c7d938f0> has no bands", "an object"),
    ],
)
def test_a_leak_in_any_error_response_fails_the_test_that_gets_it(
    client: FlaskClient, catalog: Catalog, leak: str, what: str
) -> None:
    client.application.view_functions["rounds.list_rounds"] = lambda: problem(500, leak)
    with pytest.raises(AssertionError, match=f"an error response leaks .*({what})"):
        client.get(ROUNDS, headers=as_role(catalog, "reader"))
    client.application.view_functions["rounds.list_rounds"] = lambda: problem(500, "failed", errors=[{"fault": leak}])
    with pytest.raises(AssertionError, match=f"an error response leaks .*({what})"):
        client.get(ROUNDS, headers=as_role(catalog, "reader"))


@pytest.mark.parametrize(
    "message",
    [
        "found no file 'everest.tif' below the scene root of this server; copy it there first",
        "the catalog.sqlite of var/ is locked; Label Studio, MLflow and GeoTIFF are words",
        "Request Timeout: an Error was found at http://127.0.0.1:9/health (found 3)",
    ],
)
def test_plain_messages_are_no_leaks(message: str) -> None:
    assert leaks(message) == []


def test_a_wrong_webhook_secret_has_the_one_shape(client: FlaskClient) -> None:
    response = client.post("/api/v1/webhooks/label-studio", data=b"{}", headers={SECRET_HEADER: "wrong"})
    assert_problem(response, 401, SECRET_HEADER)


@pytest.mark.parametrize("header", [None, "Bearer", "Bearer wrong", "Digest x", "Basic eDp5", "Bearer ü"])
def test_who_is_not_known_has_the_one_shape(client: FlaskClient, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    assert_problem(client.get(SCENES, headers=headers), 401, "token")
