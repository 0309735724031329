"""Check that a version may be served: its bundle is complete and unchanged, and fits this installation."""

import json
from collections.abc import Mapping
from typing import Any

from catalog.bundle_cache import CARD, BundleCache, CorruptBundleError
from catalog.context import Catalog
from catalog.errors import NotFoundError
from catalog.registry import ModelVersion
from services.class_scheme import class_scheme


def fault_of(catalog: Catalog, bundles: BundleCache, version: ModelVersion, served: ModelVersion | None) -> str | None:
    """Return why a version must not be served; None if it may. Downloads what the cache lacks of its bundle.

    Args:
        catalog: has the classes of this installation.
        bundles: where the files of versions are cached.
        version: the version to check.
        served: the version that is served now, whose channels all others share; None before the first.

    Raises:
        ServiceDownError: MLflow does not answer.
    """
    try:
        folder = bundles.directory(version)
    except (NotFoundError, CorruptBundleError) as error:
        return str(error)
    try:
        card = json.loads((folder / CARD).read_text("utf-8"))
        return _classes_fault(catalog, card) or _channels_fault(bundles, card, version, served)
    except (ValueError, KeyError, TypeError) as error:
        return f"the card of version {version.version} cannot be read ({type(error).__name__}: {error})"


def _classes_fault(catalog: Catalog, card: Mapping[str, Any]) -> str | None:
    scheme, classes = class_scheme(catalog), card.get("label_classes")
    if classes is None:  # a card of format 1: workers check its classes when they load the network
        return None
    ranked = tuple(item["value"] for item in sorted(classes[1:], key=lambda item: item["precedence"]))
    found = [item["name"] for item in classes]
    if found == list(scheme.names) and ranked == tuple(scheme.ranked):
        return None
    expected = ", ".join(scheme.names)
    return f"it was trained on the classes {', '.join(found)}; expected those of this installation, {expected}"


def _channels_fault(
    bundles: BundleCache, card: Mapping[str, Any], version: ModelVersion, served: ModelVersion | None
) -> str | None:
    if served is None or served.version == version.version:
        return None
    held = bundles.held(served, CARD)
    if held is None:
        return None
    expected = json.loads(held.read_text("utf-8"))["channels"]
    if card["channels"] == expected:
        return None
    return (
        f"its channels are {', '.join(card['channels'])}; expected those of version {served.version}, which is served: "
        f"{', '.join(expected)}"
    )
