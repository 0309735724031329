"""A client of this server's HTTP API, used by the demonstration."""

import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import click
import requests

POLL_S = 0.3


class ApiClient:
    """Calls one server with one token.

    Args:
        url: address of the server.
        token: a token with the role that the calls need.
    """

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._http = requests.Session()
        self._http.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str, **query: Any) -> Any:
        """Return the JSON at ``/api/v1/<path>``."""
        return self._checked(self._http.get(f"{self._url}/api/v1/{path}", params=query, timeout=30))

    def file(self, path: str) -> bytes | None:
        """Return the file at ``/api/v1/<path>``; None while a job is still writing it (202)."""
        response = self._answered(self._http.get(f"{self._url}/api/v1/{path}", timeout=30))
        return None if response.status_code == HTTPStatus.ACCEPTED else response.content

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Post JSON to ``/api/v1/<path>``; return the JSON of the response."""
        return self._checked(self._http.post(f"{self._url}/api/v1/{path}", json=body, timeout=30))

    def wait(self, what: str, done: Callable[[], Any], timeout_s: float = 300.0) -> Any:
        """Poll ``done`` until it returns something true; return that.

        Args:
            what: what is waited for, for error messages.
            done: the function to poll.
            timeout_s: time limit in seconds.

        Raises:
            ClickException: a job failed meanwhile, or the time limit is over.
        """
        started = time.monotonic()
        while time.monotonic() - started < timeout_s:
            found = done()
            if found:
                return found
            for job in self.get("jobs", state="failed", limit=1):
                raise click.ClickException(f"while waiting for {what}, the job {job['kind']} failed: {job['error']}")
            time.sleep(POLL_S)
        raise click.ClickException(f"{what} did not happen within {timeout_s:.0f} s")

    def wait_for_jobs(self, what: str, *kinds: str) -> None:
        """Wait until no job of these kinds is open."""

        def none_open() -> bool:
            newest = self.get("jobs", limit=1000)  # in one request, because a job may enqueue another when it ends
            return not any(job["kind"] in kinds and job["state"] in {"queued", "running"} for job in newest)

        self.wait(what, none_open)

    @classmethod
    def _checked(cls, response: requests.Response) -> Any:
        return cls._answered(response).json()

    @staticmethod
    def _answered(response: requests.Response) -> requests.Response:
        if not response.ok:
            raise click.ClickException(f"{response.url} answered {response.status_code}: {response.text[:500]}")
        return response
