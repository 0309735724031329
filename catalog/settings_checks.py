"""What a path or an address among the settings must look like. Each check returns the value, or raises ValueError."""

from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from catalog.settings_sources import absolute, is_url

T = TypeVar("T")


def not_empty(value: T) -> T:
    """Check that something is named: an empty path would mean the working folder."""
    if value == "":
        raise ValueError("expected a path, found nothing")
    return value


def absolute_unless_url(text: str) -> str:
    """Return a folder as an absolute path, and a URL as it is."""
    return text if is_url(text) else str(absolute(Path(text)))


def web_address(text: str) -> str:
    """Check the address of a web server."""
    return _address(text, ("http", "https"), "http://127.0.0.1:8000")


def web_address_or_none(text: str) -> str:
    """Check the address of a web server; an empty text stands for another setting."""
    return text and web_address(text)


def redis_address(text: str) -> str:
    """Check the address of Redis."""
    return _address(text, ("redis", "rediss", "unix"), "redis://127.0.0.1:6379/0")


def database_address(text: str) -> str:
    """Check the address of a database, and that SQLAlchemy supports this kind."""
    from sqlalchemy import make_url  # late: not loaded by commands that keep the default
    from sqlalchemy.exc import ArgumentError

    example = "postgresql+psycopg://user:password@host/database"
    try:
        url = make_url(text)
        url.get_dialect()
    except ArgumentError as error:
        raise ValueError(f"expected an address such as {example}") from error
    return text


def _address(text: str, schemes: tuple[str, ...], example: str) -> str:
    try:
        url = urlsplit(text)
        is_complete = url.scheme in schemes and bool(url.hostname or url.scheme == "unix") and url.port != 0
    except ValueError:  # the port is no number, or brackets are left open
        is_complete = False
    if not is_complete:
        raise ValueError(f"expected an address such as {example}")
    return text
