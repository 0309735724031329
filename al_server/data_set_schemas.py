"""Schemas of requests and answers about data sets."""

from datetime import datetime
from typing import Annotated

from flask import url_for
from pydantic import BaseModel, Field

from al_server.job_schemas import JobAnswer, serialize_job
from catalog.records import SceneRole
from services.data_sets import Contents, KnownDataSet
from services.dataset_request import DatasetRequest, Form
from services.request_types import Body, Closed

_Channel = Annotated[str, Field(min_length=1, max_length=64)]


class DataSetId(Closed):
    """The id of a data set."""

    uid: str = Field(pattern=r"^[0-9a-f]{32}$")


class DataSetRequest(Body):
    """What a data set is to hold."""

    roles: list[SceneRole] = Field(
        default=list(SceneRole), min_length=1, description="scenes of these roles; pool becomes the part train"
    )
    simulated: bool = Field(False, description="labels of a simulated annotator, too; they are marked as such")
    channels: list[_Channel] = Field(
        default=[], max_length=100, description="channels and sets of papers (baraka); none: all that the scenes share"
    )
    forms: list[Form] = Field(default=list(Form), min_length=1, description="the forms in which windows are written")
    licence: str = Field(
        DatasetRequest.licence,
        pattern=r"^[A-Za-z0-9.+-]{1,64}$",
        description="SPDX identifier of the licence that the labels are given, e.g. CC-BY-4.0",
    )
    title: str = Field(DatasetRequest.title, min_length=1, max_length=200)
    model: bool = Field(True, description="add the served model, if there is one, to the form stac")

    def to_request(self) -> DatasetRequest:
        """Return what is exported; each role and form once, and the title on one line."""
        return DatasetRequest(
            roles=tuple(dict.fromkeys(self.roles)),
            simulated=self.simulated,
            channels=tuple(self.channels),
            forms=tuple(dict.fromkeys(self.forms)),
            licence=self.licence,
            title=" ".join(self.title.split()) or DatasetRequest.title,
        )


class DataSetContents(BaseModel):
    """What a data set holds."""

    windows: dict[str, int] = Field(description="their number by part: train, validation, test")
    labels: int
    simulated_labels: int = Field(description="how many of them a simulated annotator drew")
    analysts: int = Field(description="how many people drew them, a simulated annotator included")
    model_version: int | None = Field(description="the served model in it; null: none")
    left_out: list[str] = Field(description="what is not in it, and why")
    size_bytes: int


class DataSetAnswer(BaseModel):
    """A data set, or one that is being made."""

    id: str
    title: str
    licence: str
    roles: list[SceneRole]
    forms: list[Form]
    channels: list[str] = Field(description="those asked for; none: all that the scenes share")
    simulated: bool
    asked_by: str
    asked_at: datetime
    job: JobAnswer
    contents: DataSetContents | None = Field(description="null until it is made")
    withdrawn_labels: int | None = Field(
        description="how many of its labels were withdrawn since; null: not known, as an earlier release has made it"
    )
    file: str | None = Field(description="address of its zip; null until it is made")


def serialize_data_set(known: KnownDataSet) -> DataSetAnswer:
    """Return a data set with its job and, once it is made, what it holds."""
    request, contents = known.request, known.contents
    return DataSetAnswer(
        id=known.row.uid,
        title=request.title,
        licence=request.licence,
        roles=list(request.roles),
        forms=list(request.forms),
        channels=list(request.channels),
        simulated=request.simulated,
        asked_by=known.row.asked_by,
        asked_at=known.row.asked_at,
        job=serialize_job(known.job),
        contents=None if contents is None else _serialize_contents(contents),
        withdrawn_labels=known.withdrawn,
        file=None if contents is None else url_for("data_sets.file", uid=known.row.uid),
    )


def _serialize_contents(contents: Contents) -> DataSetContents:
    return DataSetContents(**contents.model_dump())
