"""Failed label events with which something is left to do: a drawing to correct, or a cause to mend and a replay.

The ledger keeps all others, too, with the reasons. Nothing is left to do, and a replay would fail again or change
nothing, where a later event of the annotation has been applied, the annotation or its task is deleted, or the scene was
removed. A drawing on a task that is not ours stays: perhaps the database was restored to a time before its proposal.
"""

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session

from catalog import event_order
from catalog.records import EventState, LabelEvent, Patch, Proposal, Scene, SceneState
from services.corrections import corrected_patch_id


def count_left(session: Session) -> int:
    """Return the number of failed label events with which something is left to do."""
    left = select(func.count()).where(LabelEvent.state == EventState.FAILED, ~_is_done())
    return session.scalar(left) or 0


def count_by_state(session: Session) -> dict[EventState, int]:
    """Return the number of label events in each state; of failed ones, those with which something is left to do."""
    counted = select(LabelEvent.state, func.count()).group_by(LabelEvent.state)
    counts: dict[EventState, int] = dict(session.execute(counted).all())
    return {**dict.fromkeys(EventState, 0), **counts, EventState.FAILED: count_left(session)}


def _is_done() -> ColumnElement[bool]:
    saved = LabelEvent.action.in_(event_order.SAVED)
    standing = select(Patch.id).join(Scene, Patch.scene_id == Scene.id).where(Scene.state != SceneState.REMOVED)
    asked = standing.join(Proposal, Proposal.patch_id == Patch.id).where(Proposal.id == LabelEvent.proposal_id)
    of_removed = or_(
        and_(LabelEvent.proposal_id.is_not(None), ~asked.correlate(LabelEvent).exists()),
        and_(
            LabelEvent.origin == event_order.MAP,
            ~standing.where(Patch.id == corrected_patch_id()).correlate(LabelEvent).exists(),
        ),
    )
    return or_(and_(saved, event_order.is_ignored()), of_removed)
