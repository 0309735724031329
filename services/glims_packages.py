"""GLIMS packages that people take away of the map: made by a job at the first request, stored, and served.

Annotators take them, too. So labels of patches that wait for an annotator are left to the model: whoever is asked for a
patch again, to check its label, must not find the answer there.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Final

from sqlalchemy.orm import Session

from catalog.context import Catalog
from catalog.errors import ConflictError
from catalog.records import Job, JobKind, Label, Scene
from imagery.errors import ExportError
from imagery.glaciers import InventoryPart, read_inventory
from imagery.grid import Window
from services import raster_keys
from services.delivery import DeliveryOptions, fingerprint
from services.glims_lineage import standing_labels
from services.glims_request import GlimsRequest, image_of
from services.predictions import enqueue_asked
from services.scenes import source_of

_FORMAT: Final = 3
"""Increase it whenever the code writes another package from the same input."""


def package_labels(session: Session, scene: Scene) -> list[Label]:
    """Return the labels that the package of a scene is made of now, oldest first."""
    return standing_labels(session, scene.id, simulated=False, waiting=False)


def package_key(
    scene: Scene, version: int, options: DeliveryOptions, window: Window | None, labels: Sequence[Label]
) -> str:
    """Return the key of the package of a scene.

    Args:
        scene: The scene.
        version: The version whose map counts where no expert judged.
        options: What shapes the map's files.
        window: Only glaciers that reach into it are part of the package; None: all.
        labels: The labels that it is made of: `package_labels` of that moment.
    """
    shaped_by = [_FORMAT, scene.name, scene.sensor, str(window), [_identity(label) for label in labels]]
    digest = hashlib.sha256(json.dumps(shaped_by).encode()).hexdigest()[:16]
    return raster_keys.glims_package(scene.id, version, fingerprint(scene, options), digest)


def check_image(scene: Scene) -> None:
    """Refuse a scene of which something is not known that GLIMS asks for.

    Raises:
        ConflictError: Its day or its instrument is not known.
    """
    try:
        image_of(scene, GlimsRequest())
    except ExportError as error:
        raise ConflictError(
            f"{error}, which an operator does on the page /data-sets; or replace the scene by one that tells it"
        ) from error


def enqueue_package(
    session: Session,
    scene: Scene,
    version: int,
    options: DeliveryOptions,
    window: Window | None,
    key: str,
    at_once: int,
) -> Job:
    """Enqueue the job that makes a package unless it is under way; one that failed is only repeated by a retry.

    Args:
        session: A writing session.
        scene: The scene, which this version has predicted.
        version: As `package_key`.
        options: Likewise.
        window: Likewise.
        key: What `package_key` returns now. Labels that come before the job runs are part of its package, which is
            then stored under another key.
        at_once: How many files may be asked for at once.

    Raises:
        ConflictError: The last job for the same package failed or was cancelled.
        QueueFullError: As many files are being made as may at once.
    """
    subject = {
        "scene_id": scene.id,
        "version": version,
        "package": key,
        "window": None if window is None else vars(window),
    }
    return enqueue_asked(session, JobKind.EXPORT_GLIMS, f"{scene.id}-{key.rpartition('/')[2]}", at_once, subject)


def request_of(catalog: Catalog, scene: Scene, window: Window | None, inventory: str | None) -> GlimsRequest:
    """Return what is asked of `services.glims_export.export_glims` for a package.

    Raises:
        OutlineError: The inventory of the settings cannot be read.
    """
    grid = source_of(scene).grid
    glaciers = read_inventory(inventory, None, grid, required=False) if inventory else InventoryPart()
    return GlimsRequest(
        waiting=False,
        smoothing_px=catalog.settings.outline_smoothing_px,
        inventory=glaciers,
        inventory_name=inventory.rpartition("/")[2] if inventory else "",
        window=window,
    )


def _identity(label: Label) -> list[int | str | None]:
    return [label.id, label.mask_sha256]
