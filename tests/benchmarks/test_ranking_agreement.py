from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import ranking_agreement, report
from benchmarks.ranking_agreement import SHORT, Network, scores_file, scores_of
from benchmarks.ranking_scores import PoolScores

NETWORK = Network("0", 12, 0)


def test_kept_scores_are_told_apart_by_all_that_they_depend_on() -> None:
    files = {
        scores_file(network, form, version)
        for network in (NETWORK, Network("1", 12, 0), Network("0", 40, 0), Network("0", 12, 1))
        for form in (SHORT, replace(SHORT, side_px=768), replace(SHORT, runs=4), replace(SHORT, reference=500))
        for version in ("1.0+abc", "1.0+abd")
    }
    assert len(files) == 4 * 4 * 2


@pytest.mark.parametrize("version", ["1.0+abc", "1.0+abc-dirty"])
def test_a_run_goes_on_with_the_scores_of_the_same_code(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking_agreement, "SCORES", tmp_path)
    for module in (ranking_agreement, report):
        monkeypatch.setattr(module, "code_version", lambda: version)
    one = np.ones((1, 1), dtype=np.float32)
    PoolScores(one, one[None], one, {}, {}).save(scores_file(NETWORK, SHORT, version))
    monkeypatch.setattr(ranking_agreement, "synthetic_pool", _refuse)
    if version.endswith("-dirty"):
        with pytest.raises(InterruptedError):
            scores_of(NETWORK, SHORT, resume=True)
    else:
        assert (scores_of(NETWORK, SHORT, resume=True).reference == one).all()


def _refuse(*_: object) -> None:
    raise InterruptedError
