from collections import Counter
from itertools import combinations, count

import numpy as np
import pytest

from catalog.candidates import Candidate
from catalog.records import ProposalReason
from catalog.rounds import Choice
from services import strategies
from services.acquisition import Pool, choose, draw

SIZE = 32
RANKINGS = ["entropy_top10", "entropy_mean", "mutual_information"]


def select(candidates: list[Candidate], strategy: str, size: int, control_share: float, seed: int) -> list[Choice]:
    """Choose among candidates that are all in memory."""
    return list(strategies.get(strategy).choose(Pool.of(candidates, size, control_share, seed)))


def grid(rows: int, cols: int, scene_id: int = 1, scored: bool = True) -> list[Candidate]:
    """Patches side by side; scores fall in an order of their own."""
    order = np.random.default_rng(7).permutation(rows * cols)
    return [
        Candidate(
            patch_id=100 * scene_id + index,
            scene_id=scene_id,
            row_off=index // cols * SIZE,
            col_off=index % cols * SIZE,
            size_px=SIZE,
            score=float(order[index]) if scored else None,
        )
        for index in range(rows * cols)
    ]


def apart(rows: int, cols: int) -> list[Candidate]:
    """Patches of which no two touch: every other one of a larger grid."""
    whole = grid(2 * rows, 2 * cols)
    return [item for item in whole if item.row_off // SIZE % 2 == item.col_off // SIZE % 2 == 0]


def touching(candidates: list[Candidate], chosen: set[int]) -> int:
    places = {item.patch_id: (item.scene_id, item.row_off // SIZE, item.col_off // SIZE) for item in candidates}
    return sum(
        a[0] == b[0] and abs(a[1] - b[1]) <= 1 and abs(a[2] - b[2]) <= 1
        for a, b in combinations([places[item] for item in chosen], 2)
    )


@pytest.mark.parametrize("strategy", ["random", *RANKINGS])
def test_the_same_seed_gives_the_same_choices(strategy):
    candidates = grid(8, 8)
    first = select(candidates, strategy, 10, 0.2, seed=3)
    assert select(candidates, strategy, 10, 0.2, seed=3) == first
    assert select(candidates, strategy, 10, 0.2, seed=4) != first


@pytest.mark.parametrize("strategy", RANKINGS)
def test_the_highest_scores_come_first(strategy):
    candidates = apart(4, 4)
    choices = select(candidates, strategy, 5, 0.0, seed=0)
    best = sorted(candidates, key=lambda item: -item.score)[:5]
    assert [choice.patch_id for choice in choices] == [item.patch_id for item in best]
    assert [choice.score for choice in choices] == [item.score for item in best]
    assert {choice.reason for choice in choices} == {ProposalReason.UNCERTAIN}


@pytest.mark.parametrize("strategy", ["random", "entropy_top10"])
@pytest.mark.parametrize("seed", range(5))
def test_no_two_touch_while_there_is_room(strategy, seed):
    candidates = grid(9, 9)
    choices = select(candidates, strategy, 8, 0.125, seed)
    assert touching(candidates, {choice.patch_id for choice in choices}) == 0


def test_neighbours_of_the_best_are_passed_over():
    left, middle, right = grid(1, 3)
    candidates = [
        Candidate(*vars(item).values())
        for item in (
            Candidate(left.patch_id, 1, 0, left.col_off, SIZE, 3.0),
            Candidate(middle.patch_id, 1, 0, middle.col_off, SIZE, 2.0),
            Candidate(right.patch_id, 1, 0, right.col_off, SIZE, 1.0),
        )
    ]
    chosen = [choice.patch_id for choice in select(candidates, "entropy_top10", 2, 0.0, seed=0)]
    assert chosen == [left.patch_id, right.patch_id]


def test_neighbours_are_taken_when_nothing_else_is_left():
    candidates = grid(2, 2)  # all four touch
    choices = select(candidates, "entropy_top10", 3, 0.0, seed=0)
    by_score = sorted(candidates, key=lambda item: -item.score)
    assert [choice.patch_id for choice in choices] == [item.patch_id for item in by_score[:3]]


def test_patches_of_different_scenes_do_not_touch():
    candidates = [*grid(1, 1, scene_id=1), *grid(1, 1, scene_id=2), *grid(1, 2, scene_id=3)]
    chosen = {choice.patch_id for choice in select(candidates, "random", 3, 0.0, seed=0)}
    assert {item // 100 for item in chosen} == {1, 2, 3}


def test_a_share_is_drawn_at_random_and_says_so():
    candidates = apart(6, 6)
    choices = select(candidates, "entropy_top10", 12, 0.25, seed=5)
    controls = [choice for choice in choices if choice.reason is ProposalReason.CONTROL]
    assert len(controls) == 3
    assert len({choice.patch_id for choice in choices}) == 12
    scores = {item.patch_id: item.score for item in candidates}
    assert all(choice.score == scores[choice.patch_id] for choice in choices)


def unevenness(drawn: Counter[int], patch_ids: list[int]) -> float:
    """Pearson's chi-squared of how often each patch was drawn, against all equally often."""
    expected = drawn.total() / len(patch_ids)
    return sum((drawn[patch_id] - expected) ** 2 / expected for patch_id in patch_ids)


UNEVEN = 37.7
"""Of 16 patches, 15 degrees of freedom, even draws exceed this once in a thousand times."""


def test_controls_are_drawn_evenly_whatever_the_scores():
    candidates = apart(4, 4)
    drawn = Counter(
        choice.patch_id
        for seed in range(1600)
        for choice in select(candidates, "entropy_top10", 4, 0.25, seed)
        if choice.reason is ProposalReason.CONTROL
    )
    assert drawn.total() == 1600
    assert unevenness(drawn, [item.patch_id for item in candidates]) < UNEVEN


def test_controls_of_high_scores_drawn_half_as_often_again_would_be_noticed():
    ranked = sorted(apart(4, 4), key=lambda item: item.score)
    patch_ids = [item.patch_id for item in ranked]
    chances = np.repeat([0.8, 1.2], 8) / 16
    drawn = Counter(np.random.default_rng(0).choice(patch_ids, 1600, p=chances).tolist())
    assert unevenness(drawn, patch_ids) > UNEVEN


def test_controls_stand_among_the_others():
    places = {
        index
        for seed in range(60)
        for index, choice in enumerate(select(apart(4, 4), "entropy_top10", 4, 0.25, seed))
        if choice.reason is ProposalReason.CONTROL
    }
    assert places == {0, 1, 2, 3}


def test_random_needs_no_scores_and_names_no_control():
    choices = select(grid(4, 4, scored=False), "random", 6, 0.5, seed=0)
    assert {(choice.reason, choice.score) for choice in choices} == {(ProposalReason.RANDOM_START, None)}


@pytest.mark.parametrize("strategy", ["random", "entropy_top10"])
def test_fewer_candidates_than_wanted_are_all_taken(strategy):
    candidates = grid(2, 2)
    choices = select(candidates, strategy, 20, 0.25, seed=0)
    assert sorted(choice.patch_id for choice in choices) == [item.patch_id for item in candidates]
    assert select([], strategy, 20, 0.25, seed=0) == []


def test_even_a_small_round_has_a_control():
    reasons = [choice.reason for choice in select(apart(4, 4), "entropy_top10", 4, 0.1, seed=1)]
    assert reasons.count(ProposalReason.CONTROL) == 1
    assert ProposalReason.CONTROL not in {
        choice.reason for choice in select(apart(4, 4), "entropy_top10", 4, 0.0, seed=1)
    }


def scattered(number: int) -> list[Candidate]:
    """Patches anywhere in two small scenes, as where windows overlap or the last ones are moved back."""
    generator = np.random.default_rng(11)
    places = generator.integers(0, 12 * SIZE, (number, 2)).tolist()
    return [
        Candidate(index, index % 2, row, col, SIZE, float(number - index)) for index, (row, col) in enumerate(places)
    ]


def apart_px(a: Candidate, b: Candidate) -> int:
    return max(abs(a.row_off - b.row_off), abs(a.col_off - b.col_off))


def test_patches_anywhere_are_compared_with_all_that_lie_near():
    candidates = scattered(200)
    expected: list[Candidate] = []
    for item in candidates:  # by definition: against each one chosen
        if all(item.scene_id != other.scene_id or apart_px(item, other) > SIZE for other in expected):
            expected.append(item)
    chosen = [choice.patch_id for choice in select(candidates, "entropy_top10", 200, 0.0, seed=0)]
    assert 20 < len(expected) < 100
    assert chosen[: len(expected)] == [item.patch_id for item in expected]
    assert sorted(chosen) == list(range(200))


def test_no_more_candidates_are_read_than_needed():
    without_end = (Candidate(index, index, 0, 0, SIZE, 1.0 / (1 + index)) for index in count())
    assert [choice.patch_id for choice in draw(without_end, 3)] == [0, 1, 2]
    ranked = (Candidate(index, index, 0, 0, SIZE, 1.0 / (1 + index)) for index in count())
    shuffled = (Candidate(index, index, 0, 0, SIZE, 1.0 / (1 + index)) for index in count(1000))
    choices = choose(Pool(ranked, shuffled, 4, 0.25, np.random.default_rng(0)), [ranked])
    assert sorted(choice.patch_id for choice in choices) == [0, 1, 2, 1000]


def test_of_equal_scores_the_same_patches_are_always_chosen():
    candidates = [Candidate(index, index, 0, 0, SIZE, 0.5) for index in range(10)]
    for order in (candidates, candidates[::-1]):
        assert [choice.patch_id for choice in select(order, "entropy_top10", 3, 0.0, seed=0)] == [9, 8, 7]
