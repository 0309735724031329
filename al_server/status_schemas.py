"""Schema of the status: what the dashboard says, for programs."""

from pydantic import BaseModel, Field

from al_server.job_schemas import JobAnswer
from al_server.scoring_schemas import ScoringAnswer
from catalog.records import EventState, RoundState
from services.next_step import Act, Tone


class StepAnswer(BaseModel):
    """A sentence for people, and what it asks of them."""

    text: str
    tone: Tone
    act: Act = Field(description="what to offer beside it; empty: nothing")
    subject: str = Field(description="id of what the act is about; empty without one")


class HealthAnswer(BaseModel):
    """Whether the system is healthy."""

    tone: Tone | None = Field(description="the worst of the troubles: `fault` or `look`; null: healthy")
    words: str
    troubles: list[StepAnswer] = Field(description="the most pressing first")


class VersionStatus(BaseModel):
    """A version, and its mean IoU on the validation region."""

    version: int
    mean_iou: float | None
    labels: int


class RoundStatus(BaseModel):
    """The round that is not finished; or the newest, if it failed."""

    id: int
    state: RoundState
    done: int = Field(description="patches that were labelled or skipped")
    waiting: int = Field(description="patches that wait for an annotator")


class StatusAnswer(BaseModel):
    """Where the loop stands, as the dashboard shows it."""

    health: HealthAnswer
    next_step: StepAnswer
    champion: VersionStatus | None = Field(description="the version that is served; null: none yet")
    learner: VersionStatus | None = Field(description="the version from which training goes on; null: none yet")
    jobs: list[JobAnswer] = Field(
        description="the first 50 of the open ones, without those of a scoring: those that run, then those that wait"
    )
    more_jobs: int = Field(description="how many open jobs are not listed")
    scoring: ScoringAnswer | None = Field(description="the scoring of the pool that is under way")
    round: RoundStatus | None
    rounds: int = Field(description="rounds so far, without failed and abandoned ones")
    scenes: dict[str, int] = Field(description="number of ready scenes by role")
    labels: int = Field(description="labels that stand")
    new_labels: int = Field(description="labels that no version has learnt from")
    new_labels_needed: int = Field(description="how many of them start a fine-tune")
    label_events: dict[EventState, int] = Field(
        description="number of label events in each state; of failed ones, those with which something is left to do"
    )
