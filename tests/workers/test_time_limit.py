import socket
import time

import pytest
from rq.timeouts import HorseMonitorTimeoutException, JobTimeoutException

from catalog.tracking import Tracking
from tests.real_services import HOST
from workers.time_limit import DeathPenalty, JobTimeLimit


def test_no_library_takes_the_end_of_the_time_for_a_failure_of_its_own():
    with socket.create_server((HOST, 0)) as silent:  # accepts, and never answers
        tracking = Tracking(f"http://{HOST}:{silent.getsockname()[1]}", "experiment", "model")
        with pytest.raises(JobTimeLimit, match="1 seconds"), DeathPenalty(1, JobTimeoutException):
            tracking.log_metrics("run", {"train.loss": 1.0}, 1)


def test_other_alarms_of_rq_stay_what_they_are():
    with pytest.raises(HorseMonitorTimeoutException), DeathPenalty(1, HorseMonitorTimeoutException):
        time.sleep(10)
