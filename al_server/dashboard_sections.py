"""What each section of the dashboard shows."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from al_server.annotator_names import labelled_by, shown_name
from al_server.arms import describe_arms
from al_server.auth import has_role
from al_server.canary_schemas import serialize_canary
from al_server.context import current_catalog, current_parts
from al_server.event_schemas import serialize_event, serialize_reconciliation
from al_server.job_schemas import JobAnswer, serialize_job
from al_server.paging import show_page
from al_server.round_schemas import serialize_rounds
from al_server.scene_schemas import SceneAnswer, serialize_scene
from al_server.scoring_schemas import serialize_scoring
from al_server.set_aside_schemas import serialize_set_aside
from al_server.status import open_jobs
from al_server.version_schemas import ModelAnswer, serialize_version
from catalog import jobs, registry_copy, scorings, set_aside, training
from catalog.access_records import Role
from catalog.errors import ServiceDownError
from catalog.event_order import WITHOUT_EFFECT
from catalog.job_queue import QUEUES, queue_of
from catalog.jobs import OPEN, UNSUCCESSFUL
from catalog.paging import Cut, cut_out
from catalog.reconciliation_records import Reconciliation, SeenProject
from catalog.records import EventState, Installation, Job, JobKind, JobState, Label, LabelEvent
from catalog.registry import CHAMPION
from catalog.rounds import listed
from catalog.settings import PatchPart, Strategy
from catalog.settings_sources import config_file
from imagery import everest_files
from imagery.classes import ClassScheme
from services import canary, forecast, outgoing_events, promotion
from services.backup import last_backup
from services.class_scheme import scheme_in_force
from services.next_step import Act, light, next_step, troubles
from services.part_checks import part_faults
from services.registry_watch import STALE_S
from services.scenes import registered_scenes
from services.situation import read_situation

PAGE: Final = "dashboard.index"  # to which the links between pages of a list lead, also from a section by itself
WAITING_SHOWN: Final = 20
ROUNDS_SHOWN: Final = 20
SCENES_SHOWN: Final = 50
VERSIONS_SHOWN: Final = 20
UNSUCCESSFUL_SHOWN: Final = 5
ASIDE_SHOWN: Final = 20
DECISIONS_SHOWN: Final = 10
ALERTS_SHOWN: Final = 10
EVENTS_SHOWN: Final = 10
RECONCILIATIONS_SHOWN: Final = 5

Shown = Mapping[str, Any]


def now() -> Shown:
    """Return health, the next step, and the figures that say where the loop stands."""
    catalog = current_catalog()
    found = current_parts().models.versions(forecast.VERSIONS)
    worth_of_round = describe_arms(found).worth
    with catalog.read() as session:
        situation = read_situation(session, catalog.settings, worth_of_round)
        ranking = scorings.newest(session)
        installation = session.get(Installation, 1)
        agreement = (ranking.agreement if ranking is not None else None) or {}
    champion = current_parts().models.champion()
    aliases = current_parts().models.aliases()
    return {
        "settings": catalog.settings,
        "light": light(situation),
        "step": next_step(situation, datetime.now(UTC)),
        "other_troubles": list(troubles(situation))[1:],
        "acts": Act,
        "strategies": list(Strategy),
        "patch_parts": list(PatchPart),
        "situation": situation,
        "champion": serialize_version(champion, aliases) if champion is not None else None,
        "agreement": agreement,
        "project": installation.label_studio_project_id if installation is not None else None,
    }


@dataclass(frozen=True)
class QueueState:
    """A queue: its workers, if they are known, and its jobs."""

    name: str
    workers: int | None
    running: int
    queued: int


def work() -> Shown:
    """Return open jobs, the scoring, and the queues with their workers."""
    catalog = current_catalog()
    with catalog.read() as session:
        running = session.scalars(open_jobs().where(Job.state == JobState.RUNNING).order_by(Job.created_at)).all()
        waiting, pager = show_page(
            "work",
            WAITING_SHOWN,
            lambda cut: _waiting_jobs(session, cut),
            lambda job: job.id,
            newest_first=False,
            endpoint=PAGE,
            of=str,
        )
        open_rows = [*running, *waiting]
        scoring = scorings.current(session)
        faults = part_faults(session)
        shown: dict[str, Any] = {
            "open_jobs": [serialize_job(job) for job in open_rows],
            "work_pager": pager,
            "trains": jobs.is_open(session, JobKind.FINE_TUNE),
            "stopping": {job.id for job in open_rows if job.cancel_requested},
            "scoring": serialize_scoring(session, scoring) if scoring is not None else None,
            "scoring_waits": scorings.is_under_way(session),
            "scoring_job": _answer(jobs.open_of(session, JobKind.SCORE_POOL)),  # it plans shards, and merges them
            "faults": faults,
        }
        by_kind = select(Job.kind, Job.state, func.count()).group_by(Job.kind, Job.state)
        counted = [tuple(row) for row in session.execute(by_kind.where(Job.state.in_(OPEN)))]
    return {**shown, "queues": _queues(counted, asks=faults.get("redis") is None)}


def _answer(job: Job | None) -> JobAnswer | None:
    return serialize_job(job) if job is not None else None


def _waiting_jobs(session: Session, cut: Cut) -> Sequence[Job]:
    waiting = open_jobs().where(Job.state == JobState.QUEUED)
    return session.scalars(cut_out(waiting, Job.id, cut, newest_first=False, moment=Job.created_at)).all()


def _queues(counted: Sequence[tuple[Any, ...]], *, asks: bool) -> list[QueueState]:
    """Return the queues.

    Args:
        counted: Kind, state and number of open jobs.
        asks: Whether Redis may be asked for workers: not while it does not answer, since people would wait for that.
    """
    try:
        workers = current_catalog().queue.workers() if asks else {}
    except ServiceDownError:
        workers = {}

    def count(queue: str, state: JobState) -> int:
        return sum(number for kind, in_state, number in counted if queue_of(kind) == queue and in_state is state)

    return [
        QueueState(name, workers.get(name), count(name, JobState.RUNNING), count(name, JobState.QUEUED))
        for name in QUEUES
    ]


def rounds() -> Shown:
    """Return a page of the rounds, newest first, and who labelled how much of each."""
    with current_catalog().read() as session:
        found, pager = show_page(
            "rounds", ROUNDS_SHOWN, lambda cut: listed(session, cut), lambda item: item.id, endpoint=PAGE
        )
        return {
            "rounds": serialize_rounds(session, found),
            "people": labelled_by(session, [item.id for item in found]),
            "rounds_pager": pager,
        }


def _annotators(session: Session) -> list[tuple[str, int]]:
    """Return who drew how many of the standing labels, the most first."""
    counted = select(Label.annotator, Label.simulated, func.count()).where(Label.superseded_at.is_(None))
    labels: Counter[str] = Counter()
    for account, simulated, count in session.execute(counted.group_by(Label.annotator, Label.simulated)):
        labels[shown_name(account, simulated=simulated)] += count
    return labels.most_common()


def versions() -> Shown:
    """Return pages of the versions, of decisions about them, and of alerts that nobody has acknowledged."""
    catalog, models = current_catalog(), current_parts().models
    aliases = models.aliases()
    found, versions_pager = show_page(
        "versions", VERSIONS_SHOWN, models.page, lambda version: version.version, endpoint=PAGE
    )
    shown = [serialize_version(version, aliases) for version in found]
    with catalog.read() as session:
        alerts, alerts_pager = show_page(
            "alerts",
            ALERTS_SHOWN,
            lambda cut: canary.comparisons(session, cut, standing=True),
            lambda row: row.id,
            endpoint=PAGE,
        )
        decisions, pager = show_page(
            "decisions",
            DECISIONS_SHOWN,
            lambda cut: promotion.decisions(session, cut),
            lambda decision: decision.id,
            endpoint=PAGE,
        )
        return {
            "versions": shown,
            "versions_pager": versions_pager,
            "served_version": aliases.get(CHAMPION),
            "served_before": promotion.served_before(session, aliases.get(CHAMPION)),
            "classes": _classes(shown, scheme_in_force(session, catalog.settings)),
            "decisions": decisions,
            "decisions_pager": pager,
            "alerts": [serialize_canary(session, row) for row in alerts],
            "alerts_pager": alerts_pager,
            "registry_trouble": registry_copy.trouble(session, STALE_S),
            "mlflow_address": catalog.settings.mlflow_page,
        }


def _classes(shown: Sequence[ModelAnswer], scheme: ClassScheme) -> list[str]:
    """Return the classes for which a version has figures, without background."""
    names = [name for version in shown for figures in version.iou.values() for name in figures]
    return [name for name in dict.fromkeys(names) if name not in {"mean", scheme.background.name}]


def worth() -> Shown:
    """Return what choosing found compared with controls, and what a further round is expected to bring."""
    return {"compared": describe_arms(current_parts().models.versions(forecast.VERSIONS))}


def labels() -> Shown:
    """Return the ledger: how many events in each state, those without effect, and the comparisons."""
    with current_catalog().read() as session:
        without_effect, pager = show_page(
            "not-learnt", EVENTS_SHOWN, lambda cut: _not_learnt(session, cut), lambda event: event.id, endpoint=PAGE
        )
        counted = session.execute(select(LabelEvent.state, func.count()).group_by(LabelEvent.state))
        counts: dict[EventState, int] = dict(counted.all())
        return {
            "events": {state: counts.get(state, 0) for state in EventState},
            "newest_events": [serialize_event(event) for event in session.scalars(_newest_events())],
            "labels": session.scalar(select(func.count(Label.id)).where(Label.superseded_at.is_(None))) or 0,
            "fresh": len(training.new_labels(session)),
            "annotators": _annotators(session),
            "not_learnt": [serialize_event(event) for event in without_effect],
            "not_learnt_pager": pager,
            "compared_at": session.scalar(select(func.max(SeenProject.compared_at))),
            "mended": [serialize_reconciliation(row) for row in session.scalars(_reconciliations())],
        }


def _newest_events() -> Select[LabelEvent]:
    return select(LabelEvent).order_by(LabelEvent.id.desc()).limit(EVENTS_SHOWN)


def _not_learnt(session: Session, cut: Cut) -> Sequence[LabelEvent]:
    """Return label events that failed or were ignored: the drawings and deletions without effect."""
    without_effect = LabelEvent.state.in_(WITHOUT_EFFECT)
    found = cut_out(select(LabelEvent).where(without_effect), LabelEvent.id, cut, newest_first=True)
    return session.scalars(found).all()


def _reconciliations() -> Select[Reconciliation]:
    return select(Reconciliation).order_by(Reconciliation.id.desc()).limit(RECONCILIATIONS_SHOWN)


def scenes() -> Shown:
    """Return a page of the scenes, where they lie, and whether the example can be registered."""
    with current_catalog().read() as session:
        rows, pager = show_page(
            "scenes",
            SCENES_SHOWN,
            lambda cut: registered_scenes(session, cut),
            lambda scene: scene.id,
            newest_first=False,
            endpoint=PAGE,
        )
        found = [serialize_scene(item) for item in rows]
    has_example = everest_files.is_installed()
    return {"scenes": found, "places": _places(found), "scenes_pager": pager, "has_example": has_example}


def _places(found: Sequence[SceneAnswer]) -> list[tuple[SceneAnswer, str]]:
    """Return each scene with its outline on a small map of 200 × 120, as an attribute ``points`` of SVG.

    Degrees are drawn as they are; the map is stretched so that all scenes fit.
    """
    rings = [(scene, scene.footprint["coordinates"][0]) for scene in found if scene.footprint["type"] == "Polygon"]
    if not rings:
        return []
    east = [point[0] for _, ring in rings for point in ring]
    north = [point[1] for _, ring in rings for point in ring]
    width, height = max(max(east) - min(east), 1e-9), max(max(north) - min(north), 1e-9)
    scale = min(180 / width, 100 / height)
    left, top = 100 - scale * width / 2, 60 - scale * height / 2

    def draw(ring: Sequence[Sequence[float]]) -> str:
        return " ".join(
            f"{left + (x - min(east)) * scale:.1f},{top + (max(north) - y) * scale:.1f}" for x, y, *_ in ring
        )

    return [(scene, draw(ring)) for scene, ring in rings]


def backup() -> Shown:
    """Return the newest backup, the one that is being made, and where they go, to administrators."""
    if not has_role(Role.ADMINISTRATOR):
        return {}
    settings = current_catalog().settings
    with current_catalog().read() as session:
        return {
            "backup_folder": settings.backup_folder,
            "backup_job": _answer(jobs.open_of(session, JobKind.BACK_UP)),
            "last_backup": last_backup(settings),
            "config_file": config_file(settings.var_dir),
        }


def trouble() -> Shown:
    """Return what is set aside, a page of the failed and cancelled jobs, and events that were given up."""
    with current_catalog().read() as session:
        aside, pager = show_page(
            "aside",
            ASIDE_SHOWN,
            lambda cut: set_aside.standing(session, cut=cut),
            lambda row: row.id,
            newest_first=False,
            endpoint=PAGE,
        )
        unsuccessful, jobs_pager = show_page(
            "unsuccessful",
            UNSUCCESSFUL_SHOWN,
            lambda cut: _unsuccessful_jobs(session, cut),
            lambda job: job.id,
            endpoint=PAGE,
            of=str,
        )
        return {
            "aside": [serialize_set_aside(row) for row in aside],
            "aside_pager": pager,
            "unsuccessful": [serialize_job(job) for job in unsuccessful],
            "jobs_pager": jobs_pager,
            "dead": outgoing_events.given_up(session, Cut(UNSUCCESSFUL_SHOWN)),
        }


def _unsuccessful_jobs(session: Session, cut: Cut) -> Sequence[Job]:
    ended = select(Job).where(Job.state.in_(UNSUCCESSFUL))
    return session.scalars(cut_out(ended, Job.id, cut, newest_first=True, moment=Job.finished_at)).all()
