"""Sending a zip that is kept in the raster store until somebody removes it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from flask import Response, send_file
from pydantic import Field

from al_server.context import current_catalog, current_parts
from al_server.schemas import LongNewestPage
from catalog.errors import NotFoundError
from imagery.errors import StoreError
from services import raster_keys
from services.request_types import MAX_INTEGER

log = logging.getLogger(__name__)

ZIP: Final = "application/zip"


class MadePage(LongNewestPage):
    """A page of what was made or is being made, newest first."""

    before: int | None = Field(
        None, ge=1, le=MAX_INTEGER, description="where the page begins, as the header Link of the page before gives it"
    )


def send_kept(uid: str, name: str, what: str) -> Response:
    """Send the file of a data set, a submission or an experiment, or the part of it that is asked for (`Range`).

    Args:
        uid: Its id.
        name: Name of the file for whoever takes it away.
        what: What it is, for the error.

    Raises:
        NotFoundError: The file is missing or damaged.
        HTTPException: As `al_server.far_reading.FarReader.read`.
    """
    with _told_if_lost(uid, what):
        response = _sent(raster_keys.data_set(uid), name)
    response.headers["Cache-Control"] = "private, no-cache"
    return response


def read_kept(uid: str, what: str) -> bytes:
    """Return the file of an experiment, which fits in memory; arguments and errors are those of `send_kept`."""
    with _told_if_lost(uid, what):
        return current_parts().store.get(raster_keys.data_set(uid))


@contextmanager
def _told_if_lost(uid: str, what: str) -> Iterator[None]:
    try:
        yield
    except (StoreError, FileNotFoundError) as error:
        log.warning("the file of the %s %s cannot be sent: %s", what, uid, error)
        raise NotFoundError(
            f"the file of this {what} is missing or damaged; make the {what} anew, or restore a backup"
        ) from error


def _sent(key: str, name: str) -> Response:
    """Send a file of the store, which need not fit in memory; one on another machine is copied to this one first.

    Raises:
        StoreError: It is not in the store, or is damaged.
        FileNotFoundError: It was deleted a moment ago.
        HTTPException: As `al_server.far_reading.FarReader.read`.
    """
    store = current_parts().store
    etag = store.checksum(key)
    if store.is_local:
        return _sent_as(Path(store.uri(key)), name, etag)
    with TemporaryDirectory(dir=current_catalog().settings.var_dir) as folder:
        copy = Path(folder, "kept.zip")
        store.fetch(key, copy)
        return _sent_as(copy, name, etag)  # which opens it at once, so that its name may be deleted


def _sent_as(path: Path, name: str, etag: str | None) -> Response:
    tag = True if etag is None else etag
    return send_file(path, ZIP, as_attachment=True, download_name=name, conditional=True, etag=tag)
