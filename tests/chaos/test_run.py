"""A short chaos run: a real `glacier-al up`, annotators at work, and a fault of each of the kinds that matter most."""

import os

import pytest

from chaos.run import Plan, run
from chaos.schedule import Kind

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

# It kills the worker `io`, freezes the worker `labels`, and loses all answers of Label Studio for 9 s.
SEED = 42471
FIRST = (Kind.KILL_TREE, Kind.FREEZE, Kind.NETWORK, Kind.LOSE_REDIS)


def test_a_short_run_breaks_no_invariant(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    said: list[str] = []
    plan = Plan(seed=SEED, faults=len(FIRST) + 1, events=60, minutes=2.0, pause_s=0.3, first=FIRST)
    outcome = run(plan, said.append)
    assert set(FIRST) <= outcome.applied.keys(), said
    assert sum(outcome.applied.values()) + sum(outcome.missed.values()) == plan.faults, said
    assert sum(outcome.events.values()) >= 10, said
    assert outcome.counts["versions"] >= 1, said
    assert outcome.violations == [], said


def test_a_kind_to_begin_with_that_cannot_be_had_here_is_named() -> None:
    plan = Plan(seed=0, faults=1, events=1, minutes=0.1, first=(Kind.RESTART_DATABASE,))
    with pytest.raises(RuntimeError, match="the faults restart database cannot be had here"):
        run(plan, lambda _: None)
