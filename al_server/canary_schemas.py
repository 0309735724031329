"""Schemas of requests and answers about canary comparisons."""

from datetime import datetime

from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from al_server.schemas import NewestPage, serialize_row
from catalog.canary_records import CanaryComparison
from services import canary
from services.request_types import Body, Closed, Integer


class CanaryPage(NewestPage):
    """A page of canary comparisons, newest first."""

    standing: bool = Field(False, description="only alerts that nobody has acknowledged")


class ComparisonId(Closed):
    """The number of a canary comparison."""

    comparison_id: Integer


class AcknowledgementRequest(Body):
    """What a person found who looked at an alert; it is stored with the caller's name."""

    note: str = Field(min_length=3, max_length=500)


class AreaChangeAnswer(BaseModel):
    """The area of a class in both maps, as shares of the pixels compared."""

    name: str
    before: float
    now: float
    change: float = Field(description="as a share of the larger area: -1 (vanished) to 1 (new)")


class CanaryAnswer(BaseModel):
    """How far what was served after a decision maps the pool otherwise than what was served before."""

    id: int
    version: int | None
    previous_version: int | None
    verdict: str
    patches: int
    pixels: int
    changed_share: float = Field(description="share of the pixels whose class changed, 0 to 1")
    areas: list[AreaChangeAnswer]
    change_limit: float
    area_limit: float
    alerts: list[str] = Field(description="the limits that are exceeded, and by what; empty: none")
    to_go_back: str = Field(description="the command that serves the version before again")
    compared_at: datetime
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    note: str | None


def serialize_canary(session: Session, row: CanaryComparison) -> CanaryAnswer:
    """Return a canary comparison with its shares."""
    change = canary.change_of(row.counts, row.classes)
    areas = [
        AreaChangeAnswer(
            name=area.name,
            before=area.before_px / change.pixels,
            now=area.after_px / change.pixels,
            change=area.share,
        )
        for area in change.areas
    ]
    return serialize_row(
        CanaryAnswer,
        row,
        version=row.decision.model_version,
        previous_version=row.decision.previous_version,
        verdict=row.decision.verdict,
        pixels=change.pixels,
        changed_share=change.changed_share,
        areas=areas,
        to_go_back=canary.command_to_go_back(session, row.decision),
    )
