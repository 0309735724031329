"""What can go wrong, one class each; all are `ClientError`."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import httpx

from glacier_al_client.types import JobAnswer


class ClientError(Exception):
    """A call did not give what was asked for; the text is for people."""


class TokenError(ClientError):
    """What was given as a token cannot be one."""


class UnreachableError(ClientError):
    """The server could not be reached, or broke off: nothing is known of what became of the request."""


class ProblemError(ClientError):
    """The server refused a request, or failed (RFC 9457).

    Attributes:
        status: The HTTP status; branch on it.
        title: What the status means.
        detail: What was found, what was expected and what to do; show it to people.
        body: The JSON object that was sent; of a malformed request (422) its member ``errors`` lists the faults by
            ``field``, ``fault`` and ``found``. Empty if something between us and the server answered.
    """

    def __init__(self, status: int, title: str, detail: str, body: Mapping[str, Any]) -> None:
        super().__init__(f"{title} ({status}): {detail}")
        self.status, self.title, self.detail, self.body = status, title, detail, dict(body)


class UnexpectedAnswerError(ClientError):
    """An answer is not what the API documents: the server is another program, or of an incompatible release."""


class JobFailedError(ClientError):
    """A job that was waited for failed or was cancelled.

    Attributes:
        job: The job as it ended.
    """

    def __init__(self, job: JobAnswer) -> None:
        super().__init__(f"the job {job.kind} is {job.state}: {job.error or 'no reason is known'}")
        self.job = job


class RefusedDecisionError(ClientError):
    """A promotion or roll-back was refused after it had been accepted; nothing was moved."""


class TimedOutError(ClientError):
    """Something that was waited for did not happen in time."""


class ChecksumError(ClientError):
    """A file is not the one that the server registered."""


def problem_of(response: httpx.Response) -> ProblemError:
    """Return the error that a response tells; also if something between us and the server wrote it."""
    body: Any = None
    if "json" in response.headers.get("Content-Type", ""):
        with suppress(ValueError):
            body = response.json()
    body = body if isinstance(body, dict) else {}
    title = str(body.get("title", response.reason_phrase))
    return ProblemError(response.status_code, title, str(body.get("detail", response.text[:500])), body)
