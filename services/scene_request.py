"""Schema of a request to register a scene, shared by the HTTP API and the command line."""

from datetime import UTC, date, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, model_validator

from catalog.records import SceneRole, now
from imagery.errors import OutlineError
from imagery.glims_check import FIRST_IMAGE
from imagery.outline_period import DATE_PATTERN, Period
from imagery.units import Level
from services.request_types import MAX_INTEGER, Body, Closed, Integer

NAME = r"^[a-z0-9][a-z0-9-]{0,98}$"
FilePath = Annotated[str, Field(min_length=1, max_length=1000)]


class BandRequest(Closed):
    """Where a band is: a file below the scene root and the band's place in it."""

    name: str = Field(min_length=1, max_length=40)
    path: FilePath
    index: int = Field(1, ge=1, le=MAX_INTEGER)


class RasterRequest(Closed):
    """A raster of any resolution and CRS, and what its file does not say about its numbers.

    A value is stored number × `scale` + `offset`, in `unit`; what is missing comes from the file.
    """

    path: FilePath
    index: int = Field(1, ge=1, le=MAX_INTEGER)
    unit: str | None = Field(None, min_length=1, max_length=30)
    scale: float | None = None
    offset: float | None = None
    nodata: float | None = None


class DemRequest(RasterRequest):
    """A digital elevation model, or a tile of one; without a `unit` in the file or here, it is in metres."""


class ChannelRequest(RasterRequest):
    """A further channel, such as radar coherence, velocity or elevation change."""

    name: str = Field(min_length=1, max_length=40)


class BorderRequest(Closed):
    """Polygons outside of which nothing is known: a vector file below the scene root."""

    path: FilePath
    layer: str | None = None


class OutlineRequest(Closed):
    """Outlines: a vector file below the scene root, and which class they are of.

    Either all are of one ``class``, or ``classes`` maps the values of the attribute ``class_field`` to classes. With
    neither, the classes are recognised from the file's fields, values and names, or the request is refused. With
    ``drawn_from`` or ``drawn_to`` only features are used whose dates, by their attributes, lie in that period.
    """

    path: FilePath
    layer: str | None = None
    class_name: str | None = Field(None, alias="class", examples=["clean ice"])
    class_field: str | None = Field(None, min_length=1, examples=["Glaciers"])
    classes: dict[str, str] = Field({}, examples=[{"Clean Ice": "clean ice", "Debris covered": "debris-covered ice"}])
    drawn_from: str | None = Field(
        None,
        pattern=DATE_PATTERN,
        description="only outlines drawn from images of this day, month or year, or later",
        examples=["2000"],
    )
    drawn_to: str | None = Field(
        None,
        pattern=DATE_PATTERN,
        description="only outlines drawn from images of this day, month or year, or earlier",
        examples=["2005-12-31"],
    )

    @model_validator(mode="after")
    def _check_period(self) -> "OutlineRequest":
        try:
            Period(self.drawn_from, self.drawn_to)
        except OutlineError as error:
            raise ValueError(str(error)) from error
        return self


class RegionRequest(Closed):
    """A part of the files, in pixels of the one that sets the grid."""

    row_off: Integer
    col_off: Integer
    height: int = Field(gt=0, le=MAX_INTEGER)
    width: int = Field(gt=0, le=MAX_INTEGER)


def _parse_acquired(given: object) -> date | datetime:
    """Parse a date or a time with a zone; pydantic alone accepts numbers, and midnight as a date."""
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


def _check_acquired(moment: date) -> date:
    day = moment.date() if isinstance(moment, datetime) else moment
    if not FIRST_IMAGE <= day <= now().date():
        raise ValueError(f"found {day}; expected a day from {FIRST_IMAGE} to today (UTC)")
    return moment


Acquired = Annotated[
    AwareDatetime | date,
    Field(union_mode="left_to_right", examples=["2000-10-30"]),
    BeforeValidator(_parse_acquired),
    AfterValidator(_check_acquired),
]


def _as_list(given: object) -> object:
    return given if isinstance(given, list) else [] if given is None else [given]


class SceneRequest(Body):
    """A scene to register: either ``path`` (a product's folder, archive or file, a STAC item) or ``bands``.

    The grid of the first of ``bands`` is the scene's, flags apart, or that of a product's finest band; bands of another
    resolution or CRS are resampled onto it. What a product says need not be said again: ``name`` (of the product),
    ``sensor``, ``acquired`` (when the image was taken; outlines carry its day, UTC), ``level`` (what reflectances refer
    to). ``unit`` says that bands hold reflectances where nothing else does, or keeps their stored numbers. ``masked``
    names the flags that make a pixel unknown, instead of the setting. Several ``dem`` are tiles, the most trusted
    first. ``outlines`` are true of the scene; ``prior_outlines`` need not be. ``dry_run`` describes the scene and
    stores nothing.
    """

    name: str | None = Field(None, pattern=NAME)
    role: SceneRole
    path: FilePath | None = None
    bands: Annotated[list[BandRequest], Field(min_length=1)] | None = None
    sensor: str | None = Field(None, max_length=50)
    acquired: Acquired | None = None
    unit: Literal["reflectance", "digital number"] | None = None
    level: Level | None = None
    allow_mixed_levels: bool = Field(False, description="take a scene of another level than that of the others")
    region: RegionRequest | None = None
    nodata: float | None = None
    channels: list[ChannelRequest] = Field([])
    masked: list[str] | None = Field(None, examples=[["cloud", "cloud shadow"]])
    dem: Annotated[list[DemRequest], BeforeValidator(_as_list)] = Field([])
    allow_partial_dem: bool = Field(False, description="take a DEM that covers only a part of the scene")
    border: BorderRequest | None = None
    outlines: list[OutlineRequest] = Field([])
    prior_outlines: list[OutlineRequest] = Field(
        [], description="outlines of an earlier inventory, which versions learn from as weak labels; pool scenes only"
    )
    prior_date: str | None = Field(
        None,
        pattern=DATE_PATTERN,
        description="when they were drawn from images; by default guessed from their attributes",
        examples=["2003-08-13", "2003"],
    )
    prior_source: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="who drew them; by default guessed from their fields",
        examples=["Randolph Glacier Inventory 7"],
    )
    patch_size_px: int | None = Field(None, ge=32, le=MAX_INTEGER)
    patch_overlap_px: Integer | None = None
    dry_run: bool = Field(False, description="describe the scene, and store nothing")

    def stated(self) -> dict[str, Any]:
        """Return what is said of the files that they may not tell, and the names of the further channels, as JSON."""
        said = self.model_dump(mode="json", include=_STATED, exclude_defaults=True)
        return said | {"channels": [item.name for item in self.channels]}

    @model_validator(mode="after")
    def _check_one_of(self) -> "SceneRequest":
        if (self.path is None) == (self.bands is None):
            raise ValueError(
                "expected either 'path' (one product) or 'bands' (each with its file), found both or neither"
            )
        return self

    @model_validator(mode="after")
    def _check_priors(self) -> "SceneRequest":
        if self.prior_outlines and self.role is not SceneRole.POOL:
            raise ValueError(
                f"found prior outlines for a scene with the role {self.role.value!r}, which judges models; expected "
                "them for a scene of the pool only: give what is true of this scene as 'outlines'"
            )
        if not self.prior_outlines and (self.prior_date or self.prior_source):
            raise ValueError("found a date or a source of prior outlines without prior outlines; expected both")
        return self


_STATED: Final = {"sensor", "acquired", "unit", "level", "region", "nodata", "allow_partial_dem"}


class ReplacementRequest(SceneRequest):
    """A new description of a registered scene; its name stays.

    ``labels`` says what becomes of labels that were drawn on it: they are kept, if their pixels stay where they are, or
    discarded. Without it, a scene with labels is not replaced.
    """

    labels: Literal["keep", "discard"] | None = None
