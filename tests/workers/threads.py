"""Several workers at the same time, as threads."""

import threading
from collections.abc import Callable


def together(*calls: Callable[[], object]) -> None:
    """Make calls at the same time, and wait for all; raise what one of them raised."""
    raised: list[BaseException] = []

    def call(function: Callable[[], object]) -> None:
        try:
            function()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=call, args=[function]) for function in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]
