"""The masks that are burned from the outlines of a scene: the truth, and the weak mask of prior outlines."""

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from catalog.context import Catalog
from catalog.records import Scene
from imagery.classes import BACKGROUND, UNKNOWN, ClassScheme
from imagery.edge_ring import without_edges
from imagery.errors import OutlineError, SceneError
from imagery.grid import Window, tile
from imagery.ground_metric import GroundMetric
from imagery.lacking import was_lacking
from imagery.masks import OutlineLayer, burn_outlines, mask_to_geotiff, read_outlines
from imagery.scene_reader import SceneReader
from imagery.scene_source import SceneSource
from imagery.vector_geometry import describe_left_out, describe_repairs
from services import raster_keys
from services.class_scheme import class_scheme
from services.places import raster_store
from services.prior_outlines import PriorOutlines, told_apart
from services.scenes import outlines_of, priors_of, source_of
from services.stored_files import mask_keys
from services.unusable_scenes import check_scenes, set_aside_scene

log = logging.getLogger(__name__)


def draw_masks(
    scene: Scene, scheme: ClassScheme, windows: Sequence[Window], report: Callable[[int], None] = lambda done: None
) -> tuple[Mapping[str, NDArray[np.uint8] | None], list[float]]:
    """Burn the outlines of a scene; what has no data is unknown in them.

    Args:
        scene: the scene.
        scheme: the classes.
        windows: windows that cover the scene.
        report: told now and then how many windows are done.

    Returns:
        Mask (H, W) by its key in the store, None without outlines; share of valid pixels of each window.

    Raises:
        SceneError: the scene cannot be read.
        OutlineError: outlines cannot be used.
    """
    prior = priors_of(scene)
    masks = {
        raster_keys.truth(scene.id): _burn(scene, outlines_of(scene), scheme),
        raster_keys.prior(scene.id): None if prior is None else _weak_mask(scene, prior, scheme),
    }
    drawn = [mask for mask in masks.values() if mask is not None]
    return masks, _valid_shares(source_of(scene), windows, drawn, report)


def make_whole(catalog: Catalog, scene: Scene) -> None:
    """Burn the outlines of a scene again if one of its masks is damaged or missing.

    Raises:
        UnreadableFileError: the scene cannot be read.
        OutlineError: its outlines cannot be read, or are not those that it was registered with.
    """
    store, scheme = raster_store(catalog), class_scheme(catalog)
    lacking = [key for key in mask_keys(scene) if not store.exists(key)]
    if not lacking:
        return
    log.warning("scene %s: %s is burned from its outlines again", scene.name, " and ".join(lacking))
    grid = source_of(scene).grid
    masks, _ = draw_masks(scene, scheme, tile(grid.width, grid.height, scene.patch_size_px, scene.patch_overlap_px))
    for key in lacking:
        mask = masks[key]
        if mask is None:
            raise OutlineError(f"scene {scene.name!r} has no outlines for {key}")
        data, expected = mask_to_geotiff(mask, grid, scheme), store.checksum(key)
        found = hashlib.sha256(data).hexdigest()
        if expected not in {None, found}:
            raise OutlineError(
                f"the outlines of scene {scene.name!r} give another mask than at its registration (SHA-256 {found}, "
                f"expected {expected}), and {key} was lost: put the old outlines back, or take the new ones with "
                "`glacier-al scene replace`"
            )
        store.put(key, data)
        store.forget_damaged(key)


def usable_scenes(catalog: Catalog, scenes: Iterable[Scene]) -> list[Scene]:
    """Return the scenes whose files can be opened and whose masks are whole; set the others aside, with the reason.

    Raises:
        SceneError, OutlineError: Memory or file handles were lacking.
    """
    usable = []
    for scene in check_scenes(catalog, scenes):
        try:
            make_whole(catalog, scene)
        except (SceneError, OutlineError) as error:
            if was_lacking(error):
                raise
            log.warning("scene %s is set aside: %s", scene.name, error)
            set_aside_scene(catalog, scene, str(error), opens=True)
        else:
            usable.append(scene)
    return usable


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


def _valid_shares(
    source: SceneSource, windows: Sequence[Window], masks: Sequence[NDArray[np.uint8]], report: Callable[[int], None]
) -> list[float]:
    """Return the share of valid pixels of each window, and mark the others in masks of outlines as unknown.

    What lies under cloud or outside the border is not background, although no outline covers it.

    Args:
        source: the scene.
        windows: windows that cover the scene.
        masks: each (H, W), changed in place.
        report: told how many windows are done.
    """
    shares = []
    with SceneReader(source) as reader:
        for done, window in enumerate(windows):
            if done % 50 == 0:
                report(done)
            valid = reader.valid_mask(window)
            shares.append(float(valid.mean()))
            for mask in masks:
                mask[window.slices][~valid] = UNKNOWN
    return shares
