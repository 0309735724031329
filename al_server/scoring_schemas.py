"""Schemas of requests and answers about scorings."""

from datetime import datetime

from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from al_server.schemas import NewestPage, serialize_row
from catalog import scorings
from catalog.paging import MOST
from catalog.records import Scoring


class ScoringPage(NewestPage):
    """A page of scorings, newest first."""

    limit: int = Field(20, ge=1, le=MOST)


class ScoringAnswer(BaseModel):
    """A scoring of the pool by Monte Carlo dropout: of all of it, or of the shortlist of a screening pass."""

    id: int
    model_version: int
    passes: int
    seed: int
    share: float = Field(
        description="share of the patches that get all passes, of those that a deterministic pass has screened: the "
        "most uncertain by either entropy; 1: all of the pool"
    )
    patches: int = Field(description="number of patches in the pool, as far as its scenes are tiled")
    progress: float | None = Field(description="share of the work that is done, 0 to 1; null if there is none")
    eta_s: float | None = Field(description="seconds until all patches are scored; null while unknown")
    seconds: float | None = Field(description="seconds from the start of the last work on it to its completion")
    agreement: dict[str, float | None] = Field(
        description="stability of the ranking by each measure: the share of the top tenth of the patches that both "
        "halves of the passes rank there; a scoring with other masks agrees with this one at least as well"
    )
    started_at: datetime
    completed_at: datetime | None
    removed_at: datetime | None = Field(description="when its scores and maps were removed; null: they are kept")


def serialize_scoring(session: Session, scoring: Scoring) -> ScoringAnswer:
    """Return a scoring with its progress over all its shards."""
    progress = scorings.progress(session, scoring)
    return serialize_row(
        ScoringAnswer,
        scoring,
        share=scoring.shortlist_share,
        patches=progress.patches,
        progress=progress.done,
        eta_s=progress.eta_s,
        agreement=scoring.agreement or {},
    )
