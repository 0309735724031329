"""The glaciers on a scene: those of the inventory of the settings, else those with an id of its prior outlines."""

import logging
from collections.abc import Collection, Sequence
from pathlib import Path

from catalog.records import Scene
from imagery.classes import ClassScheme
from imagery.errors import OutlineError
from imagery.glaciers import InventoryGlacier, names_glaciers, read_inventory
from imagery.grid import Grid
from imagery.vectors import FeatureFilter
from services.delivery import DeliveryOptions
from services.scenes import priors_of, source_of

log = logging.getLogger(__name__)


def known_glaciers(scene: Scene, options: DeliveryOptions, scheme: ClassScheme) -> list[InventoryGlacier]:
    """Return the glaciers; several polygons of one id stay several items.

    Prior outlines count as far as their layers have a field with ids, and as long as their files are there and have the
    fields that were stated: the scene itself does not need them any more. Of a layer only the features count that are
    prior outlines: those of its period and of a class that is not the background.

    Args:
        scene: The scene.
        options: They name the inventory.
        scheme: The classes.

    Raises:
        OutlineError: A file cannot be used.
    """
    grid = source_of(scene).grid
    if options.glacier_inventory:
        return list(_read(options.glacier_inventory, None, grid))
    prior = priors_of(scene)
    names = tuple(item.name for item in scheme.legend)
    layers: dict[tuple[str, str | None], list[FeatureFilter]] = {}
    for item in prior.layers if prior else ():
        if item.class_name != scheme.background.name:
            which = FeatureFilter(item.class_filter, item.period, item.class_name, names)
            layers.setdefault((item.path, item.layer), []).append(which)
    found = []
    for (path, layer), filters in layers.items():
        if not Path(path).is_file():
            log.warning("the prior outlines %s of scene %s are gone: their glaciers are not known", path, scene.name)
        elif names_glaciers(path, layer):
            try:
                found += [glacier for glacier in _read(path, layer, grid, filters) if glacier.has_id]
            except OutlineError as error:  # another file, of other fields, lies there now
                log.warning("the glaciers of prior outlines of scene %s are not known: %s", scene.name, error)
    return found


def _read(
    path: str, layer: str | None, grid: Grid, filters: Collection[FeatureFilter] = ()
) -> Sequence[InventoryGlacier]:
    """Return the glaciers of an inventory near a scene, and log the notes on them."""
    part = read_inventory(path, layer, grid, required=False, filters=filters)
    for note in part.notes:
        log.warning("%s: %s", path, note)
    return part.glaciers
