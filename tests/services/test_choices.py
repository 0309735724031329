"""Strategies that look at the whole table of scores, and the controls from the shortlist."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from catalog.candidates import Candidate
from catalog.records import ProposalReason
from catalog.rounds import Choice
from services import strategies
from services.acquisition import Pool
from services.patch_features import DIMENSIONS, ROW, PatchFeatures, farthest_first, features_of
from services.score_table import ScoreTable, row_type, table_of

SIZE = 32
TABLE_STRATEGIES = [name for name, item in strategies.STRATEGIES.items() if item.needs.table]


def candidates(number: int, entropy: Sequence[float]) -> list[Candidate]:
    """Patches in a row of which no two touch, with ids from 0."""
    return [Candidate(index, 1, 0, 3 * SIZE * index, SIZE, float(entropy[index])) for index in range(number)]


def make_table(
    entropy: Sequence[float],
    foreground: Sequence[float] | None = None,
    by_class: np.ndarray | None = None,
    screening: Sequence[bool] | None = None,
) -> ScoreTable:
    """A table of the patches 0, 1, ... by a version of three classes; all half foreground unless told."""
    number = len(entropy)
    rows = np.zeros(number, dtype=row_type(3))
    rows["patch_id"], rows["entropy"] = np.arange(number), entropy
    rows["foreground_share"] = 0.5 if foreground is None else foreground
    rows["class_entropy"] = np.outer(entropy, [0.5, 0.5]) if by_class is None else by_class
    rows["screening"] = False if screening is None else screening
    return table_of(rows[::-1])  # in any order


def make_features(number: int) -> PatchFeatures:
    """The patches 0, 1, ... on a line, each a step of 1 from the next."""
    rows = np.zeros(number, dtype=ROW)
    rows["patch_id"], rows["features"][:, 0] = np.arange(number), np.arange(number)
    return features_of(rows[::-1])  # in any order


def select(
    name: str, table: ScoreTable, size: int, seed: int = 0, control_share: float = 0.0, **options
) -> list[Choice]:
    number = len(table.patch_ids)
    options.setdefault("features", make_features(number))
    pool = Pool.of(candidates(number, table.entropy), size, control_share, seed, table, **options)
    return list(strategies.get(name).choose(pool))


def ids(choices: Sequence[Choice]) -> list[int]:
    return [choice.patch_id for choice in choices]


FALLING = np.linspace(1.0, 0.1, 40)  # patch 0 is the most uncertain
WITHOUT_NOISE = 99
"""So many rounds by scores came before that the noise has its last weight."""


@pytest.mark.parametrize("name", TABLE_STRATEGIES)
def test_the_same_seed_gives_the_same_distinct_choices(name):
    table = make_table(FALLING)
    first = select(name, table, 10, seed=3, control_share=0.2)
    assert select(name, table, 10, seed=3, control_share=0.2) == first
    assert select(name, table, 10, seed=4, control_share=0.2) != first
    assert len(set(ids(first))) == 10


@pytest.mark.parametrize("name", TABLE_STRATEGIES)
def test_a_table_is_asked_for(name):
    pool = Pool.of(candidates(3, FALLING), 2, 0.0, 0)
    with pytest.raises(ValueError, match="found no table of scores"):
        strategies.get(name).choose(pool)


@pytest.mark.parametrize("name", TABLE_STRATEGIES)
def test_what_is_labelled_is_in_the_table_but_not_chosen(name):
    table = make_table(FALLING)
    pool = Pool.of(candidates(40, FALLING)[20:], 10, 0.2, 0, table, features=make_features(40))
    assert min(ids(strategies.get(name).choose(pool))) >= 20


def test_foreground_random_draws_evenly_where_foreground_is():
    table = make_table(FALLING, foreground=[0.0, 0.02] * 20)
    drawn = Counter(patch for seed in range(400) for patch in ids(select("foreground_random", table, 4, seed)))
    assert set(drawn) == set(range(1, 40, 2))
    expected = 400 * 4 / 20
    assert sum((count - expected) ** 2 / expected for count in drawn.values()) < 43.8  # chi2, 19 dof: p = .001
    assert {item.reason for item in select("foreground_random", table, 4)} == {ProposalReason.FOREGROUND}


def test_where_old_outlines_have_foreground_is_on_the_shortlist():
    table = make_table(FALLING, foreground=[0.0] * 40)
    table.prior_share[7:10] = 0.01
    assert set(ids(select("foreground_random", table, 3))) == {7, 8, 9}


def test_touching_patches_with_foreground_come_before_any_without():
    """Glaciers lie together: their patches touch, and still go first; then those with most foreground."""
    table = make_table([0.5] * 8, foreground=[0.9, 0.8, 0.7, 0.004, 0.0, 0.003, 0.0, 0.0])
    row = [Candidate(index, 1, 0, SIZE * index, SIZE, 0.5) for index in range(8)]
    for name in ("foreground_random", "foreground_entropy"):
        chosen = ids(strategies.get(name).choose(Pool.of(row, 5, 0.0, 0, table)))
        assert set(chosen[:3]) == {0, 1, 2}
        assert chosen[3:] == [5, 7]  # 3 touches 2 and would be the last


def test_foreground_entropy_ranks_within_the_shortlist():
    table = make_table(FALLING, foreground=[0.0] * 10 + [0.2] * 30)
    assert ids(select("foreground_entropy", table, 4)) == [10, 11, 12, 13]
    assert (
        ids(select("foreground_entropy", table, 4, shortlist_foreground=0.3))[0] == 39
    )  # all short: by share, then id


@pytest.mark.parametrize(
    ("centres", "expected"),
    [
        ([0.0], [3, 2, 1, 0]),  # 10 is 10 from the centre; then 4 is 4 from it, and 6 from 10; 1 is 1 from it
        ([], [0, 3, 2, 1]),  # without a centre the first point comes first
        ([5.0, 9.0], [0, 1, 2, 3]),  # 0 is 5 from the nearest centre; 1, 4 and 10 are then each 1 from one
    ],
)
def test_the_farthest_from_its_nearest_centre_comes_next(centres, expected):
    points = np.array([[0.0], [1.0], [4.0], [10.0]])
    assert list(farthest_first(points, np.array(centres).reshape(-1, 1))) == expected


def test_k_center_spreads_over_uncertain_patches_unlike_those_labelled():
    """Five candidates a place: 1 to 10, the most uncertain. 10 is farthest from 0, then 5 from 0 and 10."""
    table, features = make_table(FALLING), make_features(40)
    pool = Pool.of(candidates(40, FALLING)[1:], 2, 0.0, 0, table, features=features, labelled=[0, 77])
    assert ids(strategies.get("k_center_entropy").choose(pool)) == [10, 5]
    assert ids(select("k_center_entropy", table, 2)) == [0, 9]  # nothing is labelled: the most uncertain is first


def test_k_center_keeps_away_from_the_controls_too():
    """Of two patches one is the control; the other is the one of the ten most uncertain that is farthest from it."""
    for seed in range(4):
        chosen = {item.reason: item.patch_id for item in select("k_center_entropy", make_table(FALLING), 2, seed, 0.5)}
        control = chosen[ProposalReason.SHORTLIST_CONTROL]
        uncertain = [patch for patch in range(11) if patch != control][:10]
        assert chosen[ProposalReason.UNCERTAIN] == max(uncertain, key=lambda patch: abs(patch - control))


def test_k_center_chooses_where_foreground_is():
    table = make_table(FALLING, foreground=[0.0] * 30 + [0.5] * 10)
    assert ids(select("k_center_entropy", table, 2)) == [30, 39]


def test_features_are_asked_for():
    with pytest.raises(ValueError, match="found no features of patches"):
        select("k_center_entropy", make_table(FALLING), 2, features=None)
    with pytest.raises(ValueError, match="found patches without features"):
        select("k_center_entropy", make_table(FALLING), 2, features=make_features(3))
    assert make_features(3).of([2, 0])[:, 0].tolist() == [2.0, 0.0]
    assert make_features(3).of([]).shape == (0, DIMENSIONS)


def test_two_thirds_are_taken_class_by_class_and_the_rest_by_entropy():
    """Class 1 is uncertain in the patches 20 to 29, class 2 in 30 to 39, and most of all entropy is elsewhere."""
    by_class = np.zeros((40, 2))
    by_class[20:30, 0], by_class[30:, 1] = np.linspace(0.9, 0.5, 10), np.linspace(0.1, 0.05, 10)
    chosen = ids(select("class_entropy", make_table(FALLING, by_class=by_class), 9))
    assert sorted(chosen[:6]) == [20, 21, 22, 30, 31, 32]
    assert {patch >= 30 for patch in chosen[:6:2]} != {patch >= 30 for patch in chosen[1:6:2]}  # in turn
    assert chosen[6:] == [0, 1, 2]


def test_noise_falls_with_the_rounds():
    """A hundredth of Gumbel noise hardly moves scores that are 5 % apart; all of it mixes them."""
    table = make_table(0.95 ** np.arange(40))
    last = [ids(select("class_power_entropy", table, 6, seed, past_rounds=WITHOUT_NOISE)) for seed in range(20)]
    first = [ids(select("class_power_entropy", table, 6, seed)) for seed in range(20)]
    assert np.mean([max(chosen) for chosen in last]) < 9
    assert np.mean([max(chosen) for chosen in first]) > 15


def test_power_sampling_draws_in_proportion_to_entropy():
    """Of three patches with entropies 0.1, 0.3 and 0.6, one in ten, three in ten and six in ten are drawn first."""
    table = make_table([0.1, 0.3, 0.6])
    drawn = Counter(ids(select("power_entropy", table, 1, seed))[0] for seed in range(2000))
    assert [drawn[patch] / 2000 for patch in range(3)] == pytest.approx([0.1, 0.3, 0.6], abs=0.035)  # 3 sd


def test_what_was_judged_lowers_the_entropies_of_a_patch():
    """A quarter of the entropy of patch 0 is left; of patch 1 nothing was judged that is uncertain."""
    table = make_table([0.8, 0.6, 0.0], by_class=np.array([[0.4, 0.2], [0.3, 0.1], [0.0, 0.0]]))
    lowered = table.lowered({0: 0.2, 1: 0.7, 2: 0.0, 99: 0.5})
    np.testing.assert_allclose(lowered.entropy, [0.2, 0.6, 0.0], rtol=1e-6)
    np.testing.assert_allclose(lowered.class_entropy, [[0.1, 0.05], [0.3, 0.1], [0.0, 0.0]], rtol=1e-6)
    assert ids(select("class_entropy", lowered, 1)) == [1]
    assert table.entropy[0] == np.float32(0.8)


def test_patches_that_were_only_screened_come_last():
    table = make_table(FALLING, screening=[True] * 20 + [False] * 20)
    assert ids(select("class_entropy", table, 3)) == [20, 21, 22]
    assert min(ids(select("power_entropy", table, 10))) >= 20


@pytest.mark.parametrize(
    ("share", "of_pool", "expected"),
    [(0.25, 1 / 3, (2, 1)), (0.1, 0.0, (1, 0)), (0.2, 0.5, (1, 1)), (0.25, 1.0, (0, 3)), (0.0, 0.33, (0, 0))],
)
def test_controls_come_from_the_shortlist_and_fewer_from_the_pool(share, of_pool, expected):
    table = make_table(FALLING, foreground=[0.0] * 30 + [0.5] * 10)
    for seed in range(20):
        choices = select("entropy_top10", table, 12, seed, share, pool_control_share=of_pool)
        of = {reason: [c.patch_id for c in choices if c.reason is reason] for reason in ProposalReason}
        counts = len(of[ProposalReason.SHORTLIST_CONTROL]), len(of[ProposalReason.CONTROL])
        assert counts == expected
        assert all(patch >= 30 for patch in of[ProposalReason.SHORTLIST_CONTROL])
        assert len(set(ids(choices))) == 12


@pytest.mark.parametrize(("share", "controls"), [(0.1, 1), (0.2, 2), (0.25, 3)])
def test_a_third_of_all_controls_comes_from_the_pool_however_few_a_round_has(share: float, controls: int):
    """A round's share of them is rounded up or down: of rounds with one control, a third has it of the pool."""
    table = make_table(FALLING, foreground=[0.0] * 30 + [0.5] * 10)
    of_pool = []
    for seed in range(300):
        choices = select("entropy_top10", table, 12, seed, share, pool_control_share=0.33)
        reasons = Counter(choice.reason for choice in choices)
        of_pool.append(reasons[ProposalReason.CONTROL])
        assert reasons[ProposalReason.SHORTLIST_CONTROL] == controls - of_pool[-1]
    assert set(of_pool) == {0, 1}
    assert np.mean(of_pool) == pytest.approx(0.33 * controls, abs=0.085)  # 3 sd


def test_controls_that_the_shortlist_lacks_are_said_to_come_from_the_pool():
    table = make_table(FALLING, foreground=[0.0] * 39 + [0.5])
    reasons = Counter(item.reason for item in select("power_entropy", table, 12, 0, 0.25))
    assert reasons[ProposalReason.SHORTLIST_CONTROL] == 1
    assert reasons[ProposalReason.CONTROL] == 2


def test_a_strategy_that_draws_from_the_shortlist_is_compared_with_the_pool():
    reasons = Counter(item.reason for item in select("foreground_random", make_table(FALLING), 12, 0, 0.25))
    assert reasons == {ProposalReason.FOREGROUND: 9, ProposalReason.CONTROL: 3}
