"""The status page: labels, running jobs, model versions, decisions, rounds, scenes and failures."""

from collections.abc import Sequence
from dataclasses import dataclass

from flask import Blueprint, Response
from sqlalchemy import Select, func, select

from al_server import track_chart
from al_server.arms import describe_arms
from al_server.context import current_catalog, current_parts
from al_server.page_frame import render_page
from al_server.schemas import ModelAnswer
from al_server.serializers import (
    serialize_canary,
    serialize_event,
    serialize_job,
    serialize_reconciliation,
    serialize_rounds,
    serialize_scene,
    serialize_scoring,
    serialize_set_aside,
    serialize_version,
)
from catalog import registry_copy, scorings, set_aside, training
from catalog.jobs import OPEN, UNSUCCESSFUL
from catalog.reconciliation_records import Reconciliation, SeenProject
from catalog.records import EventState, Job, JobKind, Label, LabelEvent, Round
from catalog.registry import ModelVersion
from catalog.webhook_records import DeliveryState
from imagery.classes import ClassScheme
from services import canary, outgoing_events, promotion
from services.class_scheme import scheme_in_force
from services.registry_watch import STALE_S
from services.scenes import registered_scenes
from services.tracks import tracks

page = Blueprint("dashboard", __name__)
VERSIONS_SHOWN = 20  # the newest ones
UNSUCCESSFUL_SHOWN = 5
DECISIONS_SHOWN = 10
ALERTS_SHOWN = 10
EVENTS_SHOWN = 10
RECONCILIATIONS_SHOWN = 5


@dataclass(frozen=True)
class _Versions:
    """The newest versions, their descriptions, and the curves of both tracks."""

    found: Sequence[ModelVersion] = ()
    shown: Sequence[ModelAnswer] = ()
    chart: track_chart.TrackChart | None = None


@page.get("/")
def index() -> Response:
    """Return the page."""
    catalog = current_catalog()
    with catalog.read() as session:
        scenes = [serialize_scene(item) for item in registered_scenes(session)]
        rounds = serialize_rounds(session, session.scalars(select(Round).order_by(Round.id.desc())).all())
        open_rows = session.scalars(_open_jobs()).all()
        open_jobs = [serialize_job(job) for job in open_rows]
        stopping = {job.id for job in open_rows if job.cancel_requested}
        scoring, ranking = scorings.current(session), scorings.newest(session)
        scored = serialize_scoring(session, scoring) if scoring is not None else None
        agreement = ranking.agreement if ranking is not None else None
        unsuccessful = [serialize_job(job) for job in session.scalars(_unsuccessful_jobs())]
        failed_events = session.scalar(select(func.count()).where(LabelEvent.state == EventState.FAILED)) or 0
        not_learnt = [serialize_event(event) for event in session.scalars(_not_learnt())]
        compared_at = session.scalar(select(func.max(SeenProject.compared_at)))
        mended = [serialize_reconciliation(row) for row in session.scalars(_reconciliations())]
        labels = session.scalar(select(func.count(Label.id)).where(Label.superseded_at.is_(None))) or 0
        fresh = len(training.new_labels(session))
        scheme = scheme_in_force(session, catalog.settings)
        decisions = promotion.decisions(session, DECISIONS_SHOWN)
        aside = [serialize_set_aside(row) for row in set_aside.standing(session)]
        trouble = registry_copy.trouble(session, STALE_S)
        alerts = [serialize_canary(row) for row in canary.comparisons(session, ALERTS_SHOWN, standing=True)]
        dead = outgoing_events.deliveries(session, UNSUCCESSFUL_SHOWN, DeliveryState.DEAD)
    versions = _versions()
    compared = describe_arms(versions.found)
    return render_page(
        "status.html",
        settings=catalog.settings,
        scenes=scenes,
        rounds=rounds,
        open_jobs=open_jobs,
        scoring=scored,
        agreement=agreement or {},
        stopping=stopping,
        unsuccessful=unsuccessful,
        failed_events=failed_events,
        not_learnt=not_learnt,
        compared_at=compared_at,
        mended=mended,
        labels=labels,
        fresh=fresh,
        versions=versions.shown,
        decisions=decisions,
        aside=aside,
        chart=versions.chart,
        classes=_classes(versions.shown, scheme),
        trouble=trouble,
        dead=dead,
        alerts=alerts,
        compared=compared,
    )


def _open_jobs() -> Select[Job]:
    """Select the open jobs, oldest first, without those of a scoring: the page shows a scoring as one line."""
    apart = (JobKind.SCORE_POOL, JobKind.SCORE_SHARD)
    return select(Job).where(Job.state.in_(OPEN), Job.kind.not_in(apart)).order_by(Job.created_at)


def _unsuccessful_jobs() -> Select[Job]:
    """Select the latest jobs that failed or were cancelled, newest first."""
    ended = Job.state.in_(UNSUCCESSFUL)
    return select(Job).where(ended).order_by(Job.finished_at.desc()).limit(UNSUCCESSFUL_SHOWN)


def _not_learnt() -> Select[LabelEvent]:
    """Select the newest label events that failed or were ignored: the drawings and deletions without effect."""
    without_effect = LabelEvent.state.in_((EventState.FAILED, EventState.SUPERSEDED))
    return select(LabelEvent).where(without_effect).order_by(LabelEvent.id.desc()).limit(EVENTS_SHOWN)


def _reconciliations() -> Select[Reconciliation]:
    return select(Reconciliation).order_by(Reconciliation.id.desc()).limit(RECONCILIATIONS_SHOWN)


def _classes(versions: Sequence[ModelAnswer], scheme: ClassScheme) -> list[str]:
    """Return the classes for which a version has figures, without background."""
    names = [name for version in versions for figures in version.iou.values() for name in figures]
    return [name for name in dict.fromkeys(names) if name not in {"mean", scheme.background.name}]


def _versions() -> _Versions:
    models = current_parts().models
    aliases, found = models.aliases(), models.versions(VERSIONS_SHOWN)
    shown = [serialize_version(version, aliases) for version in found]
    return _Versions(found, shown, track_chart.draw(tracks(found)))
