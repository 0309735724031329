"""The time limit of jobs, which library code cannot swallow."""

from types import FrameType

from rq.timeouts import JobTimeoutException, UnixSignalDeathPenalty


class JobTimeLimit(BaseException):
    """A job has used up its time.

    Not an `Exception`, so that libraries do not catch it: MLflow's client converts every `Exception` during a request
    into its own, which looks like an outage, and the job would go on without a limit.
    """


class DeathPenalty(UnixSignalDeathPenalty):
    """RQ's alarm, raising `JobTimeLimit` where RQ would raise its `JobTimeoutException`."""

    def handle_death_penalty(self, signum: int, frame: FrameType | None) -> None:
        """Raise `JobTimeLimit`; called by the alarm."""
        try:
            super().handle_death_penalty(signum, frame)  # type: ignore[no-untyped-call]
        except JobTimeoutException as error:
            raise JobTimeLimit(str(error)) from None
