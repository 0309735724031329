"""The served model with its card and its ONNX file, as a data set holds it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.bundle_cache import CARD, ONNX
from catalog.context import Catalog
from catalog.registry import registry_of
from services.places import bundle_cache


@dataclass(frozen=True)
class ServedModel:
    """The model version that the labels trained, for the STAC collection.

    Attributes:
        version: Its number.
        card: Its model card as JSON.
        files: The local files "onnx" and "card".
    """

    version: int
    card: Mapping[str, Any]
    files: Mapping[str, Path]


def served_model(catalog: Catalog) -> ServedModel | None:
    """Return the served model, whose files are fetched from MLflow if the cache lacks them; None without one.

    Raises:
        ServiceDownError: MLflow does not answer.
        NotFoundError: MLflow lacks a file of the version.
        CorruptBundleError: A file is not the one that was registered.
    """
    registry = registry_of(catalog.settings)
    version = registry.champion()
    if version is None:
        return None
    bundles = bundle_cache(catalog.settings, registry)
    files = {"onnx": bundles.file(version, ONNX), "card": bundles.file(version, CARD)}
    return ServedModel(version.version, json.loads(files["card"].read_bytes()), files)
