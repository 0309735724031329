"""Files that were sent for a job, in the raster store: GeoTIFFs to predict, and inventories of outlines for GLIMS."""

from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from catalog import jobs
from catalog.data_set_records import DataSet
from catalog.records import Job, JobKind
from imagery.store import RasterStore
from services import raster_keys

UNNAMED_S: Final = 86_400.0
"""Time in seconds after which a file that no job names was left by a request that was killed."""

_READERS: Final = (JobKind.PREDICT_AREA, JobKind.EXPORT_SUBMISSION)


def is_awaited(session: Session, key: str) -> bool:
    """Return whether an open job is going to read a file that was sent."""
    waiting = select(Job.subject).where(Job.kind.in_(_READERS), Job.state.in_(jobs.OPEN))
    return PurePosixPath(key).stem in {subject["uid"] for subject in session.scalars(waiting)}


def abandoned_uploads(session: Session, store: RasterStore, keys: Iterable[str]) -> list[str]:
    """Return those of some keys that are files that were sent and are not needed any more.

    A GeoTIFF is needed while its job is open, an inventory until its outlines are made or removed: who retries their
    job would have to state all again.
    """
    sent = {PurePosixPath(key).stem: key for key in keys if raster_keys.is_upload(key)}
    if not sent:
        return []
    asked = select(Job.subject, Job.state).where(Job.kind.in_(_READERS))
    named, needed = set(), set(session.scalars(select(DataSet.uid).where(DataSet.contents.is_(None))))
    for subject, state in session.execute(asked):
        named.add(subject["uid"])
        if state in jobs.OPEN:
            needed.add(subject["uid"])
    return sorted(
        key for uid, key in sent.items() if uid not in needed and (uid in named or store.is_older(key, UNNAMED_S))
    )
