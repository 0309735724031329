"""Job: write the outlines of a scene as GLIMS takes them, zipped, into the raster store."""

import io
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from catalog import registry_copy
from catalog.errors import NotFoundError
from catalog.records import Scene
from imagery.glims_findings import Finding
from imagery.grid import Window
from services.delivery import delivery_options
from services.glims_export import delivered_prediction
from services.glims_export import export_glims as write_submission
from services.glims_packages import package_key, request_of
from services.places import raster_store
from services.scenes import source_of
from services.unused_predictions import note_use
from workers.code_version import software
from workers.jobs import JobContext
from workers.relief import relief_of

FINDINGS: Final = "check.txt"
"""The file of a package that lists what the check of GLIMS's requirements found."""


def export_glims(
    context: JobContext,
    scene_id: int,
    version: int,
    package: str,
    window: dict[str, int] | None,
    inventory: str | None = None,
) -> None:
    """Write a package, unless it is stored, of the labels and by the settings of now.

    It is stored under the key of what it was made of. If that is not what was asked for, as labels have come, or their
    patches wait for annotators, since, whoever asks again finds it, or has the next one made.

    Args:
        context: the job.
        scene_id: id of the scene, which the version has predicted.
        version: number of the version.
        package: key under which what was asked for would be stored.
        window: fields of `imagery.grid.Window`: only glaciers that reach into it; None: all.
        inventory: not used: jobs of earlier releases have it.

    Raises:
        NotFoundError: there is no such version.
        ExportError: there is no glacier, or something that GLIMS needs is not known.
        StoreError: the map or a label is not in the store.
        SceneError, OutlineError: the scene or the inventory cannot be read.
    """
    catalog = context.catalog
    store = raster_store(catalog)
    if store.exists(package):
        return
    with catalog.read() as session:
        scene = session.get_one(Scene, scene_id)
        known = registry_copy.find(session, version)
    if known is None:
        raise NotFoundError(f"there is no version {version}")
    context.progress(0, 1, f"writing the outlines of {scene.name} for GLIMS")
    prediction = delivered_prediction(catalog, scene, known)
    part, options = None if window is None else Window(**window), delivery_options(catalog.settings)
    request = request_of(catalog, scene, part, options.glacier_inventory)
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory, "glims")
        done = write_submission(catalog, scene, folder, request, software(), prediction, relief_of(source_of(scene)))
        key = package_key(scene, version, options, part, done.labels)
        store.put(key, zipped(folder, done.findings))
    note_use(catalog, key)


def zipped(folder: Path, findings: Sequence[Finding]) -> bytes:
    """Return the files of a submission as a zip, with `FINDINGS` among them."""
    found = "".join(f"{finding}\n" for finding in findings) or "Nothing: GLIMS's published requirements are kept.\n"
    (folder / FINDINGS).write_text(found, "utf-8")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.iterdir()):
            file.write(path, path.name)
    return archive.getvalue()
