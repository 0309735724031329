"""Scenes whose files are missing, damaged or replaced: set aside while they are, and taken back when they are whole."""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from catalog import jobs, labels, set_aside
from catalog.context import Catalog
from catalog.records import EventState, JobKind, LabelEvent, Patch, Proposal, Scene, SceneRole, SceneState, now
from catalog.set_aside import Kind
from imagery.errors import OutlineError, SceneError
from imagery.paths import is_address, name_for_rasterio
from imagery.scene_reader import SceneReader
from imagery.scene_source import SceneSource
from services.scenes import outlines_of, priors_of, source_of


def set_aside_scenes(session: Session, path: str, reason: str) -> list[str]:
    """Set aside the ready scenes that a file belongs to; return the names of those that were not yet.

    Args:
        session: a writing session.
        path: the file that cannot be read, as the scene or GDAL names it.
        reason: what was found, and what was expected.
    """
    ready = session.scalars(select(Scene).where(Scene.state == SceneState.READY).order_by(Scene.id))
    concerned = [scene for scene in ready if path in _names(source_of(scene))]
    return [scene.name for scene in concerned if set_aside_scene(session, scene, reason)]


def check_scenes(catalog: Catalog, scenes: Iterable[Scene]) -> list[Scene]:
    """Open the files of scenes; set aside those that cannot be opened, and return the others."""
    usable = []
    for scene in scenes:
        reason = why_unusable(scene)
        if reason is None:
            usable.append(scene)
        else:
            with catalog.write() as session:
                set_aside_scene(session, scene, reason)
    return usable


def why_unusable(scene: Scene) -> str | None:
    """Return why the files of a scene cannot be opened; None if they can."""
    try:
        with SceneReader(source_of(scene)):
            return None
    except (SceneError, OutlineError) as error:
        return str(error)


def take_back(session: Session) -> list[str]:
    """Take back the scenes whose files have changed since they were set aside and can be opened; return their names.

    Scenes of the pool join the scoring again, and label events that failed without the scene are ingested again.
    """
    back = []
    for row in set_aside.standing(session, Kind.SCENE):
        scene = session.get(Scene, row.number)
        if scene is None or scene.state is not SceneState.READY:
            set_aside.end(row, "the scene was removed or replaced")
        elif row.seen != look_at(scene) and why_unusable(scene) is None:
            set_aside.end(row, "its files are readable again")
            back.append(scene.name)
            if scene.role is SceneRole.POOL:
                jobs.enqueue(session, JobKind.SCORE_POOL)
            for event_id in _failed_events(session, scene):
                labels.replay(session, event_id)
        else:
            row.checked_at = now()
    return back


def look_at(scene: Scene) -> str:
    """Return a digest of how a scene is described and of the size and time of its local files, outlines included.

    A file behind an address is looked at by opening it, as its state cannot be asked for.
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


def set_aside_scene(session: Session, scene: Scene, reason: str) -> bool:
    """Set a scene aside until its files, or its description, change; return whether it was not aside yet."""
    return set_aside.set_aside(session, Kind.SCENE, scene.name, reason, scene.id, look_at(scene))


def _opens(source: SceneSource) -> bool:
    try:
        with SceneReader(source):
            return True
    except (SceneError, OutlineError):
        return False


def _paths(source: SceneSource) -> Sequence[str]:
    border = [source.border.path] if source.border else []
    return list(dict.fromkeys([*(raster.path for raster in source.rasters), *border]))


def _names(source: SceneSource) -> set[str]:
    """Return what the files of a scene may be called: as registered, and as they are given to GDAL."""
    paths = _paths(source)
    return {*paths, *map(name_for_rasterio, paths)}


def _failed_events(session: Session, scene: Scene) -> Sequence[int]:
    statement = (
        select(LabelEvent.id)
        .join(Proposal, LabelEvent.proposal_id == Proposal.id)
        .join(Patch, Proposal.patch_id == Patch.id)
        .where(Patch.scene_id == scene.id, LabelEvent.state == EventState.FAILED)
    )
    return session.scalars(statement.order_by(LabelEvent.id)).all()
