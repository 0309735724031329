"""What requests must look like, and what answers do: the source of ``/openapi.json``."""

from datetime import UTC, date, datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, RootModel

from catalog.records import EventState, JobKind, JobState, RoundState, SceneRole, SceneState
from catalog.settings import Strategy

NAME = r"^[a-z0-9][a-z0-9-]{0,98}$"


MAX_INTEGER = 2**31 - 1  # of a database column

Integer = Annotated[int, Field(ge=0, le=MAX_INTEGER)]
FilePath = Annotated[str, Field(pattern=r"^[^\x00]+$", max_length=1000)]


class Closed(BaseModel):
    """Refuses members that it does not know: a misspelt one must not be silently ignored."""

    model_config = ConfigDict(extra="forbid")


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str


# Paths and queries


class SceneId(Closed):
    """The number of a scene."""

    scene_id: Integer


class RoundId(Closed):
    """The number of a round."""

    round_id: Integer


class JobId(Closed):
    """The id of a job."""

    job_id: str = Field(pattern=r"^[0-9a-f]{32}$")


class EventId(Closed):
    """The number of a label event."""

    event_id: Integer


class VersionNumber(Closed):
    """The number of a model version."""

    version: Integer


class CompositePath(Closed):
    """A picture of a patch."""

    patch_id: Integer
    name: str = Field(pattern=r"^[a-z0-9-]{1,40}$")


class Signature(Closed):
    """What entitles to see a picture."""

    signature: str = Field(max_length=500)


class Page(Closed):
    """A part of a long list: up to ``limit`` items after the one with the id ``after``."""

    after: Integer = 0
    limit: int = Field(100, ge=1, le=1000)


class EventPage(Page):
    """A part of the ledger."""

    state: EventState | None = None


class JobPage(Closed):
    """Which jobs to list, newest first."""

    state: JobState | None = None
    limit: int = Field(100, ge=1, le=1000)


class ScoringPage(Closed):
    """How many scorings to list, newest first."""

    limit: int = Field(20, ge=1, le=1000)


# Requests


class BandRequest(Closed):
    """Where a band is: a file below the scene root and the band's place in it."""

    name: str = Field(min_length=1, max_length=40)
    path: FilePath
    index: int = Field(1, ge=1, le=MAX_INTEGER)


class DemRequest(Closed):
    """Elevation in metres, of any resolution and CRS: a file below the scene root and the band's place in it."""

    path: FilePath
    index: int = Field(1, ge=1, le=MAX_INTEGER)


class BorderRequest(Closed):
    """Polygons outside of which nothing is known: a GeoPackage, GeoJSON or shapefile below the scene root."""

    path: FilePath
    layer: str | None = None


class OutlineRequest(Closed):
    """Outlines of one class: a GeoPackage, GeoJSON or shapefile below the scene root."""

    path: FilePath
    layer: str | None = None
    class_name: str = Field(alias="class", examples=["clean ice"])


class RegionRequest(Closed):
    """A part of the files, in pixels of the first band's."""

    row_off: Integer
    col_off: Integer
    height: int = Field(gt=0, le=MAX_INTEGER)
    width: int = Field(gt=0, le=MAX_INTEGER)


def _parse_acquired(given: object) -> date | datetime:
    """Read what pydantic alone is too lenient with: it takes numbers, and midnight without a zone for a day."""
    try:
        return _day_or_moment(str(given))
    except (ValueError, OverflowError) as error:
        raise ValueError(
            "expected a day (2000-10-30) or a moment with its time zone (2000-10-30T04:41:00Z), in ISO 8601"
        ) from error


def _day_or_moment(text: str) -> date | datetime:
    if len(text) == len("2000-10-30"):
        return date.fromisoformat(text)
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return moment.astimezone(UTC)


Acquired = Annotated[
    AwareDatetime | date, Field(union_mode="left_to_right", examples=["2000-10-30"]), BeforeValidator(_parse_acquired)
]


class SceneRequest(Closed):
    """A scene to register: either ``path`` (one file) or ``bands`` (each with its file).

    The grid of the first band is the scene's; bands of another resolution or CRS are resampled onto it. ``acquired`` is
    when the image was taken; outlines of the scene carry its day (UTC).
    """

    name: str = Field(pattern=NAME)
    role: SceneRole
    path: FilePath | None = None
    bands: Annotated[list[BandRequest], Field(min_length=1)] | None = None
    sensor: str | None = Field(None, max_length=50)
    acquired: Acquired | None = None
    region: RegionRequest | None = None
    nodata: float | None = None
    dem: DemRequest | None = None
    border: BorderRequest | None = None
    outlines: list[OutlineRequest] = []
    patch_size_px: int | None = Field(None, ge=32, le=MAX_INTEGER)
    patch_overlap_px: Integer | None = None


class RoundRequest(Closed):
    """A round to open; what is left out follows the settings."""

    strategy: Strategy | None = None
    size: int | None = Field(None, ge=1, le=10_000)
    seed: Integer | None = None


class PromotionRequest(Closed):
    """Why the champion is moved; kept with who did it."""

    reason: str = Field(min_length=3, max_length=500, pattern=r"^[^\x00]*$")


# Answers


def media(media_type: str, description: str, *, text: bool = False) -> dict[str, Any]:
    """Describe an answer that is no JSON of a schema of ours: a file, or text."""
    schema = {"type": "string"} if text else {"type": "string", "format": "binary"}
    return {"description": description, "content": {media_type: {"schema": schema}}}


class Alive(BaseModel):
    """This server is alive."""

    alive: bool


class Recorded(BaseModel):
    """The label events that were new, by the ids they have in the ledger."""

    recorded: list[int]


class JobAnswer(BaseModel):
    """A piece of work."""

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


class SceneAnswer(BaseModel):
    """A registered scene."""

    id: int
    name: str
    role: SceneRole
    state: SceneState
    sensor: str | None
    acquired: str | None = Field(description="when the image was taken: a day, or a moment in UTC, as is known")
    bands: list[str]
    channels: list[str] = Field(description="what a model can be fed: bands, elevation, indices, slope")
    crs: str
    width: int
    height: int
    patch_size_px: int
    patches: int
    has_outlines: bool
    footprint: dict[str, Any]
    error: str | None
    registered_at: datetime


class SceneAccepted(BaseModel):
    """A scene that is being tiled."""

    scene: SceneAnswer
    job: JobAnswer


class RoundAnswer(BaseModel):
    """A round and how far it is."""

    id: int
    strategy: Strategy
    size: int
    seed: int
    state: RoundState
    model_version: int | None = Field(description="the version whose scores ranked the pool")
    ranking_agreement: float | None = Field(
        description="how steady that ranking is, 0 to 1, as `agreement` of the scoring by this strategy's measure"
    )
    proposals: dict[str, int] = Field(description="number of proposals in each state")
    reasons: dict[str, int] = Field(description="number of proposals for each reason")
    error: str | None
    created_at: datetime
    published_at: datetime | None
    completed_at: datetime | None


class ScoringAnswer(BaseModel):
    """A scoring of the pool: Monte Carlo dropout over all of it or what is contested, by all workers together."""

    id: int
    model_version: int
    passes: int
    seed: int
    share: float = Field(
        description="of the scenes that were surveyed by one pass, what all passes are spent on: the patches most "
        "uncertain by either entropy; 1: all of the pool"
    )
    patches: int = Field(description="of the pool, as far as they are known")
    progress: float | None = Field(description="0 to 1, the share of the work that is done; null without any")
    eta_s: float | None = Field(description="seconds until all are scored; null while unknown")
    seconds: float | None = Field(description="from the start of the last work on it to its completion")
    agreement: dict[str, float | None] = Field(
        description="how steady the ranking by each measure is: the share of the top tenth of the patches that two "
        "halves of the passes have in common; a fresh scoring with other masks agrees with this one rather more than so"
    )
    started_at: datetime
    completed_at: datetime | None


class RoundAccepted(BaseModel):
    """A round whose patches are being chosen."""

    round: RoundAnswer
    job: JobAnswer


class EventAnswer(BaseModel):
    """An entry of the ledger."""

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


class ModelAnswer(BaseModel):
    """A model version with the proof of its gain; undefined figures are null."""

    version: int
    aliases: list[str]
    created_at: datetime
    parent_version: int | None
    labels: int
    labels_sha256: str
    simulated_labels: int
    iou: dict[str, dict[str, float | None]] = Field(description="by role of the region, then by class or 'mean'")
    gain: dict[str, dict[str, float | None]] = Field(description="difference to the parent, likewise")
    verdict: str
    verdict_reason: str
    sha256: dict[str, str] = Field(description="file name to checksum")


class PromotionAnswer(BaseModel):
    """The champion moved."""

    version: int
    previous_version: int | None
    verdict: str
    reason: str
    actor: str


class Readiness(BaseModel):
    """Whether each part answers; ``ok`` or what is wrong with it."""

    ready: bool
    parts: dict[str, str]


class SceneList(RootModel[list[SceneAnswer]]):
    """Several scenes."""


class RoundList(RootModel[list[RoundAnswer]]):
    """Several rounds."""


class ScoringList(RootModel[list[ScoringAnswer]]):
    """Several scorings."""


class JobList(RootModel[list[JobAnswer]]):
    """Several jobs."""


class ModelList(RootModel[list[ModelAnswer]]):
    """Several model versions."""


class EventList(RootModel[list[EventAnswer]]):
    """Several entries of the ledger."""
