"""The status page: what waits for whom, at a glance."""

from collections.abc import Sequence

from flask import Blueprint, render_template
from sqlalchemy import Select, func, select

from al_server.context import catalog, parts
from al_server.schemas import ModelAnswer
from al_server.serializers import serialize_job, serialize_rounds, serialize_scene, serialize_scoring, serialize_version
from catalog import scorings, training
from catalog.errors import ServiceDownError
from catalog.jobs import OPEN
from catalog.records import EventState, Job, JobKind, JobState, Label, LabelEvent, Round
from imagery.classes import ClassScheme
from services.class_scheme import scheme_in_force
from services.scenes import registered_scenes

page = Blueprint("dashboard", __name__)
VERSIONS_SHOWN = 20  # the newest; MLflow takes seconds to list a thousand


@page.get("/")
def index() -> str:
    """Show scenes, rounds, versions, and the work under way."""
    known = catalog()
    with known.read() as session:
        scenes = [serialize_scene(item) for item in registered_scenes(session)]
        rounds = serialize_rounds(session, session.scalars(select(Round).order_by(Round.id.desc())).all())
        open_jobs = [serialize_job(job) for job in session.scalars(_open_jobs())]
        scoring, ranking = scorings.current(session), scorings.newest(session)
        scored = serialize_scoring(session, scoring) if scoring is not None else None
        agreement = ranking.agreement if ranking is not None else None
        failed = select(Job).where(Job.state == JobState.FAILED).order_by(Job.finished_at.desc()).limit(5)
        failed_jobs = [serialize_job(job) for job in session.scalars(failed)]
        failed_events = session.scalar(select(func.count()).where(LabelEvent.state == EventState.FAILED)) or 0
        labels = session.scalar(select(func.count(Label.id)).where(Label.superseded_at.is_(None))) or 0
        fresh = len(training.new_labels(session))
        scheme = scheme_in_force(session, known.settings)
    versions, trouble = _versions()
    return render_template(
        "status.html",
        settings=known.settings,
        scenes=scenes,
        rounds=rounds,
        open_jobs=open_jobs,
        scoring=scored,
        agreement=agreement or {},
        failed_jobs=failed_jobs,
        failed_events=failed_events,
        labels=labels,
        fresh=fresh,
        versions=versions,
        classes=_classes(versions, scheme),
        trouble=trouble,
    )


def _open_jobs() -> Select[Job]:
    """Without the jobs of a scoring, which is told as one."""
    apart = (JobKind.SCORE_POOL, JobKind.SCORE_SHARD)
    return select(Job).where(Job.state.in_(OPEN), Job.kind.not_in(apart)).order_by(Job.created_at)


def _classes(versions: Sequence[ModelAnswer], scheme: ClassScheme) -> list[str]:
    """List the classes that some version has figures of, without background."""
    names = [name for version in versions for figures in version.iou.values() for name in figures]
    return [name for name in dict.fromkeys(names) if name not in {"mean", scheme.background.name}]


def _versions() -> tuple[list[ModelAnswer], str | None]:
    registry = parts().registry
    try:
        aliases = registry.aliases()
        return [serialize_version(version, aliases) for version in registry.versions(VERSIONS_SHOWN)], None
    except ServiceDownError as error:
        return [], str(error)
