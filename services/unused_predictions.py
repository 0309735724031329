"""Remove stored predictions that nobody has used for a time; whoever asks for one later has it computed again.

The predictions by the champion, the learner and the newest version stay, and so do those that a job works on. GLIMS
packages and changes between scenes are removed likewise, by whichever version.
"""

import logging
import re
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta
from threading import Lock
from typing import Final

from cachetools import TTLCache
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from catalog import prediction_uses, registry_copy
from catalog.context import Catalog
from catalog.jobs import OPEN
from catalog.records import Job, JobKind, now
from imagery.errors import StoreError
from services.places import raster_store
from services.raster_keys import GLIMS, prediction_of

log = logging.getLogger(__name__)

_NOTED_EVERY_S: Final = 3600.0
_PARTS: Final = re.compile(r"predictions/scene-(?P<scene>\d+)/version-(?P<version>\d+)-[0-9a-f]+")
_AREA: Final = re.compile(r"predictions/area-[0-9a-f]{32}/version-\d+")
_CHANGE: Final = re.compile(r"predictions/change-[0-9a-f]{32}/change")
_PACKAGE: Final = re.compile(rf"{_PARTS.pattern}-{GLIMS}-[0-9a-f]+")
# Map tiles come by the dozen: of predictions in here, the use was noted within the hour.
_noted: TTLCache[tuple[str, str], bool] = TTLCache(10_000, _NOTED_EVERY_S)
_lock = Lock()


def note_use(catalog: Catalog, key: str) -> None:
    """Note that a file of the store is used, if it belongs to a prediction; at most once an hour for each.

    A database that cannot be written keeps nobody from reading.
    """
    prediction = prediction_of(key)
    if prediction is None:
        return
    place = (catalog.settings.database_url, prediction)
    with _lock:
        if place in _noted:
            return
    try:
        with catalog.database.write() as session:
            prediction_uses.note(session, prediction)
    except SQLAlchemyError:
        log.exception("the use of %s was not noted", prediction)
        return
    with _lock:
        _noted[place] = True


def remove_unused(catalog: Catalog, present: Iterable[str]) -> list[str]:
    """Delete the predictions that nobody has used for `prediction_keep_days`.

    A prediction of which no use is known, as of an earlier release, counts as used now.

    Args:
        catalog: The catalog.
        present: The keys of all stored files.

    Returns:
        The predictions whose files were deleted.
    """
    if not catalog.settings.prediction_keep_days:
        return []
    files: dict[str, list[str]] = defaultdict(list)
    for key in present:
        prediction = prediction_of(key)
        if prediction is not None:
            files[prediction].append(key)
    since, store = now() - timedelta(days=catalog.settings.prediction_keep_days), raster_store(catalog)
    with catalog.write() as session:
        known = prediction_uses.known(session)
        for prediction in files.keys() - known:
            prediction_uses.note(session, prediction)
        for prediction in known - files.keys():  # of a scene that was removed, for instance
            prediction_uses.forget_if_unused(session, prediction, since)
    removed = []
    for prediction, keys in sorted(files.items()):
        if not _may_go(catalog, prediction):
            continue
        with catalog.write() as session:
            is_unused = prediction_uses.forget_if_unused(session, prediction, since)
        if is_unused:
            # The class map first: without it, whoever looks for the others has them all computed again.
            for key in sorted(keys, key=lambda key: (key != f"{prediction}.tif", key)):
                with suppress(StoreError):
                    store.delete(key)
            removed.append(prediction)
    return removed


def _may_go(catalog: Catalog, prediction: str) -> bool:
    """Return whether a prediction is neither by a version that is in use, nor being made.

    A GLIMS package may always go: whoever asks for it again has it written in seconds, and there is one for each view.
    So may an area, and a change: their files are written together, days before anybody looks for unused ones.
    """
    if any(pattern.fullmatch(prediction) for pattern in (_PACKAGE, _AREA, _CHANGE)):
        return True
    parts = _PARTS.fullmatch(prediction)
    if parts is None:
        return False
    scene_id, version = int(parts["scene"]), int(parts["version"])
    with catalog.read() as session:
        in_use = {*registry_copy.aliases_of(session).values(), registry_copy.newest(session)}
        making = session.scalars(select(Job).where(Job.kind == JobKind.PREDICT_SCENE, Job.state.in_(OPEN))).all()
    is_made = any(job.subject.get("scene_id") == scene_id and job.subject.get("version") == version for job in making)
    return version not in in_use and not is_made
