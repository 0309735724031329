"""A clock that is set for processes which run already, and goes on counting."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from chaos.shifted_clock import ShiftedClock, shifted_clock

TELLS = """
import datetime, json, sys, time
for _ in sys.stdin:
    began = time.monotonic()
    time.sleep(0.01)
    times = [time.time(), datetime.datetime.now(datetime.UTC).timestamp()]
    print(json.dumps([*times, time.monotonic() - began]), flush=True)
"""


@pytest.fixture
def clock() -> Iterator[ShiftedClock]:
    with shifted_clock() as found:
        if found is None:
            pytest.skip("found no compiler of C")
        yield found


def test_a_running_process_sees_the_clock_set_and_its_sleep_stays_right(clock: ShiftedClock) -> None:
    command = [sys.executable, "-c", TELLS]
    environ = {**os.environ, **clock.environ}
    with subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        for ahead in (0, 3600, -7200, 0):
            clock.set_ahead(ahead)
            process.stdin.write("\n")
            process.stdin.flush()
            *times, slept = json.loads(process.stdout.readline())
            assert all(abs(found - time.time() - ahead) < 30 for found in times), ahead
            assert 0.01 <= slept < 30
        process.stdin.close()
