"""The description of the API is valid OpenAPI 3.1, complete, true, and readable without the internet."""

import re
from typing import Any
from urllib.parse import urljoin

import pytest
from flask import Flask
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from al_server import response_headers
from al_server.app import create_app
from al_server.auth import role_needed
from catalog import jobs
from catalog.access_records import Role
from catalog.context import Catalog
from catalog.records import JobKind
from services.request_types import Body
from tests.catalog_fixtures import add_round, add_scene, as_role
from tests.declared_headers import collect_undeclared

CONTRACT = """
GET /healthz
GET /readyz
GET /metrics
POST /api/v1/scenes
GET /api/v1/scenes
GET /api/v1/scenes/{scene_id}
GET /api/v1/scenes/requests/{request_id}
POST /api/v1/scenes/uploads
PUT /api/v1/scenes/uploads/{folder}/{name}
GET /api/v1/scenes/{scene_id}/patches
GET /api/v1/scenes/{scene_id}/map
GET /api/v1/scenes/{scene_id}/tiles/{view}/{z}/{x}/{y}.webp
GET /api/v1/scenes/{scene_id}/maps/{layer}/{z}/{x}/{y}.webp
GET /api/v1/scenes/{scene_id}/window
GET /api/v1/scenes/{scene_id}/tiles/{view}/window
GET /api/v1/scenes/{scene_id}/maps/{layer}/window
GET /api/v1/scenes/{scene_id}/maps/{layer}/window.webp
GET /api/v1/scenes/{scene_id}/bands/window
GET /api/v1/scenes/{scene_id}/superpixels
GET /api/v1/scenes/{scene_id}/grid
GET /api/v1/scenes/{scene_id}/pixels
GET /api/v1/scenes/{scene_id}/prediction.tif
GET /api/v1/scenes/{scene_id}/prediction.geojson
GET /api/v1/scenes/{scene_id}/prediction.gpkg
GET /api/v1/scenes/{scene_id}/prediction.shp.zip
GET /api/v1/scenes/{scene_id}/prediction.confidence.tif
GET /api/v1/scenes/{scene_id}/prediction.areas.json
POST /api/v1/predict
GET /api/v1/predict/{uid}
GET /api/v1/predict/{uid}/{suffix}
GET /api/v1/scenes/{scene_id}/prediction.glims.zip
GET /api/v1/scenes/{scene_id}/glaciers
GET /api/v1/scenes/{scene_id}/labels
GET /api/v1/live
GET /api/v1/status
GET /api/v1/settings
PATCH /api/v1/settings
GET /api/v1/settings/changes
GET /api/v1/scorings
GET /api/v1/set-aside
POST /api/v1/rounds
GET /api/v1/rounds
GET /api/v1/rounds/{round_id}
POST /api/v1/fine-tunes
GET /api/v1/arms
GET /api/v1/effort
POST /api/v1/changes
GET /api/v1/changes
GET /api/v1/changes/{uid}
GET /api/v1/changes/{uid}/{suffix}
GET /api/v1/quality
PUT /api/v1/quality/references/{label_id}
DELETE /api/v1/quality/references/{label_id}
GET /api/v1/patches/{patch_id}/composites/{name}.png
GET /api/v1/patches/{patch_id}/labels/{label_id}.webp
POST /api/v1/webhooks/label-studio
GET /api/v1/interactive/health
POST /api/v1/interactive/setup
POST /api/v1/interactive/predict
GET /api/v1/label-events
POST /api/v1/label-events/{event_id}/replay
POST /api/v1/scenes/{scene_id}/corrections
GET /api/v1/reconciliations
GET /api/v1/models
GET /api/v1/models/{version}
GET /api/v1/models/{version}/lineage
GET /api/v1/models/{version}/saliency/{block}.webp
POST /api/v1/models/{version}/reproductions
GET /api/v1/models/{version}/reproductions
POST /api/v1/withdrawals
GET /api/v1/withdrawals
GET /api/v1/models/tracks
GET /api/v1/models/decisions
GET /api/v1/models/latest
GET /api/v1/models/latest/onnx
GET /api/v1/scenes/{scene_id}/qgis/deepness.onnx
GET /api/v1/scenes/{scene_id}/qgis/layers.qlr
GET /api/v1/scenes/{scene_id}/qgis/tiles/{view}/{z}/{x}/{y}.webp
GET /api/v1/scenes/{scene_id}/qgis/maps/{layer}/{z}/{x}/{y}.webp
GET /api/v1/qgis/outlines.qml
GET /api/v1/qgis/classes.qml
POST /api/v1/scenes/{scene_id}/labels
GET /api/v1/models/latest/weights
GET /api/v1/models/latest/card
POST /api/v1/models/{version}/promote
POST /api/v1/models/rollback
GET /api/v1/models/requests/{request_id}
GET /api/v1/models/champion
GET /api/v1/canary
POST /api/v1/canary/{comparison_id}/acknowledge
GET /api/v1/subscriptions
POST /api/v1/subscriptions
DELETE /api/v1/subscriptions/{subscription_id}
POST /api/v1/subscriptions/{subscription_id}/replay
POST /api/v1/subscriptions/{subscription_id}/rotate
GET /api/v1/subscriptions/deliveries
GET /api/v1/jobs
GET /api/v1/jobs/{job_id}
PUT /api/v1/scenes/{scene_id}
DELETE /api/v1/scenes/{scene_id}
POST /api/v1/jobs/{job_id}/retry
POST /api/v1/jobs/{job_id}/cancel
POST /api/v1/rounds/{round_id}/abandon
POST /api/v1/annotators
GET /api/v1/data-sets
POST /api/v1/data-sets
DELETE /api/v1/data-sets/{uid}
GET /api/v1/data-sets/{uid}/file
GET /api/v1/glims-submissions
POST /api/v1/glims-submissions
DELETE /api/v1/glims-submissions/{uid}
GET /api/v1/glims-submissions/{uid}/file
GET /api/v1/experiments
POST /api/v1/experiments
POST /api/v1/simulations
DELETE /api/v1/experiments/{uid}
GET /api/v1/experiments/{uid}/file
GET /api/v1/experiments/{uid}/table
GET /api/v1/experiments/{uid}/figure
POST /api/v1/glims-checks
GET /api/v1/backups
POST /api/v1/backups
GET /api/v1/installation-checks
POST /api/v1/installation-checks
GET /api/v1/users
POST /api/v1/users
PATCH /api/v1/users/{name}
GET /api/v1/tokens
POST /api/v1/tokens
POST /api/v1/tokens/{name}/rotate
DELETE /api/v1/tokens/{name}
"""


@pytest.fixture
def document(client: FlaskClient) -> dict[str, Any]:
    response = client.get("/openapi.json")
    assert (response.status_code, response.content_type) == (200, "application/json")
    found: dict[str, Any] = response.json
    return found


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path): operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


def references(node: object) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [found for value in node.values() for found in references(value)]
    return [found for value in node for found in references(value)] if isinstance(node, list) else []


def test_the_document_describes_the_whole_contract(document: dict[str, Any]) -> None:
    described = {f"{method} {path}" for method, path in operations(document)}
    assert described == set(CONTRACT.strip().splitlines())


def test_the_document_keeps_to_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    assert set(document["info"]) >= {"title", "version"}
    names = [operation["operationId"] for operation in operations(document).values()]
    assert len(set(names)) == len(names)
    for (_, path), operation in operations(document).items():
        parameters = operation.get("parameters", [])
        assert {item["name"] for item in parameters if item["in"] == "path"} == set(re.findall(r"{(\w+)}", path))
        assert all(item["required"] for item in parameters if item["in"] == "path")
        assert all("schema" in item for item in parameters)
        assert operation["responses"]
        for status, response in operation["responses"].items():
            assert re.fullmatch(r"[1-5]\d\d|default", status)
            assert isinstance(response["description"], str)
        assert operation["summary"]
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_every_body_has_the_types_of_json(app: Flask) -> None:
    """Only a `Body` is read so; a schema that forgets it takes false for 0."""
    bodies = {
        name: view.__annotations__["body"]
        for name, view in app.view_functions.items()
        if "body" in getattr(view, "__annotations__", {})
    }
    assert len(bodies) > 15
    assert [name for name, schema in bodies.items() if not issubclass(schema, Body)] == []


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(references(document)) <= known


def test_every_operation_says_who_may_call_it(app: Flask, document: dict[str, Any]) -> None:
    schemes = set(document["components"]["securitySchemes"])
    described = operations(document)
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        for method in ("GET", "POST"):
            operation = described.get((method, path))
            if operation is None or method not in (rule.methods or ()):
                continue
            assert {name for entry in operation["security"] for name in entry} <= schemes
            needed = role_needed(rule.endpoint, method)
            assert operation.get("x-role") == (None if needed is Role.PUBLIC else needed.title)
            assert (operation["security"] == [{"token": []}]) == (needed is not Role.PUBLIC)
    assert described["POST", "/api/v1/webhooks/label-studio"]["security"] == [{"webhook": []}]


def test_what_may_be_known_already_or_asked_for_in_parts_is_told(document: dict[str, Any]) -> None:
    def with_status(status: str) -> set[str]:
        return {path for (_, path), operation in operations(document).items() if status in operation["responses"]}

    files = {f"/api/v1/models/latest/{name}" for name in ("onnx", "weights", "card")}
    files |= {f"/api/v1/{name}/{{uid}}/file" for name in ("data-sets", "glims-submissions", "experiments")}
    assert with_status("206") == files
    tiles = {f"{kind}/{{z}}/{{x}}/{{y}}.webp" for kind in ("tiles/{view}", "maps/{layer}")}
    of_scenes = {*tiles, *(f"qgis/{tile}" for tile in tiles), "pixels", "qgis/deepness.onnx"}
    known = {"/api/v1/models/latest", *(f"/api/v1/scenes/{{scene_id}}/{name}" for name in of_scenes)}
    assert with_status("304") == files | known


def test_headers_are_declared_for_calls_that_exist(app: Flask, document: dict[str, Any]) -> None:
    assert {*response_headers.ON_SUCCESS, *response_headers.ON_ACCEPTANCE} <= set(app.view_functions)
    described = operations(document)
    accepted = described["POST", "/api/v1/rounds"]["responses"]["202"]["headers"]
    assert accepted == {"Location": {"description": "where to ask what came of it", "schema": {"type": "string"}}}
    assert list(described["GET", "/api/v1/jobs"]["responses"]["200"]["headers"]) == ["Link"]
    tif = described["GET", "/api/v1/scenes/{scene_id}/prediction.tif"]["responses"]
    assert list(tif["202"]["headers"]) == ["Location", "Retry-After"]
    assert "lineage" in tif["200"]["headers"]["Link"]["description"]
    assert all("Retry-After" in operation["responses"]["default"]["headers"] for operation in described.values())


def test_a_header_that_is_not_declared_is_found(catalog: Catalog) -> None:
    """The fixture `app` fails a test in which a response has such a header."""
    with catalog.database.write() as session:
        add_scene(session)
    app = create_app(catalog)
    found = collect_undeclared(app)
    del app.extensions["operations"]["rounds.open_round", "POST"]["responses"]["202"]["headers"]
    response = app.test_client().post("/api/v1/rounds", json={}, headers=as_role(catalog, "operator"))
    place = response.headers["Location"]
    assert found == [f"POST /api/v1/rounds, 202: Location: {place}"]


def test_every_operation_has_the_one_shape_of_errors_and_a_success(document: dict[str, Any]) -> None:
    for operation in operations(document).values():
        assert list(operation["responses"]["default"]["content"]) == ["application/problem+json"]
        assert "422" not in operation["responses"]
        assert any(status.startswith("2") for status in operation["responses"])
        assert operation["tags"]


def test_answers_are_as_described(client: FlaskClient, catalog: Catalog, document: dict[str, Any]) -> None:
    with catalog.database.write() as session:
        scene, patches = add_scene(session)
        add_round(session, patches[:2])
        job = jobs.enqueue(session, JobKind.TILE_SCENE, "1", scene_id=1)
    registry: Registry[Any] = Registry().with_resource(
        "urn:api", Resource.from_contents(document, default_specification=DRAFT202012)
    )
    addresses = {
        "/api/v1/scenes": "/api/v1/scenes",
        "/api/v1/scenes/{scene_id}": f"/api/v1/scenes/{scene.id}",
        "/api/v1/scorings": "/api/v1/scorings",
        "/api/v1/set-aside": "/api/v1/set-aside",
        "/api/v1/rounds": "/api/v1/rounds",
        "/api/v1/rounds/{round_id}": "/api/v1/rounds/1",
        "/api/v1/jobs": "/api/v1/jobs",
        "/api/v1/jobs/{job_id}": f"/api/v1/jobs/{job.id}",
        "/api/v1/label-events": "/api/v1/label-events",
        "/healthz": "/healthz",
        "/readyz": "/readyz",
    }
    for path, address in addresses.items():
        response = client.get(address, headers=as_role(catalog, "reader"))
        described = document["paths"][path]["get"]["responses"][str(response.status_code)]["content"]
        reference = described[response.content_type]["schema"]["$ref"]
        Draft202012Validator({"$ref": f"urn:api{reference}"}, registry=registry).validate(response.json)
    problem = client.get("/api/v1/rounds/9", headers=as_role(catalog, "reader")).get_json(force=True)
    Draft202012Validator({"$ref": "urn:api#/components/schemas/Problem"}, registry=registry).validate(problem)


def test_the_page_loads_nothing_from_elsewhere(client: FlaskClient) -> None:
    response = client.get("/docs", follow_redirects=True)
    assert response.status_code == 200
    assert re.findall(r"https?://[^\s\"'<]+", response.text) == []
    loaded = re.findall(r"(?:src|href)=\"([^\"]+)\"", response.text)
    assert len(loaded) >= 3
    for address in [*loaded, "openapi.json"]:
        with client.get(urljoin("/docs/swagger", address)) as part:
            assert part.status_code == 200
    with client.get("/static/api_page.js") as part:
        script = part.text
    assert "https:" not in script
    # Left to itself the page would send the address of this server to a public validator.
    assert "validatorUrl: null" in script
