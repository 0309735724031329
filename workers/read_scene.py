"""Job: read all pixels of a scene that is set aside although it can be opened; take it back if they can be read."""

import logging

from services.unusable_scenes import read_again
from workers.jobs import JobContext

log = logging.getLogger(__name__)


def read_scene(context: JobContext, scene_id: int) -> None:
    """Do what `services.unusable_scenes.read_again` does. That the scene stays set aside is no failure of the job.

    Raises:
        SceneError, OutlineError: Memory or file handles were lacking.
        JobInterruptedError: The worker is shutting down.
        JobCancelledError: Someone cancelled the job.
        JobLostError: The job was given to another worker.
    """
    if read_again(context.catalog, scene_id, context.progress_of_step):
        log.warning("scene %d is back", scene_id)
