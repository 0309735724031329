"""Authorisation: a token gives a role, and each endpoint needs one. Checked before any view runs."""

import hmac
from enum import IntEnum

from flask import Response, abort, current_app, g, request

from al_server.problems import problem
from catalog.secrets import Secrets


class Role(IntEnum):
    """A role may do all that the roles of smaller numbers may do."""

    PUBLIC = 0
    READER = 1
    LABELER = 2
    OPERATOR = 3


# GET needs READER, other methods need OPERATOR, except at these endpoints. The views of composites, of the webhook and
# of clicks check credentials of their own: a signature in the URL, a secret in a header, a password.
EXCEPTIONS = {
    "health.healthz": Role.PUBLIC,
    "health.readyz": Role.PUBLIC,
    "static": Role.PUBLIC,
    "patches.composite": Role.PUBLIC,
    "label_events.receive": Role.PUBLIC,
    "label_events.replay": Role.LABELER,
    "subscriptions.list_subscriptions": Role.OPERATOR,  # addresses of webhooks often carry a key
    "subscriptions.list_deliveries": Role.OPERATOR,
    "quality.quality": Role.OPERATOR,  # tells of people, whose colleagues hold the tokens of readers
    "interactive.health": Role.PUBLIC,
    "interactive.setup": Role.PUBLIC,
    "interactive.predict": Role.PUBLIC,
}
PUBLIC_BLUEPRINTS = frozenset({"openapi", "swagger"})  # the OpenAPI document and the page that shows it


def check_role() -> Response | None:
    """Refuse a request whose token lacks the role that the endpoint needs; Flask calls this before every view."""
    if request.endpoint is None or request.method == "OPTIONS":
        return None
    needed = role_needed(request.endpoint, request.method)
    if needed is Role.PUBLIC:
        return None
    token = _token()
    if token is None:
        return _unauthorized("found no token, expected the header 'Authorization: Bearer <token>'")
    role, g.actor = _role_of(token, current_app.extensions["catalog"].secrets)
    if role is Role.PUBLIC:
        return _unauthorized("the token is not a token of this server; they are in its file of secrets")
    if role < needed:
        return problem(403, f"the token has the role {role.name.lower()}, this needs {needed.name.lower()}")
    return None


def actor() -> str:
    """Return the role of the caller, to be stored with a decision."""
    name: str = g.get("actor") or abort(401)
    return name


def role_needed(endpoint: str, method: str) -> Role:
    """Return the role that a call to this endpoint needs."""
    if endpoint.split(".", maxsplit=1)[0] in PUBLIC_BLUEPRINTS:
        return Role.PUBLIC
    return EXCEPTIONS.get(endpoint, Role.READER if method in {"GET", "HEAD"} else Role.OPERATOR)


def _unauthorized(detail: str) -> Response:
    """Return a 401 that makes a browser ask for the token."""
    refused = problem(401, detail)
    refused.headers["WWW-Authenticate"] = 'Basic realm="glacier-al: any name, the token as password"'
    return refused


def _token() -> str | None:
    """Return the token of a bearer header, or the password that was entered in the browser's log-in window."""
    given = request.authorization
    if given is None:
        return None
    return given.token if given.type == "bearer" else given.password


def _role_of(token: str, secrets: Secrets) -> tuple[Role, str]:
    roles = {
        secrets.reader_token: Role.READER,
        secrets.labeler_token: Role.LABELER,
        secrets.operator_token: Role.OPERATOR,
    }
    found = Role.PUBLIC
    for expected, role in roles.items():  # all are compared, each in constant time
        if hmac.compare_digest(token.encode(), expected.encode()):
            found = role
    return found, found.name.lower()
