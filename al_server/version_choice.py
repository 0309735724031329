"""The model version that a request names: one that the local copy of the registry knows, or the one that is served."""

import json
from collections.abc import Mapping
from typing import Any, Final

from werkzeug.exceptions import ServiceUnavailable

from al_server.context import current_parts
from catalog.bundle_cache import CARD
from catalog.errors import ConflictError, NotFoundError
from catalog.registry import ModelVersion

_RETRY_AFTER_S: Final = 5


def chosen_version(number: int | None) -> ModelVersion:
    """Return the version of this number, or the one that is served.

    Args:
        number: the number; None for the served version.

    Raises:
        NotFoundError: the copy of the registry has no such version.
        ConflictError: None was given, and no version is served yet.
    """
    parts = current_parts()
    if number is None:
        served = parts.served.current()
        if served is None:
            raise ConflictError("no model version has been promoted yet; label a round first")
        return served.version
    try:
        return parts.models.get(number)
    except NotFoundError as error:
        raise NotFoundError(f"{error}; GET /api/v1/models lists those that exist") from error


def card_of(version: ModelVersion) -> Mapping[str, Any]:
    """Return the card of a version.

    Raises:
        ServiceUnavailable: this server does not hold it yet; its clock fetches the cards from MLflow.
    """
    path = current_parts().bundles.held(version, CARD)
    if path is None:
        raise ServiceUnavailable(
            f"the card of version {version.version} is not here yet; the clock fetches it from MLflow, try again soon",
            retry_after=_RETRY_AFTER_S,
        )
    card: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return card
