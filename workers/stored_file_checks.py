"""Checks of the files: every checksum in the raster store, files without rows, and rows without files."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

from catalog.bundle_cache import FILES, checksum_tag, is_whole
from catalog.context import Catalog
from catalog.errors import CatalogError
from catalog.registry import registry_of
from imagery.errors import DamagedFileError, StoreError
from services.installation_findings import Finding, fault, listed, ok, warning
from services.places import bundle_cache, raster_store
from services.scenes import registered_scenes
from services.stored_files import expected_files, orphans
from services.unusable_scenes import why_unusable
from workers.mend_files import mend

_DRAWN: Final = ("labels/", "preannotations/")  # what an expert drew, and what it was drawn on, is never deleted


def check_files(catalog: Catalog, told: Callable[[int, int], object] = lambda done, total: None) -> Iterator[Finding]:
    """Read every file of the store and compare its checksum; compare the files with the rows.

    Args:
        catalog: The catalog.
        told: Is told how many files have been read, and of how many.
    """
    store = raster_store(catalog)
    keys = store.all_keys()  # before the rows are read: most files are written after the row to which they belong
    known = _expected(catalog)
    with catalog.read() as session:
        lost = orphans(session, store, keys)
    damaged, present = [], set(keys)
    for done, key in enumerate(keys):
        told(done, len(keys))
        try:
            store.check(key, known.get(key))
        except DamagedFileError:  # moved aside by the store
            damaged.append(key)
        except StoreError:  # deleted since it was listed
            present.discard(key)
    damaged = sorted({*damaged, *store.damaged()})
    lacking = known.keys() - present - set(damaged)
    if lacking:  # of these, some may have been written meanwhile, and others not be needed any more
        lacking &= _expected(catalog).keys()
    missing = sorted(key for key in lacking if not store.exists(key))
    if damaged:
        fix = partial(_mend, catalog, damaged)
        yield fault("checksums", f"{len(damaged)} damaged: {listed(damaged)}", "none", "they are made again", fix)
    else:
        yield ok("checksums", f"{len(keys)} whole files in the store")
    if missing:
        fix = partial(_mend, catalog, missing)
        yield fault("rows without file", f"{len(missing)}: {listed(missing)}", "none", "they are made again", fix)
    else:
        yield ok("rows without file", "none")
    yield from _orphans(catalog, lost)


def _expected(catalog: Catalog) -> dict[str, str | None]:
    """Return the checksum of each file to which a row refers, by key; None if only the store notes one."""
    with catalog.read() as session:
        files = expected_files(session, clicks=catalog.settings.interactive_clicks)
        return {file.key: file.sha256 for file in files}


def _mend(catalog: Catalog, keys: Sequence[str]) -> str:
    mend(catalog, lambda done, total, message: None)
    store = raster_store(catalog)
    left = [key for key in keys if not store.exists(key)]
    needed = _expected(catalog)
    if still := [key for key in left if key in needed]:
        raise StoreError(f"{listed(still)} cannot be made again now; see what is set aside, and why")
    return f"{len(keys) - len(left)} made again" + (f", {len(left)} dropped or queued to be computed" if left else "")


def _orphans(catalog: Catalog, keys: Sequence[str]) -> Iterator[Finding]:
    drawn = [key for key in keys if key.startswith(_DRAWN)]
    if drawn:
        yield warning("files without row", f"{len(drawn)} drawn masks: {listed(drawn)}", "none", "look at them; kept")
    others = [key for key in keys if not key.startswith(_DRAWN)]
    if others:
        fix = partial(_delete, catalog, others)
        yield warning("files without row", f"{len(others)}: {listed(others)}", "none", "delete them", fix)
    if not keys:
        yield ok("files without row", "none")


def _delete(catalog: Catalog, keys: Sequence[str]) -> str:
    store = raster_store(catalog)
    with catalog.read() as session:
        lost = orphans(session, store, keys)  # some may have got their row since they were found
    for key in lost:
        store.delete(key)
    return f"{len(lost)} deleted"


def check_scene_files(catalog: Catalog) -> Iterator[Finding]:
    """Open the files of every registered scene."""
    with catalog.read() as session:
        scenes = registered_scenes(session)
    reasons = {scene.name: why_unusable(scene) for scene in scenes}
    unusable = {name: reason for name, reason in reasons.items() if reason is not None}
    for name, reason in unusable.items():
        yield fault(f"scene {name}", reason, "readable files", "put them back; the scene is taken back by itself")
    if not unusable:
        yield ok("scenes", f"{len(scenes)} readable")


def check_bundles(catalog: Catalog) -> Iterator[Finding]:
    """Check the cached files of all versions, and fetch those of the champion and the learner if they are lacking."""
    registry = registry_of(catalog.settings)
    bundles = bundle_cache(catalog.settings, registry)
    for version in registry.versions(limit=1000):
        folder = bundles.folder / f"{version.version}-{version.run_id}"
        cached = [name for name in FILES if (folder / name).exists()]
        damaged = [name for name in cached if not is_whole(folder / name, version.tags.get(checksum_tag(name), ""))]
        if damaged:
            fix = partial(_fetch, catalog, version.version)
            yield fault(
                f"cached version {version.version}", f"damaged {listed(damaged)}", "whole files", "fetch it", fix
            )
    for alias, number in registry.aliases().items():
        try:
            bundles.directory(registry.get(number))
        except CatalogError as error:
            yield fault(f"version {number} ({alias})", str(error), "its registered files", "promote another version")
        else:
            yield ok(f"version {number} ({alias})", f"{len(FILES)} whole files")


def _fetch(catalog: Catalog, number: int) -> str:
    registry = registry_of(catalog.settings)
    bundle_cache(catalog.settings, registry).directory(registry.get(number))
    return "fetched again from MLflow"
