"""The tables of decisions about model versions: an append-only record, the intents that precede its rows, and requests.

The database itself refuses to change or delete a row of ``promotions`` (triggers, see the migration 0011).
"""

from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from catalog.records import Base, now
from catalog.told_texts import Told


class _Decision:
    """Columns of a decision."""

    id: Mapped[int] = mapped_column(primary_key=True)
    uid: Mapped[str] = mapped_column(String(32), unique=True, default=lambda: uuid4().hex)  # of intent and record
    model_version: Mapped[int | None]  # to which; None: the alias was removed in MLflow
    previous_version: Mapped[int | None]  # from which
    verdict: Mapped[str] = mapped_column(String(20))  # see services.promotion
    reason: Mapped[str]
    evidence: Mapped[dict[str, Any] | None]  # models.gate.GateEvidence as JSON; None: of no gate
    actor: Mapped[str]
    decided_at: Mapped[datetime] = mapped_column(default=now)


class PromotionIntent(_Decision, Base):
    """A decision that is about to be carried out in MLflow (`services.promotion`).

    Committed before the aliases move. Its end is a row of ``promotions``, or nothing if the aliases did not move.
    """

    __tablename__ = "promotion_intents"

    moves_learner: Mapped[bool]


class Promotion(_Decision, Base):
    """A decision about the champion or the learner that took effect. Append-only."""

    __tablename__ = "promotions"

    completed_at: Mapped[datetime] = mapped_column(default=now)  # when it took effect


class DecisionRequest(Base):
    """A promotion or roll-back that a person asked for over HTTP (`services.decision_requests`).

    It waits until it has ended: with a decision, or with the reason why there is none.
    """

    __tablename__ = "decision_requests"
    __table_args__ = (Index("ix_decision_requests_ended_at", "ended_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    uid: Mapped[str] = mapped_column(String(32), unique=True, default=lambda: uuid4().hex)  # of the decision, too
    model_version: Mapped[int | None]  # to be served; None: the one before the champion
    from_version: Mapped[int | None]  # the champion that it is to replace; None: whichever there is
    reason: Mapped[str]
    actor: Mapped[str]
    token: Mapped[str | None] = mapped_column(String(64))  # name of the token that the actor showed; None by a log-in
    requested_at: Mapped[datetime] = mapped_column(default=now)
    ended_at: Mapped[datetime | None]
    decision_id: Mapped[int | None] = mapped_column(ForeignKey("promotions.id"))
    fault: Mapped[Told | None]  # why it was refused, or still waits

    decision: Mapped[Promotion | None] = relationship()
