"""Schemas of requests and answers about promotions, roll-backs and other decisions on what is served."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from al_server.schemas import serialize_row
from catalog.decision_records import DecisionRequest, Promotion
from services.gate_figures import GateFigures
from services.request_types import MAX_INTEGER, Body, Closed, Time


class Moment(Closed):
    """A moment, with its time zone; now, unless it is given."""

    at: Time | None = Field(None, description="e.g. 2026-11-26T12:00:00Z")


class PromotionRequest(Body):
    """The reason for a promotion or roll-back, and what it is to replace; stored with the caller's name."""

    reason: str = Field(min_length=3, max_length=500)
    from_version: int | None = Field(
        None, ge=1, le=MAX_INTEGER, description="the version that you see served; refused if it is another by then"
    )


class PromotionAnswer(BaseModel):
    """A decision about a version: promoted, kept, rolled back, set back (the learner); or a move made in MLflow."""

    id: int
    version: int | None = Field(description="null: the alias was removed in MLflow")
    previous_version: int | None
    verdict: str
    reason: str
    actor: str
    decided_at: datetime
    completed_at: datetime = Field(description="when it took effect")
    evidence: GateFigures | None = Field(description="what the gate's decision rests on; null for others")


class DecisionRequestAnswer(BaseModel):
    """A promotion or roll-back that somebody asked for, and what became of it."""

    id: int
    state: Literal["waiting", "done", "refused"]
    version: int | None = Field(description="the version to be served; null: the one before the champion")
    from_version: int | None = Field(description="the version that it is to replace; null: whichever is served")
    reason: str
    actor: str
    requested_at: datetime
    ended_at: datetime | None
    fault: str | None = Field(description="why it was refused, or still waits")
    decision: PromotionAnswer | None = Field(description="the decision that came of it; null if there is none (yet)")


class ChampionAt(BaseModel):
    """The version that was served at a moment, and the decision by which."""

    at: datetime
    version: int | None = Field(description="null: none was served")
    decision: PromotionAnswer | None


def serialize_promotion(promotion: Promotion) -> PromotionAnswer:
    """Return the record of a decision."""
    return serialize_row(PromotionAnswer, promotion, version=promotion.model_version)


def serialize_request(request: DecisionRequest) -> DecisionRequestAnswer:
    """Return a request for a promotion or roll-back, with the decision that came of it."""
    state = "waiting" if request.ended_at is None else "refused" if request.decision is None else "done"
    decision = serialize_promotion(request.decision) if request.decision else None
    return serialize_row(DecisionRequestAnswer, request, state=state, version=request.model_version, decision=decision)
