"""The model version that a request names: one that the local copy of the registry knows, or the one that is served."""

import json
from collections.abc import Mapping
from typing import Any

from al_server.context import current_parts
from al_server.turns import CARDS
from catalog.bundle_cache import CARD
from catalog.errors import ConflictError, NotFoundError
from catalog.registry import ModelVersion


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
    """Return the card of a version; one that is not at hand is fetched from MLflow, for one request at a time.

    Raises:
        ServiceUnavailable: another request is fetching a card.
        NotFoundError: MLflow does not have the card.
        CorruptBundleError: it is not the one that was registered.
        ServiceDownError: MLflow does not answer.
    """
    bundles = current_parts().bundles
    if bundles.held(version, CARD) is None:
        with CARDS.required("requests that fetch a model card"):
            path = bundles.file(version, CARD)
    else:
        path = bundles.file(version, CARD)
    card: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return card
