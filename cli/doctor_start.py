"""Checks of ``glacier-al doctor`` about starting a system on this machine, and whether its API answers."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import requests

from catalog.context import Catalog
from cli.ports import is_free
from labeling import server as label_studio
from services.installation_findings import Finding, fault, listed, ok, warning

_TIMEOUT_S: Final = 10.0


def check_program(_: Catalog) -> Iterator[Finding]:
    """Look for the program of Label Studio, which `up` starts."""
    try:
        yield ok("Label Studio's program", str(label_studio.executable()))
    except FileNotFoundError as error:
        yield fault("Label Studio's program", str(error), "an installation of its own", "run `make setup`")


def check_ports(catalog: Catalog) -> Iterator[Finding]:
    """Tell which of the ports that the next start prefers are taken; it takes the next free ones."""
    yield ok("parts", "no system running on this folder; `glacier-al up` starts one")
    urls = {name: getattr(catalog.settings, f"{name}_url") for name in ("api", "redis", "mlflow", "label_studio")}
    ports = {name: urlsplit(url).port for name, url in urls.items()}
    taken = [f"{port} ({name})" for name, port in ports.items() if port is not None and not is_free(port)]
    if taken:
        yield warning("ports", f"{listed(taken)} taken", "free ports", "nothing: the next start takes others")
    else:
        yield ok("ports", f"{listed(ports.values())} free")


def check_api(catalog: Catalog) -> Iterator[Finding]:
    """Ask the API whether it runs."""
    url = f"{catalog.settings.api_url}/healthz"
    try:
        status = requests.get(url, timeout=_TIMEOUT_S).status_code
    except requests.RequestException as error:
        yield fault("part api", f"no answer at {url} ({error})", "an answer", "see its log in the folder `logs`")
        return
    if status == HTTPStatus.OK:
        yield ok("part api", "up")
    else:
        yield fault("part api", f"status {status} at {url}", "200", "see its log in the folder `logs`")
