"""Data sets that people have made in the browser: asked for, and put together in drafts (`services.made_files`)."""

import re
import shutil
import unicodedata
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

from pydantic import BaseModel, TypeAdapter
from sqlalchemy import select
from sqlalchemy.orm import Session

from catalog.context import Catalog
from catalog.data_set_records import DataSet
from catalog.errors import ConflictError
from catalog.jobs import OPEN
from catalog.records import Job, JobKind, SceneRole
from catalog.settings import Settings
from imagery.channels import CHANNEL_SETS
from imagery.errors import ExportError
from services import made_files
from services.dataset_request import DatasetRequest, check_request
from services.made_files import KnownFile
from services.scenes import ready_scenes, source_of

_REQUEST: Final = TypeAdapter(DatasetRequest)
_LONGEST_NAME: Final = 60  # characters of a title in the name of its file


class Contents(BaseModel):
    """What a data set that is done holds.

    Attributes:
        windows: Number of windows by part of the data set.
        labels: Number of labels.
        simulated_labels: How many of them a simulated annotator drew.
        analysts: Number of people who drew labels, a simulated annotator included.
        model_version: The served model that it holds; None: none.
        left_out: What is not in it, and why.
        size_bytes: Size of its zip.
    """

    windows: dict[str, int]
    labels: int
    simulated_labels: int
    analysts: int
    model_version: int | None
    left_out: list[str]
    size_bytes: int


class KnownDataSet(KnownFile):
    """A data set with its job."""

    KIND = JobKind.EXPORT_DATASET
    WHAT = "data set"

    @property
    def request(self) -> DatasetRequest:
        """What was asked for."""
        return request_of(self.row)

    @property
    def contents(self) -> Contents | None:
        """What it holds; None until its file is stored."""
        return None if self.row.contents is None else Contents.model_validate(self.row.contents)

    @property
    def file_name(self) -> str:
        """Name of its file, without the ending, and of the folder in it: small letters of ASCII, digits and hyphens."""
        letters = unicodedata.normalize("NFKD", self.request.title)  # an umlaut becomes a letter and a mark
        unmarked = "".join(letter for letter in letters if not unicodedata.combining(letter))
        words = re.sub(r"[^a-z0-9]+", "-", unmarked.lower())[:_LONGEST_NAME].strip("-")
        return f"{words or 'data-set'}-{self.row.asked_at:%Y-%m-%d}"


def ask(catalog: Catalog, request: DatasetRequest, *, with_model: bool, by: str) -> KnownDataSet:
    """Enqueue the job that makes a data set.

    Args:
        catalog: The catalog.
        request: What it is to hold.
        with_model: Whether the served model is to be added.
        by: Name of the person who asks.

    Raises:
        ConflictError: There is no label to export.
        SceneError: A scene lacks a channel, the scenes have none in common, or one has several units.
    """
    with catalog.read() as session:
        try:
            check_request(session, request)
        except ExportError as error:
            raise ConflictError(str(error)) from error
    row = DataSet(request=_REQUEST.dump_python(request, mode="json"), with_model=with_model, asked_by=by)
    with catalog.write() as session:
        return made_files.enqueue(session, KnownDataSet, row)


def request_of(row: DataSet) -> DatasetRequest:
    """Return what a data set was asked to hold."""
    return _REQUEST.validate_python(row.request)


def drafts(settings: Settings) -> Path:
    """Return the folder in which data sets are put together, each in a folder of its own (`draft_of`)."""
    return settings.var_dir / "data-set-drafts"


def draft_of(settings: Settings, uid: str, attempt: int) -> Path:
    """Return the folder in which an attempt of a job puts a data set together."""
    return drafts(settings) / f"{uid}-{attempt}"


def remove_drafts(catalog: Catalog) -> list[Path]:
    """Remove what killed attempts have left of data sets, but for those that are being made; return the folders."""
    folder = drafts(catalog.settings)
    if not folder.is_dir():
        return []
    there = set(folder.iterdir())  # first: what a job that begins now makes is not among them
    with catalog.read() as session:
        running = select(Job.subject, Job.attempt).where(Job.kind == JobKind.EXPORT_DATASET, Job.state.in_(OPEN))
        kept = {draft_of(catalog.settings, job["uid"], attempt) for job, attempt in session.execute(running)}
    left = sorted(there - kept)
    for path in left:
        shutil.rmtree(path, ignore_errors=True)
    return left


def channels_on_offer(session: Session) -> tuple[Sequence[str], Collection[str]]:
    """Return the channels that any scene has, and the channel sets of papers that one scene at least has whole."""
    known = [source_of(scene).channel_names for scene in ready_scenes(session, tuple(SceneRole))]
    channels = list(dict.fromkeys(name for names in known for name in names))
    whole = [name for name, wanted in CHANNEL_SETS.items() if any(set(wanted) <= set(names) for names in known)]
    return channels, whole
