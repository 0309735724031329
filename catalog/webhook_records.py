"""The tables of outgoing webhooks: who is told, what happened, and what became of each delivery."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import uuid4

from sqlalchemy import Enum, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from catalog.records import Base, now
from catalog.told_texts import Told


class DeliveryState(StrEnum):
    """A delivery is pending until it is delivered, or dead when its last attempt failed."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


class Subscription(Base):
    """An address that is told of events. Removed ones keep their row, which deliveries refer to."""

    __tablename__ = "subscriptions"

    id: Mapped[int] = mapped_column(primary_key=True)
    url: Mapped[str]
    # What its secret is derived from (services.event_secrets). None: of an older release, until it gets a new secret.
    uid: Mapped[str | None] = mapped_column(String(32), unique=True)
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=now)
    removed_at: Mapped[datetime | None]


class OutgoingEvent(Base):
    """Something that happened, and the body that tells of it."""

    __tablename__ = "outgoing_events"

    id: Mapped[int] = mapped_column(primary_key=True)
    uid: Mapped[str] = mapped_column(String(40), unique=True, default=lambda: f"msg_{uuid4().hex}")
    type: Mapped[str] = mapped_column(String(40))
    body: Mapped[dict[str, Any]]
    happened_at: Mapped[datetime] = mapped_column(default=now, index=True)


class Delivery(Base):
    """One event for one subscription."""

    __tablename__ = "deliveries"
    __table_args__ = (
        UniqueConstraint("subscription_id", "event_id"),
        Index("ix_deliveries_state", "state"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    subscription_id: Mapped[int] = mapped_column(ForeignKey("subscriptions.id"))
    event_id: Mapped[int] = mapped_column(ForeignKey("outgoing_events.id"))
    state: Mapped[DeliveryState] = mapped_column(
        Enum(DeliveryState, native_enum=False, length=32, values_callable=lambda kinds: [kind.value for kind in kinds]),
        default=DeliveryState.PENDING,
    )
    attempts: Mapped[int] = mapped_column(default=0)
    last_status: Mapped[int | None]  # HTTP status of the last attempt; None: there was no answer
    last_error: Mapped[Told | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    next_attempt_at: Mapped[datetime | None] = mapped_column(default=now)  # None: no further one
    delivered_at: Mapped[datetime | None]

    event: Mapped[OutgoingEvent] = relationship()
    subscription: Mapped[Subscription] = relationship()
