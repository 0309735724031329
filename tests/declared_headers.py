"""Compares the headers that responses have with those that the OpenAPI document declares."""

from typing import Final

from flask import Flask, Response, request

from al_server.safety import HEADERS

_OF_ALL: Final = {
    *map(str.lower, HEADERS),
    *("connection", "content-length", "content-type", "date", "server", "set-cookie", "transfer-encoding", "vary"),
}
"""Headers that say nothing of one response."""


def collect_undeclared(app: Flask) -> list[str]:
    """Have an app compare the headers of each response; return the list to which it adds what is not declared."""
    found: list[str] = []

    def compare(response: Response) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        operation = app.extensions["operations"].get((request.endpoint, method))
        if operation is not None:
            responses = operation["responses"]
            described = responses.get(str(response.status_code), responses["default"])
            known = {*_OF_ALL, *map(str.lower, described.get("headers", {}))}
            found.extend(
                f"{method} {request.url_rule}, {response.status_code}: {name}: {value}"
                for name, value in response.headers
                if name.lower() not in known and not name.lower().startswith("access-control-")
            )
        return response

    app.after_request(compare)
    return found
