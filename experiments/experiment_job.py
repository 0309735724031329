"""Make a simulation or an experiment as an operator asked for it, in a job, and keep its results in the raster store.

It does what ``glacier-al simulate`` and ``glacier-al experiment`` do, and shares with them what is stored of finished
parts: runs of the loop, or trained networks. Between two of them it lets all other jobs of the workers go first, and
goes on from what is stored.
"""

import io
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from catalog import jobs
from catalog.errors import ConflictError, JobGivesWayError
from catalog.job_queue import BEFORE_EXPERIMENTS
from experiments.experiment_run import areas_of, run_study
from experiments.findings import as_text
from experiments.outcome import Outcome, deliver
from experiments.simulation import estimate_seconds
from experiments.simulation_run import SimulationRun, simulation_of
from services import made_files, raster_keys
from services.asked_experiments import Contents, KnownExperiment, ResultTable
from services.durations import in_words
from services.experiment_options import ExperimentOptions, SimulationOptions, check_options
from services.places import raster_store
from workers.jobs import JobContext
from workers.time_limit import JobTimeLimit


def carry_out(context: JobContext, uid: str) -> None:
    """Make a simulation or an experiment, unless that is done.

    Args:
        context: The job.
        uid: Id of the experiment.

    Raises:
        NotFoundError: It was removed.
        InvalidInputError: Its options contradict the settings, which were changed meanwhile.
        ConflictError: A scene cannot be used any more, the pool has too few patches, or the time limit of jobs is too
            short for a single part.
        SceneError: A scene cannot be read, or does not fit.
        JobGivesWayError: Other jobs wait, or the time limit was reached; what is done is stored.
        JobInterruptedError: The worker is shutting down.
        JobCancelledError: Someone cancelled the job.
        JobLostError: The job was given to another worker.
    """
    catalog, settings = context.catalog, context.catalog.settings
    context.progress(0, 1, "reading the scenes")  # of one that was removed meanwhile, this is the end
    with catalog.read() as session:
        known = made_files.find(session, KnownExperiment, uid)
    if known.contents is not None:
        return
    options = known.options
    check_options(options, settings)  # again: a setting may have been changed since it was asked for
    parts = _Parts(context)
    try:
        if isinstance(options, SimulationOptions):
            outcome = _simulate(context, parts, options)
        else:
            outcome = _compare(context, parts, options)
    except JobTimeLimit as error:
        if parts.made:
            raise JobGivesWayError(f"{parts.made} more parts are done; the others follow") from error
        raise ConflictError(
            f"found nothing finished after {settings.compute_timeout_s} s, the setting compute_timeout_s; expected a "
            "network or a run of the loop at least: raise that setting, or take fewer steps or less ground, and retry"
        ) from error
    context.progress(1, 1, "storing the results")  # also asks whether the job is still ours
    delivered = deliver(outcome, settings)
    content = _zipped(delivered.files)
    store = raster_store(catalog)
    store.put(raster_keys.data_set(uid), content)
    made_files.note_contents(catalog, store, uid, _contents(outcome, delivered.mlflow, len(content)), labels=())


class _Parts:
    """The finished parts of this attempt, and whether another may begin.

    Attributes:
        made: How many parts this attempt has finished and stored.
    """

    def __init__(self, context: JobContext) -> None:
        self._context = context
        self.made = 0

    def others_wait(self) -> bool:
        """Return whether a job waits to which an experiment gives way."""
        with self._context.catalog.read() as session:
            return jobs.waits(session, BEFORE_EXPERIMENTS)

    def give_way(self, done: str) -> NoReturn:
        """End this attempt; what is done is told until the next one begins."""
        raise JobGivesWayError(f"lets other work go first; {done}")


def _simulate(context: JobContext, parts: _Parts, options: SimulationOptions) -> Outcome:
    """Compute the runs of the loop that are not stored yet; return what all of them say."""
    settings = context.catalog.settings
    run = simulation_of(options, settings, context.catalog)
    processes = settings.torch_threads or len(os.sched_getaffinity(0))
    units = run.simulation.missing(processes)
    if units:
        _compute(context, parts, run, processes)
    return run.outcome(settings)


def _compute(context: JobContext, parts: _Parts, run: SimulationRun, processes: int) -> None:
    simulation, wanted = run.simulation, run.wanted
    units, known = simulation.missing(processes), len(simulation.cells())
    context.progress(0, wanted - known, "measuring how long it takes")
    at_first = f", {in_words(estimate_seconds(simulation, units, processes))} at first sight"

    def tell(done: int) -> None:
        parts.made = done - known
        guess = "" if parts.made else at_first
        # Of this attempt alone, so that the time left is estimated from what it has computed.
        context.progress_of_step(parts.made, wanted - known, f"{done} of {wanted} runs of the loop done{guess}")

    failed = simulation.run(units, processes, tell, may_begin=lambda: not parts.others_wait())
    if failed:
        raise RuntimeError(
            f"{len(failed)} processes of the simulation ended with an error, which the log of the worker holds; what "
            "is finished is kept"
        )
    done = len(simulation.cells())
    if done < wanted:
        parts.give_way(f"{done} of {wanted} runs of the loop done")


def _compare(context: JobContext, parts: _Parts, options: ExperimentOptions) -> Outcome:
    """Compute the trials that are not stored yet; return what all of them say."""
    settings = context.catalog.settings
    areas = areas_of(options, settings, context.catalog)
    return run_study(options, areas, settings, _TrialProgress(context, parts), context.catalog)


class _TrialProgress:
    """Tells of the trials of an experiment, and gives way between them."""

    def __init__(self, context: JobContext, parts: _Parts) -> None:
        self._context, self._parts = context, parts
        self._trials = self._known = 0
        self._name = ""

    def begin(self, trials: int) -> None:
        """See `experiments.study.Progress`, as below."""
        self._trials += trials

    def start(self, name: str) -> None:
        """Give way before a trial, once one was computed in this attempt."""
        if self._parts.made and self._parts.others_wait():
            self._parts.give_way(f"{self._known + self._parts.made} of {self._trials} networks done")
        self._name = name

    def step(self, done: int, steps: int) -> None:
        """Tell how far the trials of this attempt are, so that the time left follows from what it has computed."""
        number = self._known + self._parts.made + 1
        self._context.progress_of_step(
            self._parts.made * steps + min(done, steps - 1),
            (self._trials - self._known) * steps,
            f"{self._name}: step {done} of {steps}, {number} of {self._trials}",
        )

    def end(self, name: str, known: bool) -> None:
        """Count a trial."""
        self._known += known
        self._parts.made += not known
        wanted = self._trials - self._known  # of this attempt
        self._context.progress_of_step(self._parts.made, max(wanted, 1), f"{name} is {'known' if known else 'done'}")


def _zipped(files: Sequence[Path]) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for path in files:
            target.write(path, path.name)
    return archive.getvalue()


def _contents(outcome: Outcome, mlflow: str, size_bytes: int) -> Contents:
    findings = outcome.findings
    tables = [
        ResultTable(
            title=table.title,
            columns=[table.of_rows, *table.columns],
            rows=[[row.name, *(as_text(row.values.get(name)) for name in table.columns)] for row in table.rows],
        )
        for table in findings.tables
    ]
    notes = [*findings.notes, *outcome.conditions]
    return Contents(question=findings.question, tables=tables, notes=notes, mlflow=mlflow, size_bytes=size_bytes)
