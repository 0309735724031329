"""The one row of what was decided once for this installation."""

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from catalog.records import Installation

_ONLY = 1


def find_installation(session: Session) -> Installation | None:
    """Return the row of the installation; None before anything was decided."""
    return session.get(Installation, _ONLY)


def get_installation(session: Session) -> Installation:
    """Return the row of the installation, and make it if there is none yet; for a writing session."""
    found = find_installation(session)
    if found is not None:
        return found
    try:
        with session.begin_nested():
            session.add(made := Installation(id=_ONLY))
    except IntegrityError:  # another process made it between the look and the insert
        return session.get_one(Installation, _ONLY)
    return made
