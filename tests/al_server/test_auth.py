"""Who may call what: the whole table, since a forgotten line would be an open door.

Each endpoint is called with each role, and with credentials that are right, wrong, expired, revoked, replaced, of a
disabled user, missing, or the cookie of a log-in that a page of another origin makes the browser send.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from al_server.auth import SAFE_METHODS, role_needed
from catalog.access_records import AccessToken, Role
from catalog.context import Catalog
from catalog.records import now
from services import tokens, users
from tests.catalog_fixtures import as_role

EXPECTED = {
    ("GET", "/"): Role.READER,
    ("GET", "/map"): Role.READER,
    ("GET", "/dashboard/<name>"): Role.READER,
    ("GET", "/versions/<int:version>"): Role.READER,
    ("GET", "/rounds/<int:round_id>"): Role.READER,
    ("GET", "/patches/<int:patch_id>"): Role.READER,
    ("GET", "/annotators/<path:name>"): Role.READER,  # agreement, and the accounts of others, for operators only
    ("GET", "/scenes/add"): Role.OPERATOR,
    ("GET", "/scenes/<int:scene_id>/replace"): Role.OPERATOR,
    ("GET", "/settings"): Role.READER,
    ("GET", "/people"): Role.ADMINISTRATOR,
    ("GET", "/changes"): Role.READER,
    ("GET", "/changes/<uid>"): Role.READER,
    ("GET", "/quality"): Role.OPERATOR,
    ("GET", "/events"): Role.OPERATOR,
    ("GET", "/data-sets"): Role.OPERATOR,
    ("GET", "/experiments"): Role.OPERATOR,
    ("GET", "/installation"): Role.ADMINISTRATOR,
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
    ("GET", "/api/v1/scenes/requests/<int:request_id>"): Role.OPERATOR,
    ("POST", "/api/v1/scenes/uploads"): Role.OPERATOR,
    ("PUT", "/api/v1/scenes/uploads/<folder>/<name>"): Role.OPERATOR,
    ("GET", "/api/v1/scenes/<int:scene_id>/patches"): Role.READER,
    ("GET", "/api/v1/scenes/<int:scene_id>/map"): Role.READER,
    ("GET", "/api/v1/scenes/<int:scene_id>/tiles/<view>/<int:z>/<int:x>/<int:y>.webp"): Role.READER,
    ("GET", "/api/v1/scenes/<int:scene_id>/maps/<layer>/<int:z>/<int:x>/<int:y>.webp"): Role.READER,
    ("GET", "/api/v1/scenes/<int:scene_id>/window"): Role.READER,
    ("GET", "/api/v1/scenes/<int:scene_id>/tiles/<view>/window"): Role.READER,
    ("GET", "/api/v1/scenes/<int:scene_id>/maps/<layer>/window"): Role.READER,
    ("GET", "/api/v1/scenes/<int:scene_id>/maps/<layer>/window.webp"): Role.READER,
    ("GET", "/api/v1/scenes/<int:scene_id>/bands/window"): Role.READER,
    ("GET", "/api/v1/scenes/<int:scene_id>/superpixels"): Role.READER,
    ("POST", "/api/v1/scenes/<int:scene_id>/corrections"): Role.ANNOTATOR,
    ("POST", "/api/v1/predict"): Role.READER,
    ("POST", "/api/v1/changes"): Role.READER,
    ("GET", "/api/v1/changes"): Role.READER,
    ("GET", "/api/v1/changes/<uid>"): Role.READER,
    ("GET", "/api/v1/changes/<uid>/<suffix>"): Role.READER,
    ("GET", "/api/v1/predict/<uid>"): Role.READER,
    ("GET", "/api/v1/predict/<uid>/<suffix>"): Role.READER,
    ("GET", "/api/v1/scenes/<int:scene_id>/grid"): Role.READER,
    ("GET", "/api/v1/scenes/<int:scene_id>/pixels"): Role.READER,
    ("GET", "/api/v1/scenes/<int:scene_id>/prediction.tif"): Role.READER,
    ("GET", "/api/v1/scenes/<int:scene_id>/prediction.geojson"): Role.READER,
    ("GET", "/api/v1/scenes/<int:scene_id>/prediction.gpkg"): Role.READER,
    ("GET", "/api/v1/scenes/<int:scene_id>/prediction.shp.zip"): Role.READER,
    ("GET", "/api/v1/scenes/<int:scene_id>/prediction.confidence.tif"): Role.READER,
    ("GET", "/api/v1/scenes/<int:scene_id>/prediction.areas.json"): Role.READER,
    ("GET", "/api/v1/scenes/<int:scene_id>/prediction.glims.zip"): Role.READER,
    ("GET", "/api/v1/scenes/<int:scene_id>/glaciers"): Role.READER,
    ("GET", "/api/v1/scenes/<int:scene_id>/labels"): Role.READER,
    ("GET", "/api/v1/patches/<int:patch_id>/composites/<name>.png"): Role.PUBLIC,  # signed
    ("GET", "/api/v1/patches/<int:patch_id>/labels/<int:label_id>.webp"): Role.READER,
    ("PUT", "/api/v1/scenes/<int:scene_id>"): Role.OPERATOR,
    ("DELETE", "/api/v1/scenes/<int:scene_id>"): Role.OPERATOR,
    ("GET", "/api/v1/live"): Role.READER,
    ("GET", "/api/v1/status"): Role.READER,
    ("GET", "/api/v1/settings"): Role.READER,
    ("PATCH", "/api/v1/settings"): Role.OPERATOR,
    ("GET", "/api/v1/settings/changes"): Role.READER,
    ("GET", "/api/v1/scorings"): Role.READER,
    ("GET", "/api/v1/set-aside"): Role.READER,
    ("GET", "/api/v1/rounds"): Role.READER,
    ("POST", "/api/v1/rounds"): Role.OPERATOR,
    ("GET", "/api/v1/rounds/<int:round_id>"): Role.READER,
    ("POST", "/api/v1/rounds/<int:round_id>/abandon"): Role.OPERATOR,
    ("POST", "/api/v1/fine-tunes"): Role.OPERATOR,
    ("GET", "/api/v1/arms"): Role.READER,
    ("GET", "/api/v1/effort"): Role.READER,
    ("GET", "/api/v1/quality"): Role.OPERATOR,  # tells of people
    ("PUT", "/api/v1/quality/references/<int:label_id>"): Role.OPERATOR,
    ("DELETE", "/api/v1/quality/references/<int:label_id>"): Role.OPERATOR,
    ("GET", "/api/v1/jobs"): Role.READER,
    ("GET", "/api/v1/jobs/<job_id>"): Role.READER,
    ("POST", "/api/v1/jobs/<job_id>/retry"): Role.OPERATOR,
    ("POST", "/api/v1/jobs/<job_id>/cancel"): Role.OPERATOR,
    ("POST", "/api/v1/webhooks/label-studio"): Role.PUBLIC,  # a secret of its own
    ("GET", "/api/v1/interactive/health"): Role.PUBLIC,  # a password of its own, as the two that follow
    ("POST", "/api/v1/interactive/setup"): Role.PUBLIC,
    ("POST", "/api/v1/interactive/predict"): Role.PUBLIC,
    ("GET", "/api/v1/label-events"): Role.READER,
    ("POST", "/api/v1/label-events/<int:event_id>/replay"): Role.ANNOTATOR,
    ("GET", "/api/v1/reconciliations"): Role.READER,
    ("GET", "/api/v1/models"): Role.READER,
    ("GET", "/api/v1/models/<int:version>"): Role.READER,
    ("GET", "/api/v1/models/tracks"): Role.READER,
    ("GET", "/api/v1/models/decisions"): Role.READER,
    ("GET", "/api/v1/models/latest"): Role.READER,
    ("GET", "/api/v1/models/latest/onnx"): Role.READER,
    ("GET", "/api/v1/scenes/<int:scene_id>/qgis/deepness.onnx"): Role.READER,
    ("GET", "/api/v1/scenes/<int:scene_id>/qgis/layers.qlr"): Role.READER,
    ("GET", "/api/v1/scenes/<int:scene_id>/qgis/tiles/<view>/<int:z>/<int:x>/<int:y>.webp"): Role.PUBLIC,  # signed
    ("GET", "/api/v1/scenes/<int:scene_id>/qgis/maps/<layer>/<int:z>/<int:x>/<int:y>.webp"): Role.PUBLIC,
    ("GET", "/api/v1/qgis/outlines.qml"): Role.READER,
    ("GET", "/api/v1/qgis/classes.qml"): Role.READER,
    ("POST", "/api/v1/scenes/<int:scene_id>/labels"): Role.ANNOTATOR,
    ("GET", "/api/v1/models/latest/weights"): Role.READER,
    ("GET", "/api/v1/models/latest/card"): Role.READER,
    ("POST", "/api/v1/models/<int:version>/promote"): Role.OPERATOR,
    ("POST", "/api/v1/models/rollback"): Role.OPERATOR,
    ("GET", "/api/v1/models/requests/<int:request_id>"): Role.READER,
    ("POST", "/api/v1/models/<int:version>/reproductions"): Role.OPERATOR,
    ("GET", "/api/v1/models/<int:version>/reproductions"): Role.READER,
    ("GET", "/api/v1/models/champion"): Role.READER,
    ("GET", "/api/v1/canary"): Role.READER,
    ("POST", "/api/v1/canary/<int:comparison_id>/acknowledge"): Role.OPERATOR,
    ("GET", "/api/v1/subscriptions"): Role.OPERATOR,
    ("POST", "/api/v1/subscriptions"): Role.OPERATOR,
    ("DELETE", "/api/v1/subscriptions/<int:subscription_id>"): Role.OPERATOR,
    ("POST", "/api/v1/subscriptions/<int:subscription_id>/replay"): Role.OPERATOR,
    ("POST", "/api/v1/subscriptions/<int:subscription_id>/rotate"): Role.OPERATOR,
    ("GET", "/api/v1/subscriptions/deliveries"): Role.OPERATOR,
    ("GET", "/api/v1/models/<int:version>/lineage"): Role.READER,
    ("GET", "/api/v1/models/<int:version>/saliency/<int:block>.webp"): Role.READER,
    ("GET", "/api/v1/withdrawals"): Role.OPERATOR,
    ("POST", "/api/v1/withdrawals"): Role.OPERATOR,
    ("GET", "/api/v1/data-sets"): Role.OPERATOR,  # they hold labels of patches that wait for a second annotator
    ("POST", "/api/v1/data-sets"): Role.OPERATOR,
    ("DELETE", "/api/v1/data-sets/<uid>"): Role.OPERATOR,
    ("GET", "/api/v1/data-sets/<uid>/file"): Role.OPERATOR,
    ("GET", "/api/v1/glims-submissions"): Role.OPERATOR,  # likewise; and they may name annotators by their accounts
    ("POST", "/api/v1/glims-submissions"): Role.OPERATOR,
    ("DELETE", "/api/v1/glims-submissions/<uid>"): Role.OPERATOR,
    ("GET", "/api/v1/glims-submissions/<uid>/file"): Role.OPERATOR,
    ("POST", "/api/v1/glims-checks"): Role.OPERATOR,
    ("GET", "/api/v1/experiments"): Role.OPERATOR,  # they tell what scenes are like by which versions are judged
    ("POST", "/api/v1/experiments"): Role.OPERATOR,
    ("POST", "/api/v1/simulations"): Role.OPERATOR,
    ("DELETE", "/api/v1/experiments/<uid>"): Role.OPERATOR,
    ("GET", "/api/v1/experiments/<uid>/file"): Role.OPERATOR,
    ("GET", "/api/v1/experiments/<uid>/table"): Role.OPERATOR,
    ("GET", "/api/v1/experiments/<uid>/figure"): Role.OPERATOR,
    ("POST", "/api/v1/annotators"): Role.ADMINISTRATOR,
    ("GET", "/api/v1/backups"): Role.ADMINISTRATOR,
    ("POST", "/api/v1/backups"): Role.ADMINISTRATOR,
    ("GET", "/api/v1/installation-checks"): Role.ADMINISTRATOR,
    ("POST", "/api/v1/installation-checks"): Role.ADMINISTRATOR,
    ("GET", "/api/v1/users"): Role.ADMINISTRATOR,
    ("POST", "/api/v1/users"): Role.ADMINISTRATOR,
    ("PATCH", "/api/v1/users/<name>"): Role.ADMINISTRATOR,
    ("GET", "/api/v1/tokens"): Role.ADMINISTRATOR,
    ("POST", "/api/v1/tokens"): Role.ADMINISTRATOR,
    ("POST", "/api/v1/tokens/<name>/rotate"): Role.ADMINISTRATOR,
    ("DELETE", "/api/v1/tokens/<name>"): Role.ADMINISTRATOR,
    ("GET", "/login"): Role.PUBLIC,
    ("POST", "/login"): Role.PUBLIC,  # a password of its own
    ("POST", "/logout"): Role.READER,
    ("GET", "/account"): Role.READER,
    ("POST", "/account"): Role.READER,
}


def test_every_endpoint_needs_the_role_that_it_should(app: Flask) -> None:
    found = {
        (method, rule.rule): role_needed(rule.endpoint, method)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert found == EXPECTED


LOGGED_IN = (Role.READER, Role.ANNOTATOR, Role.OPERATOR, Role.ADMINISTRATOR)
PASSWORD = "correct horse battery"
OWN_CREDENTIALS = "/api/v1/(webhooks|interactive)/"
FORMS = {("POST", "/login"), ("POST", "/logout"), ("POST", "/account")}


@dataclass
class Access:
    """Credentials of every kind."""

    tokens: Mapping[Role, str]
    spoilt: Mapping[str, str]
    browsers: Mapping[Role, FlaskClient]  # with the cookie of a log-in
    forms: Mapping[Role, str]  # the value that our pages send with a form


def field_of(html: str) -> str:
    return html.split('name="csrf_token" value="')[1].split('"', maxsplit=1)[0]


def log_in(client: FlaskClient, name: str, password: str = PASSWORD, **more: str) -> Any:
    form = {"csrf_token": field_of(client.get("/login").text), "name": name, "password": password, **more}
    return client.post("/login", data=form)


@pytest.fixture
def access(app: Flask, catalog: Catalog) -> Access:
    """A user and a token for each role; one token for each way to be refused; logged-in browsers."""
    spoilt = {}
    with catalog.database.write() as session:
        for role in LOGGED_IN:
            users.add(session, f"{role.title}-person", role, PASSWORD)
        users.add(session, "gone", Role.ADMINISTRATOR, PASSWORD)
        made = {role: tokens.add(session, f"{role.title}-program", role)[1] for role in LOGGED_IN}
        for name in ("expired", "revoked", "replaced", "disabled"):
            owner = "gone" if name == "disabled" else None
            _, spoilt[name] = tokens.add(session, name, Role.ADMINISTRATOR, user=owner)
        session.query(AccessToken).filter_by(name="expired").one().expires_at = now() - timedelta(seconds=1)
        tokens.revoke(session, "revoked")
        tokens.rotate(session, "replaced")
        users.disable(session, "gone")
    browsers = {role: app.test_client() for role in LOGGED_IN}
    for role, browser in browsers.items():
        assert log_in(browser, f"{role.title}-person").status_code == 303
    forms = {role: field_of(browser.get("/account").text) for role, browser in browsers.items()}
    return Access(made, {**spoilt, "wrong": "gal_" + "A" * 43}, browsers, forms)


def calls() -> list[tuple[str, str, Role]]:
    """Each endpoint once, with numbers and names that exist nowhere, so that no call has an effect."""
    return [
        (method, re.sub(r"<int:\w+>", "99", re.sub(r"<(path:)?\w+>", "heat", rule)), needed)
        for (method, rule), needed in EXPECTED.items()
    ]


def outcome(client: FlaskClient, method: str, address: str, **headers: str) -> str:
    """Call an endpoint; return "who?" (401), "may not" (403) or "answered"."""
    body = {} if method not in SAFE_METHODS else None
    with client.open(address, method=method, json=body, headers=headers) as response:
        return {401: "who?", 403: "may not", 204: "answered"}.get(response.status_code, response.text)


def test_the_table_of_endpoints_roles_and_credentials(app: Flask, access: Access) -> None:
    app.test_client_class = FlaskClient  # a thousand refusals need not be searched for leaks
    app.view_functions = dict.fromkeys(app.view_functions, lambda **_: ("", 204))  # what a view does is not looked at
    found, due = {}, {}
    for method, address, needed in calls():
        if re.match(OWN_CREDENTIALS, address) or (method, address) in FORMS:
            continue  # below

        def note(credentials: str, expected: str, client: FlaskClient, **headers: str) -> None:
            call = f"{method} {address}, {credentials}"  # noqa: B023 - called in this round of the loop only
            due[call] = expected if needed is not Role.PUBLIC else "answered"  # noqa: B023
            found[call] = outcome(client, method, address, **headers)  # noqa: B023

        note("nothing", "who?", app.test_client())
        note("Basic", "who?", app.test_client(), Authorization="Basic eDp5")
        for kind, token in access.spoilt.items():
            note(f"{kind} token", "who?", app.test_client(), Authorization=f"Bearer {token}")
        for role in LOGGED_IN:
            by_role = "answered" if role >= needed else "may not"
            note(f"token of {role.title}", by_role, app.test_client(), Authorization=f"Bearer {access.tokens[role]}")
            our_page = {"X-CSRFToken": access.forms[role], "Sec-Fetch-Site": "same-origin"}
            note(f"log-in of {role.title}", by_role, access.browsers[role], **our_page)
        # The strongest log-in, in requests that a page of somebody else could make the browser send.
        browser, form = access.browsers[Role.ADMINISTRATOR], {"X-CSRFToken": access.forms[Role.ADMINISTRATOR]}
        by_others = "answered" if method in SAFE_METHODS else "may not"
        note("log-in without form value", by_others, browser)
        note("log-in, wrong form value", by_others, browser, **{"X-CSRFToken": access.forms[Role.READER]})
        if "/prediction." in address:  # reading it starts a job
            by_others = "may not"
            web_tool = {"Authorization": f"Bearer {access.tokens[Role.READER]}", "Sec-Fetch-Site": "cross-site"}
            note("token of the web tool", "answered", app.test_client(), **web_tool)
        for site in ("cross-site", "same-site"):
            note(f"log-in, {site}", by_others, browser, **form, **{"Sec-Fetch-Site": site})
        for origin in ("http://localhost:8080", "null", "http://["):
            note(f"log-in, from {origin}", by_others, browser, **form, Origin=origin)
    assert len(due) > 50 * 20
    assert {call: status for call, status in found.items() if status != due[call]} == {}


def test_a_refusal_says_why(client: FlaskClient, access: Access) -> None:
    told = {"wrong": "not a token of this server", "expired": "expired on", "revoked": "is revoked"}
    told |= {"replaced": "was replaced by a new one", "disabled": "is disabled"}
    assert told.keys() == access.spoilt.keys()
    for kind, reason in told.items():
        response = client.get("/api/v1/scenes", headers={"Authorization": f"Bearer {access.spoilt[kind]}"})
        assert reason in response.get_json(force=True)["detail"]
        assert response.headers["WWW-Authenticate"].startswith("Bearer ")
    response = client.post("/api/v1/rounds", json={}, headers={"Authorization": f"Bearer {access.tokens[Role.READER]}"})
    assert response.get_json(force=True)["detail"] == "reader-program has the role reader, this needs operator"


@pytest.mark.parametrize("address", ["/api/v1/webhooks/label-studio", "/api/v1/interactive/predict"])
def test_our_tokens_and_log_ins_do_not_open_what_label_studio_calls(app: Flask, access: Access, address: str) -> None:
    app.extensions["catalog"].settings.__dict__["interactive_clicks"] = True
    administrator = {"Authorization": f"Bearer {access.tokens[Role.ADMINISTRATOR]}"}
    assert outcome(app.test_client(), "POST", address, **administrator) == "who?"
    browser, form = access.browsers[Role.ADMINISTRATOR], {"X-CSRFToken": access.forms[Role.ADMINISTRATOR]}
    assert outcome(browser, "POST", address, **form) == "who?"


@pytest.mark.parametrize(("method", "address"), sorted(FORMS))
def test_forms_of_our_pages_are_not_taken_from_elsewhere(app: Flask, access: Access, method: str, address: str) -> None:
    for browser in (app.test_client(), access.browsers[Role.READER]):
        value = field_of(browser.get("/login").text)
        for headers in ({}, {"X-CSRFToken": "x"}, {"X-CSRFToken": value, "Sec-Fetch-Site": "cross-site"}):
            assert outcome(browser, method, address, **headers) == "may not"
    # The value of one browser is none of another's.
    value = field_of(app.test_client().get("/login").text)
    assert outcome(access.browsers[Role.READER], method, address, **{"X-CSRFToken": value}) == "may not"


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
