"""Data sets that people make in the browser: asked for, made by a job, kept in the raster store until removed.

Outlines for GLIMS (`services.submissions`) and experiments (`services.asked_experiments`) are kept likewise: functions
that all use take the kind of the job.
"""

import re
import shutil
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import BaseModel, TypeAdapter
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from catalog import failures, jobs
from catalog.context import Catalog
from catalog.data_set_records import DataSet, DataSetLabel
from catalog.errors import ConflictError, NotFoundError
from catalog.jobs import OPEN
from catalog.paging import Cut, cut_out
from catalog.records import Job, JobKind, Label, SceneRole
from catalog.settings import Settings
from catalog.withdrawal_records import WithdrawnLabel
from imagery.channels import CHANNEL_SETS
from imagery.errors import ExportError, StoreError
from imagery.store import RasterStore
from services import raster_keys
from services.dataset_request import DatasetRequest, check_request
from services.scenes import ready_scenes, source_of

_REQUEST: Final = TypeAdapter(DatasetRequest)
_WHAT: Final = {
    JobKind.EXPORT_DATASET: "data set",
    JobKind.EXPORT_SUBMISSION: "submission",
    JobKind.RUN_EXPERIMENT: "experiment",
}
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


@dataclass(frozen=True)
class KnownDataSet:
    """A data set with its job.

    Attributes:
        row: Its row.
        job: The job that makes it.
        withdrawn: How many of its labels were withdrawn since; None: not known, as an earlier release has made it.
    """

    row: DataSet
    job: Job
    withdrawn: int | None = 0

    @property
    def request(self) -> DatasetRequest:
        """What was asked for."""
        return request_of(self.row)

    @property
    def contents(self) -> Contents | None:
        """What it holds; None until its file is stored."""
        return None if self.row.contents is None else Contents.model_validate(self.row.contents)

    @property
    def name(self) -> str:
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
        job = enqueue(session, JobKind.EXPORT_DATASET, row)
    return KnownDataSet(row, job)


def enqueue(session: Session, kind: JobKind, row: DataSet) -> Job:
    """Store what is asked for, and enqueue the job that makes it, which is told its id only: readers see jobs."""
    row.job_id = ""
    session.add(row)
    session.flush()
    job = jobs.enqueue(session, kind, row.uid, uid=row.uid)
    row.job_id = job.id
    return job


def request_of(row: DataSet) -> DatasetRequest:
    """Return what a data set was asked to hold."""
    return _REQUEST.validate_python(row.request)


def listed(session: Session, cut: Cut | None = None) -> list[KnownDataSet]:
    """Return the data sets, newest first; all of them, or a page by the ids of their rows."""
    found = rows(session, JobKind.EXPORT_DATASET, cut)
    withdrawn = withdrawn_labels(session, [row for row, _ in found])
    return [KnownDataSet(row, job, withdrawn[row.id]) for row, job in found]


def rows(session: Session, kind: JobKind, cut: Cut | None = None) -> list[tuple[DataSet, Job]]:
    """Return what was asked for of a kind, newest first, with the jobs; all, or a page by the ids of the rows."""
    found = select(DataSet, Job).join(Job, Job.id == DataSet.job_id).where(Job.kind == kind)
    return [(row, job) for row, job in session.execute(cut_out(found, DataSet.id, cut, newest_first=True))]


def find(session: Session, uid: str) -> KnownDataSet:
    """Return a data set.

    Raises:
        NotFoundError: There is none with this id, or it was removed.
    """
    row, job = find_row(session, JobKind.EXPORT_DATASET, uid)
    return KnownDataSet(row, job, withdrawn_labels(session, [row])[row.id])


def find_row(session: Session, kind: JobKind, uid: str) -> tuple[DataSet, Job]:
    """Return what was asked for of a kind, with its job.

    Raises:
        NotFoundError: There is none with this id, or it was removed.
    """
    found = select(DataSet, Job).join(Job, Job.id == DataSet.job_id).where(Job.kind == kind, DataSet.uid == uid)
    row = session.execute(found).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no {_WHAT[kind]} {uid!r}; it may have been removed")
    return row[0], row[1]


def note_contents(catalog: Catalog, store: RasterStore, uid: str, contents: BaseModel, labels: Iterable[Label]) -> None:
    """Note what was made, of which labels, once its file is stored; delete the file if it was removed meanwhile."""
    with catalog.write() as session:
        row = session.scalar(select(DataSet).where(DataSet.uid == uid).with_for_update())
        if row is not None:
            row.contents = contents.model_dump(mode="json")
            session.add_all(DataSetLabel(data_set_id=row.id, label_id=label.id) for label in labels)
            return
    with suppress(StoreError):  # whoever removed the data set deleted the file, too
        store.delete(raster_keys.data_set(uid))


def withdrawn_labels(session: Session, made: Sequence[DataSet]) -> dict[int, int | None]:
    """Return how many of their labels were withdrawn since, by the id of the row.

    None is for those of an earlier release, which did not note what labels they hold. Those that are being made have 0.
    """
    counts = (
        select(DataSetLabel.data_set_id, func.count(), func.count(WithdrawnLabel.label_id))
        .outerjoin(WithdrawnLabel, WithdrawnLabel.label_id == DataSetLabel.label_id)
        .where(DataSetLabel.data_set_id.in_([row.id for row in made]))
        .group_by(DataSetLabel.data_set_id)
    )
    known = {number: (labels, withdrawn) for number, labels, withdrawn in session.execute(counts)}
    found: dict[int, int | None] = {}
    for row in made:
        labels, withdrawn = known.get(row.id, (0, 0))
        is_known = row.contents is None or labels == row.contents["labels"]
        found[row.id] = withdrawn if is_known else None
    return found


def remove(catalog: Catalog, store: RasterStore, kind: JobKind, uid: str) -> None:
    """Remove what was asked for with its file; end its job if it is still being made.

    Raises:
        NotFoundError: There is none with this id, or it was removed.
    """
    with catalog.write() as session:
        row, job = find_row(session, kind, uid)
        if job.state in OPEN:
            with suppress(ConflictError):  # it has just ended
                failures.cancel(session, job.id)
        session.delete(row)
    with suppress(StoreError):  # it was not made yet, or is damaged
        store.delete(raster_keys.data_set(uid))


def left_files(session: Session, present: Iterable[str]) -> list[str]:
    """Return those of some keys that are files of what was removed: whoever removed it was killed."""
    keys = {key for key in present if key.startswith(f"{raster_keys.DATA_SETS}/")}
    return sorted(keys - {raster_keys.data_set(uid) for uid in session.scalars(select(DataSet.uid))})


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
