"""Job: train a registered version again, compare it with what was registered, and report; nothing is registered."""

import logging

from catalog.errors import ConflictError
from services.reproductions import Options, Precision, in_words
from workers.jobs import JobContext
from workers.reproduction import reproduce
from workers.time_limit import JobTimeLimit

log = logging.getLogger(__name__)


def reproduce_version(
    context: JobContext,
    version: int,
    by: str,
    threads: int | None = None,
    precision: Precision | None = None,
    pixels: float | None = None,
    metric: float | None = None,
) -> None:
    """Do what ``glacier-al reproduce`` does; the report is `services.reproductions.Reproduction.to_json`.

    There are no checkpoints: an attempt that is cut off, for instance by a shutdown, is followed by one from the start.

    Args:
        context: The job.
        version: Number of the version.
        by: Name of the person who asked.
        threads: As `services.reproductions.Options`, and so are the others.
        precision: See there.
        pixels: See there.
        metric: See there.

    Raises:
        NotFoundError: There is no such version any more, or its parent was deleted in MLflow.
        ConflictError: Something that it was trained on is lost or was changed, the training diverges, or the time limit
            of jobs is too short for it.
        SceneError: A scene cannot be read any more.
        ServiceDownError: MLflow does not answer.
        JobInterruptedError: The worker is shutting down.
        JobCancelledError: Someone cancelled the job.
        JobLostError: The job was given to another worker.
    """
    catalog = context.catalog

    def show(doing: str, done: int, steps: int) -> None:
        context.progress_of_step(done, steps, f"{doing}: step {done} of {steps}" if 0 < done < steps else doing)

    try:
        # Threads were prepared when the worker began (`workers.main.prepare_threads`); their number is set for the job.
        found = reproduce(catalog, version, threads, precision, show)
    except JobTimeLimit as error:  # a further attempt would take as long, and fine-tunes would wait for it
        raise ConflictError(
            f"training version {version} again took longer than {catalog.settings.compute_timeout_s} s, the setting "
            "compute_timeout_s; raise that, and retry"
        ) from error
    tolerance = found.tolerance(Options(pixels=pixels, metric=metric))
    context.report(found.to_json(tolerance))
    log.info("asked for by %s: %s", by, in_words(version, found.outcome(tolerance), tolerance))
