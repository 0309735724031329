from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.ranking_comparison import (
    OWN,
    Baseline,
    ceiling,
    compare_designs,
    compare_estimates,
    compare_staged,
    judge,
    noise,
    own_masks,
)
from benchmarks.ranking_schemes import ENTRY, Outcome, cascade, full
from benchmarks.ranking_scores import RANGES, PoolScores, Scores
from models.measures import MEASURES

PATCHES, RUNS = 60, 8
TRUTH = np.linspace(1.0, 0.0, PATCHES)


def scores_with(noise: float, seed: int) -> tuple[Scores, dict[int, Scores]]:
    """The runs of a pool whose patches rank as TRUTH does, but for noise that averages out over the passes."""
    shape = (RUNS * 40, len(MEASURES), PATCHES)
    passes = TRUTH + noise * np.random.default_rng(seed).normal(size=shape)
    runs = [[passes[40 * run + a : 40 * run + b].mean(axis=0) for a, b in RANGES] for run in range(RUNS)]
    longer = {
        80: passes.reshape(-1, 80, *shape[1:]).mean(axis=1),
        160: passes.reshape(-1, 160, *shape[1:]).mean(axis=1),
    }
    return np.array(runs, dtype=np.float32), longer


@pytest.fixture(scope="module")
def pool() -> PoolScores:
    """Independent passes with three times the noise of balanced ones: nine times as many are needed."""
    noisy, longer = scores_with(0.6, 0)
    steady, _ = scores_with(0.2, 1)
    truth = np.tile(TRUTH.astype(np.float32), (len(MEASURES), 1))
    return PoolScores(truth, np.stack([truth, truth]), truth, {"independent": noisy, "balanced": steady}, longer)


def test_choices_are_compared_with_the_right_one_and_with_each_other() -> None:
    outcomes = [Outcome(np.array([0, 1]), 4.0), Outcome(np.array([1, 2]), 6.0)]
    judged = judge(outcomes, np.array([0, 1]))
    assert (judged.reference, judged.between, judged.cost) == (0.75, 0.5, 5.0)


def test_masks_of_each_patch_s_own_keep_the_scores_of_every_patch(pool: PoolScores) -> None:
    runs = pool.runs["independent"]
    shuffled = own_masks(runs)
    assert not np.array_equal(shuffled, runs)
    assert np.array_equal(np.sort(shuffled, axis=0), np.sort(runs, axis=0))


def test_masks_of_each_patch_s_own_bring_back_the_noise_that_common_masks_share() -> None:
    shared = np.arange(8.0)[:, None] + TRUTH  # every run moves all patches alike
    assert (np.diff(shared, axis=1) < 0).all()
    assert (np.diff(own_masks(shared), axis=1) > 0).any()


def test_noise_of_a_third_is_worth_nine_times_the_passes(pool: PoolScores) -> None:
    rows = compare_designs([pool])
    speed_ups = [str(row["speed-up"]) for row in rows if (row["masks"], row["passes"]) == ("balanced", "T = 10")]
    ratios = [float(speed_up.removeprefix("> ")) for speed_up in speed_ups]
    assert len(ratios) == len(MEASURES)
    assert np.median(ratios) == pytest.approx(9.0, rel=0.5)
    steadier = [row["steadier"] for row in rows if row["masks"] == "balanced"]
    assert np.array(steadier, dtype=float) == pytest.approx(9.0, rel=0.4)


def test_noise_is_the_variance_of_a_mean_over_the_passes(pool: PoolScores) -> None:
    assert noise(pool, "balanced", 20, 0) == pytest.approx(0.2**2 / 20, rel=0.3)


def test_a_cascade_is_judged_by_its_own_cost(pool: PoolScores) -> None:
    rows = [row for row in compare_staged([pool], {"few": cascade(5, 20, 0.3)}) if row["masks"] == "balanced"]
    assert [row["cost"] for row in rows] == pytest.approx([5 + ENTRY + 0.3 * (15 + ENTRY)] * len(MEASURES))


def test_a_survey_costs_a_pass_on_all_patches_and_the_others_on_its_share(pool: PoolScores) -> None:
    rows = [row for row in compare_staged([pool], {}, [(20, 0.2)]) if "survey" in str(row["passes"])]
    assert [row["cost"] for row in rows] == pytest.approx([1 + ENTRY + 0.2 * (20 + ENTRY)] * len(MEASURES))
    # Here the survey knows the truth; what it leaves out is not chosen, however high the passes score it.
    everywhere = compare_staged([pool], {"all": full(20)})
    of_all = [float(str(row["with reference"])) for row in everywhere if row["passes"] == "all"]
    assert (np.array([float(str(row["with reference"])) for row in rows]) >= of_all).all()
    split = replace(pool, certain=np.stack([TRUTH, TRUTH[::-1], TRUTH]).astype(np.float32))
    rows = [row for row in compare_staged([split], {}, [(20, 0.2)]) if "survey" in str(row["passes"])]
    assert [row["cost"] for row in rows] == pytest.approx([1 + ENTRY + 0.4 * (20 + ENTRY)] * len(MEASURES))
    blind = replace(pool, certain=pool.certain[:, ::-1])
    rows = [row for row in compare_staged([blind], {}, [(20, 0.2)]) if "survey" in str(row["passes"])]
    assert [row["with reference"] for row in rows] == [0.0] * len(MEASURES)


def test_the_baseline_is_as_fast_as_itself(pool: PoolScores) -> None:
    rows = [row for row in compare_designs([pool]) if row["masks"] == OWN and row["passes"] == "T = 20"]
    assert [row["cost"] for row in rows] == [20 + ENTRY] * len(MEASURES)
    assert [float(str(row["speed-up"])) for row in rows] == pytest.approx([1.0] * len(MEASURES), abs=0.5)


def test_no_more_passes_are_claimed_than_were_measured(pool: PoolScores) -> None:
    baseline = Baseline([pool], 0)
    assert baseline.passes_for(1.0) <= 160
    assert not baseline.reaches(1.01)


def test_an_estimate_is_judged_by_what_two_runs_have_in_common(pool: PoolScores) -> None:
    rows = compare_estimates([pool])
    halves = [row for row in rows if row["estimate"] == "halves" and row["passes"] == 20]
    # Half the passes have more noise, so that their agreement is below that of all.
    assert all(float(str(row["mean error"])) < 0.0 for row in halves)


def test_a_pass_without_dropout_is_judged_by_entropy_alone(pool: PoolScores) -> None:
    rows = [row for row in compare_staged([pool], {}) if row["masks"] == "none dropped"]
    assert [row["measure"] for row in rows] == ["entropy_top10", "entropy_mean"]
    # Here its scores are the truth, and so are both halves of the reference.
    assert [row["with reference"] for row in rows] == [1.0, 1.0]
    assert set(ceiling([pool]).values()) == {1.0}


def test_scores_are_read_back_as_they_were_written(pool: PoolScores, tmp_path: Path) -> None:
    pool.save(tmp_path / "new" / "pool.npz")
    read = PoolScores.load(tmp_path / "new" / "pool.npz")
    assert np.array_equal(read.reference, pool.reference)
    assert read.runs.keys() == pool.runs.keys()
    assert all(np.array_equal(read.runs[name], pool.runs[name]) for name in pool.runs)
    assert all(np.array_equal(read.longer[passes], pool.longer[passes]) for passes in pool.longer)


def test_of_equally_good_numbers_of_passes_the_lowest_counts(pool: PoolScores) -> None:
    truth = np.broadcast_to(pool.reference, (RUNS, len(RANGES), *pool.reference.shape))
    perfect = replace(pool, runs={"independent": truth}, longer={80: truth[:4, 0], 160: truth[:2, 0]})
    assert Baseline([perfect], 0).passes_for(1.0) == 5.0
