"""Schemas of requests and answers about label events."""

from datetime import datetime

from pydantic import BaseModel, Field

from al_server.schemas import Page, serialize_row
from catalog.reconciliation_records import Reconciliation
from catalog.records import EventState, LabelEvent
from services.request_types import Closed, Integer


class EventId(Closed):
    """The number of a label event."""

    event_id: Integer


class EventPage(Page):
    """A page of the ledger, of one state or all."""

    state: EventState | None = None


class Recorded(BaseModel):
    """Ids in the ledger of the label events that were new."""

    recorded: list[int]


class EventAnswer(BaseModel):
    """An entry of the ledger of label events."""

    id: int
    action: str
    origin: str
    project_id: int | None
    task_id: int | None
    annotation_id: int | None
    annotation_updated_at: datetime | None
    state: EventState
    detail: str | None
    received_at: datetime
    applied_at: datetime | None


class ReconciliationAnswer(BaseModel):
    """A comparison with Label Studio that was full or found a difference."""

    id: int
    project_id: int
    full_because: str | None = Field(description="why all tasks were compared; null: those that had changed")
    tasks: int = Field(description="that Label Studio had")
    read: int = Field(description="of them, how many were read because they had changed")
    mended: dict[str, int] = Field(description="what no webhook had told, by action of the events recorded for it")
    event_ids: list[int] = Field(description="the label events by which it was mended")
    started_at: datetime
    seconds: float


def serialize_event(event: LabelEvent) -> EventAnswer:
    """Return an entry of the ledger, without the body of the event."""
    return serialize_row(EventAnswer, event)


def serialize_reconciliation(row: Reconciliation) -> ReconciliationAnswer:
    """Return a comparison with Label Studio."""
    return serialize_row(ReconciliationAnswer, row)
