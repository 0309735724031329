"""Rows and model versions as the schemas that the API returns."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TypeVar

from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from al_server.schemas import (
    AreaChangeAnswer,
    CanaryAnswer,
    DecisionRequestAnswer,
    DeliveryAnswer,
    EventAnswer,
    JobAnswer,
    ModelAnswer,
    PriorAnswer,
    PromotionAnswer,
    ReconciliationAnswer,
    RoundAnswer,
    SceneAnswer,
    SceneRequestAnswer,
    ScoringAnswer,
    SetAsideAnswer,
    SubscriptionAnswer,
    TrackAnswer,
)
from catalog import jobs, rounds, scorings
from catalog.canary_records import CanaryComparison
from catalog.decision_records import DecisionRequest, Promotion
from catalog.reconciliation_records import Reconciliation
from catalog.records import Base, Job, JobState, LabelEvent, Round, Scene, SceneRole, Scoring
from catalog.registry import ModelVersion
from catalog.scene_requests import RemoteSceneRequest
from catalog.set_aside import SetAside
from catalog.webhook_records import Delivery, Subscription
from services import canary, event_secrets
from services.remote_scenes import is_dry_run
from services.scenes import priors_of, source_of
from services.tracks import TrackPoint
from services.version_figures import RegionFigures, figures_of

Schema = TypeVar("Schema", bound=BaseModel)


def _serialize(schema: type[Schema], row: Base, **computed: object) -> Schema:
    """Return a row as a schema: computed values, and the columns of the same names for the other fields."""
    columns = {name: getattr(row, name) for name in schema.model_fields if name in row.__mapper__.columns}
    return schema.model_validate(columns | computed)


def serialize_job(job: Job) -> JobAnswer:
    """Return a job with its progress and the seconds it still needs."""
    progress = job.done / job.total if job.total else None
    return _serialize(
        JobAnswer, job, progress=1.0 if job.state is JobState.FINISHED else progress, eta_s=jobs.eta_s(job)
    )


def serialize_scene(scene: Scene) -> SceneAnswer:
    """Return a scene with its bands, channels and grid."""
    source = source_of(scene)
    return _serialize(
        SceneAnswer,
        scene,
        level=source.level,
        units={band.name: band.unit for band in source.bands},
        bands=source.band_names,
        channels=source.channel_names,
        crs=source.grid.crs,
        width=source.grid.width,
        height=source.grid.height,
        patches=scene.patch_count,
        has_outlines=bool(scene.outlines),
        prior_outlines=_serialize_priors(scene),
    )


def _serialize_priors(scene: Scene) -> PriorAnswer | None:
    prior = priors_of(scene)
    if prior is None:
        return None
    classes = list(dict.fromkeys(layer.class_name for layer in prior.layers))
    return PriorAnswer(date=prior.date, source=prior.source, ring_m=prior.ring_m, classes=classes, sha256=prior.sha256)


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
    return _serialize(
        RoundAnswer,
        item,
        model_version=scoring.model_version if scoring else None,
        ranking_agreement=(scoring.agreement or {}).get(item.measure) if scoring and item.measure else None,
        proposals=progress.states,
        reasons=progress.reasons,
        expected_edits_px=progress.expected_edits_px,
    )


def serialize_scoring(session: Session, scoring: Scoring) -> ScoringAnswer:
    """Return a scoring with its progress over all its shards."""
    progress = scorings.progress(session, scoring)
    return _serialize(
        ScoringAnswer,
        scoring,
        share=scoring.shortlist_share,
        patches=progress.patches,
        progress=progress.done,
        eta_s=progress.eta_s,
        agreement=scoring.agreement or {},
    )


def serialize_event(event: LabelEvent) -> EventAnswer:
    """Return an entry of the ledger, without the body of the event."""
    return _serialize(EventAnswer, event)


def serialize_reconciliation(row: Reconciliation) -> ReconciliationAnswer:
    """Return a comparison with Label Studio."""
    return _serialize(ReconciliationAnswer, row)


def serialize_promotion(promotion: Promotion) -> PromotionAnswer:
    """Return the record of a decision."""
    return _serialize(PromotionAnswer, promotion, version=promotion.model_version)


def serialize_request(request: DecisionRequest) -> DecisionRequestAnswer:
    """Return a request for a promotion or roll-back, with the decision that came of it."""
    state = "waiting" if request.ended_at is None else "refused" if request.decision is None else "done"
    decision = serialize_promotion(request.decision) if request.decision else None
    return _serialize(DecisionRequestAnswer, request, state=state, version=request.model_version, decision=decision)


def serialize_scene_request(request: RemoteSceneRequest) -> SceneRequestAnswer:
    """Return a request about a scene on another machine, with what came of it."""
    state = "waiting" if request.ended_at is None else "refused" if request.fault is not None else "done"
    return _serialize(SceneRequestAnswer, request, state=state, dry_run=is_dry_run(request))


def serialize_canary(row: CanaryComparison) -> CanaryAnswer:
    """Return a canary comparison with its shares."""
    change = canary.change_of(row.counts, row.classes)
    areas = [
        AreaChangeAnswer(
            name=area.name,
            before=area.before_px / change.pixels,
            now=area.after_px / change.pixels,
            change=area.share,
        )
        for area in change.areas
    ]
    return _serialize(
        CanaryAnswer,
        row,
        version=row.decision.model_version,
        previous_version=row.decision.previous_version,
        verdict=row.decision.verdict,
        pixels=change.pixels,
        changed_share=change.changed_share,
        areas=areas,
        to_go_back=canary.command_to_go_back(row.decision),
    )


def serialize_set_aside(row: SetAside) -> SetAsideAnswer:
    """Return what cannot be used, and why."""
    return _serialize(SetAsideAnswer, row)


def serialize_subscription(subscription: Subscription) -> SubscriptionAnswer:
    """Return a subscription, without its secret."""
    return _serialize(SubscriptionAnswer, subscription, fault=event_secrets.fault_of(subscription))


def serialize_delivery(delivery: Delivery) -> DeliveryAnswer:
    """Return what became of an event for a subscriber."""
    event = delivery.event
    return _serialize(
        DeliveryAnswer,
        delivery,
        url=delivery.subscription.url,
        event=event.uid,
        type=event.type,
        happened_at=event.happened_at,
    )


def serialize_track(point: TrackPoint) -> TrackAnswer:
    """Return a point of the two curves."""
    return TrackAnswer.model_validate(asdict(point))


def _calibration_error(regions: Mapping[str, RegionFigures]) -> dict[str, dict[str, float | None]]:
    validation = regions.get(SceneRole.VALIDATION.value)
    if validation is None or not validation.calibration_error:
        return {}
    return {"before": dict(validation.uncalibrated_error), "after": dict(validation.calibration_error)}


def serialize_version(version: ModelVersion, aliases: dict[str, int]) -> ModelAnswer:
    """Return a model version with its figures and the aliases that point to it."""
    figures = figures_of(version)
    regions = figures.regions
    return ModelAnswer(
        version=version.version,
        aliases=sorted(alias for alias, number in aliases.items() if number == version.version),
        created_at=version.created_at,
        parent_version=figures.parent_version,
        champion_version=figures.champion_version,
        labels=figures.labels,
        labels_sha256=figures.labels_sha256,
        simulated_labels=figures.simulated_labels,
        iou={role: {"mean": region.mean_iou, **region.iou} for role, region in regions.items()},
        gain={role: {"mean": region.gain_mean_iou, **region.gain_iou} for role, region in regions.items()}
        if figures.champion_version
        else {},
        calibration_error=_calibration_error(regions),
        verdict=figures.verdict,
        verdict_reason=figures.verdict_reason,
        gate=figures.gate,
        sha256=dict(figures.sha256),
        doubted_labels=list(figures.doubted),
        withdrawals=list(figures.withdrawals),
        faults=list(figures.faults),
    )
