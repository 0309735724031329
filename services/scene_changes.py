"""Changes between two scenes that people ask for over HTTP. Each is a job of its own; its files are found by its id.

The id is a hash of all that is compared: who asks for the same again gets the files that there are. They are removed
when nobody has used them for a while (`services.unused_predictions`), and made again under the same id.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import exists, select
from sqlalchemy.orm import Session, aliased

from catalog import jobs
from catalog.context import Catalog
from catalog.errors import ConflictError, InvalidInputError, NotFoundError
from catalog.paging import Cut
from catalog.records import Job, JobKind, JobState, Scene
from imagery.change import common_grid
from imagery.store import RasterStore
from services import raster_keys
from services.change import check_order
from services.change_maps import Subject, newest_scoring
from services.delivery import delivery_options, fingerprint
from services.places import raster_store
from services.predictions import check_ready, check_room
from services.scenes import day_of, priors_of, source_of
from services.stored_files import mask_keys
from services.unused_predictions import note_use

_FORMAT: Final = 1
"""Increase it whenever the code finds another change in the same input."""


@dataclass(frozen=True)
class SceneChange:
    """A change that was asked for.

    Attributes:
        uid: Its id.
        earlier: The earlier scene, as it is now.
        later: The later one, which may be the same.
        subject: What is compared.
        version: Number of the model version whose maps are compared; None for outlines.
        job: The job that makes it.
    """

    uid: str
    earlier: Scene
    later: Scene
    subject: Subject
    version: int | None
    job: Job

    @property
    def keys(self) -> Mapping[str, str]:
        """The keys of its files by suffix."""
        return change_keys(self.uid)


def change_keys(uid: str) -> Mapping[str, str]:
    """Return the keys of the files of a change by suffix, in the order in which they are written."""
    return {suffix: raster_keys.scene_change(uid, suffix) for suffix in raster_keys.CHANGE_SUFFIXES}


def is_made(store: RasterStore, uid: str) -> bool:
    """Return whether the files of a change are stored; there are no polygons if nothing changed."""
    # The checksum of a file that was found damaged is left.
    return all(
        store.exists(key) or (suffix == "gpkg" and store.checksum(key) is None)
        for suffix, key in change_keys(uid).items()
    )


def change_id(
    catalog: Catalog, earlier: Scene, later: Scene, subject: Subject, version: int | None, scoring: int | None
) -> str:
    """Return the id of a change (32 hexadecimal digits): a hash of all that it is found from, as it is now.

    Args:
        catalog: The catalog.
        earlier: The earlier scene.
        later: The later one.
        subject: What to compare.
        version: Number of the version whose maps are compared; None for outlines.
        scoring: Id of the scoring that prior outlines are compared with; None for other subjects.
    """
    store, options = raster_store(catalog), delivery_options(catalog.settings)
    shaped_by: list[object] = [_FORMAT, subject.value, version, scoring]
    for scene in (earlier, later):
        masks = [store.checksum(key) for key in mask_keys(scene)]
        shaped_by.append([scene.id, scene.name, scene.prior_outlines, masks, fingerprint(scene, options)])
    return hashlib.sha256(json.dumps(shaped_by, sort_keys=True).encode()).hexdigest()[:32]


def ask(catalog: Catalog, earlier: Scene, later: Scene, subject: Subject, version: int | None) -> SceneChange:
    """Return the comparison of two scenes; enqueue it unless it is under way, or made and not removed.

    The scenes are predicted first where they are not.

    Args:
        catalog: The catalog.
        earlier: The earlier scene.
        later: The later one; the same, if prior outlines are compared with what is there.
        subject: What to compare.
        version: Number of the version whose maps are compared; None for outlines.

    Raises:
        ConflictError: A scene is not ready, or lacks the outlines; or no version has scored the pool yet (priors).
        InvalidInputError: Both are the same scene.
        SceneError: They share no ground, or the second is the earlier one.
        QueueFullError: As many files as may at once are being made.
    """
    for scene in (earlier, later):
        check_ready(scene)
        if subject is Subject.OUTLINES and not scene.outlines:
            raise ConflictError(f"scene {scene.name!r} has no outlines; compare predictions")
    if subject is Subject.PRIORS and priors_of(earlier) is None:
        raise ConflictError(f"scene {earlier.name!r} has no prior outlines; compare predictions")
    if subject is not Subject.PRIORS:
        if earlier.id == later.id:
            raise InvalidInputError(f"found scene {earlier.name!r} twice; expected two scenes of one ground")
        check_order(earlier.name, day_of(earlier), later.name, day_of(later))
    common_grid(source_of(earlier).grid, source_of(later).grid)
    scoring = newest_scoring(catalog) if subject is Subject.PRIORS else None
    uid = change_id(catalog, earlier, later, subject, version, scoring)
    is_there = is_made(raster_store(catalog), uid)  # the store may be far: not while the database is written
    with catalog.write() as session:
        job = jobs.last_of(session, JobKind.COMPARE_SCENES, uid)
        if job is None or not (job.state in jobs.OPEN or (job.state is JobState.FINISHED and is_there)):
            check_room(session, catalog.settings.predictions_at_once)
            job = jobs.enqueue(
                session,
                JobKind.COMPARE_SCENES,
                uid,
                uid=uid,
                earlier=earlier.id,
                later=later.id,
                subject=subject.value,
                version=version,
                scoring=scoring,
            )
    if job.state is JobState.FINISHED:
        note_use(catalog, change_keys(uid)["json"])
    return SceneChange(uid, earlier, later, subject, version, job)


def find(session: Session, uid: str) -> SceneChange:
    """Return a change that was asked for.

    Raises:
        NotFoundError: There is none with this id, or a scene of it is gone.
    """
    job = jobs.last_of(session, JobKind.COMPARE_SCENES, uid)
    found = [] if job is None else of_jobs(session, [job])
    if not found:
        raise NotFoundError(f"there is no change {uid!r}; it may have been removed")
    return found[0]


def listed_jobs(session: Session, cut: Cut) -> Sequence[Job]:
    """Return a page of the jobs of changes, newest first; of a change that was made again only the newest.

    Raises:
        NotFoundError: There is no job with the id at which the page is cut.
    """
    newer = aliased(Job)
    was_made_again = exists().where(newer.key == Job.key, newer.created_at > Job.created_at)
    return jobs.page(session, select(Job).where(Job.kind == JobKind.COMPARE_SCENES, ~was_made_again), cut)


def of_jobs(session: Session, found: Sequence[Job]) -> list[SceneChange]:
    """Return the changes that jobs make, without those of scenes that are gone."""
    wanted = {job.subject[which] for job in found for which in ("earlier", "later")}
    scenes = {scene.id: scene for scene in session.scalars(select(Scene).where(Scene.id.in_(wanted)))}
    changes = []
    for job in found:
        asked = job.subject
        earlier, later = scenes.get(asked["earlier"]), scenes.get(asked["later"])
        if earlier is not None and later is not None:
            changes.append(SceneChange(asked["uid"], earlier, later, Subject(asked["subject"]), asked["version"], job))
    return changes
