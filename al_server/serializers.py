"""Rows of jobs, scenes and label events as the schemas that the API returns."""

from al_server.schemas import (
    EventAnswer,
    JobAnswer,
    PriorAnswer,
    ReconciliationAnswer,
    SceneAnswer,
    SceneRequestAnswer,
    serialize_row,
)
from catalog import jobs
from catalog.reconciliation_records import Reconciliation
from catalog.records import Job, JobState, LabelEvent, Scene
from catalog.scene_requests import RemoteSceneRequest
from services.remote_scenes import is_dry_run
from services.scenes import priors_of, source_of


def serialize_job(job: Job) -> JobAnswer:
    """Return a job with its progress and the seconds it still needs."""
    progress = job.done / job.total if job.total else None
    return serialize_row(
        JobAnswer, job, progress=1.0 if job.state is JobState.FINISHED else progress, eta_s=jobs.eta_s(job)
    )


def serialize_scene(scene: Scene) -> SceneAnswer:
    """Return a scene with its bands, channels and grid."""
    source = source_of(scene)
    return serialize_row(
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


def serialize_event(event: LabelEvent) -> EventAnswer:
    """Return an entry of the ledger, without the body of the event."""
    return serialize_row(EventAnswer, event)


def serialize_reconciliation(row: Reconciliation) -> ReconciliationAnswer:
    """Return a comparison with Label Studio."""
    return serialize_row(ReconciliationAnswer, row)


def serialize_scene_request(request: RemoteSceneRequest) -> SceneRequestAnswer:
    """Return a request about a scene on another machine, with what came of it."""
    state = "waiting" if request.ended_at is None else "refused" if request.fault is not None else "done"
    return serialize_row(SceneRequestAnswer, request, state=state, dry_run=is_dry_run(request))
