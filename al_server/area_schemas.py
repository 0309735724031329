"""Schemas of requests and answers about predictions of an area."""

from typing import Literal

from pydantic import BaseModel, Field

from al_server.job_schemas import JobAnswer
from imagery.units import Level
from services.raster_keys import PredictionSuffix
from services.request_types import MAX_INTEGER, Closed, Integer
from services.scene_request import NAME, RegionRequest


class AreaId(Closed):
    """The id of a prediction of an area."""

    uid: str = Field(pattern=r"^[0-9a-f]{32}$")


class AreaFile(AreaId):
    """A file of a prediction of an area."""

    suffix: PredictionSuffix


class AreaQuery(Closed):
    """By which version, and what a GeoTIFF does not tell of itself."""

    version: int | None = Field(None, ge=1, le=MAX_INTEGER, description="a model version; the served one if missing")
    name: str = Field("area", pattern=NAME, description="what the files are to be called")
    bands: str | None = Field(
        None, min_length=1, max_length=2000, description="names of the bands in order, separated by commas"
    )
    sensor: str | None = Field(None, max_length=50)
    unit: Literal["reflectance", "digital number"] | None = None
    level: Level | None = None


class WindowOfRegistered(Closed):
    """A window of a registered scene, in its own pixels."""

    scene_id: Integer
    window: RegionRequest


class AreaAnswer(BaseModel):
    """A prediction of an area, and the files that there are of it."""

    id: str
    name: str
    version: int = Field(description="the model version")
    job: JobAnswer
    files: dict[str, str] = Field(description="addresses by kind (tif, geojson, gpkg, ...); empty until it is done")
