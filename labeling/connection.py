"""The connection to Label Studio that all calls share.

Nothing is ever retried here: Label Studio has no idempotent call, so a POST that worked but was badly answered would
be done twice. Callers retry whole jobs, and every call that creates something looks first whether it exists.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import httpx

from labeling.calls import calling
from labeling.errors import LabelStudioError
from labeling.health import check_health

if TYPE_CHECKING:
    from label_studio_sdk import LabelStudio as Sdk

T = TypeVar("T")

_BATCH = 50  # tasks per request: keeps URLs and answers small, and one import under a few seconds


class Connection:
    """Label Studio as one of its users.

    Every call raises `labeling.errors.LabelStudioError` if Label Studio cannot be reached, refuses, or answers
    otherwise than expected. The SDK is loaded at the first call that needs it (1.5 s).

    Args:
        url: Label Studio's address, with or without a slash at the end.
        token: The user's API token, legacy or personal.
        timeout_s: Longest wait for an answer, in seconds.
    """

    def __init__(self, url: str, token: str, timeout_s: float = 30.0) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._timeout_s = timeout_s
        self.clock: datetime | None = None
        """Label Studio's time when it last answered, to the second; None before, or if it does not say."""

    @cached_property
    def _sdk(self) -> "Sdk":
        from label_studio_sdk import LabelStudio as Sdk

        # No connection is kept open: the server may close an idle one at any time, and a write that meets that
        # moment could not be retried.
        client = httpx.Client(
            timeout=self._timeout_s,
            limits=httpx.Limits(max_keepalive_connections=0),
            event_hooks={"response": [self._note_clock]},
        )
        return Sdk(  # type: ignore[no-untyped-call]
            base_url=self._url, api_key=self._token, timeout=self._timeout_s, max_retries=0, httpx_client=client
        )

    def _note_clock(self, response: httpx.Response) -> None:
        try:
            self.clock = parsedate_to_datetime(response.headers["date"])
        except (KeyError, ValueError):
            self.clock = None

    def check(self) -> None:
        """Check that Label Studio is up and the token is good."""
        check_health(self._url, self._timeout_s)
        with calling(self._url, "accept the token"):
            self._sdk.users.whoami()

    def _id(self, found: object) -> int:
        """Return an id of an answer; the SDK promises none."""
        if not isinstance(found, int):
            raise LabelStudioError(
                f"Label Studio at {self._url} answered with the id {found!r}; expected an integer.", url=self._url
            )
        return found


def batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Cut a sequence into parts that one request can carry."""
    return (items[start : start + _BATCH] for start in range(0, len(items), _BATCH))
