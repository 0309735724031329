"""The glaciers on a scene that have an id: those of the inventory of the settings, else of its prior outlines."""

import logging
from pathlib import Path

from catalog.records import Scene
from imagery.glaciers import InventoryGlacier, names_glaciers, read_inventory
from services.delivery import DeliveryOptions
from services.scenes import priors_of, source_of

log = logging.getLogger(__name__)


def known_glaciers(scene: Scene, options: DeliveryOptions) -> list[InventoryGlacier]:
    """Return the glaciers; several polygons of one id stay several items.

    Prior outlines count as far as their layers have a field with ids, and as long as their files are there: the scene
    itself does not need them any more.

    Args:
        scene: The scene.
        options: They name the inventory.

    Raises:
        OutlineError: A file cannot be used.
    """
    grid = source_of(scene).grid
    if options.glacier_inventory:
        return read_inventory(options.glacier_inventory, None, grid, required=False)
    prior = priors_of(scene)
    layers = dict.fromkeys((layer.path, layer.layer) for layer in prior.layers) if prior else {}
    found = []
    for path, layer in layers:
        if not Path(path).is_file():
            log.warning("the prior outlines %s of scene %s are gone: their glaciers are not known", path, scene.name)
        elif names_glaciers(path, layer):
            found += [glacier for glacier in read_inventory(path, layer, grid, required=False) if glacier.name]
    return found
