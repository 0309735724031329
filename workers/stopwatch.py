"""Measure the seconds that a job spends in each stage."""

import time


class Stopwatch:
    """Seconds per stage. A stage lasts until the next one begins, so the stages add up to the total time.

    Args:
        stage: the first stage, which begins now.
    """

    def __init__(self, stage: str) -> None:
        self._seconds: dict[str, float] = {}
        self._stage = stage
        self._began = time.monotonic()

    def begin(self, stage: str) -> None:
        """End the current stage and begin or resume another one."""
        self._lap()
        self._stage = stage

    def seconds(self) -> dict[str, float]:
        """Return the seconds spent in each stage so far, in the order in which they first ended."""
        self._lap()
        return dict(self._seconds)

    def _lap(self) -> None:
        moment = time.monotonic()
        self._seconds[self._stage] = self._seconds.get(self._stage, 0.0) + moment - self._began
        self._began = moment
