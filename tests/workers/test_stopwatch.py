import time

import pytest

from workers.stopwatch import Stopwatch


def test_stages_add_up_to_all_the_time_that_passed():
    began = time.monotonic()
    watch = Stopwatch("load")
    time.sleep(0.02)
    watch.begin("train")
    time.sleep(0.05)
    watch.begin("load")
    time.sleep(0.02)
    found = watch.seconds()
    assert list(found) == ["load", "train"]
    assert found["load"] >= 0.04
    assert found["train"] >= 0.05
    assert sum(found.values()) == pytest.approx(time.monotonic() - began, abs=0.01)


def test_reading_it_does_not_stop_it():
    watch = Stopwatch("load")
    first = watch.seconds()["load"]
    time.sleep(0.01)
    assert watch.seconds()["load"] >= first + 0.01
