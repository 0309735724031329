"""Error responses: ``application/problem+json`` (RFC 9457) for all, and the HTTP status of each exception.

Where a browser asks for one of our pages, `al_server.error_page` shows them as a page.
"""

import json
import logging
from http import HTTPStatus
from typing import Final

from flask import Flask, Response
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException

from catalog.errors import (
    ConflictError,
    InvalidInputError,
    NoSpaceError,
    NotFoundError,
    RegistryError,
    ServiceDownError,
)
from catalog.told_texts import without_keys
from imagery.errors import OutlineError, SceneError, StoreError
from labeling.errors import EventError
from services.signatures import SignatureError

log = logging.getLogger(__name__)

CONTENT_TYPE: Final = "application/problem+json"
STATUS_OF: dict[type[Exception], HTTPStatus] = {
    NotFoundError: HTTPStatus.NOT_FOUND,
    StoreError: HTTPStatus.NOT_FOUND,
    ConflictError: HTTPStatus.CONFLICT,
    InvalidInputError: HTTPStatus.UNPROCESSABLE_ENTITY,
    SceneError: HTTPStatus.UNPROCESSABLE_ENTITY,
    OutlineError: HTTPStatus.UNPROCESSABLE_ENTITY,
    EventError: HTTPStatus.UNPROCESSABLE_ENTITY,
    SignatureError: HTTPStatus.FORBIDDEN,
    ServiceDownError: HTTPStatus.SERVICE_UNAVAILABLE,
    RegistryError: HTTPStatus.BAD_GATEWAY,
    NoSpaceError: HTTPStatus.INSUFFICIENT_STORAGE,
}


def problem(status: int, detail: str, **members: object) -> Response:
    """Return an error response.

    Args:
        status: the HTTP status.
        detail: what was found, what was expected, and what to do; what it holds of keys in addresses is left out.
        members: further members of the JSON object.
    """
    told = without_keys(detail)
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": told, **members}
    return Response(json.dumps(body), status=status, content_type=CONTENT_TYPE)


def refuse_invalid(error: ValidationError) -> Response:
    """Return a 422 for a request that does not match its schema; it names each field at fault."""
    faults = [
        {
            "field": ".".join(str(part) for part in fault["loc"]),
            "fault": fault["msg"],
            "found": repr(fault["input"])[:200],
        }
        for fault in error.errors(include_url=False, include_context=False)
    ]
    first = faults[0]
    detail = f"{first['field'] or 'the request'}: {first['fault']} (found {first['found']})"
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors=faults)


def register_error_handlers(app: Flask) -> None:
    """Turn every exception into an error response; an unexpected one is logged and its details are not returned."""
    for kind in STATUS_OF:
        app.register_error_handler(kind, _expected)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _unexpected)


def _expected(error: Exception) -> Response:
    status = next(status for kind, status in STATUS_OF.items() if isinstance(error, kind))
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.warning("%s", error)
    return problem(status, str(error))


def _http(error: HTTPException) -> Response:
    response = problem(error.code or 500, error.description or "")
    response.headers.extend(
        [(name, value) for name, value in error.get_headers() if name.lower() not in {"content-type", "content-length"}]
    )
    return response


def _unexpected(error: Exception) -> Response:
    log.exception("a request failed", exc_info=error)
    return problem(500, "this server failed; its log says why")
