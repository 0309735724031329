"""What the API does alike for all that is kept as a zip until somebody removes it (`services.made_files`)."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, TypeVar

from flask import Response, send_file
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from al_server.auth import actor
from al_server.context import current_catalog, current_parts
from al_server.paging import Pager, cut_of, last_key, page_response, show_page
from al_server.schemas import LongNewestPage
from catalog.errors import ConflictError, NotFoundError
from imagery.errors import StoreError
from services import made_files, raster_keys
from services.made_files import Known, KnownFile
from services.request_types import MAX_INTEGER

log = logging.getLogger(__name__)

Answer = TypeVar("Answer", bound=BaseModel)
ZIP: Final = "application/zip"


class MadePage(LongNewestPage):
    """A page of what was made or is being made, newest first."""

    before: int | None = Field(
        None, ge=1, le=MAX_INTEGER, description="where the page begins, as the header Link of the page before gives it"
    )


def list_kept(query: MadePage, kind: type[Known], serialize: Callable[[Known], BaseModel]) -> Response:
    """List what was asked for of a kind, newest first, with the header ``Link`` if there may be more."""
    with current_catalog().read() as session:
        found = made_files.listed(session, kind, cut_of(query))
        answers = [serialize(known) for known in found]
    return page_response(answers, query, last_key(found, query, lambda known: known.row.id))


def show_kept(session: Session, kind: type[Known], name: str, size: int) -> tuple[list[Known], Pager]:
    """Return what a page of ours shows of a kind, newest first; name and size as in `al_server.paging.show_page`."""
    return show_page(name, size, lambda cut: made_files.listed(session, kind, cut), lambda known: known.row.id)


def find_kept(kind: type[Known], uid: str) -> Known:
    """Return what is made of a kind.

    Raises:
        NotFoundError: There is none with this id, or it was removed.
        ConflictError: It is not made yet, or could not be made.
    """
    with current_catalog().read() as session:
        known = made_files.find(session, kind, uid)
    if known.contents is None:
        raise ConflictError(f"the {kind.WHAT} is {known.job.state.value}; {known.job.error or 'ask again later'}")
    return known


def send_kept(kind: type[Known], uid: str) -> Response:
    """Send the zip of what is made, or the part of it that is asked for (`Range`).

    Raises:
        NotFoundError: As `find_kept`; or the zip is missing or damaged.
        ConflictError: As `find_kept`.
        HTTPException: As `al_server.far_reading.FarReader.read`.
    """
    known = find_kept(kind, uid)
    with _told_if_lost(known):
        response = _sent(raster_keys.data_set(uid), f"{known.file_name}.zip")
    response.headers["Cache-Control"] = "private, no-cache"
    return response


def read_kept(known: KnownFile) -> bytes:
    """Return the zip of what is made, which fits in memory.

    Raises:
        NotFoundError: It is missing or damaged.
    """
    with _told_if_lost(known):
        return current_parts().store.get(raster_keys.data_set(known.row.uid))


def remove_kept(kind: type[Known], uid: str, serialize: Callable[[Known], Answer]) -> Answer:
    """Remove what was asked for, and its file; end its job if it is still being made; return what it was.

    Raises:
        NotFoundError: There is none with this id, or it was removed.
    """
    catalog = current_catalog()
    with catalog.read() as session:
        answer = serialize(made_files.find(session, kind, uid))
    made_files.remove(catalog, current_parts().store, kind, uid)
    log.info("%s removed the %s %s", actor(), kind.WHAT, uid)
    return answer


@contextmanager
def _told_if_lost(known: KnownFile) -> Iterator[None]:
    try:
        yield
    except (StoreError, FileNotFoundError) as error:
        log.warning("the file of the %s %s cannot be sent: %s", known.WHAT, known.row.uid, error)
        raise NotFoundError(
            f"the file of this {known.WHAT} is missing or damaged; make the {known.WHAT} anew, or restore a backup"
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
