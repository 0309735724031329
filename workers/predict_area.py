"""Job: predict an area by a model version: a window of a registered scene, or a GeoTIFF that was sent."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from catalog.records import Scene
from imagery.errors import SceneError, StoreError
from imagery.grid import Window
from imagery.lacking import was_lacking
from imagery.store import RasterStore
from services import raster_keys
from services.area_predictions import FILE, area_keys
from services.channel_rules import check_input
from services.class_scheme import class_scheme
from services.contained_description import describe_contained
from services.delivery import DeliveryOptions
from services.places import raster_store
from services.scene_files import BelowRoot, shown_as_named
from services.scene_request import SceneRequest
from services.scenes import find_scene, source_of
from workers.jobs import JobContext
from workers.predict_scene import write_prediction
from workers.versions import LoadedVersion, load_version


def predict_area(
    context: JobContext,
    uid: str,
    name: str,
    version: int,
    delivery: dict[str, Any],
    scene_id: int | None = None,
    window: dict[str, int] | None = None,
    upload: dict[str, Any] | None = None,
) -> None:
    """Predict an area, and store its files.

    Args:
        context: the job.
        uid: id of the prediction.
        name: what its files are called.
        version: number of the model version.
        delivery: fields of `DeliveryOptions`.
        scene_id: id of the scene, with `window`.
        window: fields of `imagery.grid.Window`.
        upload: fields of `SceneRequest`, about the file that was sent.

    Raises:
        NotFoundError: there is no such version or scene.
        ConflictError: the version was trained on other classes than those of this installation.
        SceneError: the file cannot be read, or lacks a channel of the version or has it in another unit.
        OutlineError: the border of the scene cannot be read.
        StoreError: the file that was sent is damaged or gone.
    """
    loaded, options = load_version(context.catalog, version), DeliveryOptions(**delivery)
    if upload is None:
        scene = _part_of(context, scene_id or 0, Window(**(window or {})), name)
        write_prediction(context, loaded, scene, options, area_keys(uid, version))
        return
    store, key = raster_store(context.catalog), raster_keys.upload(uid)
    if all(map(store.exists, area_keys(uid, version).values())):  # an attempt that was killed at its very end made them
        with suppress(StoreError):
            store.delete(key)
        return
    try:
        with TemporaryDirectory(dir=context.catalog.settings.var_dir) as folder:
            _fetch(store, key, Path(folder, FILE))
            scene = _described(context, Path(folder), SceneRequest.model_validate(upload), loaded)
            write_prediction(context, loaded, scene, options, area_keys(uid, version))
    except SceneError as error:
        if not was_lacking(error):  # or else another attempt would find the same
            with suppress(StoreError):
                store.delete(key)
        raise
    store.delete(key)


def _fetch(store: RasterStore, key: str, target: Path) -> None:
    """Copy a file that was sent, of which there is no other: one that is damaged fails its job at once."""
    try:
        store.fetch(key, target)
    except StoreError as error:
        raise StoreError(
            "the file that was sent is damaged, or not kept any more since an earlier attempt ended; send it again"
        ) from error


def _part_of(context: JobContext, scene_id: int, window: Window, name: str) -> Scene:
    """Return a window of a scene as a scene of its own, not to be stored."""
    with context.catalog.read() as session:
        whole = find_scene(session, scene_id)
    source = source_of(whole)
    row, column = source.offset
    part = replace(source, grid=source.grid.subgrid(window), offset=(row + window.row_off, column + window.col_off))
    return Scene(name=name, role=whole.role, acquired=whole.acquired, source=part.to_json())


def _described(context: JobContext, folder: Path, request: SceneRequest, loaded: LoadedVersion) -> Scene:
    """Understand the file that was sent, in a process of its own, and check that the version can map it."""
    context.progress(0, 1, "looking into the file")
    settings, scheme = context.catalog.settings, class_scheme(context.catalog)
    with shown_as_named(BelowRoot(folder)) as files:
        scene = describe_contained(settings, request, files, scheme).scene
    card, version = loaded.card.model_dump(mode="json"), loaded.version.version
    check_input(source_of(scene), card, f"version {version}")
    return scene
