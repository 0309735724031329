"""Calls to Label Studio: every way in which one can fail becomes a `LabelStudioError`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx

from labeling.errors import LabelStudioError

if TYPE_CHECKING:
    from label_studio_sdk.core.api_error import ApiError
    from label_studio_sdk.core.parse_error import ParsingError

_SHOWN_CHARACTERS = 500


@contextmanager
def calling(url: str, purpose: str) -> Iterator[None]:
    """Translate what the SDK and httpx raise within the block.

    Args:
        url: Label Studio's address, for the message.
        purpose: What the block is doing, e.g. "import tasks".

    Raises:
        LabelStudioError: If Label Studio cannot be reached, refuses, or answers what the SDK cannot read.
    """
    try:
        yield
    except httpx.HTTPError as error:
        reason = "it takes too long" if isinstance(error, httpx.TimeoutException) else str(error) or "no connection"
        raise LabelStudioError(
            f"Label Studio at {url} cannot be reached to {purpose}: {reason}. "
            f"Check that it runs ({url}/health) and that the address is right.",
            url=url,
        ) from error
    except _sdk_errors() as error:
        raise LabelStudioError(
            f"Label Studio at {url} did not {purpose}: status {error.status_code}, "
            f"{str(error.body)[:_SHOWN_CHARACTERS]!r}.{_advice(error.status_code)}",
            url=url,
            status=error.status_code,
        ) from error


@contextmanager
def unless_gone() -> Iterator[None]:
    """Ignore that what the block deletes is not there: others were faster, or a network did this very call twice."""
    try:
        yield
    except LabelStudioError as error:
        if error.status != httpx.codes.NOT_FOUND:
            raise


def _sdk_errors() -> tuple[type["ApiError"], type["ParsingError"]]:
    """Return what the SDK raises. Called only when something was raised: the API's process never loads the SDK."""
    from label_studio_sdk.core.api_error import ApiError
    from label_studio_sdk.core.parse_error import ParsingError

    return ApiError, ParsingError


def _advice(status: int | None) -> str:
    if status == httpx.codes.UNAUTHORIZED:
        return (
            " Check the token; if it is a legacy one, that the organization allows legacy tokens "
            "(Organization > API Tokens Settings)."
        )
    if status is not None and status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return " Label Studio's own log has the traceback."
    return ""
