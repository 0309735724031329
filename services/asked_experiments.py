"""Simulations and experiments that operators have made in the browser.

The results are kept as `services.made_files` says. Only operators see them: they name scenes and hold truths of scenes
by which versions are judged.
"""

import io
from functools import cached_property
from typing import Final
from zipfile import BadZipFile, ZipFile

from pydantic import BaseModel

from catalog.context import Catalog
from catalog.data_set_records import DataSet
from catalog.errors import NotFoundError
from catalog.records import JobKind
from services import made_files
from services.experiment_options import QUESTIONS, ExperimentOptions, SimulationOptions, check_options
from services.made_files import KnownFile
from services.study_scenes import check_roles, study_scenes

SIMULATION: Final = "simulation"


class Asked(BaseModel):
    """What was asked for.

    Attributes:
        options: What the operator stated.
    """

    options: SimulationOptions | ExperimentOptions


class ResultTable(BaseModel):
    """A table of results as text.

    Attributes:
        title: Its title.
        columns: Headings, that of the names of the rows first.
        rows: The cells of each row, its name first.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]


class Contents(BaseModel):
    """The results of an experiment that is done.

    Attributes:
        question: What it asked.
        tables: Its tables.
        notes: What readers of the tables must know, and how the results were made.
        mlflow: Tracking URI that holds its MLflow run.
        size_bytes: Size of its zip.
    """

    question: str
    tables: list[ResultTable]
    notes: list[str]
    mlflow: str
    size_bytes: int


class KnownExperiment(KnownFile):
    """A simulation or an experiment with its job."""

    KIND = JobKind.RUN_EXPERIMENT
    WHAT = "experiment"

    @cached_property
    def options(self) -> SimulationOptions | ExperimentOptions:
        """What was asked for."""
        return Asked.model_validate(self.row.request).options

    @property
    def contents(self) -> Contents | None:
        """Its results; None until its file is stored."""
        return None if self.row.contents is None else Contents.model_validate(self.row.contents)

    @property
    def name(self) -> str:
        """Name of the experiment, by which its files are named."""
        options = self.options
        return SIMULATION if isinstance(options, SimulationOptions) else options.name

    @property
    def question(self) -> str:
        """What it asks, in a sentence."""
        options = self.options
        if isinstance(options, SimulationOptions):
            return "What would each strategy have given?"
        return QUESTIONS[options.name]

    @property
    def file_name(self) -> str:
        """Name of its files for whoever takes them away, without the ending."""
        return f"{self.name}-{self.row.asked_at:%Y-%m-%d}"


def ask(catalog: Catalog, options: SimulationOptions | ExperimentOptions, by: str) -> KnownExperiment:
    """Enqueue the job that makes a simulation or an experiment.

    Args:
        catalog: The catalog.
        options: What the operator states.
        by: Name of the person who asks.

    Raises:
        InvalidInputError: The options contradict each other or the settings.
        ConflictError: A scene cannot be used, or a role of a simulation has none.
    """
    check_options(options, catalog.settings)
    if not options.example:
        with catalog.read() as session:
            scenes = study_scenes(session, options.scenes)
        if isinstance(options, SimulationOptions):
            check_roles({scene.name: scene.role for scene in scenes}, options.scenes)
    row = DataSet(request=Asked(options=options).model_dump(mode="json"), with_model=False, asked_by=by)
    with catalog.write() as session:
        return made_files.enqueue(session, KnownExperiment, row)


def member(known: KnownExperiment, archive: bytes, suffix: str) -> bytes:
    """Return the table or the figure from the zip of an experiment.

    Args:
        known: The experiment.
        archive: Its zip.
        suffix: "csv" or "png".

    Raises:
        NotFoundError: It is not in the zip, or that cannot be read.
    """
    try:
        with ZipFile(io.BytesIO(archive)) as files:
            return files.read(f"{known.name}.{suffix}")
    except (KeyError, BadZipFile) as error:
        raise NotFoundError(f"found no {suffix} file in this experiment; make it anew") from error
