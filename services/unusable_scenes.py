"""Scenes whose files are missing, damaged or replaced: set aside while they are, and taken back when they are whole.

Files are looked at before anything is written: a host that hangs takes minutes, in which nobody else could write.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from catalog import jobs, labels, set_aside, training
from catalog.context import Catalog
from catalog.records import EventState, JobKind, LabelEvent, Patch, Proposal, Scene, SceneRole, SceneState, now
from catalog.set_aside import NEVER_OPENED, Kind, SetAside
from imagery.errors import OutlineError, SceneError, UnreadableFileError
from imagery.grid import tile
from imagery.lacking import was_lacking
from imagery.paths import is_address, name_for_rasterio
from imagery.scene_reader import SceneReader
from imagery.scene_source import SceneSource
from services import corrections
from services.scenes import outlines_of, priors_of, source_of

log = logging.getLogger(__name__)

_HOUR: Final = timedelta(hours=1)
_GONE: Final = "the scene was removed or replaced"
_READABLE: Final = "its files are readable again"


def set_aside_scenes(catalog: Catalog, error: UnreadableFileError) -> list[str]:
    """Set aside the ready scenes that a file belongs to; return the names of those that were not yet.

    Args:
        catalog: the catalog.
        error: which file, as the scene or GDAL names it, what was found, and what was expected.

    Raises:
        UnreadableFileError: the same, if it says nothing about the file (`imagery.lacking.was_lacking`).
    """
    if was_lacking(error):
        raise error
    with catalog.read() as session:
        ready = session.scalars(select(Scene).where(Scene.state == SceneState.READY).order_by(Scene.id)).all()
    concerned = [scene for scene in ready if error.path in _names(source_of(scene))]
    return [
        scene.name
        for scene in concerned
        if set_aside_scene(catalog, scene, str(error), opens=why_unusable(scene) is None)
    ]


def not_set_aside(catalog: Catalog, scenes: Iterable[Scene]) -> list[Scene]:
    """Return the scenes that are not set aside.

    To open a scene does not tell that: one whose pixels could not be read opens, and would be read in vain again.
    """
    with catalog.read() as session:
        aside = set(session.scalars(set_aside.numbers(Kind.SCENE)))
    return [scene for scene in scenes if scene.id not in aside]


def check_scenes(catalog: Catalog, scenes: Iterable[Scene]) -> list[Scene]:
    """Open the files of scenes; set aside those that cannot be opened, and return the others.

    Scenes that are set aside already are opened, too: whoever must not read them gives only `not_set_aside`.

    Raises:
        SceneError, OutlineError: As `why_unusable`.
    """
    usable = []
    for scene in scenes:
        reason = why_unusable(scene)
        if reason is None:
            usable.append(scene)
        else:
            set_aside_scene(catalog, scene, reason, opens=False)
    return usable


def why_unusable(scene: Scene) -> str | None:
    """Return why the files of a scene cannot be opened; None if they can.

    Raises:
        SceneError, OutlineError: Memory or file handles were lacking, which says nothing about the files.
    """
    try:
        with SceneReader(source_of(scene)):
            return None
    except (SceneError, OutlineError) as error:
        if was_lacking(error):
            raise
        return str(error)


def take_back(catalog: Catalog) -> list[str]:
    """Take back the scenes that can be used again; return their names.

    A scene that could not be opened is taken back as soon as it can be. One that opens, but whose pixels or outlines
    could not be read, is taken back when its files have changed; or when all its pixels can be read, which a job tries
    each hour (`read_again`): a disk on the network may have failed for a while.

    Scenes of the pool join the scoring again, and label events that failed without the scene are ingested again.

    Raises:
        SceneError, OutlineError: As `why_unusable`.
    """
    with catalog.read() as session:
        rows = set_aside.standing(session, Kind.SCENE)
        scenes = {row.id: session.get(Scene, row.number) for row in rows}
    back = []
    for row in rows:
        scene = scenes[row.id]
        if scene is None or scene.state is not SceneState.READY:
            _end(catalog, row, _GONE)
            continue
        opens = why_unusable(scene) is None
        if opens and row.seen != look_at(scene):
            if _end(catalog, row, _READABLE, scene):
                back.append(scene.name)
            continue
        with catalog.write() as session:
            if opens and _hour_is_over(row):
                jobs.enqueue(session, JobKind.READ_SCENE, str(scene.id), scene_id=scene.id)
            session.get_one(SetAside, row.id).checked_at = now()
    return back


def read_again(catalog: Catalog, scene_id: int, report: Callable[[int, int, str], object]) -> bool:
    """Read all pixels of a scene that is set aside; take it back if that succeeds, and return whether it was.

    Args:
        catalog: the catalog.
        scene_id: the scene.
        report: told what is done, of how many, and what it is.

    Raises:
        SceneError, OutlineError: As `why_unusable`.
    """
    with catalog.read() as session:
        scene = session.get(Scene, scene_id)
        standing = [row for row in set_aside.standing(session, Kind.SCENE) if row.number == scene_id]
    if not standing:
        return False
    (row,) = standing
    if scene is None or scene.state is not SceneState.READY:
        _end(catalog, row, _GONE)
        return False
    if not _is_whole(scene, lambda done, of: report(done, of, f"reading scene {scene.name}")):
        return False
    if not _end(catalog, row, _READABLE, scene):
        return False
    with catalog.write() as session:
        training.enqueue_if_due(session, catalog.settings)
    return True


def _end(catalog: Catalog, before: SetAside, outcome: str, back: Scene | None = None) -> bool:
    """End what was set aside, unless it was set aside anew since it was read; return whether it was ended.

    Args:
        catalog: the catalog.
        before: the row as it was read.
        outcome: why it ends.
        back: the scene, if it can be used again.
    """
    with catalog.write() as session:
        row = session.get_one(SetAside, before.id, with_for_update=True)
        if row.ended_at is not None or row.seen != before.seen:
            return False
        set_aside.end(row, outcome)
        if back is not None:
            if back.role is SceneRole.POOL:
                jobs.enqueue(session, JobKind.SCORE_POOL)
            for event_id in _failed_events(session, back):
                labels.replay(session, event_id)
    return True


def look_at(scene: Scene) -> str:
    """Return a digest of how a scene is described and of the size and time of its local files, outlines included.

    A file behind an address is looked at by opening it, as its state cannot be asked for.

    Raises:
        SceneError, OutlineError: As `why_unusable`.
    """
    source = source_of(scene)
    found: list[object] = [scene.source, scene.outlines, scene.prior_outlines]
    prior = priors_of(scene)
    outlines = [layer.path for layer in (*outlines_of(scene), *(prior.layers if prior else ()))]
    for path in [*_paths(source), *outlines]:
        if is_address(path):
            found.append(_opens(source))
        else:
            try:
                state = os.stat(path)  # noqa: PTH116
                found.append((path, state.st_size, state.st_mtime_ns, state.st_ino))
            except OSError:
                found.append((path, None))
    return hashlib.sha256(json.dumps(found, default=str).encode()).hexdigest()


def set_aside_scene(catalog: Catalog, scene: Scene, reason: str, *, opens: bool) -> bool:
    """Set a scene aside, see `take_back`; return whether it was not aside yet.

    Args:
        catalog: the catalog.
        scene: the scene.
        reason: what was found, and what was expected.
        opens: whether its files can be opened all the same.
    """
    seen = look_at(scene) if opens else NEVER_OPENED
    with catalog.write() as session:
        return set_aside.set_aside(session, Kind.SCENE, scene.name, reason, scene.id, seen)


def _hour_is_over(row: SetAside) -> bool:
    """Return whether another hour has gone by since a scene was set aside, since it was last looked at."""
    return (now() - row.since) // _HOUR > (row.checked_at - row.since) // _HOUR


def _is_whole(scene: Scene, report: Callable[[int, int], object]) -> bool:
    """Return whether all pixels of a scene can be read, which takes about as long as making patches of it.

    Args:
        scene: the scene.
        report: told how many windows are read, and of how many.

    Raises:
        SceneError, OutlineError: As `why_unusable`.
    """
    source = source_of(scene)
    windows = tile(source.grid.width, source.grid.height, scene.patch_size_px)
    try:
        with SceneReader(source) as reader:
            for done, window in enumerate(windows):
                report(done, len(windows))
                reader.read(source.channel_names, window)
    except (SceneError, OutlineError) as error:
        if was_lacking(error):
            raise
        log.info("scene %s stays set aside: %s", scene.name, error)
        return False
    return True


def _opens(source: SceneSource) -> bool:
    try:
        with SceneReader(source):
            return True
    except (SceneError, OutlineError) as error:
        if was_lacking(error):
            raise
        return False


def _paths(source: SceneSource) -> Sequence[str]:
    border = [source.border.path] if source.border else []
    return list(dict.fromkeys([*(raster.path for raster in source.rasters), *border]))


def _names(source: SceneSource) -> set[str]:
    """Return what the files of a scene may be called: as registered, and as they are given to GDAL."""
    paths = _paths(source)
    return {*paths, *map(name_for_rasterio, paths)}


def _failed_events(session: Session, scene: Scene) -> list[int]:
    """Return the ids of the failed label events of a scene, in their order: of its tasks, and of corrections."""
    of_tasks = (
        select(LabelEvent.id)
        .join(Proposal, LabelEvent.proposal_id == Proposal.id)
        .join(Patch, Proposal.patch_id == Patch.id)
        .where(Patch.scene_id == scene.id, LabelEvent.state == EventState.FAILED)
    )
    return sorted({*session.scalars(of_tasks), *corrections.unapplied(session, scene.id, EventState.FAILED)})
