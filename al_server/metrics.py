"""The state of the active learning loop, and of what carries it, as Prometheus metrics.

A metric whose figure is not known is absent; all others are always there, since an absent metric raises no alarm.
"""

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from sqlalchemy import func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from al_server.context import current_catalog, current_parts
from al_server.schemas import media
from catalog import scorings, set_aside, training
from catalog.job_queue import QUEUES, queue_of
from catalog.paging import Cut
from catalog.records import (
    EventState,
    Job,
    JobState,
    Label,
    LabelEvent,
    Patch,
    PatchState,
    Proposal,
    ProposalState,
    Round,
    RoundState,
    Scene,
    SceneRole,
    now,
)
from catalog.registry import CHAMPION, LEARNER, ModelVersion
from catalog.registry_copy import age_s
from catalog.registry_records import RegistryState
from catalog.set_aside import Kind
from catalog.settings import Settings
from services import canary, failed_events, outgoing_events
from services.free_disk import free_bytes
from services.part_checks import part_faults
from services.version_figures import figures_of

api = APIBlueprint("metrics", __name__, abp_tags=[Tag(name="health")])

STATES: dict[str, tuple[InstrumentedAttribute[Any], type[StrEnum]]] = {
    "patches": (Patch.state, PatchState),
    "proposals": (Proposal.state, ProposalState),
    "rounds": (Round.state, RoundState),
    "label_events": (LabelEvent.state, EventState),
    "jobs": (Job.state, JobState),
}


@api.get("/metrics", responses={200: media("text/plain", "Prometheus's text format", text=True)})
def metrics() -> Response:
    """Give the state of the active learning loop as Prometheus metrics."""
    registry = CollectorRegistry()
    with current_catalog().read() as session:
        _add_states(session, registry)
        _add_labels(session, current_catalog().settings, registry)
        _add_scoring(session, registry)
        _add_canary(session, registry)
        _add_parts(session, current_catalog().settings, registry)
    models = current_parts().models
    _add_version(CHAMPION, "served", models.champion(), registry)
    _add_version(LEARNER, "that training goes on from", models.learner(), registry)
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _add_states(session: Session, registry: CollectorRegistry) -> None:
    for name, (column, states) in STATES.items():
        gauge = Gauge(
            f"glacier_al_{name}", f"Number of {name.replace('_', ' ')} in each state", ["state"], registry=registry
        )
        counts = _by_state(session, column)
        for state in states:
            gauge.labels(state.value).set(counts.get(state, 0))
    left_out = Gauge("glacier_al_set_aside", "What is left out because it cannot be used", ["kind"], registry=registry)
    counted = Counter(row.kind for row in set_aside.standing(session))
    for kind in Kind:
        left_out.labels(kind.value).set(counted[kind.value])
    dead = outgoing_events.count_given_up(session)
    Gauge("glacier_al_dead_deliveries", "Events that were given up after a day", registry=registry).set(dead)


def _add_labels(session: Session, settings: Settings, registry: CollectorRegistry) -> None:
    labels = session.scalar(select(func.count(Label.id)).where(Label.superseded_at.is_(None))) or 0
    Gauge("glacier_al_labels", "Labels that stand", registry=registry).set(labels)
    fresh = len(training.new_labels(session))
    Gauge("glacier_al_new_labels", "Labels that no fine-tune has used", registry=registry).set(fresh)
    due = Gauge("glacier_al_fine_tune_after_labels", "New labels after which a fine-tune starts", registry=registry)
    due.set(settings.fine_tune_after_labels)


def _add_scoring(session: Session, registry: CollectorRegistry) -> None:
    current, ranking = scorings.current(session), scorings.newest(session)
    progress = scorings.progress(session, current) if current is not None else None
    if progress is not None and progress.done is not None:
        share = Gauge("glacier_al_scoring_progress", "Share of a scoring that is done, 0 to 1", registry=registry)
        share.set(progress.done)
    steady = Gauge(
        "glacier_al_ranking_agreement",
        "Share of the top tenth of the patches that both halves of the passes rank there",
        ["measure"],
        registry=registry,
    )
    for measure, agreement in ((ranking and ranking.agreement) or {}).items():
        if agreement is not None:
            steady.labels(measure).set(agreement)


def _add_canary(session: Session, registry: CollectorRegistry) -> None:
    standing = canary.count_standing(session)
    Gauge("glacier_al_canary_alerts", "Canary alerts that nobody has acknowledged", registry=registry).set(standing)
    for row in canary.comparisons(session, Cut(1)):
        change = canary.change_of(row.counts, row.classes)
        help_text = "Share of the pixels of the pool that the last change of the served version put into another class"
        Gauge("glacier_al_canary_changed_share", help_text, registry=registry).set(change.changed_share)
        areas = Gauge(
            "glacier_al_canary_area_change",
            "Change of the area of a class by it, as a share of the larger area, -1 to 1",
            ["class"],
            registry=registry,
        )
        for area in change.areas:
            areas.labels(area.name).set(area.share)


def _add_parts(session: Session, settings: Settings, registry: CollectorRegistry) -> None:
    parts = Gauge(
        "glacier_al_part_up", "Whether a part answers: 1 or 0; `/readyz` says why", ["part"], registry=registry
    )
    for name, fault in part_faults(session).items():
        parts.labels(name).set(fault is None)
    waits = Gauge(
        "glacier_al_queue_wait_seconds",
        "Seconds that the oldest job of a queue has been due without being started; 0 if none is",
        ["queue"],
        registry=registry,
    )
    for queue, seconds in _waits(session).items():
        waits.labels(queue).set(seconds)
    free = Gauge("glacier_al_disk_free_bytes", "Free space of the file system of the data folder", registry=registry)
    free.set(free_bytes(settings))
    seen_at = (session.get(RegistryState, 1) or RegistryState()).seen_at
    if seen_at is not None:
        help_text = "Seconds since MLflow last confirmed which version is served"
        Gauge("glacier_al_registry_age_seconds", help_text, registry=registry).set(age_s(seen_at))


def _add_version(alias: str, described: str, version: ModelVersion | None, registry: CollectorRegistry) -> None:
    if version is None:
        return
    Gauge(f"glacier_al_{alias}_version", f"Number of the version {described}", registry=registry).set(version.version)
    validation = figures_of(version).regions.get(SceneRole.VALIDATION.value)
    if validation is not None and validation.mean_iou is not None:
        help_text = f"Mean IoU of the version {described} on the validation region"
        Gauge(f"glacier_al_{alias}_mean_iou", help_text, registry=registry).set(validation.mean_iou)


def _by_state(session: Session, column: InstrumentedAttribute[Any]) -> Mapping[StrEnum, int]:
    if column is Patch.state:
        return _patches_by_state(session)
    if column is LabelEvent.state:
        return dict[StrEnum, int](failed_events.count_by_state(session).items())
    return dict(session.execute(select(column, func.count()).group_by(column)).all())


def _patches_by_state(session: Session) -> Mapping[StrEnum, int]:
    """Count patches without reading the rows of unlabelled ones, of which there may be millions."""
    touched = [state for state in PatchState if state is not PatchState.UNLABELLED]
    statement = select(Patch.state, func.count()).where(Patch.state.in_(touched)).group_by(Patch.state)
    counts: dict[StrEnum, int] = dict(session.execute(statement).all())
    all_patches = session.scalar(select(func.sum(Scene.patch_count))) or 0
    return {**counts, PatchState.UNLABELLED: all_patches - sum(counts.values())}


def _waits(session: Session) -> dict[str, float]:
    """Return by queue how long its oldest due job has waited, in seconds."""
    due = select(Job.kind, func.min(Job.run_after)).where(Job.state == JobState.QUEUED, Job.run_after <= now())
    longest = dict.fromkeys(QUEUES, 0.0)
    for kind, since in session.execute(due.group_by(Job.kind)):
        longest[queue_of(kind)] = max(longest[queue_of(kind)], age_s(since))
    return longest
