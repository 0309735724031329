"""What is said of the parts: each change once, with the end of the log and what to do."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cli import watch as module
from cli.errors import ForeignServerError
from cli.first_start import FirstStart
from cli.plan import Process
from cli.supervisor import State, Status
from cli.watch import Watch


class System:
    """Two parts, `store` (a service) and `worker`, in states that a test sets."""

    def __init__(self, var_dir: Path) -> None:
        (var_dir / "logs").mkdir()
        for name in ("store", "worker"):
            (var_dir / "logs" / f"{name}.log").write_text(f"first\n{name} has no disk\n")
        first_start = FirstStart(var_dir / "store.db", {})
        processes = [
            Process("store", ("store",), {}, var_dir, is_service=True, first_start=first_start),
            Process("worker", ("worker",), {}, var_dir, is_service=False),
        ]
        self.ready = {"store": False, "worker": False}
        self.said: list[str] = []
        self.statuses = {"store": running(11), "worker": running(12)}
        self.foreign: set[str] = set()
        checks = {name: lambda _, name=name: self._check(name) for name in self.ready}
        self.watch = Watch(processes, checks, var_dir, self.said.append)

    def _check(self, name: str) -> bool:
        if name in self.foreign:
            raise ForeignServerError("another program answers at 127.0.0.1:8080 (process 7, python), not ours")
        return self.ready[name]

    def look(self, **changed: Status) -> list[str]:
        """Let some change their state; return what is said of that."""
        self.said.clear()
        self.statuses |= changed
        self.watch.look(self.statuses)
        return list(self.said)


def running(pid: int) -> Status:
    return Status(State.RUNNING, pid, datetime.now(UTC))


def not_running(state: State) -> Status:
    return Status(state, 0, datetime.now(UTC))


@pytest.fixture
def system(tmp_path: Path) -> System:
    return System(tmp_path)


def test_each_is_announced_with_what_is_still_missing(system: System):
    assert system.look() == []
    assert not system.watch.settled
    system.ready["store"] = True
    (said,) = system.look()
    assert re.fullmatch(r" +\d\.\d s  store is ready; waiting for worker", said)
    system.ready["worker"] = True
    (said,) = system.look()
    assert said.endswith("s  worker is ready")
    assert system.watch.settled
    assert system.look() == []


def test_a_database_is_complete_when_its_program_has_answered(system: System, tmp_path: Path):
    (tmp_path / "store.db").touch()
    system.look()
    assert not (tmp_path / "database-complete").exists()
    system.ready["store"] = True
    system.look()
    assert (tmp_path / "database-complete").exists()


def test_a_part_that_ended_and_came_back_is_told(system: System):
    system.ready |= {"store": True, "worker": True}
    system.look()
    assert system.look(store=not_running(State.BACKOFF)) == ["store ended by itself and is started again."]
    assert system.look() == []
    system.ready["store"] = False
    assert system.look(store=running(13)) == []
    system.ready["store"] = True
    (said,) = system.look()
    assert re.fullmatch(r"store is ready again after \d\.\d s\.", said)


def test_a_part_that_ended_between_two_looks_is_told(system: System):
    system.ready |= {"store": True, "worker": True}
    system.look()
    said = system.look(worker=running(14))
    assert said[0] == "worker ended by itself and is started again."
    assert re.fullmatch(r"worker is ready again after 0\.\d s\.", said[1])


def test_a_part_that_was_given_up_is_named_with_its_log_and_what_to_do(system: System, tmp_path: Path):
    system.ready["store"] = True
    said, ready = system.look(worker=not_running(State.FATAL))
    assert ready.endswith("store is ready")
    assert said.startswith("worker is down: it ended 6 times, each within 60 s of its start, and is not started again.")
    assert f"The end of {tmp_path}/logs/worker.log:\n  first\n  worker has no disk\nThe other parts go on." in said
    assert re.search(rf"cd {tmp_path}/supervisor && \S+/supervisorctl start own:worker\)$", said)
    assert system.watch.settled
    assert system.watch.missing == ["worker"]
    assert system.look() == []
    system.ready["worker"] = True
    (said,) = system.look(worker=running(15))  # a person started it
    assert said.endswith("worker is ready")
    assert system.watch.missing == []


def test_a_part_that_never_becomes_ready_is_named_once_and_still_waited_for(
    system: System, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "START_TIMEOUT_S", 0.0)
    system.ready["worker"] = True
    said = system.look()
    assert said[0].startswith("store is not ready: it runs, but has not answered for 0 s. The end of")
    assert "supervisorctl restart services:store" in said[0]
    assert system.watch.settled
    assert system.look() == []
    system.ready["store"] = True
    (said,) = system.look()
    assert said.endswith("store is ready")


def test_nothing_is_concluded_while_the_supervisor_does_not_answer(system: System):
    system.look()
    system.statuses = {}
    assert system.look() == []
    assert not system.watch.settled


def test_another_program_in_the_place_of_a_part_is_named_if_it_stays(system: System, monkeypatch: pytest.MonkeyPatch):
    system.ready["worker"] = True
    system.foreign.add("store")
    assert len(system.look()) == 1  # the worker is ready; what was left of an earlier store may end at once
    assert not system.watch.settled
    monkeypatch.setattr(module, "FOREIGN_S", 0.0)
    (said,) = system.look()
    assert "store is not ready: another program answers at 127.0.0.1:8080 (process 7, python), not ours." in said
    assert "supervisorctl restart services:store" in said
    assert system.watch.settled
    assert system.watch.missing == ["store"]
    assert system.look() == []
    system.foreign.clear()
    system.ready["store"] = True
    (said,) = system.look()
    assert said.endswith("store is ready")
