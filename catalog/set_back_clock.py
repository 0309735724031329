"""Bring back the times that a machine's clock has noted while it was ahead.

A clock may be ahead for a while, by a wrong time server or an empty battery, and is then set back. What was to be tried
again in a moment would wait until that moment comes once more, a worker that died meanwhile would seem alive as long,
and what came last by its time, such as the scoring that ranks the pool, would stay the last whatever is done since.

Records of what people drew and promoted keep their times: their order is that of their numbers.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import or_, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from catalog.access_records import LogInAttempt
from catalog.decision_records import DecisionRequest, PromotionIntent
from catalog.records import Base, Job, Label, Scoring, Shard, now
from catalog.set_aside import SetAside
from catalog.webhook_records import Delivery
from catalog.withdrawal_records import Withdrawal

TOLERANCE: Final = timedelta(minutes=1)
"""By how much the clocks of the machines of one system may differ."""
LONGEST_WAITS: Final[Mapping[InstrumentedAttribute[Any], timedelta]] = {
    Job.run_after: timedelta(minutes=10),
    Delivery.next_attempt_at: timedelta(hours=12),
}
"""Times of what is to be tried again, and more than the longest wait for it."""
_PASSED: Final[Mapping[type[Base], Sequence[str]]] = {
    Job: ("created_at", "started_at", "heartbeat_at", "finished_at"),
    Scoring: ("started_at", "completed_at"),
    Shard: ("done_at",),
    Label: ("created_at",),
    SetAside: ("checked_at",),
    LogInAttempt: ("at",),
    DecisionRequest: ("requested_at",),
    PromotionIntent: ("decided_at",),
    Withdrawal: ("withdrawn_at",),  # what is drawn after it is not withdrawn
}
"""Times that have passed when they are noted, by table."""


def bring_back(session: Session) -> dict[str, int]:
    """Bring times that have not come yet back to the present, in a writing session.

    Of one table, they are all moved by as much, so that their order stays: the latest is now.

    Returns:
        By table, how many rows were changed; those without any are left out.
    """
    moment = now()
    changed = {model.__tablename__: _move(session, model, names, moment) for model, names in _PASSED.items()}
    for column, longest in LONGEST_WAITS.items():
        waiting = update(column.class_).where(column > moment + longest).values({column: moment})
        rows = session.execute(waiting.returning(column.class_.id)).all()
        table = column.class_.__tablename__
        changed[table] = changed.get(table, 0) + len(rows)
    return {table: count for table, count in changed.items() if count}


def _move(session: Session, model: type[Base], names: Sequence[str], moment: datetime) -> int:
    """Move the times of a table that have not come yet; return of how many rows."""
    limit = moment + TOLERANCE
    columns: list[InstrumentedAttribute[Any]] = [getattr(model, name) for name in names]
    ahead = select(model.id, *columns).where(or_(*(column > limit for column in columns)))  # type: ignore[attr-defined]
    found: list[dict[str, Any]] = []
    for number, *times in session.execute(ahead):
        late = {name: time for name, time in zip(names, times, strict=True) if time is not None and time > limit}
        found.append({"id": number, **late})
    if not found:
        return 0
    shift = max(time for row in found for name, time in row.items() if name != "id") - moment
    session.execute(
        update(model),
        [{name: time if name == "id" else time - shift for name, time in row.items()} for row in found],
    )
    return len(found)
