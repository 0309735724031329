"""Schemas of requests and answers about what is set aside."""

from datetime import datetime

from pydantic import BaseModel, Field

from al_server.schemas import serialize_row
from catalog.set_aside import SetAside
from services.scene_request import Closed


class SetAsidePage(Closed):
    """The newest entries."""

    standing: bool = Field(False, description="only what is set aside at present")
    limit: int = Field(100, ge=1, le=1000)


class SetAsideAnswer(BaseModel):
    """Something that cannot be used and is left out, or was until ``ended_at``."""

    kind: str = Field(description="label, scene, file or version")
    name: str
    reason: str = Field(description="what was found, and what was expected")
    since: datetime
    checked_at: datetime
    ended_at: datetime | None
    outcome: str | None = Field(description="how it ended")


def serialize_set_aside(row: SetAside) -> SetAsideAnswer:
    """Return what cannot be used, and why."""
    return serialize_row(SetAsideAnswer, row)
