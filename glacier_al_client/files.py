"""Files of the server, written whole or not at all."""

import hashlib
import os
from pathlib import Path
from typing import Literal

import httpx

from glacier_al_client.errors import UnexpectedAnswerError, UnreachableError

PredictionFile = Literal["tif", "geojson", "gpkg", "shp.zip", "confidence.tif", "areas.json", "glims.zip"]
"""What the server writes of a map: classes, outlines in three formats, confidence, areas with their errors."""


def save(response: httpx.Response, target: Path) -> str:
    """Write the body of a response to a file, which appears only when it is whole; return its SHA-256.

    Raises:
        UnreachableError: The server broke off; the file is as it was.
        UnexpectedAnswerError: The body is a page for people, as a proxy sends it; the file is as it was.
    """
    kind = response.headers.get("Content-Type", "")
    if kind.startswith("text/html"):
        raise UnexpectedAnswerError(f"{response.url} is answered with a page ({kind}); expected a file of the server")
    target.parent.mkdir(parents=True, exist_ok=True)
    checksum = hashlib.sha256()
    partial = target.with_name(f".{target.name}-{os.getpid()}")
    try:
        with partial.open("wb") as file:
            for chunk in response.iter_bytes():
                file.write(chunk)
                checksum.update(chunk)
        partial.replace(target)
    except httpx.HTTPError as error:
        raise UnreachableError(f"{response.url} broke off: {error or type(error).__name__}") from error
    finally:
        partial.unlink(missing_ok=True)
    return checksum.hexdigest()


def sha256_of(file: Path) -> str | None:
    """Return the SHA-256 of a file; None if there is none."""
    if not file.exists():
        return None
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
