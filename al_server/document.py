"""Completes the OpenAPI document with roles, errors, headers and the credentials of what Label Studio calls."""

import re
from typing import Any

from flask_openapi3 import OpenAPI

from al_server.auth import role_needed
from al_server.response_headers import Operation, declare
from catalog.access_records import Role
from labeling.webhook import SECRET_HEADER

SECURITY_SCHEMES: dict[str, Any] = {
    "token": {"type": "http", "scheme": "bearer"},
    "webhook": {"type": "apiKey", "in": "header", "name": SECRET_HEADER},
    "interactive": {"type": "http", "scheme": "basic"},
}
PROBLEM: dict[str, Any] = {
    "description": "An error (RFC 9457)",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
WEBHOOK = "label_events.receive"
# Bodies that are read in several forms; flask-openapi3 describes none of them.
_BODIES: dict[str, dict[str, Any]] = {
    "submissions.make": {
        "application/json": {"schema": {"$ref": "#/components/schemas/SubmissionOptions"}},
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {
                    "options": {
                        "type": "string",
                        "contentMediaType": "application/json",
                        "contentSchema": {"$ref": "#/components/schemas/SubmissionOptions"},
                    },
                    "inventory": {"type": "string", "format": "binary"},
                },
                "required": ["options", "inventory"],
                "additionalProperties": False,
            }
        },
    },
}
# What Label Studio calls with credentials of its own, by endpoint; these views also check the body themselves.
CALLED_BY_LABEL_STUDIO = {
    WEBHOOK: "webhook",
    "interactive.health": "interactive",
    "interactive.setup": "interactive",
    "interactive.predict": "interactive",
}


def complete(app: OpenAPI) -> dict[tuple[str, str], Operation]:
    """Add roles, errors, headers and Label Studio's credentials to the OpenAPI document, once all views are registered.

    Returns:
        The operations of the document by endpoint and HTTP method (in capitals).
    """
    document = app.api_doc
    found: dict[tuple[str, str], Operation] = {}
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", r"{\1}", rule.rule)
        for method, operation in document["paths"].get(path, {}).items():
            if method.upper() in (rule.methods or ()):
                _complete(operation, rule.endpoint, method.upper())
                found[rule.endpoint, method.upper()] = operation
    return found


def _complete(operation: Operation, endpoint: str, method: str) -> None:
    needed = role_needed(endpoint, method)
    if endpoint in CALLED_BY_LABEL_STUDIO:
        operation["security"] = [{CALLED_BY_LABEL_STUDIO[endpoint]: []}]
        if method == "POST":
            operation["requestBody"] = {
                "required": True,
                "content": {"application/json": {"schema": {"type": "object"}}},
            }
    elif needed is Role.PUBLIC:
        operation["security"] = []
    else:
        operation["security"] = [{"token": []}]
        operation["x-role"] = needed.title
    if method == "POST" and endpoint in _BODIES:
        operation["requestBody"] = {"required": True, "content": _BODIES[endpoint]}
    # flask-openapi3 describes its own validation error, a list. Ours is a Problem like every error.
    responses = {status: response for status, response in operation["responses"].items() if status != "422"}
    operation["responses"] = {**{status: dict(known) for status, known in responses.items()}, "default": dict(PROBLEM)}
    declare(operation, endpoint)
