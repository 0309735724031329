"""Delivered files of a predicted scene: the options that shape them, and their keys in the raster store.

A key contains a hash of everything that the files depend on, so that a change of options never returns a stale file.
The classes are not part of it: an installation never changes them.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

from catalog.records import Scene
from catalog.settings import Settings
from services import raster_keys
from services.scenes import day_of

FORMAT: Final = 5
"""Increase it whenever the code writes different files from the same input, so that stored files are replaced."""


class DeliveryOptions(BaseModel):
    """The settings that shape delivered files.

    Attributes:
        smoothing_px: Smoothing of the outlines in pixels; 0: exact, along pixel edges.
        glacier_inventory: File with the polygons of glaciers to give totals for; None: none.
        inventory_changed: When that file was last changed, in ns since 1970; None if there is no such file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    smoothing_px: float
    glacier_inventory: str | None = None
    inventory_changed: int | None = None


def delivery_options(settings: Settings) -> DeliveryOptions:
    """Return the options that the settings ask for."""
    inventory = Path(settings.glacier_inventory).resolve() if settings.glacier_inventory else None
    return DeliveryOptions(
        smoothing_px=settings.outline_smoothing_px,
        glacier_inventory=str(inventory) if inventory else None,
        inventory_changed=inventory.stat().st_mtime_ns if inventory and inventory.is_file() else None,
    )


def fingerprint(scene: Scene, options: DeliveryOptions) -> str:
    """Return a hash (16 hexadecimal digits) of all that shapes the files of a scene, except the model version."""
    prior = (scene.prior_outlines or {}).get("sha256")
    shaped_by = [FORMAT, scene.source, scene.acquired, prior, options.model_dump(mode="json")]
    shaped_by += [scene.revision] if scene.revision else []  # the files of most scenes keep their names so
    return hashlib.sha256(json.dumps(shaped_by, sort_keys=True).encode()).hexdigest()[:16]


def map_tags(scene: Scene, version: int) -> dict[str, str]:
    """Return the metadata of the maps of a scene by a version (`imagery.cog.MAP_TAGS`)."""
    day = day_of(scene)
    return {"SCENE": scene.name, "MODEL_VERSION": str(version)} | ({} if day is None else {"ACQUIRED": day.isoformat()})


def prediction_keys(scene: Scene, version: int, options: DeliveryOptions) -> Mapping[str, str]:
    """Return the keys of a predicted scene's files by suffix, in the order in which they are written."""
    shape = fingerprint(scene, options)
    return {
        suffix: raster_keys.prediction(scene.id, version, shape, suffix) for suffix in raster_keys.PREDICTION_SUFFIXES
    }
