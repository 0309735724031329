"""Versions in the local copy of the registry and in the local cache, as if MLflow had been asked for them."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from catalog import registry_copy
from catalog.bundle_cache import FILES, checksum_tag
from catalog.context import Catalog
from catalog.registry import CHAMPION, ModelVersion, registry_of
from services.places import bundle_cache


def add_version(catalog: Catalog, number: int, bundle: Path, told: Mapping[str, str] | None = None) -> ModelVersion:
    """Register a bundle that `models.bundle.write_bundle` wrote as a version, which is not served yet.

    ``told``: further tags of the version.
    """
    tags = dict(told or {}) | {
        checksum_tag(name): hashlib.sha256((bundle / name).read_bytes()).hexdigest() for name in FILES
    }
    version = ModelVersion(number, f"run-{number}", datetime(2026, 11, 26, tzinfo=UTC), tags)
    bundle_cache(catalog.settings, registry_of(catalog.settings)).adopt(version, bundle)
    with catalog.database.write() as session:
        registry_copy.store(session, [version])
    return version


def serve(catalog: Catalog, number: int) -> None:
    """Make a version the one that is served."""
    with catalog.database.write() as session:
        registry_copy.set_aliases(session, {CHAMPION: number})
