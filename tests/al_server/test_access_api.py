"""Users and tokens by the API, as an administrator's program uses it."""

from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from catalog.access_records import AccessToken, Role
from catalog.context import Catalog
from catalog.records import now
from services import tokens


@pytest.fixture
def administrator(catalog: Catalog) -> dict[str, str]:
    with catalog.database.write() as session:
        _, token = tokens.add(session, "provisioning", Role.ADMINISTRATOR)
    return {"Authorization": f"Bearer {token}"}


def call(client: FlaskClient, administrator: dict[str, str], method: str, path: str, status: int, **body: Any) -> Any:
    response = client.open(
        f"/api/v1/{path}", method=method, json=body if method != "GET" else None, headers=administrator
    )
    assert response.status_code == status, response.text
    return response.get_json(force=True)


def read_with(client: FlaskClient, token: str) -> int:
    return client.get("/api/v1/rounds", headers={"Authorization": f"Bearer {token}"}).status_code


def test_a_token_is_shown_once_and_may_be_rotated_and_revoked_at_once(
    client: FlaskClient, catalog: Catalog, administrator: dict[str, str]
) -> None:
    made = call(client, administrator, "POST", "tokens", 201, name="web-tool", role="reader", expires_in_days=30)
    assert read_with(client, made["token"]) == 200
    rotated = call(client, administrator, "POST", "tokens/web-tool/rotate", 200)
    assert (read_with(client, made["token"]), read_with(client, rotated["token"])) == (401, 200)
    (listed,) = [row for row in call(client, administrator, "GET", "tokens", 200) if row["name"] == "web-tool"]
    assert "token" not in listed
    assert listed["last_used_at"] is not None
    assert listed["expires_at"][:10] == (now() + timedelta(days=30)).date().isoformat()
    revoked = call(client, administrator, "DELETE", "tokens/web-tool", 200)
    assert revoked["revoked_at"] is not None
    assert read_with(client, rotated["token"]) == 401
    call(client, administrator, "DELETE", "tokens/nothing", 404)


def test_a_use_is_noted_now_and_then(client: FlaskClient, catalog: Catalog, administrator: dict[str, str]) -> None:
    def last_used() -> Any:
        client.application.extensions["known_tokens"].forget_all()
        assert client.get("/api/v1/users", headers=administrator).status_code == 200
        with catalog.read() as session:
            return session.query(AccessToken).filter_by(name="provisioning").one().last_used_at

    first = last_used()
    assert last_used() == first
    with catalog.database.write() as session:
        row = session.query(AccessToken).filter_by(name="provisioning").one()
        row.last_used_at = earlier = first - tokens.USE_NOTED_EVERY
    assert last_used() > earlier


def test_users_are_added_changed_and_disabled(client: FlaskClient, administrator: dict[str, str]) -> None:
    secret = {"password": "correct horse battery"}
    call(client, administrator, "POST", "users", 201, name="anna", role="annotator", **secret)
    made = call(client, administrator, "POST", "tokens", 201, name="annas", role="operator", user="anna")
    assert read_with(client, made["token"]) == 200
    assert call(client, administrator, "PATCH", "users/anna", 200, role="operator")["role"] == "operator"
    assert call(client, administrator, "PATCH", "users/anna", 200, disabled=True)["disabled_at"] is not None
    assert read_with(client, made["token"]) == 401
    call(client, administrator, "PATCH", "users/anna", 200, disabled=False)
    assert read_with(client, made["token"]) == 200
    assert {row["name"]: row["role"] for row in call(client, administrator, "GET", "users", 200)} == {
        "admin": "administrator",
        "anna": "operator",
    }
    for status, body in (
        (409, {"name": "anna", "role": "reader", **secret}),
        (409, {"name": "operator", "role": "reader", **secret}),  # a token of this name exists
        (422, {"name": "Ben", "role": "reader", **secret}),
        (422, {"name": "ben", "role": "king", **secret}),
        (422, {"name": "ben", "role": "reader", "password": "short"}),
    ):
        call(client, administrator, "POST", "users", status, **body)
    call(client, administrator, "PATCH", "users/admin", 409, disabled=True)
    call(client, administrator, "PATCH", "users/nobody", 404, disabled=True)
