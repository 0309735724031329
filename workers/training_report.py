"""Report a running training: progress in the job's row, curves in MLflow, and checkpoints."""

import logging
import time
from collections.abc import Callable

from sqlalchemy.exc import OperationalError

from catalog.errors import JobInterruptedError, ServiceDownError
from catalog.tracking import Point, Tracking
from models.training import StepReport
from models.training_state import TrainingState
from workers.jobs import JobContext

log = logging.getLogger(__name__)

POINT_EVERY_STEPS = 10
# A call to MLflow takes as long as a step on small patches, and people need no faster updates.
SEND_EVERY_S = 2.0
QUIET_S = 60.0  # pause after MLflow did not answer
CHECKPOINT_EVERY_S = 60.0  # at most this much training is lost when a worker is killed


class TrainingReport:
    """Callback of the training loop that reports each step.

    Args:
        context: the job.
        tracking: MLflow.
        run_id: the MLflow run.
        save: stores a checkpoint; called every minute, and when the worker shuts down.
    """

    def __init__(
        self, context: JobContext, tracking: Tracking, run_id: str, save: Callable[[TrainingState], None]
    ) -> None:
        self._context = context
        self._tracking = tracking
        self._run_id = run_id
        self._save = save
        self._save_at = time.monotonic() + CHECKPOINT_EVERY_S
        self._points: list[Point] = []
        self._send_at = 0.0
        self._quiet_until = 0.0

    def __call__(self, step: StepReport) -> None:
        """Report one step.

        Raises:
            JobLostError: the job was given to another worker; stop at once.
            JobCancelledError: someone cancelled the job; stop.
            JobInterruptedError: the worker is being stopped; the state of the training is saved.
        """
        is_last = step.step == step.steps
        if step.step % POINT_EVERY_STEPS == 0 or is_last:
            learned = {f"train.{name}": value for name, value in step.learned.items()}
            self._points.append(Point(step.step, {"train.loss": step.loss, **learned}))
        if is_last or time.monotonic() >= self._send_at:
            self._note_progress(step)
            self._send()

    def _note_progress(self, step: StepReport) -> None:
        try:
            self._context.progress(step.step, step.steps, f"training: loss {step.loss:.4f}")
        except JobInterruptedError:
            self._checkpoint(step)
            raise
        if time.monotonic() >= self._save_at:
            self._checkpoint(step)

    def _checkpoint(self, step: StepReport) -> None:
        if step.state is not None:
            state = step.state()
            try:
                self._save(state)
            except (OperationalError, OSError) as error:  # a full disk must not end hours of training
                log.warning("the checkpoint of step %d could not be saved; the earlier one stays: %s", step.step, error)
        self._save_at = time.monotonic() + CHECKPOINT_EVERY_S

    def _send(self) -> None:
        self._send_at = time.monotonic() + SEND_EVERY_S
        points, self._points = self._points, []
        if not points or time.monotonic() < self._quiet_until:
            return
        try:
            self._tracking.log_points(self._run_id, points)
        except ServiceDownError as error:  # losing points of a curve must not end hours of training
            log.warning("%s", error)
            self._quiet_until = time.monotonic() + QUIET_S
