"""Sending files that need not fit in memory, whole or in part, so that a slow reader keeps no thread."""

from http import HTTPStatus
from pathlib import Path
from typing import Final

from flask import Response, request, send_file
from werkzeug.wsgi import wrap_file

_SENT_BY_SERVER: Final = "wsgi.file_wrapper"
"""Entry of the WSGI environment of servers that send a file by themselves; waitress does so in its own loop."""


def send_large_file(path: Path, media_type: str, name: str, etag: str | None) -> Response:
    """Return a response with a file, or with the part of it that is asked for (`Range`); 304 if nothing has changed.

    The file is opened at once, so that its name may be deleted afterwards.

    Args:
        path: The file.
        media_type: Its type.
        name: What it is called where it is saved.
        etag: What differs when its content differs; None: made from its size and time.

    Raises:
        FileNotFoundError: There is no such file.
        RequestedRangeNotSatisfiable: The part lies behind its end.
    """
    response = send_file(
        path, media_type, as_attachment=True, download_name=name, conditional=True, etag=True if etag is None else etag
    )
    part = response.content_range
    if (
        response.status_code == HTTPStatus.PARTIAL_CONTENT
        and part.start is not None
        and _SENT_BY_SERVER in request.environ
    ):
        # Werkzeug hands parts over block by block, for which a thread waits as long as the reader takes. waitress sends
        # as much as Content-Length says, from where the file stands.
        response.response.close()  # type: ignore[union-attr]
        file = path.open("rb")
        file.seek(part.start)
        response.response = wrap_file(request.environ, file)
    return response
