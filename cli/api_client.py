"""Our own HTTP API, as the demonstration calls it: the way any other program would."""

import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import click
import requests

POLL_S = 0.3


class ApiClient:
    """One server, with one token.

    Args:
        url: address of the server.
        token: a token with the role that the calls need.
    """

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._http = requests.Session()
        self._http.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str, **query: Any) -> Any:
        """Fetch JSON from ``/api/v1/<path>``."""
        return self._checked(self._http.get(f"{self._url}/api/v1/{path}", params=query, timeout=30))

    def file(self, path: str) -> bytes | None:
        """Fetch a file from ``/api/v1/<path>``; None while a job is still making it (202)."""
        response = self._answered(self._http.get(f"{self._url}/api/v1/{path}", timeout=30))
        return None if response.status_code == HTTPStatus.ACCEPTED else response.content

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Post JSON to ``/api/v1/<path>``."""
        return self._checked(self._http.post(f"{self._url}/api/v1/{path}", json=body, timeout=30))

    def wait(self, what: str, done: Callable[[], Any], timeout_s: float = 300.0) -> Any:
        """Ask again and again until ``done`` returns something true, and return that.

        Raises:
            ClickException: a job failed meanwhile, or the time is over.
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
            newest = self.get("jobs", limit=1000)  # in one answer: a job that ends may enqueue another
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
