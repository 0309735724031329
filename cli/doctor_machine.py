"""Checks of the machine: versions, ports, parts, disk, permissions."""

import platform
import shutil
import stat
from collections.abc import Iterator
from functools import partial
from http import HTTPStatus
from importlib import metadata
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import requests
from packaging.requirements import Requirement

from catalog.settings import Settings
from cli.doctor import Finding, fault, listed, ok, warning
from cli.ports import is_free
from labeling import server as label_studio

_GIB: Final = 2**30
_FULL_BELOW: Final = 1 * _GIB
_SCARCE_BELOW: Final = 5 * _GIB
_TIMEOUT_S: Final = 10.0


def check_machine(settings: Settings, is_running: bool) -> Iterator[Finding]:
    """Yield the findings about this machine.

    Args:
        settings: With the addresses in use, if the system runs.
        is_running: Whether it runs.
    """
    yield _versions()
    yield _label_studio()
    yield from _parts(settings) if is_running else _ports(settings)
    yield _disk(settings.var_dir)
    yield from _permissions(settings)


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


def _label_studio() -> Finding:
    try:
        return ok("Label Studio's program", str(label_studio.executable()))
    except FileNotFoundError as error:
        return fault("Label Studio's program", str(error), "an installation of its own", "run `make setup`")


def _ports(settings: Settings) -> Iterator[Finding]:
    """Tell which of the ports that the next start prefers are taken; it takes the next free ones."""
    yield ok("parts", "no system running on this folder; `glacier-al up` starts one")
    urls = {name: getattr(settings, f"{name}_url") for name in ("api", "redis", "mlflow", "label_studio")}
    ports = {name: urlsplit(url).port for name, url in urls.items()}
    taken = [f"{port} ({name})" for name, port in ports.items() if port is not None and not is_free(port)]
    if taken:
        yield warning("ports", f"{listed(taken)} taken", "free ports", "nothing: the next start takes others")
    else:
        yield ok("ports", f"{listed(ports.values())} free")


def _parts(settings: Settings) -> Iterator[Finding]:
    url = f"{settings.api_url}/readyz"
    try:
        answer = requests.get(url, timeout=_TIMEOUT_S)
        parts: dict[str, str] = answer.json().get("parts") or {}
    except (requests.RequestException, ValueError) as error:
        yield fault("part api", f"no answer at {url} ({error})", "an answer", "see its log in the folder `logs`")
        return
    for name, state in parts.items():
        if state == "ok":
            yield ok(f"part {name}", "up")
        else:
            yield fault(f"part {name}", state, "up", "see its log in the folder `logs`")
    if not parts and answer.status_code != HTTPStatus.OK:
        yield fault("parts", f"status {answer.status_code} at {url}", "200", "see the logs in the folder `logs`")


def _disk(folder: Path) -> Finding:
    usage = shutil.disk_usage(folder)
    found = f"{usage.free / _GIB:.1f} GiB free of {usage.total / _GIB:.0f} GiB at {folder}"
    if usage.free < _FULL_BELOW:
        return fault("disk", found, "1 GiB or more", "make room: labels are refused when it is full")
    if usage.free < _SCARCE_BELOW:
        return warning("disk", found, "5 GiB or more", "make room; `keep_scorings` says how many scorings are kept")
    return ok("disk", found)


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
