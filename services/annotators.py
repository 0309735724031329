"""Who draws: the addresses of Label Studio's users, kept here so that a label event need not ask for them.

Label Studio is asked when an event names a user for the first time, and at each reconciliation, which finds addresses
that changed and ids that were given away again.
"""

from collections.abc import Collection

from sqlalchemy import delete, select

from catalog.annotator_records import StudioUser
from catalog.context import Catalog
from labeling.client import LabelStudio
from services.label_studio import label_studio


def annotator(catalog: Catalog, user_id: int | None) -> str:
    """Return the address of a user of Label Studio; "user N" if the account was deleted, "unknown" for None.

    Raises:
        LabelStudioError: the user is not known here, and Label Studio does not answer.
    """
    if user_id is None:
        return "unknown"
    with catalog.read() as session:
        known = session.get(StudioUser, user_id)
    email = known.email if known is not None else refresh(catalog, label_studio(catalog), {user_id}).get(user_id)
    return email or f"user {user_id}"


def refresh(catalog: Catalog, studio: LabelStudio, asked: Collection[int] = ()) -> dict[int, str]:
    """Store and return the addresses of Label Studio's users.

    Args:
        catalog: the catalog.
        studio: Label Studio.
        asked: ids that an event names; those that Label Studio does not list are stored as such.

    Raises:
        LabelStudioError: Label Studio does not answer.
    """
    emails = studio.user_emails()
    with catalog.write() as session:
        unlisted = set(session.scalars(select(StudioUser.user_id))) | set(asked)
        rows = dict.fromkeys(unlisted) | emails
        session.execute(delete(StudioUser))
        session.add_all(StudioUser(user_id=user_id, email=email) for user_id, email in rows.items())
    return emails
