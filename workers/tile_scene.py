"""Job: cut a scene into patches, rasterise its outlines, and compute the contrast stretch of its composites."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from catalog import jobs
from catalog.records import JobKind, Patch, PatchState, Scene, SceneRole, SceneState
from imagery.classes import BACKGROUND, UNKNOWN, ClassScheme
from imagery.composites import composites_for
from imagery.edge_ring import without_edges
from imagery.errors import OutlineError, SceneError
from imagery.grid import Window, tile
from imagery.ground_metric import GroundMetric
from imagery.masks import OutlineLayer, burn_outlines, mask_to_geotiff, read_outlines
from imagery.scene_reader import SceneReader
from imagery.scene_source import SceneSource
from imagery.statistics import percentile_stretch
from imagery.valid_pixels import check_has_data
from imagery.vector_geometry import describe_left_out, describe_repairs
from services import raster_keys
from services.class_scheme import class_scheme
from services.places import raster_store
from services.prior_outlines import PriorOutlines, told_apart
from services.scenes import outlines_of, priors_of, source_of
from workers.jobs import JobContext

log = logging.getLogger(__name__)


def tile_scene(context: JobContext, scene_id: int) -> None:
    """Tile a registered scene and mark it as ready, or reject it and store the reason.

    Raises:
        SceneError: its pixels cannot be used (all nodata, smaller than a patch, ...).
        OutlineError: its outlines cannot be used.
    """
    with context.catalog.read() as session:
        scene = session.get_one(Scene, scene_id)
    if scene.state is not SceneState.REGISTERED:
        return
    try:
        _make_ready(context, scene)
    except (SceneError, OutlineError) as error:
        with context.catalog.write() as session:
            rejected = _lock(session, scene_id)
            if rejected.state is SceneState.REGISTERED:
                rejected.state, rejected.error = SceneState.REJECTED, str(error)
        raise


def _make_ready(context: JobContext, scene: Scene) -> None:
    source = source_of(scene)
    check_has_data(source)
    windows = tile(source.grid.width, source.grid.height, scene.patch_size_px, scene.patch_overlap_px)
    store, scheme, prior = raster_store(context.catalog), class_scheme(context.catalog), priors_of(scene)
    masks = {
        raster_keys.truth(scene.id): _burn(scene, outlines_of(scene), scheme),
        raster_keys.prior(scene.id): None if prior is None else _weak_mask(scene, prior, scheme),
    }
    shares = _valid_shares(context, source, windows, [mask for mask in masks.values() if mask is not None])
    for key, mask in masks.items():
        if mask is not None:
            store.put(key, mask_to_geotiff(mask, source.grid, scheme))
        elif store.exists(key):  # of outlines that a replaced scene had
            store.delete(key)
    shown = sorted({channel for triplet in composites_for(source.band_names).values() for channel in triplet})
    stretch = dict(zip(shown, percentile_stretch(source, shown), strict=True))
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
        ready.state, ready.stretch, ready.error = SceneState.READY, stretch, None
        ready.patch_count = len(patches)
        if scene.role is SceneRole.POOL:
            jobs.enqueue(session, JobKind.SCORE_POOL)


def _burn(scene: Scene, outlines: Sequence[OutlineLayer], scheme: ClassScheme) -> NDArray[np.uint8] | None:
    """Burn outlines to the scene's grid, and log what was repaired or left out; None without outlines."""
    if not outlines:
        return None
    grid = source_of(scene).grid
    layers = read_outlines(outlines, grid, scheme)
    for item, (_, layer) in zip(outlines, layers, strict=True):
        if layer.repairs:
            log.warning("scene %s: %s: %s", scene.name, item.path, describe_repairs(layer.repairs))
        if layer.left_out:
            log.warning("scene %s: %s: %s", scene.name, item.path, describe_left_out(layer.left_out))
    return burn_outlines(layers, grid)


def _weak_mask(scene: Scene, prior: PriorOutlines, scheme: ClassScheme) -> NDArray[np.uint8]:
    """Burn prior outlines: a ring along their edges is unknown, and what lies outside if they do not tell it."""
    grid = source_of(scene).grid
    mask = _burn(scene, prior.layers, scheme)
    if mask is None:
        raise OutlineError(f"scene {scene.name!r} has prior outlines without a layer")
    e, _, g = GroundMetric(grid).at(Window(grid.height // 2, grid.width // 2, 1, 1))[:, 0, 0]
    # Rounded, since a projection makes a pixel of 30 m 30.01 m long, and 15 m would be less than half of it.
    ringed = without_edges(mask, round(prior.ring_m / float((e * g) ** 0.25), 1))
    if not told_apart({layer.class_name for layer in prior.layers}, scheme).background:
        ringed[ringed == BACKGROUND] = UNKNOWN
    return ringed


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


def _valid_shares(
    context: JobContext, source: SceneSource, windows: list[Window], masks: Sequence[NDArray[np.uint8]]
) -> list[float]:
    """Return the share of valid pixels of each window, and mark the others in masks of outlines as unknown.

    What lies under cloud or outside the border is not background, although no outline covers it.

    Args:
        context: the job.
        source: the scene.
        windows: windows that cover the scene.
        masks: each (H, W), changed in place.
    """
    shares = []
    with SceneReader(source) as reader:
        for done, window in enumerate(windows):
            if done % 50 == 0:
                context.progress(done, len(windows), "looking for valid pixels")
            valid = reader.valid_mask(window)
            shares.append(float(valid.mean()))
            for mask in masks:
                mask[window.slices][~valid] = UNKNOWN
    return shares
