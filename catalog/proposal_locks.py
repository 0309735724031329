"""Lock proposals and patches whose states are about to change.

The state of a patch follows from all its proposals, so that a session which changes a proposal has to see what others
have changed. It locks in this order, so that nobody waits in a circle: proposals by id, patches by id, rounds. Who
changes several proposals locks all of them, then all their patches, before the first is changed.

PostgreSQL locks the rows; on SQLite only one session writes at a time anyway. The locks do not hinder rows that refer
to a proposal or a patch, as labels do, from being added: two sessions that have each added a label of
one patch could else not lock it any more.
"""

from collections.abc import Collection, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from catalog.records import Patch, Proposal

_CHANGES: Final[dict[str, Any]] = {"key_share": True}  # FOR NO KEY UPDATE


def lock(session: Session, proposal_id: int) -> Proposal:
    """Lock a proposal until the session ends, and return it freshly loaded; `lock_patches` locks its patch."""
    return session.get_one(Proposal, proposal_id, with_for_update=_CHANGES, populate_existing=True)


def lock_all(session: Session, condition: ColumnElement[bool]) -> Sequence[Proposal]:
    """Lock the proposals that fulfil a condition, then their patches; return the proposals, ordered by id."""
    locking = select(Proposal).where(condition).order_by(Proposal.id).with_for_update(**_CHANGES)
    proposals = session.scalars(locking.execution_options(populate_existing=True)).all()
    _lock_patches(session, Patch.id.in_(select(Proposal.patch_id).where(condition)))
    return proposals


def lock_patches(session: Session, patch_ids: Collection[int]) -> None:
    """Lock patches, in the order of their ids, until the session ends, and load them afresh."""
    _lock_patches(session, Patch.id.in_(patch_ids))


def _lock_patches(session: Session, condition: ColumnElement[bool]) -> None:
    locking = select(Patch).where(condition).order_by(Patch.id).with_for_update(**_CHANGES)
    session.scalars(locking.execution_options(populate_existing=True)).all()
