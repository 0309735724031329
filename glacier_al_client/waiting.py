"""Waiting for what the server does in the background."""

import time
from collections.abc import Callable
from typing import Final

from glacier_al_client.errors import JobFailedError, RefusedDecisionError, TimedOutError
from glacier_al_client.types import DecisionRequestAnswer, JobAnswer

POLL_S: Final = 0.5
LONGEST_POLL_S: Final = 5.0
DECISION_S: Final = 60.0

Progress = Callable[[JobAnswer], None]
"""Gets a job each time that it was asked for: ``progress`` (0 to 1), ``eta_s`` and ``message`` say how far it is."""


def wait_for_job(
    ask: Callable[[str], JobAnswer], job_id: str, progress: Progress | None, timeout_s: float | None
) -> JobAnswer:
    """Ask for a job until it is finished, half a second apart at first, and at last five.

    Raises:
        JobFailedError: It failed or was cancelled.
        TimedOutError: It has not ended in time.
    """
    begun = time.monotonic()
    poll_s = POLL_S
    while True:
        job = ask(job_id)
        if progress is not None:
            progress(job)
        if job.state == "finished":
            return job
        if job.state in {"failed", "cancelled"}:
            raise JobFailedError(job)
        if timeout_s is not None and time.monotonic() - begun + poll_s > timeout_s:
            raise TimedOutError(f"the job {job.kind} ({job.id}) is still {job.state} after {timeout_s:.0f} s")
        time.sleep(poll_s)
        poll_s = min(poll_s * 1.2, LONGEST_POLL_S)


def wait_for_decision(
    ask: Callable[[int], DecisionRequestAnswer], asked: DecisionRequestAnswer, timeout_s: float = DECISION_S
) -> DecisionRequestAnswer:
    """Ask for a promotion or roll-back until the server has carried it out.

    Raises:
        RefusedDecisionError: It was refused; nothing was moved.
        TimedOutError: It waits still, and is tried again by the server.
    """
    begun = time.monotonic()
    while asked.state == "waiting":
        if time.monotonic() - begun > timeout_s:
            raise TimedOutError(f"the request {asked.id} still waits: {asked.fault or 'the clock has not seen it'}")
        time.sleep(POLL_S)
        asked = ask(asked.id)
    if asked.state == "refused":
        raise RefusedDecisionError(asked.fault or "no reason is known")
    return asked
