"""The function of each kind of job, imported on demand, so that only workers of the queue "compute" load torch."""

from collections.abc import Callable, Mapping
from pkgutil import resolve_name
from typing import Final

from catalog.records import JobKind

_FUNCTIONS: Final[Mapping[JobKind, str]] = {
    JobKind.TILE_SCENE: "workers.tile_scene:tile_scene",
    JobKind.PROPOSE_ROUND: "workers.propose_round:propose_round",
    JobKind.PUBLISH_ROUND: "workers.publish_round:publish_round",
    JobKind.INGEST_LABEL: "workers.ingest_label:ingest_label",
    JobKind.FINE_TUNE: "workers.fine_tune:fine_tune",
    JobKind.SCORE_POOL: "workers.score_pool:score_pool",
    JobKind.SCORE_SHARD: "workers.score_shard:score_shard",
    JobKind.PREDICT_SCENE: "workers.predict_scene:predict_scene",
    JobKind.PREDICT_AREA: "workers.predict_area:predict_area",
    JobKind.SYNC_LABEL_STUDIO: "workers.sync_label_studio:sync_label_studio",
    JobKind.REMOVE_TASKS: "workers.remove_tasks:remove_tasks",
    JobKind.REMOVE_SUPERSEDED: "workers.remove_superseded:remove_superseded",
    JobKind.MEND_FILES: "workers.mend_files:mend_files",
    JobKind.DELIVER_EVENT: "workers.deliver_event:deliver_event",
    JobKind.COMPARE_SERVED: "workers.compare_served:compare_served",
    JobKind.COMPARE_MASKS: "workers.compare_masks:compare_masks",
    JobKind.DESCRIBE_SCENE: "workers.describe_scene:describe_scene",
    JobKind.EXPORT_GLIMS: "workers.export_glims:export_glims",
    JobKind.COMPARE_SCENES: "workers.compare_scenes:compare_scenes",
    JobKind.BACK_UP: "workers.back_up:back_up",
    JobKind.EXPORT_DATASET: "workers.export_dataset:export_dataset",
    JobKind.CHECK_INSTALLATION: "workers.check_installation:check_installation",
    JobKind.REPRODUCE_VERSION: "workers.reproduce_version:reproduce_version",
    JobKind.EXPORT_SUBMISSION: "workers.export_submission:export_submission",
    JobKind.READ_SCENE: "workers.read_scene:read_scene",
    JobKind.RUN_EXPERIMENT: "experiments.run_experiment:run_experiment",  # the only one above this room
}


def function_of(kind: JobKind) -> Callable[..., None]:
    """Import and return the function of a kind of job; it takes the job's context and its subject."""
    function: Callable[..., None] = resolve_name(_FUNCTIONS[kind])
    return function
