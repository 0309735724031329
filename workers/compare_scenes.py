"""Job: compare two scenes of one ground, and store table, polygons, picture and summary of the change."""

from pathlib import Path
from tempfile import TemporaryDirectory

from catalog.errors import ConflictError
from imagery.change import common_grid
from imagery.glaciers import read_inventory
from services.change import compare
from services.change_files import write_files
from services.change_maps import Subject, maps_to_compare
from services.class_scheme import class_scheme
from services.delivery import delivery_options
from services.places import raster_store
from services.scene_changes import change_id, change_keys, is_made
from services.scenes import find_scene, source_of
from services.unused_predictions import note_use
from workers.jobs import JobContext
from workers.predict_scene import predict_by
from workers.versions import load_version


def compare_scenes(
    context: JobContext, uid: str, earlier: int, later: int, subject: str, version: int | None, scoring: int | None
) -> None:
    """Compare two scenes, which are predicted first where they are not; a glacier is what the inventory knows by an id.

    Args:
        context: the job.
        uid: id of the change (`services.scene_changes.change_id`).
        earlier: id of the earlier scene.
        later: id of the later one.
        subject: one of `services.change_maps.Subject`.
        version: number of the version whose maps are compared; None for outlines.
        scoring: id of the scoring that prior outlines are compared with; None for other subjects.

    Raises:
        NotFoundError: there is no such scene or version.
        ConflictError: a scene lacks the outlines, or has not been scored; the version has other classes; or a scene or
            setting is no longer what it was when the change was asked for.
        SceneError: a scene cannot be read, or no ground is known in both.
        OutlineError: the inventory of the settings cannot be used.
        StoreError: a map is not in the store.
    """
    catalog, keys = context.catalog, change_keys(uid)
    store = raster_store(catalog)
    if is_made(store, uid):  # an attempt that was killed at its very end made them
        return
    with catalog.read() as session:
        first, second = find_scene(session, earlier), find_scene(session, later)
    options = delivery_options(catalog.settings)
    loaded = None if version is None else load_version(catalog, version)
    if loaded is not None:
        for scene in (first, second):
            predict_by(context, loaded, scene.id, options)
    context.progress(0, 1, f"comparing {first.name} with {second.name}")
    known = None if loaded is None else loaded.version
    before, after = maps_to_compare(catalog, first, second, Subject(subject), known, scoring)
    grid, inventory = common_grid(source_of(first).grid, source_of(second).grid), options.glacier_inventory
    glaciers = read_inventory(inventory, None, grid, required=False) if inventory else None
    found = compare(before, after, class_scheme(catalog), glaciers)
    with catalog.read() as session:
        first, second = find_scene(session, earlier), find_scene(session, later)
    if change_id(catalog, first, second, Subject(subject), version, scoring) != uid:
        raise ConflictError("a scene or a setting was changed since this change was asked for; ask for it again")
    with TemporaryDirectory(dir=catalog.settings.var_dir) as folder:
        write_files(Path(folder), found)
        for suffix, key in keys.items():
            path = Path(folder, f"change.{suffix}")
            if path.exists():  # without any change there are no polygons
                store.put(key, path.read_bytes())
    note_use(catalog, keys["json"])
