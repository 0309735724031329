"""What ends a job that has used up its time."""

from types import FrameType

from rq.timeouts import JobTimeoutException, UnixSignalDeathPenalty


class JobTimeLimit(BaseException):
    """A job has used up its time.

    Not an `Exception`, so that no library takes it for a failure of its own: MLflow's client turns every `Exception`
    that reaches it during a request into its own, which reads as an outage, and the job would go on without any limit.
    """


class DeathPenalty(UnixSignalDeathPenalty):
    """RQ's alarm, raising `JobTimeLimit` where RQ would raise its `JobTimeoutException`."""

    def handle_death_penalty(self, signum: int, frame: FrameType | None) -> None:
        """Interrupt what runs; called by the alarm."""
        try:
            super().handle_death_penalty(signum, frame)  # type: ignore[no-untyped-call]
        except JobTimeoutException as error:
            raise JobTimeLimit(str(error)) from None
