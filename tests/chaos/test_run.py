"""A short chaos run: a real `glacier-al up`, annotators at work, and one fault of each of some kinds."""

import os

import pytest

from chaos.run import Plan, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def test_a_short_run_breaks_no_invariant(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    said: list[str] = []
    outcome = run(Plan(seed=5, faults=3, events=40, minutes=2.0, pause_s=0.3), said.append)
    assert sum(outcome.applied.values()) >= 1, said
    assert sum(outcome.events.values()) >= 10, said
    assert outcome.counts["versions"] >= 1, said
    assert outcome.violations == [], said
