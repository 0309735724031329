"""Schemas of requests and answers about simulations and experiments."""

from datetime import datetime

from flask import url_for
from pydantic import BaseModel, Field

from al_server.job_schemas import JobAnswer, serialize_job
from services.asked_experiments import Contents, KnownExperiment
from services.experiment_options import ExperimentOptions, SimulationOptions
from services.request_types import Closed


class ExperimentId(Closed):
    """The id of a simulation or an experiment."""

    uid: str = Field(pattern=r"^[0-9a-f]{32}$")


class ResultTableAnswer(BaseModel):
    """A table of results as text."""

    title: str
    columns: list[str] = Field(description="headings; the first is that of the names of the rows")
    rows: list[list[str]] = Field(description="the cells of each row, its name first")


class ExperimentContents(BaseModel):
    """Results."""

    question: str = Field(description="what was asked, and by which paper")
    tables: list[ResultTableAnswer]
    notes: list[str] = Field(description="what readers of the tables must know, and how the results were made")
    mlflow: str = Field(description="where the MLflow run is: the tracking address")
    size_bytes: int


class ExperimentAnswer(BaseModel):
    """A simulation or an experiment, or one that is being made."""

    id: str
    name: str = Field(description="simulation, or the name of an experiment of the papers")
    question: str = Field(description="what it asks")
    simulation: SimulationOptions | None = Field(description="its options; null: it is an experiment")
    experiment: ExperimentOptions | None = Field(description="its options; null: it is a simulation")
    asked_by: str
    asked_at: datetime
    job: JobAnswer
    contents: ExperimentContents | None = Field(description="null until it is made")
    file: str | None = Field(description="address of a zip of all files; null until it is made, as the next two")
    table: str | None = Field(description="address of the tables as CSV")
    figure: str | None = Field(description="address of the figure as PNG")


def serialize_experiment(known: KnownExperiment) -> ExperimentAnswer:
    """Return a simulation or an experiment with its job and, once it is made, its results."""
    options, contents = known.options, known.contents
    addresses = {
        part: None if contents is None else url_for(f"experiments.{part}", uid=known.row.uid)
        for part in ("file", "table", "figure")
    }
    return ExperimentAnswer(
        id=known.row.uid,
        name=known.name,
        question=known.question,
        simulation=options if isinstance(options, SimulationOptions) else None,
        experiment=options if isinstance(options, ExperimentOptions) else None,
        asked_by=known.row.asked_by,
        asked_at=known.row.asked_at,
        job=serialize_job(known.job),
        contents=None if contents is None else _serialize_contents(contents),
        **addresses,
    )


def _serialize_contents(contents: Contents) -> ExperimentContents:
    return ExperimentContents.model_validate(contents.model_dump())
