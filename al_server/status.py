"""Where the loop stands, for programs: what the dashboard says."""

from datetime import UTC, datetime
from typing import Final

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from sqlalchemy import Select, case, func, select
from sqlalchemy.orm import Session

from al_server.arms import describe_arms
from al_server.context import current_catalog, current_parts, json_response
from al_server.job_schemas import serialize_job
from al_server.scoring_schemas import ScoringAnswer, serialize_scoring
from al_server.status_schemas import HealthAnswer, RoundStatus, StatusAnswer, StepAnswer, VersionStatus
from catalog import scorings
from catalog.jobs import OPEN
from catalog.records import Job, JobKind, JobState, SceneRole, SceneState
from catalog.registry import ModelVersion
from services import failed_events, forecast
from services.next_step import Step, light, next_step, troubles
from services.situation import RoundFacts, Situation, read_situation
from services.version_figures import figures_of

api = APIBlueprint("status", __name__, url_prefix="/api/v1/status", abp_tags=[Tag(name="health")])

_SCORING_KINDS: Final = (JobKind.SCORE_POOL, JobKind.SCORE_SHARD)
_JOBS_LISTED: Final = 50  # a job waits for each label event, and thousands may arrive together


@api.get("", responses={200: StatusAnswer})
def status() -> Response:
    """Tell where the loop stands: health, the next step, versions, work with seconds left, the round, and labels."""
    models = current_parts().models
    worth = describe_arms(models.versions(forecast.VERSIONS)).worth
    with current_catalog().read() as session:
        situation = read_situation(session, current_catalog().settings, worth)
        running_first = case((Job.state == JobState.RUNNING, 0), else_=1)
        listed = session.scalars(open_jobs().order_by(running_first, Job.created_at).limit(_JOBS_LISTED)).all()
        counted = session.scalar(select(func.count()).select_from(open_jobs().subquery())) or 0
        answer = StatusAnswer(
            health=_describe_health(situation),
            next_step=_describe_step(next_step(situation, datetime.now(UTC))),
            champion=_describe_version(models.champion()),
            learner=_describe_version(models.learner()),
            jobs=[serialize_job(job) for job in listed],
            more_jobs=counted - len(listed),
            scoring=_describe_scoring(session),
            round=_describe_round(situation.round),
            rounds=situation.rounds,
            scenes={role: situation.scenes.get((role, SceneState.READY), 0) for role in SceneRole},
            labels=situation.labels,
            new_labels=situation.new.count,
            new_labels_needed=situation.new.needed,
            label_events=failed_events.count_by_state(session),
        )
    return json_response(answer)


def open_jobs() -> Select[Job]:
    """Select the open jobs, in any order, without those of a scoring, which is told as one."""
    return select(Job).where(Job.state.in_(OPEN), Job.kind.not_in(_SCORING_KINDS))


def _describe_health(situation: Situation) -> HealthAnswer:
    found = light(situation)
    return HealthAnswer(
        tone=found.tone, words=found.words, troubles=[_describe_step(step) for step in troubles(situation)]
    )


def _describe_step(step: Step) -> StepAnswer:
    return StepAnswer(text=step.text, tone=step.tone, act=step.act, subject=step.subject)


def _describe_version(version: ModelVersion | None) -> VersionStatus | None:
    if version is None:
        return None
    figures = figures_of(version)
    validation = figures.regions.get(SceneRole.VALIDATION.value)
    return VersionStatus(
        version=version.version, mean_iou=validation.mean_iou if validation else None, labels=figures.labels
    )


def _describe_scoring(session: Session) -> ScoringAnswer | None:
    scoring = scorings.current(session) if scorings.is_under_way(session) else None
    return None if scoring is None else serialize_scoring(session, scoring)


def _describe_round(found: RoundFacts | None) -> RoundStatus | None:
    return (
        None if found is None else RoundStatus(id=found.id, state=found.state, done=found.done, waiting=found.waiting)
    )
