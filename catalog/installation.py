"""The single row of the table ``installation``: the class scheme and the Label Studio project, each decided once."""

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from catalog.records import Installation

_ROW_ID = 1


def find_installation(session: Session) -> Installation | None:
    """Return the row of the installation; None if it has not been added yet."""
    return session.get(Installation, _ROW_ID)


def get_installation(session: Session) -> Installation:
    """Return the row of the installation; add it if it is missing. Needs a writing session."""
    existing = find_installation(session)
    if existing is not None:
        return existing
    try:
        with session.begin_nested():
            session.add(added := Installation(id=_ROW_ID))
    except IntegrityError:  # another process inserted it after our query
        return session.get_one(Installation, _ROW_ID)
    return added


def lock_installation(session: Session) -> Installation:
    """Return the row of the installation freshly loaded, and lock it until the session ends.

    Who adds or replaces a scene, begins a training run, registers its version or withdraws labels does so before
    anything else: what they find in all scenes and labels together then holds until they are done
    (`catalog.scene_locks` names the order of locks).
    """
    installation = get_installation(session)
    session.refresh(installation, with_for_update=True)
    return installation


def hold_installation(session: Session) -> None:
    """Keep others from locking the row of the installation until the session ends; they can hold it, too.

    Who stores a label does so before anything else: a withdrawal then finds the label, or the label the withdrawal. The
    row is there: whoever has registered the first scene has added it.
    """
    session.get(Installation, _ROW_ID, with_for_update={"read": True}, populate_existing=True)
