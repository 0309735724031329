"""Several workers at the same time, as threads."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


def together(*calls: Callable[[], object]) -> None:
    """Make calls at the same time, and wait for all; raise what the first of them raised."""
    with ThreadPoolExecutor(len(calls)) as pool:
        made = [pool.submit(call) for call in calls]
    for call in made:
        call.result()
