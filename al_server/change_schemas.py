"""Schemas of requests and answers about changes between two scenes."""

from pydantic import BaseModel, Field

from al_server.job_schemas import JobAnswer, JobsBefore
from catalog.paging import MOST
from services.change_maps import Subject
from services.raster_keys import ChangeSuffix
from services.request_types import MAX_INTEGER, Body, Closed, Integer


class ChangeId(Closed):
    """The id of a change."""

    uid: str = Field(pattern=r"^[0-9a-f]{32}$")


class ChangeFile(ChangeId):
    """A file of a change."""

    suffix: ChangeSuffix


class ChangesBefore(JobsBefore):
    """A page of changes by their jobs, newest first."""

    limit: int = Field(50, ge=1, le=MOST)


class ChangeRequest(Body):
    """Which scenes to compare, the earlier one first; their ids."""

    earlier: Integer
    later: Integer = Field(description="may be the earlier one, if priors are compared")
    of: Subject = Field(
        Subject.PREDICTION,
        description="maps of a model version; outlines registered with the scenes; or prior outlines of the earlier "
        "one with what the model confidently shows on the later one",
    )
    version: int | None = Field(
        None, ge=1, le=MAX_INTEGER, description="the model version whose maps are compared; the served one if missing"
    )


class ChangeAnswer(BaseModel):
    """A change between two scenes, and the files that there are of it."""

    id: str
    earlier: int
    later: int
    of: Subject
    version: int | None = Field(description="the model version; null for outlines")
    job: JobAnswer
    files: dict[str, str] = Field(
        description="addresses by kind (csv, gpkg, png, json), of a change that is asked for by its id; empty until it "
        "is done, and once they are removed; without gpkg if nothing changed"
    )
