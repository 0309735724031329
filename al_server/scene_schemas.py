"""Schemas of answers about scenes."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from al_server.job_schemas import JobAnswer
from al_server.schemas import serialize_row
from catalog.records import Scene, SceneRole, SceneState
from catalog.scene_requests import RemoteSceneRequest
from services.remote_scenes import Outcome, is_dry_run
from services.scene_summary import SceneSummary
from services.scenes import priors_of, source_of


class PriorAnswer(BaseModel):
    """Outlines of an earlier inventory, from which versions learn as weak labels."""

    date: str | None = Field(description="when they were drawn from images: a day, month or year")
    source: str | None
    ring_m: float = Field(description="pixels at most this far from an edge teach nothing, metres")
    classes: list[str] = Field(description="the classes that are outlined")
    sha256: str = Field(description="checksum of the geometries near the scene")


class SceneAnswer(BaseModel):
    """A registered scene."""

    id: int
    name: str
    role: SceneRole
    state: SceneState
    sensor: str | None
    acquired: str | None = Field(description="when the image was taken: a day, or a time in UTC")
    level: str | None = Field(description="what reflectances refer to; null for digital numbers")
    product: dict[str, Any] | None = Field(
        description="what was understood at registration: kind, notes, shares of pixels; null for scenes from before"
    )
    units: dict[str, str] = Field(description="unit of each band")
    bands: list[str]
    channels: list[str] = Field(description="possible inputs of a model: bands, extras, terrain, indices")
    crs: str
    width: int
    height: int
    patch_size_px: int
    patches: int
    has_outlines: bool
    prior_outlines: PriorAnswer | None
    footprint: dict[str, Any]
    error: str | None
    registered_at: datetime


class SceneRequestAnswer(BaseModel):
    """A request about a scene whose files lie on another machine, and what came of it."""

    id: int
    state: Literal["waiting", "done", "refused"]
    dry_run: bool
    replaces: int | None = Field(description="number of the scene to replace; null: a new scene")
    job_id: str = Field(description="the job that carries it out")
    requested_at: datetime
    ended_at: datetime | None
    fault: str | None = Field(description="why it was refused")
    summary: SceneSummary | None = Field(description="what was understood; null unless it is done")
    outcome: Outcome | None = Field(description="what was registered; null for a dry run, and unless it is done")


class SceneAccepted(BaseModel):
    """A registered scene and the job that tiles it, or a request and the job that carries it out."""

    scene: SceneAnswer | None = Field(
        description="null if its files lie on another machine, until the job has read them"
    )
    job: JobAnswer
    request: SceneRequestAnswer | None = Field(None, description="the request, if its files lie on another machine")


class ReplacementAccepted(SceneAccepted):
    """The new scene, its tiling, and what became of the labels; these are 0 while a request waits."""

    labels_kept: int = 0
    labels_superseded: int = 0
    learnt_from: list[int] = Field([], description="versions that learnt from labels of the replaced scene; they stay")


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


def serialize_scene_request(request: RemoteSceneRequest) -> SceneRequestAnswer:
    """Return a request about a scene on another machine, with what came of it."""
    state = "waiting" if request.ended_at is None else "refused" if request.fault is not None else "done"
    return serialize_row(SceneRequestAnswer, request, state=state, dry_run=is_dry_run(request))
