"""What is compared with BaaL: our scores from single passes, and how agreement is counted. BaaL is not needed."""

import numpy as np
import pytest

from benchmarks.baal_heuristics import FIRST, agreement, our_scores, predicted_passes, table_of_agreement
from experiments.learner import Learner, LoopConfig
from tests.experiments.tiny_region import tiny_region


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train for a step, since any network has the same sums."""
    train = Learner.train
    monkeypatch.setattr(Learner, "train", lambda self, network, labels, _, seed: train(self, network, labels, 1, seed))


def test_single_passes_add_up_to_the_scores_of_the_product(few_steps: None) -> None:
    region = tiny_region()
    passes = predicted_passes(region, passes=3, seed=0)
    assert len(passes) == 3
    ours = our_scores(passes, region.unmasked("pool"))

    learner = Learner(region, 0, LoopConfig(passes=3))
    segmenter, masks = learner.fresh(), region.masks("pool").numpy()
    learner.train(segmenter, {int(i): masks[i] for i in np.random.default_rng(0).permutation(12)}, 1, 0)
    measured, *_ = learner.score(segmenter, 0)
    for name, scores in ours.items():
        assert scores == pytest.approx([of_patch[name] for of_patch in measured], abs=1e-5)


def test_agreement_is_of_ranks_and_of_the_first_ten() -> None:
    scores = np.arange(20.0)
    assert agreement(scores, np.exp(scores)) == (pytest.approx(1.0), FIRST)
    assert agreement(scores, -scores) == (pytest.approx(-1.0), 0)


def test_the_table_has_means_and_the_lowest() -> None:
    pair = ("BALD, mean", "mutual_information")
    one, other = ({"agreement": {"every pixel": {pair: found}}} for found in ((1.0, 10), (0.5, 7)))
    (row,) = table_of_agreement({"one": one, "other": other})
    assert row["rank correlation, every pixel"] == "0.750 [0.500]"
    assert row["of the first ten, every pixel"] == "8.5 [7]"
