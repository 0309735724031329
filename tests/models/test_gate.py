"""The gate on blocks of known counts: two classes, so that gains can be worked out by hand."""

from collections.abc import Sequence

import numpy as np
import pytest

from models.block_counts import BlockCounts
from models.gate import (
    ANY_LOSS,
    FIRST,
    GainInterval,
    GateEvidence,
    GateRules,
    Outcome,
    compare,
    judge,
    without_margin_if_doubted,
)

NAMES = ("background", "ice")
RULES = GateRules(confidence=0.9, margin=0.05, class_margin=0.1)


def blocks(wrong: Sequence[int], columns: int = 10) -> BlockCounts:
    """Blocks of 50 pixels of each class, with so many pixels of each class predicted as the other."""
    return BlockCounts(
        classes=2,
        side_px=32,
        places=tuple((0, number // columns, number % columns) for number in range(len(wrong))),
        counts=tuple((50 - errors, errors, errors, 50 - errors) for errors in wrong),
    )


def without_debris(wrong: int, debris: Sequence[int]) -> BlockCounts:
    """64 blocks of 50 pixels of background and of ice, and none of debris.

    In each so many pixels of both are predicted as the other, and so many of ice as debris.
    """
    return BlockCounts(
        classes=3,
        side_px=32,
        places=tuple((0, number // 8, number % 8) for number in range(64)),
        counts=tuple((50 - wrong, wrong, 0, wrong, 50 - wrong - of_debris, of_debris, 0, 0, 0) for of_debris in debris),
    )


def errors(mean: float, count: int = 100, seed: int = 0) -> list[int]:
    """Independent numbers of errors."""
    return np.random.default_rng(seed).poisson(mean, count).clip(0, 50).tolist()


def evidence(outcome: Outcome, gain: float = 0.0, of_ice: float = 0.0) -> GateEvidence:
    mean = GainInterval(gain=gain, low=gain - 0.02, high=gain + 0.02, outcome=outcome)
    ice = GainInterval(gain=of_ice, low=of_ice - 0.02, high=of_ice + 0.02, outcome="cannot tell")
    return GateEvidence(
        champion_version=3,
        confidence=0.9,
        margin=0.05,
        class_margin=0.1,
        mean_iou=mean,
        iou={"background": mean, "ice": ice},
        blocks=40,
        block_px=32,
        independent_blocks=40.0,
        blocks_needed=50,
        too_small=True,
    )


def test_a_slightly_worse_version_is_promoted_unless_the_champion_doubts_many_new_labels() -> None:
    # 10 wrong pixels on average against 10.4: IoU .667 and .656.
    champion, version = errors(10.0), errors(10.4, seed=1)
    trusting, wary = (without_margin_if_doubted(RULES, share, 0.4) for share in (0.4, 0.5))
    promoted = [
        judge(compare(blocks(version), blocks(champion), NAMES, 3, rules), 12, 6).promoted for rules in (trusting, wary)
    ]
    assert promoted == [True, False]
    any_loss = GateRules(0.9, ANY_LOSS, 1.0)
    assert without_margin_if_doubted(any_loss, 1.0, 0.4) is any_loss


def test_the_gain_is_that_of_all_blocks_together() -> None:
    # 40 pixels of each class wrong: IoU 160 / 240 of each class; 20 wrong: 180 / 220.
    found = compare(blocks([0, 0, 10, 10]), blocks([10, 10, 10, 10]), NAMES, 3, RULES)
    assert found.mean_iou.gain == pytest.approx(180 / 220 - 160 / 240)
    assert found.iou["ice"].gain == pytest.approx(180 / 220 - 160 / 240)
    assert (found.blocks, found.block_px, found.champion_version) == (4, 32, 3)


ONE_DEBRIS_PIXEL, SIXTEEN = [1] + [0] * 63, [1, 0, 0, 0] * 16
GAIN_OF_ONE = -1 / (64 * 60) / 2
"""Of 64 * 60 pixels that are ice or mapped as it, one less is both; the mean is over background and ice."""


@pytest.mark.parametrize(
    ("champion", "version", "gain", "outcome", "promoted"),
    [
        (without_debris(10, [0] * 64), without_debris(10, ONE_DEBRIS_PIXEL), GAIN_OF_ONE, "not worse", True),
        (without_debris(10, [0] * 64), without_debris(10, SIXTEEN), 16 * GAIN_OF_ONE, "worse", False),
        (
            without_debris(10, SIXTEEN),
            without_debris(12, [0] * 64),
            38 / 62 - 40 / 60 - 16 * GAIN_OF_ONE,
            "worse",
            False,
        ),
        (
            without_debris(10, SIXTEEN),
            without_debris(14, [0] * 64),
            36 / 64 - 40 / 60 - 16 * GAIN_OF_ONE,
            "worse",
            False,
        ),
    ],
    ids=["one more", "16 more", "16 less, a fifth more errors", "16 less, two fifths more errors"],
)
def test_pixels_of_a_class_that_does_not_occur_cost_the_class_that_they_displace(
    champion: BlockCounts, version: BlockCounts, gain: float, outcome: Outcome, promoted: bool
) -> None:
    found = compare(version, champion, ("background", "ice", "debris"), 3, RULES)
    assert found.mean_iou.gain == pytest.approx(gain)
    assert (found.mean_iou.outcome, judge(found, 12, 6).promoted) == (outcome, promoted)


def test_it_does_not_matter_which_class_that_does_not_occur_is_predicted() -> None:
    """The influence of a block on the gain, by which blocks grow, is over the classes that occur, too."""

    def of_four_classes(debris: int, lake: int) -> BlockCounts:
        ice = [10, 40 - debris - lake, debris, lake]
        return BlockCounts(
            classes=4,
            side_px=32,
            places=tuple((0, number // 20, number % 20) for number in range(400)),
            counts=tuple(
                (40, 10, 0, 0, *(ice if number % 20 < 10 else [10, 40, 0, 0]), *[0] * 8) for number in range(400)
            ),
        )

    names = ("background", "ice", "debris", "lake")
    champion = of_four_classes(0, 2)
    one, other = (compare(of_four_classes(*wrong), champion, names, 3, RULES) for wrong in ((5, 0), (0, 5)))
    assert (one.mean_iou, one.blocks, one.independent_blocks) == (
        other.mean_iou,
        other.blocks,
        other.independent_blocks,
    )


def test_a_resample_without_a_rare_class_counts_the_others_only() -> None:
    """Block 0 alone holds debris, which both versions find; the new one maps a pixel of ice as debris in block 1."""
    plain, of_debris, false = (
        (40, 10, 0, 10, 40, 0, 0, 0, 0),
        (40, 10, 0, 10, 15, 0, 0, 0, 25),
        (40, 10, 0, 10, 39, 1, 0, 0, 0),
    )
    champion, version = (
        BlockCounts(
            classes=3,
            side_px=32,
            places=tuple((0, number // 8, number % 8) for number in range(64)),
            counts=(of_debris, second, *[plain] * 62),
        )
        for second in (plain, false)
    )
    found = compare(version, champion, ("background", "ice", "debris"), 3, RULES).mean_iou
    # 1 pixel of ice less in 64 * 60 - 25, and 25 of 26 pixels of debris; of three classes.
    assert found.gain == pytest.approx((-1 / (64 * 60 - 25) + 25 / 26 - 1) / 3)
    assert found.low is not None
    assert found.low > -0.05


def test_paired_blocks_give_a_narrow_interval() -> None:
    """Blocks differ from each other far more than the versions do in any of them."""
    champion = [5, 30] * 50
    found = compare(blocks([wrong - 1 for wrong in champion]), blocks(champion), NAMES, 3, RULES).mean_iou
    assert found.outcome == "better"
    assert found.high - found.low < 0.01


@pytest.mark.parametrize(
    ("wrong", "outcome"), [(3.0, "better"), (10.0, "not worse"), (20.0, "worse")], ids=["fewer", "as many", "more"]
)
def test_outcomes_of_many_blocks(wrong: float, outcome: Outcome) -> None:
    found = compare(blocks(errors(wrong, seed=1)), blocks(errors(10.0)), NAMES, 3, RULES)
    assert found.mean_iou.outcome == outcome
    assert not found.too_small


def test_a_small_loss_that_is_certain_is_worse_unless_all_is_tolerated() -> None:
    champion, version = blocks([10] * 100), blocks([11] * 100)
    assert compare(version, champion, NAMES, 3, RULES).mean_iou.outcome == "worse"
    tolerant = GateRules(confidence=0.9, margin=1.0, class_margin=1.0)
    assert compare(version, champion, NAMES, 3, tolerant).mean_iou.outcome == "not worse"


def test_few_blocks_cannot_tell_and_say_how_many_are_needed() -> None:
    found = compare(blocks([0, 20, 5, 30]), blocks([10, 10, 25, 15]), NAMES, 3, RULES)
    assert found.mean_iou.outcome == "cannot tell"
    assert found.too_small
    # Four times the spread relative to the margin needs sixteen times the blocks.
    narrow = GateRules(RULES.confidence, RULES.margin / 4, RULES.class_margin)
    needed = compare(blocks([0, 20, 5, 30]), blocks([10, 10, 25, 15]), NAMES, 3, narrow).blocks_needed
    assert needed == pytest.approx(16 * (found.blocks_needed or 0), abs=16)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_of_fewer_than_four_blocks_none_is_better_or_worse(count: int) -> None:
    """With confidence 0.9: by chance 3 blocks all gain in 1 of 8 cases, more than the 1 of 10 allowed; 4 in 1 of 16."""
    for seed in range(20):
        found = compare(
            blocks(errors(10.0, count, 2 * seed)), blocks(errors(10.0, count, 2 * seed + 1)), NAMES, 3, RULES
        )
        assert (found.mean_iou.low, found.mean_iou.high, found.mean_iou.outcome) == (None, None, "cannot tell")
        assert (found.blocks_needed, found.too_small) == (4, True)
    verdict = judge(found, 12, 6)
    assert not verdict.promoted
    assert "the validation region is too small to tell: it needs at least 4 blocks of 32 px" in verdict.reason
    assert "NaN" not in found.model_dump_json()


def test_an_interval_takes_more_blocks_at_a_higher_confidence() -> None:
    """16 pixels of each class fewer are wrong in each block; 4 blocks do for 0.9, not for 0.95, where it takes 5."""
    version, champion = blocks([4] * 4), blocks([20] * 4)
    wary = GateRules(0.95, RULES.margin, RULES.class_margin)
    found = [compare(version, champion, NAMES, 3, rules) for rules in (RULES, wary)]
    assert [item.mean_iou.outcome for item in found] == ["better", "cannot tell"]
    assert [(item.blocks_needed, item.too_small) for item in found] == [(4, False), (5, True)]


def test_any_loss_is_tolerated_of_a_single_block_too() -> None:
    tolerant = GateRules(confidence=0.9, margin=ANY_LOSS, class_margin=1.0)
    found = compare(blocks([20]), blocks([10]), NAMES, 3, tolerant)
    assert (found.mean_iou.low, found.mean_iou.outcome) == (None, "not worse")
    assert judge(found, 12, 12).promoted


def test_interval_covers_the_gain_of_the_population() -> None:
    """Blocks of the same population: with 90 % at each end, 80 % of the intervals hold the true gain of 0."""
    covered = 0
    for seed in range(100):
        pair = (blocks(errors(10.0, 60, 2 * seed)), blocks(errors(10.0, 60, 2 * seed + 1)))
        found = compare(*pair, NAMES, 3, RULES).mean_iou
        covered += bool(found.low is not None and found.high is not None and found.low <= 0 <= found.high)
    assert 70 <= covered <= 95


def test_blocks_grow_until_neighbours_are_independent() -> None:
    """Gains of 2 x 2 blocks at a time are alike: pairs of blocks are 64 px apart."""
    coarse = np.random.default_rng(0).integers(0, 20, size=(10, 10))
    fine = np.kron(coarse, np.ones((2, 2), dtype=int)).ravel().tolist()
    found = compare(blocks(fine, 20), blocks([10] * 400, 20), NAMES, 3, RULES)
    assert (found.block_px, found.blocks) == (64, 100)


def test_correlated_blocks_are_worth_fewer() -> None:
    """Too few blocks to join them: a gradient across the scene makes neighbours alike."""
    gradient = [number // 6 for number in range(36)]
    found = compare(blocks(gradient, 6), blocks([3] * 36, 6), NAMES, 3, RULES)
    assert (found.block_px, found.blocks) == (32, 36)
    assert found.independent_blocks < 18


def test_other_ground_is_refused() -> None:
    with pytest.raises(ValueError, match="expected the same ground"):
        compare(blocks([1, 2]), blocks([1, 2, 3]), NAMES, 3, RULES)


def test_an_undefined_gain_promotes_nothing() -> None:
    empty = BlockCounts(classes=2, side_px=32, places=(), counts=())
    found = compare(empty, empty, NAMES, 3, RULES)
    assert (found.mean_iou.gain, found.blocks_needed) == (None, None)
    verdict = judge(found, 9, 6)
    assert not verdict.promoted
    assert "holds no judged pixel" in verdict.reason


@pytest.mark.parametrize(
    ("outcome", "labels", "promoted", "word"),
    [
        ("better", 6, True, "better: mean IoU"),
        ("not worse", 12, True, "not worse by more than 0.05, from 12 labels instead of 9"),
        ("not worse", 9, True, "not worse by more than 0.05"),
        ("not worse", 8, False, "no better, from 8 labels instead of 9"),
        ("worse", 12, False, "worse: mean IoU"),
        ("cannot tell", 12, False, "the validation region is too small to tell: it needs about 50 blocks of 32 px"),
    ],
)
def test_rules(outcome: Outcome, labels: int, promoted: bool, word: str) -> None:
    verdict = judge(evidence(outcome), labels, 9)
    assert verdict.promoted is promoted
    assert word in verdict.reason
    assert "mean IoU +0.000 (-0.020 to +0.020) over version 3 on 40 blocks" in verdict.reason


@pytest.mark.parametrize(("lost", "promoted"), [(-0.1, True), (-0.11, False)])
def test_no_class_may_be_sacrificed(lost: float, promoted: bool) -> None:
    verdict = judge(evidence("better", 0.03, lost), 12, 9)
    assert verdict.promoted is promoted
    if not promoted:
        assert verdict.reason.startswith("a class lost more than 0.1: IoU of ice -0.110 (-0.130 to -0.090)")


def test_the_first_version_is_promoted() -> None:
    assert (FIRST.promoted, FIRST.evidence) == (True, None)
