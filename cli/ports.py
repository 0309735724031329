"""Choose the ports of the servers when everything runs on this machine."""

import socket
from collections.abc import Callable
from urllib.parse import SplitResult, urlsplit

from catalog.settings import Settings
from catalog.settings_sources import PREFIX
from cli.errors import StartError
from cli.plan import HOST

_TITLES = {
    "api_url": "the API",
    "label_studio_url": "Label Studio",
    "mlflow_url": "MLflow",
    "redis_url": "Redis",
}
_TRIES = 100


def choose_ports(settings: Settings, redis_password: str, say: Callable[[str], None]) -> Settings:
    """Return settings in which each server has the port of its URL or, if that is taken, the next free one.

    Args:
        settings: Settings whose URLs name the preferred ports.
        redis_password: Put into the Redis URL, which the processes get through their environment.
        say: Gets a line for every port that was taken.

    Returns:
        The settings with the URLs in use.

    Raises:
        StartError: A URL names no port of this machine, or a hundred ports in a row are taken.
    """
    chosen: dict[str, str] = {}
    ports: set[int] = set()
    for name, title in _TITLES.items():
        url, preferred = _local_url(name, getattr(settings, name))
        port = _free_port(preferred, ports, title)
        ports.add(port)
        if port != preferred:
            say(f"Port {preferred} is taken; {title} uses {port} instead.")
        login = f":{redis_password}@" if name == "redis_url" else ""
        chosen[name] = url._replace(netloc=f"{login}{url.hostname}:{port}").geturl()
    return settings.model_copy(update=chosen)


def _local_url(name: str, value: str) -> tuple[SplitResult, int]:
    url = urlsplit(value)
    scheme = "redis" if name == "redis_url" else "http"
    if url.scheme != scheme or url.hostname not in (HOST, "localhost") or url.port is None:
        address = f"{url.scheme}://{url.hostname}"  # without the log-in that the URL may carry
        raise StartError(
            f"{PREFIX}{name.upper()} leads to {address}, expected {scheme}://{HOST}:<port>: `up` runs every server on "
            "this machine. Unset it, or start the API and the workers one by one as docker/compose.yaml does."
        )
    return url, url.port


def _free_port(preferred: int, reserved: set[int], title: str) -> int:
    last = min(preferred + _TRIES, 2**16) - 1
    for port in range(preferred, last + 1):
        if port not in reserved and is_free(port):
            return port
    raise StartError(f"No port from {preferred} to {last} is free for {title}; stop what listens there.")


def is_free(port: int) -> bool:
    """Return whether a server may listen at a port of this machine."""
    with socket.socket() as probe:
        # Servers set this, too: a port in TIME_WAIT after a server stopped counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:  # in use, or reserved to the administrator
            return False
    return True
