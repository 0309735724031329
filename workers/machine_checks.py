"""Checks of the machine: versions of packages, disk, permissions."""

import platform
import shutil
import stat
from collections.abc import Iterator
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

from catalog.context import Catalog
from catalog.settings import Settings
from imagery.store import RasterStore
from services.installation_findings import Finding, fault, listed, ok, warning

_GIB: Final = 2**30
_FULL_BELOW: Final = 1 * _GIB
_SCARCE_BELOW: Final = 5 * _GIB


def check_machine(catalog: Catalog) -> Iterator[Finding]:
    """Yield the findings about this machine; the database is not asked."""
    yield _versions()
    yield from _disks(catalog.settings)
    yield from _permissions(catalog.settings)


def _versions() -> Finding:
    """Compare the installed packages with the bounds of our own package."""
    wrong, count = [], 0
    for text in metadata.requires("glacier-al") or []:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        count += 1
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            version = "not installed"
        if version == "not installed" or not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} {version} (expected {requirement.specifier or 'any version'})")
    python = f"Python {platform.python_version()}, glacier-al {metadata.version('glacier-al')}"
    if wrong:
        return fault("packages", f"{python}, {listed(wrong)}", "the versions of pyproject.toml", "run `make setup`")
    return ok("packages", f"{python}, {count} required packages")


def _disks(settings: Settings) -> Iterator[Finding]:
    """Tell how full the file system of the data folder is, and that of the raster store if it is another."""
    yield _disk("disk", settings.var_dir)
    folder = RasterStore(settings.raster_store).folder
    if folder is not None:
        present = next(each for each in (folder, *folder.parents) if each.exists())
        if _file_system(present) != _file_system(settings.var_dir):
            yield _disk("disk of the raster store", present)


def _file_system(folder: Path) -> int:
    return folder.stat().st_dev


def _disk(check: str, folder: Path) -> Finding:
    usage = shutil.disk_usage(folder)
    found = f"{usage.free / _GIB:.1f} GiB free of {usage.total / _GIB:.0f} GiB at {folder}"
    if usage.free < _FULL_BELOW:
        return fault(check, found, "1 GiB or more", "make room: labels are refused when it is full")
    if usage.free < _SCARCE_BELOW:
        return warning(check, found, "5 GiB or more", "make room; `keep_scorings` says how many scorings are kept")
    return ok(check, found)


def _permissions(settings: Settings) -> Iterator[Finding]:
    """Look whether others can read what holds secrets: the whole folder for data, and the file of secrets."""
    wanted = {settings.var_dir: 0o700, settings.secrets_file: 0o600}
    for path, mode in wanted.items():
        if not path.exists():
            continue
        found = stat.S_IMODE(path.stat().st_mode)
        if found & ~mode:
            fix = partial(_restrict, path, mode)
            remedy = f"chmod {mode:o} {path}"
            yield fault(f"permissions of {path}", f"{found:o}", f"{mode:o}: its owner only", remedy, fix)
        else:
            yield ok(f"permissions of {path}", f"{found:o}")


def _restrict(path: Path, mode: int) -> str:
    path.chmod(mode)
    return f"its mode is {mode:o} now"
