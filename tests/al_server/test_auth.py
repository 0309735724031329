"""Who may call what: the whole table, since a forgotten line would be an open door."""

import base64

import pytest
from flask import Flask
from flask.testing import FlaskClient

from al_server.auth import Role, role_needed
from catalog.context import Catalog
from tests.catalog_fixtures import as_role

EXPECTED = {
    ("GET", "/"): Role.READER,
    ("GET", "/healthz"): Role.PUBLIC,
    ("GET", "/readyz"): Role.PUBLIC,
    ("GET", "/metrics"): Role.READER,
    ("GET", "/openapi.json"): Role.PUBLIC,
    ("GET", "/docs"): Role.PUBLIC,
    ("GET", "/docs/"): Role.PUBLIC,
    ("GET", "/docs/openapi.json"): Role.PUBLIC,
    ("GET", "/docs/swagger"): Role.PUBLIC,
    ("GET", "/docs/oauth2-redirect.html"): Role.PUBLIC,
    ("GET", "/docs/swagger/<path:filename>"): Role.PUBLIC,
    ("GET", "/docs/static/<path:filename>"): Role.PUBLIC,
    ("GET", "/static/<path:filename>"): Role.PUBLIC,
    ("GET", "/api/v1/scenes"): Role.READER,
    ("POST", "/api/v1/scenes"): Role.OPERATOR,
    ("GET", "/api/v1/scenes/<int:scene_id>"): Role.READER,
    ("GET", "/api/v1/scenes/<int:scene_id>/patches"): Role.READER,
    ("GET", "/api/v1/scenes/<int:scene_id>/prediction.tif"): Role.READER,
    ("GET", "/api/v1/scenes/<int:scene_id>/prediction.geojson"): Role.READER,
    ("GET", "/api/v1/scenes/<int:scene_id>/prediction.gpkg"): Role.READER,
    ("GET", "/api/v1/scenes/<int:scene_id>/prediction.shp.zip"): Role.READER,
    ("GET", "/api/v1/scenes/<int:scene_id>/prediction.confidence.tif"): Role.READER,
    ("GET", "/api/v1/scenes/<int:scene_id>/prediction.areas.json"): Role.READER,
    ("GET", "/api/v1/patches/<int:patch_id>/composites/<name>.png"): Role.PUBLIC,  # signed
    ("PUT", "/api/v1/scenes/<int:scene_id>"): Role.OPERATOR,
    ("DELETE", "/api/v1/scenes/<int:scene_id>"): Role.OPERATOR,
    ("GET", "/api/v1/scorings"): Role.READER,
    ("GET", "/api/v1/set-aside"): Role.READER,
    ("GET", "/api/v1/rounds"): Role.READER,
    ("POST", "/api/v1/rounds"): Role.OPERATOR,
    ("GET", "/api/v1/rounds/<int:round_id>"): Role.READER,
    ("POST", "/api/v1/rounds/<int:round_id>/abandon"): Role.OPERATOR,
    ("GET", "/api/v1/arms"): Role.READER,
    ("GET", "/api/v1/effort"): Role.READER,
    ("GET", "/api/v1/quality"): Role.OPERATOR,  # tells of people
    ("GET", "/api/v1/jobs"): Role.READER,
    ("GET", "/api/v1/jobs/<job_id>"): Role.READER,
    ("POST", "/api/v1/jobs/<job_id>/retry"): Role.OPERATOR,
    ("POST", "/api/v1/jobs/<job_id>/cancel"): Role.OPERATOR,
    ("POST", "/api/v1/webhooks/label-studio"): Role.PUBLIC,  # a secret of its own
    ("GET", "/api/v1/interactive/health"): Role.PUBLIC,  # a password of its own, as the two that follow
    ("POST", "/api/v1/interactive/setup"): Role.PUBLIC,
    ("POST", "/api/v1/interactive/predict"): Role.PUBLIC,
    ("GET", "/api/v1/label-events"): Role.READER,
    ("POST", "/api/v1/label-events/<int:event_id>/replay"): Role.LABELER,
    ("GET", "/api/v1/models"): Role.READER,
    ("GET", "/api/v1/models/<int:version>"): Role.READER,
    ("GET", "/api/v1/models/tracks"): Role.READER,
    ("GET", "/api/v1/models/decisions"): Role.READER,
    ("GET", "/api/v1/models/latest"): Role.READER,
    ("GET", "/api/v1/models/latest/onnx"): Role.READER,
    ("GET", "/api/v1/models/latest/weights"): Role.READER,
    ("GET", "/api/v1/models/latest/card"): Role.READER,
    ("POST", "/api/v1/models/<int:version>/promote"): Role.OPERATOR,
    ("POST", "/api/v1/models/rollback"): Role.OPERATOR,
    ("GET", "/api/v1/models/champion"): Role.READER,
    ("GET", "/api/v1/subscriptions"): Role.OPERATOR,
    ("POST", "/api/v1/subscriptions"): Role.OPERATOR,
    ("DELETE", "/api/v1/subscriptions/<int:subscription_id>"): Role.OPERATOR,
    ("POST", "/api/v1/subscriptions/<int:subscription_id>/replay"): Role.OPERATOR,
    ("GET", "/api/v1/subscriptions/deliveries"): Role.OPERATOR,
}


def test_every_endpoint_needs_the_role_that_it_should(app: Flask) -> None:
    found = {
        (method, rule.rule): role_needed(rule.endpoint, method)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert found == EXPECTED


REQUESTS = [
    ("GET", "/api/v1/scenes", Role.READER),
    ("GET", "/", Role.READER),
    ("HEAD", "/api/v1/scenes", Role.READER),
    ("POST", "/api/v1/label-events/1/replay", Role.LABELER),
    ("POST", "/api/v1/rounds", Role.OPERATOR),
]


@pytest.mark.parametrize(("method", "address", "needed"), REQUESTS)
@pytest.mark.parametrize("given", [Role.READER, Role.LABELER, Role.OPERATOR])
def test_a_role_may_do_what_those_below_it_may(
    client: FlaskClient, catalog: Catalog, method: str, address: str, needed: Role, given: Role
) -> None:
    headers = as_role(catalog, given.name.lower())
    status = client.open(address, method=method, json={} if method == "POST" else None, headers=headers).status_code
    assert (status == 403) == (given < needed)
    assert status != 401


def test_who_may_not_is_told_what_is_needed(client: FlaskClient, catalog: Catalog) -> None:
    response = client.post("/api/v1/rounds", json={}, headers=as_role(catalog, "labeler"))
    assert response.get_json(force=True)["detail"] == "the token has the role labeler, this needs operator"


@pytest.mark.parametrize("address", ["/healthz", "/readyz", "/openapi.json", "/docs/swagger"])
def test_the_public_part_needs_no_token(client: FlaskClient, address: str) -> None:
    assert client.get(address).status_code in {200, 503}


def test_a_browser_logs_in_with_the_token_as_password(client: FlaskClient, catalog: Catalog) -> None:
    pair = base64.b64encode(f"anyone:{catalog.secrets.reader_token}".encode()).decode()
    assert client.get("/", headers={"Authorization": f"Basic {pair}"}).status_code == 200


def test_a_preflight_of_the_web_tool_is_answered_without_a_token(client: FlaskClient) -> None:
    headers = {
        "Origin": "http://web.example",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization, if-none-match, range",
    }
    response = client.options("/api/v1/models/latest/onnx", headers=headers)
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] in {"*", "http://web.example"}
    allowed = response.headers["Access-Control-Allow-Headers"].lower()
    assert {"authorization", "if-none-match", "range"} <= {name.strip() for name in allowed.split(",")}


def test_what_is_not_for_other_origins_says_nothing_to_them(client: FlaskClient, catalog: Catalog) -> None:
    headers = {**as_role(catalog, "operator"), "Origin": "http://web.example"}
    assert "Access-Control-Allow-Origin" not in client.get("/api/v1/jobs", headers=headers).headers
