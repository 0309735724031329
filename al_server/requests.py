"""Checks of every request before its view runs: no unknown query parameter, and JSON where JSON is expected."""

import json
import re
from collections.abc import Collection
from typing import Any, Final

from flask import Response, current_app, request

from al_server.document import CALLED_BY_LABEL_STUDIO
from al_server.problems import problem
from al_server.response_headers import Operation
from services.request_types import MAX_INTEGER

JSON_TYPES = {
    list: "a list",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}

MOST_NESTED: Final = 64
"""Most levels of lists and objects in a body; a GeoJSON multipolygon has seven."""
# PostgreSQL stores no null byte, and no database half of a pair of surrogates.
_NO_TEXT: Final = re.compile(r"[\x00\ud800-\udfff]")


def check_request() -> Response | None:
    """Refuse a compressed body, an unknown query parameter, a body that is no JSON object, or what no database stores.

    Flask calls this before every view. Of our pages only the encoding and the address are checked: no schema is made of
    its numbers.

    What Label Studio calls is left out, and so are files: those views check the body themselves.
    """
    if request.content_encoding:  # a small body could expand to any size
        return problem(
            415, f"found a body encoded with {request.content_encoding!r}, expected one that is not compressed"
        )
    if request.endpoint is None:  # there is no such page
        return None
    if refused := _check_text("the address", _given_in_address()):
        return refused
    method = "GET" if request.method == "HEAD" else request.method
    operations: dict[tuple[str, str], Operation] = current_app.extensions["operations"]
    operation = operations.get((request.endpoint, method))
    if operation is None:
        return _check_numbers()
    refused = _check_query(operation)
    if refused is None and "requestBody" in operation and request.endpoint not in CALLED_BY_LABEL_STUDIO:
        refused = _check_body(operation["requestBody"]["content"])
    return refused


def _check_numbers() -> Response | None:
    """Refuse the address of a page with a number that no column of the database holds."""
    for name, value in (request.view_args or {}).items():
        if isinstance(value, int) and value > MAX_INTEGER:
            return problem(
                404, f"there is no {name.removesuffix('_id')} {value}: the largest possible is {MAX_INTEGER}"
            )
    return None


def _check_query(operation: Operation) -> Response | None:
    expected = {item["name"] for item in operation.get("parameters", []) if item["in"] == "query"}
    unknown = sorted(set(request.args) - expected)
    if not unknown:
        return None
    allowed = f"only {', '.join(sorted(expected))}" if expected else "none"
    return problem(422, f"found the unknown query parameter(s) {', '.join(unknown)}, expected {allowed}")


def _check_body(taken: Collection[str]) -> Response | None:
    """Check a body of one of some media types; the view itself checks one that is not JSON."""
    if not request.is_json and request.mimetype in taken:
        return None
    if not request.is_json:
        expected = " or ".join(repr(kind) for kind in taken)
        return problem(415, f"found the content type {request.mimetype!r}, expected {expected}")
    return check_object("the body", request.get_data())


def check_object(name: str, text: bytes | str) -> Response | None:
    """Refuse what is no JSON object, or holds what no database stores; `name` says where it was found."""
    try:
        body = json.loads(text)
    except RecursionError:
        return problem(422, f"{name} is not JSON that can be read: it is nested too deeply")
    except ValueError as error:
        return problem(422, f"{name} is not JSON: {error}")
    if not isinstance(body, dict):
        return problem(422, f"{name} is {JSON_TYPES[type(body)]}, expected a JSON object")
    return _check_text(name, body)


def _given_in_address() -> list[object]:
    given = [value for values in request.args.listvalues() for value in values]  # a name may be given several times
    return [*(request.view_args or {}).values(), *given]


def _check_text(name: str, given: Any) -> Response | None:
    """Refuse text that cannot be stored, and lists and objects that are nested too deeply for what reads them.

    Only the name of a text is told: it may be a password.
    """
    waiting = [(name, given, 0)]
    while waiting:
        name, item, depth = waiting.pop()
        if depth > MOST_NESTED:
            return problem(422, f"{name}: found lists and objects nested more than {MOST_NESTED} levels deep")
        if isinstance(item, str) and _NO_TEXT.search(item):
            return problem(422, f"{name}: found a null byte or half of a surrogate pair, expected text without")
        if isinstance(item, dict):
            waiting += [(name, key, depth) for key in item]
            waiting += [(str(key), value, depth + 1) for key, value in item.items()]
        elif isinstance(item, list):
            waiting += [(name, part, depth + 1) for part in item]
    return None
