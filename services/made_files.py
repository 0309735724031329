"""What people have made in the browser: asked for, made by a job, kept as one zip in the raster store until removed.

Data sets (`services.data_sets`), outlines for GLIMS (`services.submissions`) and experiments
(`services.asked_experiments`) are kept so; the kind of the job tells them apart.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from pydantic import BaseModel
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from catalog import failures, jobs
from catalog.context import Catalog
from catalog.data_set_records import DataSet, DataSetLabel
from catalog.errors import ConflictError, NotFoundError
from catalog.jobs import OPEN
from catalog.paging import Cut, cut_out
from catalog.records import Job, JobKind, Label
from catalog.withdrawal_records import WithdrawnLabel
from imagery.errors import StoreError
from imagery.store import RasterStore
from services import raster_keys


@dataclass(frozen=True)
class KnownFile(ABC):
    """What somebody asked for, with the job that makes its file; each kind is a subclass.

    Attributes:
        KIND: Kind of the job.
        WHAT: What it is, in messages.
        row: Its row.
        job: The job.
        withdrawn: How many of its labels were withdrawn since; None: not known, as an earlier release has made it.
    """

    KIND: ClassVar[JobKind]
    WHAT: ClassVar[str]
    row: DataSet
    job: Job
    withdrawn: int | None = 0

    @property
    @abstractmethod
    def contents(self) -> BaseModel | None:
        """What it holds; None until its file is stored."""

    @property
    @abstractmethod
    def file_name(self) -> str:
        """Name of its file for whoever takes it away, without the ending."""

    @property
    def sent_file(self) -> str | None:
        """Key of a file that was sent to make it of, and is kept in the store until it is made; None: there is none."""
        return None


Known = TypeVar("Known", bound=KnownFile)


def enqueue(session: Session, kind: type[Known], row: DataSet) -> Known:
    """Store what is asked for, and enqueue the job that makes it, which is told its id only: readers see jobs."""
    row.job_id = ""
    session.add(row)
    session.flush()
    job = jobs.enqueue(session, kind.KIND, row.uid, uid=row.uid)
    row.job_id = job.id
    return kind(row, job)


def listed(session: Session, kind: type[Known], cut: Cut | None = None) -> list[Known]:
    """Return what was asked for of a kind, newest first; all, or a page by the ids of the rows."""
    found = select(DataSet, Job).join(Job, Job.id == DataSet.job_id).where(Job.kind == kind.KIND)
    pairs = session.execute(cut_out(found, DataSet.id, cut, newest_first=True)).all()
    withdrawn = _withdrawn_labels(session, [row for row, _ in pairs])
    return [kind(row, job, withdrawn[row.id]) for row, job in pairs]


def find(session: Session, kind: type[Known], uid: str) -> Known:
    """Return what was asked for of a kind.

    Raises:
        NotFoundError: There is none with this id, or it was removed.
    """
    found = select(DataSet, Job).join(Job, Job.id == DataSet.job_id).where(Job.kind == kind.KIND, DataSet.uid == uid)
    pair = session.execute(found).one_or_none()
    if pair is None:
        raise NotFoundError(f"there is no {kind.WHAT} {uid!r}; it may have been removed")
    row, job = pair
    return kind(row, job, _withdrawn_labels(session, [row])[row.id])


def note_contents(catalog: Catalog, store: RasterStore, uid: str, contents: BaseModel, labels: Iterable[Label]) -> None:
    """Note what was made, of which labels, once its file is stored; delete the file if it was removed meanwhile."""
    with catalog.write() as session:
        row = session.scalar(select(DataSet).where(DataSet.uid == uid).with_for_update())
        if row is not None:
            row.contents = contents.model_dump(mode="json")
            session.add_all(DataSetLabel(data_set_id=row.id, label_id=label.id) for label in labels)
            return
    delete_file(store, raster_keys.data_set(uid))


def remove(catalog: Catalog, store: RasterStore, kind: type[Known], uid: str) -> None:
    """Remove what was asked for, with its file and the one that was sent for it; end its job if it is still being made.

    Raises:
        NotFoundError: There is none with this id, or it was removed.
    """
    with catalog.write() as session:
        known = find(session, kind, uid)
        sent = known.sent_file
        if known.job.state in OPEN:
            with suppress(ConflictError):  # it has just ended
                failures.cancel(session, known.job.id)
        session.delete(known.row)
    delete_file(store, raster_keys.data_set(uid))
    if sent is not None:
        delete_file(store, sent)


def delete_file(store: RasterStore, key: str) -> None:
    """Delete a file of what is done or removed, if it is there; one that stays belongs to nobody (`left_files`)."""
    with suppress(StoreError):  # it was not made yet, was deleted before, or is damaged
        store.delete(key)


def left_files(session: Session, present: Iterable[str]) -> list[str]:
    """Return those of some keys that are files of what was removed: whoever removed it was killed."""
    keys = {key for key in present if key.startswith(f"{raster_keys.DATA_SETS}/")}
    return sorted(keys - {raster_keys.data_set(uid) for uid in session.scalars(select(DataSet.uid))})


def _withdrawn_labels(session: Session, made: Sequence[DataSet]) -> dict[int, int | None]:
    """Return how many of their labels were withdrawn since, by the id of the row.

    None is for those of an earlier release, which did not note what labels they hold. Those that are being made, and
    what holds no labels, have 0.
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
        is_known = row.contents is None or labels == row.contents.get("labels", 0)
        found[row.id] = withdrawn if is_known else None
    return found
