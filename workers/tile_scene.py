"""Job: cut a scene into patches, rasterise its outlines, and compute the contrast stretch of its composites."""

from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from catalog import jobs
from catalog.records import JobKind, Patch, PatchState, Scene, SceneRole, SceneState, Scoring
from imagery.composites import composites_for
from imagery.errors import OutlineError, SceneError, UnreadableFileError, UnreadableOutlinesError
from imagery.grid import tile
from imagery.lacking import was_lacking
from imagery.map_views import map_views
from imagery.masks import mask_to_geotiff
from imagery.statistics import known_stretches, percentile_stretch
from imagery.store import RasterStore
from imagery.valid_pixels import check_has_data
from services import mask_comparisons, raster_keys
from services.class_scheme import class_scheme
from services.places import raster_store
from services.scenes import source_of
from workers.jobs import JobContext
from workers.scene_masks import draw_masks


class FilesAwayError(Exception):
    """Files of a scene cannot be opened or read. The job is tried again: a disk on the network may come back."""


def tile_scene(context: JobContext, scene_id: int) -> None:
    """Tile a registered scene and mark it as ready, or reject it and store the reason.

    It stays registered where memory or file handles were lacking.

    Raises:
        FilesAwayError: its files cannot be read, and another attempt follows.
        SceneError: its pixels cannot be read or used (all nodata, smaller than a patch, ...).
        OutlineError: its outlines cannot be read or used.
    """
    with context.catalog.read() as session:
        scene = session.get_one(Scene, scene_id)
    if scene.state is not SceneState.REGISTERED:
        return
    try:
        _make_ready(context, scene)
    except (SceneError, OutlineError) as error:
        if was_lacking(error):
            raise
        if isinstance(error, UnreadableFileError | UnreadableOutlinesError) and not context.is_last_attempt:
            raise FilesAwayError(str(error)) from error
        with context.catalog.write() as session:
            rejected = _lock(session, scene_id)
            if rejected.state is SceneState.REGISTERED:
                rejected.state, rejected.error = SceneState.REJECTED, str(error)
        raise


def _make_ready(context: JobContext, scene: Scene) -> None:
    source = source_of(scene)
    check_has_data(source)
    windows = tile(source.grid.width, source.grid.height, scene.patch_size_px, scene.patch_overlap_px)
    store, scheme = raster_store(context.catalog), class_scheme(context.catalog)
    if scene.revision:
        _forget_maps(context, store, scene)

    def report(done: int) -> None:
        context.progress(done, len(windows), "looking for valid pixels")

    masks, shares = draw_masks(scene, scheme, windows, report)
    for key, mask in masks.items():
        if mask is not None:
            store.put(key, mask_to_geotiff(mask, source.grid, scheme))
        elif store.exists(key):  # of outlines that a replaced scene had
            store.delete(key)
    needed = sorted({channel for triplet in composites_for(source.band_names).values() for channel in triplet})
    shown = sorted({channel for view in map_views(source).values() for channel in view.stretched})
    stretch = dict(zip(needed, percentile_stretch(source, needed), strict=True))
    stretch |= known_stretches(source, [channel for channel in shown if channel not in stretch])
    patches = [
        {
            "scene_id": scene.id,
            "row_off": window.row_off,
            "col_off": window.col_off,
            "size_px": window.height,
            "valid_share": share,
            "state": PatchState.UNLABELLED,
        }
        for window, share in zip(windows, shares, strict=True)
    ]
    with context.catalog.write() as session:
        # Atomic: after a crash, a retry finds either a ready scene or no patches.
        ready = _lock(session, scene.id)
        if ready.state is not SceneState.REGISTERED:
            return
        _store_patches(session, scene.id, patches)
        mask_comparisons.forget_truth(session, scene.id)
        ready.state, ready.stretch, ready.error = SceneState.READY, stretch, None
        ready.patch_count = len(patches)
        if scene.role is SceneRole.POOL:
            jobs.enqueue(session, JobKind.SCORE_POOL)


def _forget_maps(context: JobContext, store: RasterStore, scene: Scene) -> None:
    """Delete what was mapped of a scene before it was replaced: nobody is to correct a map of other pixels."""
    with context.catalog.read() as session:
        scorings = session.scalars(select(Scoring.id)).all()
    for scoring_id in scorings:
        store.delete_folder(raster_keys.scored_scene(scoring_id, scene.id))


def _store_patches(session: Session, scene_id: int, patches: list[dict[str, Any]]) -> None:
    """Add the patches of a scene; those of a replaced scene with the same windows, whose labels were kept, stay."""
    existing = {
        (patch.row_off, patch.col_off, patch.size_px): patch
        for patch in session.scalars(select(Patch).where(Patch.scene_id == scene_id))
    }
    if not existing:
        session.execute(insert(Patch), patches)
        return
    for patch in patches:
        existing[patch["row_off"], patch["col_off"], patch["size_px"]].valid_share = patch["valid_share"]


def _lock(session: Session, scene_id: int) -> Scene:
    """Lock a scene and load it afresh: it may have been removed, or tiled by another attempt, since it was read."""
    return session.get_one(Scene, scene_id, with_for_update=True, populate_existing=True)
