"""What is noted of a training while it runs: progress in the job's row, curves in MLflow, and checkpoints."""

import logging
import time
from collections.abc import Callable

from catalog.errors import JobInterruptedError, ServiceDownError
from catalog.tracking import Point, Tracking
from models.training import StepReport
from models.training_state import TrainingState
from workers.jobs import Work

log = logging.getLogger(__name__)

POINT_EVERY_STEPS = 10
# A call to MLflow takes as long as a step on small patches; a person watching does not see more than this.
SEND_EVERY_S = 2.0
QUIET_S = 60.0  # so long nothing is sent after MLflow did not answer
CHECKPOINT_EVERY_S = 60.0  # what a killed worker loses at most


class TrainingReport:
    """Takes the report of every step, notes some of them as points of a curve, and sends these now and then.

    Args:
        work: the job; it learns here whether it was given to another worker.
        tracking: MLflow.
        run_id: the run there.
        save: stores the state of the training: every minute, and when the worker is told to stop.
    """

    def __init__(self, work: Work, tracking: Tracking, run_id: str, save: Callable[[TrainingState], None]) -> None:
        self._work = work
        self._tracking = tracking
        self._run_id = run_id
        self._save = save
        self._save_at = time.monotonic() + CHECKPOINT_EVERY_S
        self._points: list[Point] = []
        self._send_at = 0.0
        self._quiet_until = 0.0

    def __call__(self, step: StepReport) -> None:
        """Take the report of a step.

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
            self._work.progress(step.step, step.steps, f"training: loss {step.loss:.4f}")
        except JobInterruptedError:
            self._checkpoint(step)
            raise
        if time.monotonic() >= self._save_at:
            self._checkpoint(step)

    def _checkpoint(self, step: StepReport) -> None:
        if step.state is not None:
            self._save(step.state())
        self._save_at = time.monotonic() + CHECKPOINT_EVERY_S

    def _send(self) -> None:
        self._send_at = time.monotonic() + SEND_EVERY_S
        points, self._points = self._points, []
        if not points or time.monotonic() < self._quiet_until:
            return
        try:
            self._tracking.log_points(self._run_id, points)
        except ServiceDownError as error:  # some points of a curve are not worth hours of training
            log.warning("%s", error)
            self._quiet_until = time.monotonic() + QUIET_S
