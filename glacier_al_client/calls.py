"""Calls of the HTTP API whose types the caller names."""

from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import httpx
from pydantic import ValidationError

from glacier_al_client.base import Schema
from glacier_al_client.errors import UnexpectedAnswerError
from glacier_al_client.transport import Transport

API: Final = "/api/v1"
PAGE: Final = 1000  # the most that the server gives at once
Kind = TypeVar("Kind", bound=Schema)


class Calls:
    """Calls one server. `glacier_al_client.client.Client` adds a method for each call that programs make often.

    Args:
        url: Address of the server, e.g. ``http://localhost:8000``.
        token: A token; its role decides what may be called.
        timeout_s: How long to wait for a connection, and between bytes of an answer, seconds.
    """

    def __init__(self, url: str, token: str | None = None, timeout_s: float = 30.0) -> None:
        self.transport = Transport(url, token, timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self.transport.close()

    def get(self, path: str, kind: type[Kind], **query: Any) -> Kind:
        """Return what lies at ``/api/v1/<path>``.

        Args:
            path: Path, e.g. ``effort``.
            kind: Type of the answer, one of `glacier_al_client.types`.
            query: Parameters.
        """
        return read(kind, self.transport.request("GET", f"{API}/{path}", query))

    def get_list(self, path: str, kind: type[Kind], **query: Any) -> list[Kind]:
        """Return the list at ``/api/v1/<path>``; as `get`, with the type of an item."""
        return read_list(kind, self.transport.request("GET", f"{API}/{path}", query))

    def post(self, path: str, kind: type[Kind], body: Schema | Mapping[str, Any] | None = None) -> Kind:
        """Post JSON to ``/api/v1/<path>`` and return the answer."""
        return read(kind, self.transport.request("POST", f"{API}/{path}", body=plain(body)))

    def pages(
        self,
        path: str,
        kind: type[Kind],
        cursor: str,
        key: Callable[[Kind], int],
        start: int | None = None,
        **query: Any,
    ) -> Iterator[Kind]:
        """Yield the items of a list, page by page; the parameter ``cursor`` is the key of the last item received."""
        place = start
        while True:
            page = self.get_list(path, kind, **query, **{cursor: place}, limit=PAGE)
            yield from page
            if len(page) < PAGE:
                return
            place = key(page[-1])


def plain(body: Schema | Mapping[str, Any] | None) -> Any:
    """Return a body as JSON; what was not given is left to the server."""
    if isinstance(body, Schema):
        return body.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return dict(body) if body is not None else None


def read(kind: type[Kind], response: httpx.Response) -> Kind:
    """Return an answer.

    Raises:
        UnexpectedAnswerError: It is of another kind.
    """
    try:
        return kind.model_validate_json(response.content)
    except ValidationError as error:
        raise _unexpected(kind, response, error) from error


def read_list(kind: type[Kind], response: httpx.Response) -> list[Kind]:
    """Return a list of answers; as `read`."""
    try:
        return [kind.model_validate(item) for item in response.json()]
    except (ValueError, TypeError) as error:
        raise _unexpected(kind, response, error) from error


def model_version(response: httpx.Response) -> int:
    """Return the number of the model version that made an answer.

    Raises:
        UnexpectedAnswerError: It does not tell.
    """
    told = response.headers.get("X-Model-Version", "")
    if not told.isdecimal():
        raise UnexpectedAnswerError(f"{response.url} is answered without the version that made it; is it our server?")
    return int(told)


def read_features(response: httpx.Response) -> tuple[list[dict[str, Any]], bool]:
    """Return the features of a page of GeoJSON, and whether there are more; raises as `read`."""
    try:
        page = response.json()
        return list(page["features"]), page["next"] is not None
    except (ValueError, KeyError, TypeError) as error:
        raise UnexpectedAnswerError(f"{response.url} is not as expected (a page of GeoJSON): {error!r}") from error


def _unexpected(kind: type[Kind], response: httpx.Response, error: Exception) -> UnexpectedAnswerError:
    return UnexpectedAnswerError(f"{response.url} is not as expected ({kind.__name__}): {error}")
