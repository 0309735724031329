"""Liveness, readiness and metrics."""

import logging
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import InstrumentedAttribute, Session

from al_server.auth import identity_or_none
from al_server.context import current_catalog, current_parts, json_response
from al_server.operating_metrics import add_operating_metrics
from al_server.schemas import Alive, Readiness, media
from catalog import scorings, set_aside, training
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
)
from catalog.registry import CHAMPION, LEARNER, ModelVersion
from catalog.registry_copy import age_s
from catalog.registry_records import RegistryState
from catalog.set_aside import Kind
from catalog.webhook_records import Delivery, DeliveryState
from services import canary
from services.part_checks import part_faults
from services.version_figures import figures_of

log = logging.getLogger(__name__)

api = APIBlueprint("health", __name__, abp_tags=[Tag(name="health")])

STATES: dict[str, tuple[InstrumentedAttribute[Any], type[StrEnum]]] = {
    "patches": (Patch.state, PatchState),
    "proposals": (Proposal.state, ProposalState),
    "rounds": (Round.state, RoundState),
    "label_events": (LabelEvent.state, EventState),
    "jobs": (Job.state, JobState),
}


@api.get("/healthz", responses={200: Alive})
def healthz() -> Response:
    """Tell that the server runs."""
    return json_response(Alive(alive=True))


@api.get("/readyz", responses={200: Readiness, 503: Readiness})
def readyz() -> Response:
    """Tell the state of the database, the queue with its workers, the clock, MLflow and Label Studio; 503 unless ready.

    The clock checks all but the database every few seconds; this waits for none of them. Strangers are told yes or no;
    who may read is told the state of each part, with addresses.
    """
    try:
        with current_catalog().read() as session:
            faults = {"database": None, **part_faults(session)}
    except SQLAlchemyError:
        log.exception("the database is not ready")
        faults = {"database": "does not answer; see the log of the server"}  # the error may hold SQL
    ready = not any(faults.values())
    parts = {name: fault or "ok" for name, fault in faults.items()} if identity_or_none() is not None else None
    return json_response(Readiness(ready=ready, parts=parts), 200 if ready else 503)


@api.get("/metrics", responses={200: media("text/plain", "Prometheus's text format", text=True)})
def metrics() -> Response:
    """Give the state of the active learning loop as Prometheus metrics."""
    registry = CollectorRegistry()
    with current_catalog().read() as session:
        for name, (column, states) in STATES.items():
            gauge = Gauge(
                f"glacier_al_{name}", f"Number of {name.replace('_', ' ')} in each state", ["state"], registry=registry
            )
            counts = _patches_by_state(session) if column is Patch.state else _by_state(session, column)
            for state in states:  # an empty state is 0, not absent: an absent metric raises no alarm
                gauge.labels(state.value).set(counts.get(state, 0))
        labels = session.scalar(select(func.count(Label.id)).where(Label.superseded_at.is_(None))) or 0
        fresh = len(training.new_labels(session))
        _add_scoring_metrics(session, registry)
        _add_canary_metrics(session, registry)
        add_operating_metrics(session, current_catalog().settings, registry)
        aside = Counter(row.kind for row in set_aside.standing(session))
        seen_at = (session.get(RegistryState, 1) or RegistryState()).seen_at
        dead = session.scalar(select(func.count(Delivery.id)).where(Delivery.state == DeliveryState.DEAD)) or 0
    left_out = Gauge("glacier_al_set_aside", "What is left out because it cannot be used", ["kind"], registry=registry)
    for kind in Kind:
        left_out.labels(kind.value).set(aside[kind.value])
    Gauge("glacier_al_labels", "Labels that stand", registry=registry).set(labels)
    Gauge("glacier_al_new_labels", "Labels that no fine-tune has used", registry=registry).set(fresh)
    Gauge("glacier_al_dead_deliveries", "Events that were given up after a day", registry=registry).set(dead)
    if seen_at is not None:
        help_text = "Seconds since MLflow last confirmed which version is served"
        Gauge("glacier_al_registry_age_seconds", help_text, registry=registry).set(age_s(seen_at))
    models = current_parts().models
    _add_version_metrics(CHAMPION, "served", models.champion(), registry)
    _add_version_metrics(LEARNER, "that training goes on from", models.learner(), registry)
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _add_version_metrics(alias: str, described: str, version: ModelVersion | None, registry: CollectorRegistry) -> None:
    if version is None:
        return
    Gauge(f"glacier_al_{alias}_version", f"Number of the version {described}", registry=registry).set(version.version)
    validation = figures_of(version).regions.get(SceneRole.VALIDATION.value)
    if validation is not None and validation.mean_iou is not None:
        help_text = f"Mean IoU of the version {described} on the validation region"
        Gauge(f"glacier_al_{alias}_mean_iou", help_text, registry=registry).set(validation.mean_iou)


def _add_canary_metrics(session: Session, registry: CollectorRegistry) -> None:
    standing = canary.count_standing(session)
    Gauge("glacier_al_canary_alerts", "Canary alerts that nobody has acknowledged", registry=registry).set(standing)
    for row in canary.comparisons(session, 1):
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


def _add_scoring_metrics(session: Session, registry: CollectorRegistry) -> None:
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


def _by_state(session: Session, column: InstrumentedAttribute[Any]) -> Mapping[StrEnum, int]:
    return dict(session.execute(select(column, func.count()).group_by(column)).all())


def _patches_by_state(session: Session) -> Mapping[StrEnum, int]:
    """Count patches without reading the rows of unlabelled ones, of which there may be millions."""
    touched = [state for state in PatchState if state is not PatchState.UNLABELLED]
    statement = select(Patch.state, func.count()).where(Patch.state.in_(touched)).group_by(Patch.state)
    counts: dict[StrEnum, int] = dict(session.execute(statement).all())
    all_patches = session.scalar(select(func.sum(Scene.patch_count))) or 0
    return {**counts, PatchState.UNLABELLED: all_patches - sum(counts.values())}
