"""Schemas that several resources share, and rows as schemas; the OpenAPI document is made from all of them."""

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, Field, RootModel

from catalog.records import Base, EventState, JobKind, JobState, SceneRole, SceneState
from services.remote_scenes import Outcome
from services.scene_request import Closed, Integer
from services.scene_summary import SceneSummary


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str


class SceneId(Closed):
    """The number of a scene."""

    scene_id: Integer


class JobId(Closed):
    """The id of a job."""

    job_id: str = Field(pattern=r"^[0-9a-f]{32}$")


class RequestId(Closed):
    """The number of a request that is carried out later."""

    request_id: Integer


class EventId(Closed):
    """The number of a label event."""

    event_id: Integer


class Page(Closed):
    """A page of a list: up to ``limit`` items with ids greater than ``after``."""

    after: Integer = 0
    limit: int = Field(100, ge=1, le=1000)


class EventPage(Page):
    """A page of the ledger, of one state or all."""

    state: EventState | None = None


class NewestPage(Closed):
    """The newest items of a list."""

    limit: int = Field(100, ge=1, le=1000)


class JobPage(Closed):
    """The newest jobs, of one state or all."""

    state: JobState | None = None
    limit: int = Field(100, ge=1, le=1000)


def media(media_type: str, description: str, *, text: bool = False) -> dict[str, Any]:
    """Describe a response that is a file or text, for the OpenAPI document."""
    schema = {"type": "string"} if text else {"type": "string", "format": "binary"}
    return {"description": description, "content": {media_type: {"schema": schema}}}


class Recorded(BaseModel):
    """Ids in the ledger of the label events that were new."""

    recorded: list[int]


class JobAnswer(BaseModel):
    """A job: work that a worker does in the background."""

    id: str
    kind: JobKind
    subject: dict[str, Any]
    state: JobState
    progress: float | None = Field(description="0 to 1; null while unknown")
    eta_s: float | None
    message: str | None
    error: str | None
    attempt: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


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


class EstimateAnswer(BaseModel):
    """An estimated quantity with its 95 % interval (Student's t, unless a bootstrap is named)."""

    value: float
    low: float | None = Field(description="null where too few values tell nothing about the spread")
    high: float | None
    count: int = Field(description="number of values that it is estimated from")


class EventAnswer(BaseModel):
    """An entry of the ledger of label events."""

    id: int
    action: str
    origin: str
    project_id: int | None
    task_id: int | None
    annotation_id: int | None
    annotation_updated_at: datetime | None
    state: EventState
    detail: str | None
    received_at: datetime
    applied_at: datetime | None


class ReconciliationAnswer(BaseModel):
    """A comparison with Label Studio that was full or found a difference."""

    id: int
    project_id: int
    full_because: str | None = Field(description="why all tasks were compared; null: those that had changed")
    tasks: int = Field(description="that Label Studio had")
    read: int = Field(description="of them, how many were read because they had changed")
    mended: dict[str, int] = Field(description="what no webhook had told, by action of the events recorded for it")
    event_ids: list[int] = Field(description="the label events by which it was mended")
    started_at: datetime
    seconds: float


Schema = TypeVar("Schema", bound=BaseModel)


def serialize_row(schema: type[Schema], row: Base, **computed: object) -> Schema:
    """Return a row as a schema: computed values, and the columns of the same names for the other fields."""
    columns = {name: getattr(row, name) for name in schema.model_fields if name in row.__mapper__.columns}
    return schema.model_validate(columns | computed)


Item = TypeVar("Item", bound=BaseModel)


class ListOf(RootModel[list[Item]], Generic[Item]):
    """Several items."""

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """Name the schema in the OpenAPI document, e.g. ``SceneList`` for ``ListOf[SceneAnswer]``."""
        name: str = params[0].__name__
        return f"{name.removesuffix('Answer')}List"
