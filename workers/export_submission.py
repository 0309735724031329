"""Job: write outlines for GLIMS as an operator asked for them, zipped, into the raster store."""

import tempfile
from pathlib import Path

from catalog import registry_copy
from catalog.errors import NotFoundError
from catalog.records import Scene
from services import made_files, raster_keys, submissions
from services.delivery import delivery_options, prediction_keys
from services.glims_export import delivered_prediction, export_glims
from services.glims_request import Prediction
from services.places import raster_store
from services.predictions import is_predicted
from services.scenes import check_unchanged, find_scene, source_of
from services.submissions import Contents, KnownSubmission
from services.unused_predictions import note_use
from workers.code_version import software
from workers.export_glims import zipped
from workers.jobs import JobContext
from workers.label_repair import check_standing
from workers.predict_scene import predict_by
from workers.relief import relief_of
from workers.versions import load_version


def export_submission(context: JobContext, uid: str) -> None:
    """Write the outlines, unless that is done.

    Damaged masks of labels are made whole first, and the scene is predicted if it is not yet, as the command line does.

    Args:
        context: The job.
        uid: Id of the submission.

    Raises:
        NotFoundError: It was removed, or there is no such scene or version any more, or the inventory that was sent.
        ConflictError: The scene was replaced or removed meanwhile.
        InvalidInputError: The setting that names the inventory was taken back.
        ExportError: There is no glacier, or something that GLIMS needs is not known.
        StoreError: A label is not in the store.
        SceneError, OutlineError: The scene or the inventory cannot be read.
    """
    catalog = context.catalog
    context.progress(0, 1, "checking the masks of labels")  # of one that was removed meanwhile, this is the end
    with catalog.read() as session:
        known = made_files.find(session, KnownSubmission, uid)
        if known.contents is not None:
            return
        asked = known.asked
        scene = find_scene(session, asked.options.scene)
    left_out = [f"label {number}: {reason}" for number, reason in sorted(check_standing(catalog).items())]
    prediction = None if asked.version is None else _prediction(context, scene, asked.version)
    context.progress(0, 1, f"writing the outlines of {scene.name} for GLIMS")
    store = raster_store(catalog)
    request = submissions.request_by(catalog, store, scene, known)
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory, "glims")
        done = export_glims(catalog, scene, folder, request, software(), prediction, relief_of(source_of(scene)))
        content = zipped(folder, done.findings)
    making = done.making
    contents = Contents(
        glaciers=making.glaciers,
        area_km2=making.area_km2,
        of_inventory=making.of_inventory,
        intervals=making.intervals,
        image_id=making.image_id,
        image_is_named=not making.is_name,
        labels=making.labels,
        simulated_labels=making.simulated,
        layers=done.layers,
        findings=done.findings,
        left_out=left_out,
        size_bytes=len(content),
    )
    with catalog.read() as session:
        check_unchanged(session, [scene])
    context.progress(1, 1, "storing the outlines")  # also asks whether the job is still ours
    store.put(raster_keys.data_set(uid), content)
    made_files.note_contents(catalog, store, uid, contents, done.labels)
    if known.sent_file is not None:
        made_files.delete_file(store, known.sent_file)


def _prediction(context: JobContext, scene: Scene, number: int) -> Prediction:
    """Return the map of a scene by a version, which is made first if it is not stored."""
    catalog, options = context.catalog, delivery_options(context.catalog.settings)
    with catalog.read() as session:
        version = registry_copy.find(session, number)
    if version is None:
        raise NotFoundError(f"there is no version {number}")
    if is_predicted(catalog, scene, number, options):
        note_use(catalog, prediction_keys(scene, number, options)["tif"])
    else:
        predict_by(context, load_version(catalog, number), scene.id, options)
    return delivered_prediction(catalog, scene, version)
