"""Requests to one server: credentials, time limits, errors, and repetition of what may be repeated."""

import re
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import httpx

from glacier_al_client.errors import (
    ClientError,
    ProblemError,
    TokenError,
    UnexpectedAnswerError,
    UnreachableError,
    problem_of,
)

ATTEMPTS: Final = 4
FIRST_DELAY_S: Final = 0.5
"""Before the second attempt; doubled before each further one, and spread at random so that clients do not meet."""
LONGEST_DELAY_S: Final = 60.0
"""A server that asks for more (``Retry-After``) is not waited for: the caller is told."""
TRANSIENT: Final = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT})
NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)

_TOKEN: Final = re.compile(r"[!-~]+")  # ASCII that shows, without spaces

Query = Mapping[str, Any]


class Transport:
    """Sends requests with one token.

    A GET is repeated if the server did not answer, or answered that it cannot at present. Any other request may have
    taken effect although no answer came: it is repeated only if it was never sent, if the server refused it and named
    the time to come back, or if the caller says that repetition is harmless.

    Args:
        url: Address of the server.
        token: A token with the role that the calls need, with or without space around it; None for what is open to all.
        timeout_s: How long to wait for a connection, and between bytes of the answer, seconds.

    Raises:
        TokenError: The token cannot be one.
        ClientError: The address cannot be one.
    """

    def __init__(self, url: str, token: str | None, timeout_s: float) -> None:
        headers = {"Accept": "application/json", "User-Agent": f"glacier-al-client/{_release()}"}
        if token is not None:
            token = token.strip()
            if not _TOKEN.fullmatch(token):
                raise TokenError(
                    "found a token that is empty or has letters that no token has; expected it as it was shown"
                )
            headers["Authorization"] = f"Bearer {token}"
        try:
            self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout_s)
        except httpx.InvalidURL as error:
            raise ClientError(f"found {url!r} as the address of the server ({error}); expected a URL") from error

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def request(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        may_repeat: bool = False,
        attempts: int = ATTEMPTS,
        silence_s: float | None = None,
    ) -> httpx.Response:
        """Send a request and return a response that is no error (status below 300, or 304), with its body read.

        Args:
            method: As for `stream`, like all others.
            path: Path on the server.
            query: Parameters.
            body: Bytes, or what is sent as JSON.
            headers: Further headers.
            may_repeat: Whether sending it twice has the effect of sending it once.
            attempts: How often to try in all.
            silence_s: How long no byte may come.

        Raises:
            ClientError: The request cannot be sent.
            ProblemError: The server refused or failed.
            UnreachableError: It could not be reached, or broke off.
            UnexpectedAnswerError: The answer leads elsewhere, as no answer of our server does.
        """
        with self.stream(
            method, path, query, body, headers, may_repeat=may_repeat, attempts=attempts, silence_s=silence_s
        ) as response:
            try:
                response.read()
            except httpx.HTTPError as error:
                raise _unreachable(response.request, error) from error
            return response

    @contextmanager
    def stream(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        may_repeat: bool = False,
        attempts: int = ATTEMPTS,
        silence_s: float | None = None,
    ) -> Iterator[httpx.Response]:
        """Yield a response that is no error, whose body is read by the caller.

        Args:
            method: HTTP method.
            path: Path on the server.
            query: Parameters; those that are None are left out.
            body: Bytes are sent as they are, of the type that `headers` name; all else as JSON, unless it is None.
            headers: Further headers.
            may_repeat: Whether sending it twice has the effect of sending it once; always so for GET.
            attempts: How often to try in all.
            silence_s: How long no byte may come; by default the time limit of the client.
        """
        sent = {"content": body} if isinstance(body, bytes) else {"json": body}
        request = self._http.build_request(
            method, path, params=_texts(query or {}), headers=dict(headers or {}), **sent
        )
        if silence_s is not None:
            request.extensions["timeout"] = {**request.extensions["timeout"], "read": silence_s}
        response = self._send(request, attempts, may_repeat=may_repeat or method in {"GET", "HEAD"})
        try:
            yield response
        finally:
            response.close()

    def _send(self, request: httpx.Request, attempts: int, *, may_repeat: bool) -> httpx.Response:
        for attempt in range(1, attempts + 1):
            is_last = attempt == attempts
            try:
                response = self._http.send(request, stream=True)
            except httpx.LocalProtocolError:
                address = request.url.copy_with(query=None)
                raise ClientError(
                    f"{request.method} {address} cannot be sent: a header has characters that HTTP does not allow"
                ) from None  # its text has the header, which may be a secret
            except httpx.TransportError as error:
                if is_last or not (may_repeat or isinstance(error, NOT_SENT)):
                    raise _unreachable(request, error) from error
                time.sleep(_delay(attempt))
                continue
            if response.has_redirect_location:
                response.close()
                raise UnexpectedAnswerError(
                    f"{request.method} {request.url.path} is answered with {response.status_code}, which leads to "
                    f"{response.headers['Location']}; expected an answer of the server: name its own address"
                )
            if response.status_code < HTTPStatus.BAD_REQUEST:
                return response
            problem = _read_problem(response)
            delay = _delay_before_repeating(response, attempt, may_repeat=may_repeat)
            if is_last or delay is None:
                raise problem
            time.sleep(delay)
        raise AssertionError("the last attempt returns or raises")  # pragma: no cover


def _read_problem(response: httpx.Response) -> ProblemError:
    try:
        response.read()
    except httpx.HTTPError as error:
        raise _unreachable(response.request, error) from error
    finally:
        response.close()
    return problem_of(response)


def _delay_before_repeating(response: httpx.Response, attempt: int, *, may_repeat: bool) -> float | None:
    """Return for how many seconds to wait before a repetition; None: do not repeat."""
    asked = retry_after_s(response.headers.get("Retry-After"))
    if response.status_code == HTTPStatus.TOO_MANY_REQUESTS or response.status_code in TRANSIENT:
        if asked is not None and response.status_code in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
            return asked if asked <= LONGEST_DELAY_S else None
        return _delay(attempt) if may_repeat else None
    return None


def retry_after_s(header: str | None) -> float | None:
    """Return the seconds that a header ``Retry-After`` names, as a number or as a date; None if it names none."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _delay(attempt: int) -> float:
    spread = 1 + secrets.randbelow(500) / 1000
    return FIRST_DELAY_S * 2.0 ** (attempt - 1) * spread


def _unreachable(request: httpx.Request, error: Exception) -> UnreachableError:
    address = request.url.copy_with(query=None)
    return UnreachableError(f"{request.method} {address}: {error or type(error).__name__}")


def _texts(query: Query) -> dict[str, str]:
    """Return parameters as the server reads them."""
    return {name: _text(value) for name, value in query.items() if value is not None}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, date) else str(value)


def _release() -> str:
    try:
        return version("glacier-al")
    except PackageNotFoundError:  # pragma: no cover - copied into another program
        return "unknown"
