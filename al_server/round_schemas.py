"""Schemas of requests and answers about rounds."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from al_server.auth import has_role
from al_server.job_schemas import JobAnswer
from al_server.schemas import serialize_row
from catalog import rounds
from catalog.access_records import Role
from catalog.records import Round, RoundState, Scoring
from catalog.settings import PatchPart, Strategy
from services.request_types import Body, Closed, Integer
from services.strategies import disguised


class RoundId(Closed):
    """The number of a round."""

    round_id: Integer


class RoundRequest(Body):
    """A round to open; a missing field is taken from the settings."""

    strategy: Strategy | None = None
    size: int | None = Field(None, ge=1, le=10_000)
    seed: Integer | None = None
    part: PatchPart | None = Field(None, description="what to ask for of each patch")
    second_looks: int | None = Field(
        None,
        ge=0,
        le=10_000,
        description="how many of the patches are labelled ones that the newest scoring contradicts",
    )


class RoundAnswer(BaseModel):
    """A round with its progress."""

    id: int
    strategy: Strategy
    measure: str | None = Field(description="by which the patches are ranked; null if the strategy does not rank")
    part: PatchPart = Field(description="what is asked for of each patch")
    size: int
    seed: int
    state: RoundState
    model_version: int | None = Field(description="version whose scores ranked the pool; null for a random round")
    ranking_agreement: float | None = Field(
        description="stability of that ranking, 0 to 1: `agreement` of the scoring for the measure of the ranking"
    )
    proposals: dict[str, int] = Field(description="number of proposals in each state")
    reasons: dict[str, int] = Field(
        description="number of proposals for each reason; for all but operators, shortlist controls count as random "
        "controls, and second labels and honeypots as other patches of the round"
    )
    expected_edits_px: float | None = Field(
        description="pixels that annotators are expected to change in the proposals for which that was estimated; null "
        "without any"
    )
    error: str | None
    created_at: datetime
    published_at: datetime | None
    completed_at: datetime | None


class RoundAccepted(BaseModel):
    """An opened round and the job that chooses its patches."""

    round: RoundAnswer
    job: JobAnswer


def serialize_round(session: Session, of_round: Round) -> RoundAnswer:
    """Return a round with its proposals counted."""
    return serialize_rounds(session, [of_round])[0]


def serialize_rounds(session: Session, found: Sequence[Round]) -> list[RoundAnswer]:
    """Return rounds with their proposals counted; the number of queries does not depend on the number of rounds."""
    progress = rounds.progress(session, [item.id for item in found])
    scorings_used = {item.scoring_id for item in found if item.scoring_id is not None}
    ranked_by: dict[int | None, Scoring] = {
        scoring.id: scoring for scoring in session.scalars(select(Scoring).where(Scoring.id.in_(scorings_used)))
    }
    return [_serialize_round(item, progress[item.id], ranked_by.get(item.scoring_id)) for item in found]


def _serialize_round(item: Round, progress: rounds.Progress, scoring: Scoring | None) -> RoundAnswer:
    return serialize_row(
        RoundAnswer,
        item,
        model_version=scoring.model_version if scoring else None,
        ranking_agreement=(scoring.agreement or {}).get(item.measure) if scoring and item.measure else None,
        proposals=progress.states,
        reasons=_told_reasons(item, progress),
        expected_edits_px=progress.expected_edits_px,
    )


def _told_reasons(item: Round, progress: rounds.Progress) -> Counter[str]:
    """Return the number of proposals for each reason, as the caller may know: only operators may count the checks."""
    told: Counter[str] = Counter()
    controls = any(reason in rounds.CONTROLS for reason, _ in progress.reasons)
    for (reason, scored), count in progress.reasons.items():
        told[reason if has_role(Role.OPERATOR) else disguised(reason, item, scored=scored, controls=controls)] += count
    return told
