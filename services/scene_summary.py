"""What was understood about a scene, to be shown before it is registered; the same in HTTP and on the command line."""

from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from catalog.records import SceneRole
from imagery.units import Level


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, populate_by_name=True)


class RasterSummary(_Part):
    """A band or a further channel: value = stored number × `scale` + `offset`, in `unit`."""

    name: str
    unit: str
    scale: float
    offset: float
    nodata: float | None = Field(description="stored number that means no data, besides what the file declares")
    file: str
    index: int
    resampled: bool = Field(description="lies on another grid than the scene's, onto which it is resampled")


class QualitySummary(_Part):
    """A band of flags."""

    name: str
    table: str | None = Field(description="how it is decoded; null: it is not, and masks nothing")
    masked: list[str] = Field(description="flags that make a pixel unknown")
    file: str


class PixelShares(_Part):
    """Shares of the scene's pixels, 0 to 1, from at most 512 × 512 of them."""

    no_data: float = Field(description="fill, gaps, and what lies outside the border")
    flags: dict[str, float] = Field(description="by flag, of the pixels that have data; masked or not")
    usable: float = Field(description="has data, and no masked flag is raised")


class ElevationSummary(_Part):
    """The digital elevation model."""

    files: list[str]
    coverage: float = Field(description="share of the usable pixels that have elevation, 0 to 1")
    lowest_m: float = Field(description="lowest elevation of at most 256 × 256 pixels, metres")
    highest_m: float


class ClassSummary(_Part):
    """What the outlines give to a class."""

    class_name: str = Field(alias="class")
    polygons: int
    pixels: int
    area_km2: float


class OutlineSummary(_Part):
    """A layer of outlines, or the part of one that a field tells apart."""

    file: str
    layer: str | None
    class_name: str = Field(alias="class")
    class_field: str | None
    class_values: list[str]
    drawn_from: str | None = Field(
        description="the period of the dates of images that features must have been drawn from"
    )
    drawn_to: str | None
    polygons: int
    notes: list[str]


class PriorSummary(_Part):
    """Outlines of an earlier inventory, from which versions learn as weak labels."""

    date: str | None = Field(description="when they were drawn from images: a day, month or year")
    source: str | None
    ring_m: float = Field(description="pixels at most this far from an edge teach nothing, metres")
    outlines: list[OutlineSummary]
    classes: list[ClassSummary]


class LeftOut(_Part):
    """A file, band or asset that is not used."""

    file: str
    reason: str


class SceneSummary(_Part):
    """What was understood about a scene. Nothing is stored yet."""

    name: str
    role: SceneRole
    kind: str = Field(examples=["Landsat Collection 2 Level-2"])
    product_id: str | None
    sensor: str | None
    level: Level | None = Field(description="what reflectances refer to; null for digital numbers, or if unknown")
    acquired: str | None
    crs: str
    width: int
    height: int
    center: tuple[float, float] = Field(description="longitude and latitude of the scene's middle, in degrees (WGS 84)")
    pixel_size: tuple[float, float] = Field(description="width and height of a pixel in `pixel_unit`")
    pixel_unit: str = Field(description="unit of the CRS", examples=["metre", "degree"])
    pixel_size_m: tuple[float, float] = Field(description="width and height of the middle pixel on the ground, metres")
    patch_size_px: int
    bands: list[RasterSummary]
    further_channels: list[RasterSummary]
    quality: list[QualitySummary]
    channels: list[str] = Field(description="all possible inputs of a model")
    pixels: PixelShares
    cloud_share: float | None = Field(
        description="share of the pixels with data that the quality bands call cloud, 0 to 1; null without such a band"
    )
    provider_cloud_percent: float | None = Field(description="as the product's metadata state it")
    elevation: ElevationSummary | None
    outlines: list[OutlineSummary]
    classes: list[ClassSummary]
    prior_outlines: PriorSummary | None = None
    border: str | None
    notes: list[str] = Field(description="guesses and warnings: read them before you use the scene")
    left_out: list[LeftOut]

    def stored(self) -> dict[str, Any]:
        """Return what is kept with the scene (column `product`)."""
        document: dict[str, Any] = self.model_dump(mode="json", include=_STORED)
        return document


_STORED: Final = {"kind", "product_id", "cloud_share", "pixels", "notes"}
