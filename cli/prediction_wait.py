"""Wait until a scene is predicted, for commands that need its map."""

import time
from typing import Final

from catalog import jobs
from catalog.context import Catalog
from catalog.errors import ConflictError
from catalog.records import Scene
from cli.output import remark
from cli.progress import progress
from services.delivery import delivery_options, prediction_keys
from services.predictions import check_ready, enqueue_prediction, is_predicted
from services.unused_predictions import note_use

POLL_S: Final = 1.0


def wait_for_prediction(catalog: Catalog, scene: Scene, version: int) -> None:
    """Have the champion predict a scene, unless its files are stored, and wait until they are.

    Args:
        catalog: the catalog of a running system.
        scene: the scene.
        version: the champion's version.

    Raises:
        ConflictError: the scene is not ready, or its prediction failed or was cancelled.
    """
    check_ready(scene)
    options = delivery_options(catalog.settings)
    note_use(catalog, prediction_keys(scene, version, options)["tif"])  # so that it is not removed meanwhile
    if is_predicted(catalog, scene, version, options):
        return
    remark(f"Version {version} is predicting {scene.name} ...")
    with progress(f"map of {scene.name}") as told:
        while not is_predicted(catalog, scene, version, options):
            with catalog.write() as session:
                job = enqueue_prediction(session, scene, version, options)
            time.sleep(POLL_S)
            with catalog.read() as session:
                job = jobs.get(session, job.id)
            told(job.done / job.total if job.total else None, jobs.eta_s(job))
            if job.state in jobs.UNSUCCESSFUL:
                raise ConflictError(f"the prediction of {scene.name} is {job.state.value}: {job.error}")
