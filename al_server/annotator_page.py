"""The page of an annotator: own work and time; for operators also how far the labels agree with others'."""

from typing import Final

from flask import Blueprint, Response

from al_server.auth import current_identity, has_role
from al_server.blindness import labels_shown
from al_server.context import current_catalog
from al_server.page_frame import render_page
from catalog.access_records import Role
from catalog.errors import NotFoundError
from services import label_quality
from services.annotator_work import (
    Annotator,
    annotator_of,
    count_superseded,
    find_annotator,
    newest_labels,
    work_by_round,
)
from services.effort import effort

page = Blueprint("annotator_page", __name__)
LABELS_SHOWN: Final = 30


@page.get("/annotators/<path:name>")
def show_annotator(name: str) -> Response:
    """Return the page of an annotator: labels and time by round, what labels cost, and the newest labels.

    Operators find everybody by account or pseudonym, others by pseudonym, and everybody their own account. Whether
    another account exists is not told.
    """
    catalog = current_catalog()
    with catalog.read() as session:
        found = find_annotator(session, catalog, name) or annotator_of(catalog, name)
        work = work_by_round(session, found)
        superseded = count_superseded(session, found)
        may_name, is_own = has_role(Role.OPERATOR), _is_own(found)
        by_account = name != found.pseudonym
        if (by_account and not (may_name or is_own)) or not (work or superseded or is_own):
            raise NotFoundError("there is no annotator of this name; the pages of rounds name those who drew labels")
        groups = effort(session, found.drew)
        newest = newest_labels(session, found, LABELS_SHOWN, labels_shown())
    quality = label_quality.assess(catalog) if may_name else None
    return render_page(
        "annotator.html",
        annotator=found,
        name=found.account if found.account and (may_name or is_own) else found.pseudonym,
        is_own=is_own,
        work=work,
        superseded=superseded,
        groups=groups,
        newest=newest,
        quality=quality,
        agrees=next((row for row in quality.annotators if row.annotator == _key(found)), None) if quality else None,
    )


def _is_own(annotator: Annotator) -> bool:
    """Return whether the caller is this annotator: logged in under the same name."""
    return _key(annotator) == current_identity().name.lower()


def _key(annotator: Annotator) -> str:
    """Return the account as labels are compared by it (`services.compared_labels.person`)."""
    return (annotator.account or "").lower()
