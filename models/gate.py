"""The gate, which decides whether a new version replaces the one that is served.

Both versions are judged on the same validation ground, divided into blocks. The gain of a class is the difference of
the IoUs, each from the counts of all blocks together. Its interval comes from a paired bootstrap: whole blocks are
drawn with replacement, of both versions alike, and the gain is computed from their sums (`models.bootstrap`). Blocks
are made larger until neighbours are nearly independent (`models.spatial_correlation`); if they remain correlated, only
as many are drawn as they are worth, which widens the interval.

With the one-sided confidence c, the interval from ``low`` to ``high`` leaves 1 - c at each end. It is unknown if the
blocks are worth fewer than log2(1 / (1 - c)) independent ones, 4 at 0.9 and 5 at 0.95: of so few all would gain by
chance more often than in 1 - c of the cases, so that none of them could show a gain. The rules, in order:

1. The first version is promoted.
2. A version is kept if a class loses more IoU than its margin.
3. It is promoted if it is *better*: low > 0, of the mean IoU over the classes with true pixels (`models.score_ratios`).
4. It is kept if it is *worse*: high < 0.
5. It is promoted if it learnt from at least as many labels and is *not worse*: low >= -margin. This is a test of
   non-inferiority (Piaggio et al. 2012, JAMA 308, 2594): what people drew counts unless the data speak against it.
6. Else it is kept: the data *cannot tell*.

A margin of 1 turns rule 4 off, because no IoU can fall by more: every version from at least as many labels is promoted,
whatever the interval.

What people drew counts less if the champion doubts much of it (`models.label_doubt`): then no loss is tolerated, and
rule 5 promotes no version that may be worse (`without_margin_if_doubted`).
"""

import math
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Annotated, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict

from models.block_counts import BlockCounts
from models.bootstrap import bootstrap_interval
from models.score_ratios import iou, mean_iou
from models.spatial_correlation import BlockValues, design_effect, independent_side, neighbour_correlation

RESAMPLES: Final = 2000
ANY_LOSS: Final = 1.0
"""The margin that tolerates any loss of mean IoU."""
_FEWEST_BLOCKS: Final = 2
_ENOUGH_BLOCKS: Final = 40  # blocks are not made larger if fewer than these would be left
_POWER: Final = 0.8  # how often a version as good as the champion shall be promoted, for the number of blocks needed

Outcome = Literal["better", "not worse", "worse", "cannot tell"]


def _none_if_nan(value: object) -> object:
    return None if isinstance(value, float) and math.isnan(value) else value


Figure = Annotated[float | None, BeforeValidator(_none_if_nan)]


class _StrictModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GainInterval(_StrictModel):
    """A gain of IoU over the champion, and what it says.

    Attributes:
        gain: Difference of the IoUs; null where one is undefined.
        low: Lower end of the interval; null where undefined, or unknown because there are too few blocks.
        high: Upper end, likewise.
        outcome: What the interval says, given the margin.
    """

    gain: Figure
    low: Figure
    high: Figure
    outcome: Outcome


class GateEvidence(_StrictModel):
    """What the gate's decision rests on.

    Attributes:
        champion_version: The version that was served, with which the new one is compared.
        confidence: One-sided confidence of the ends of the intervals.
        margin: Loss of mean IoU that is tolerated.
        class_margin: Loss of IoU of a class that is tolerated.
        mean_iou: Gain of the mean IoU over the classes with true pixels.
        iou: Gain of each class.
        blocks: Number of blocks.
        block_px: Side of the blocks, pixels.
        independent_blocks: How many independent blocks they are worth.
        blocks_needed: How many blocks of this kind would show a version as good as the champion to be not worse in 4
            of 5 cases, and no fewer than an interval takes. While that is unknown, as many as it takes; else null if
            the gain is undefined or no loss is tolerated.
        too_small: Whether there are fewer.
    """

    champion_version: int
    confidence: float
    margin: float
    class_margin: float
    mean_iou: GainInterval
    iou: dict[str, GainInterval]
    blocks: int
    block_px: int
    independent_blocks: float
    blocks_needed: int | None
    too_small: bool


@dataclass(frozen=True)
class GateRules:
    """The settings of the gate.

    Attributes:
        confidence: One-sided confidence, above 0.5 and below 1.
        margin: Loss of mean IoU that is tolerated if the version learnt from at least as many labels.
        class_margin: Loss of IoU that is tolerated of any class.
    """

    confidence: float
    margin: float
    class_margin: float


def without_margin_if_doubted(rules: GateRules, doubted: float, most_doubted: float) -> GateRules:
    """Return the rules, with a margin of 0 if the champion doubts too many of the labels that are new to it.

    Args:
        rules: The settings of the gate. A margin of `ANY_LOSS` stays: somebody wants every version.
        doubted: Share of the new labels that stand out, in [0, 1].
        most_doubted: Share from which on, exclusive, that is too many.
    """
    return replace(rules, margin=0.0) if doubted > most_doubted and rules.margin < ANY_LOSS else rules


@dataclass(frozen=True)
class Verdict:
    """The gate's decision.

    Attributes:
        promoted: Whether the version replaces the champion.
        reason: The reason, as a text for people.
        evidence: What it rests on; None for the first version.
    """

    promoted: bool
    reason: str
    evidence: GateEvidence | None = None


FIRST: Final = Verdict(True, "the first version")


def judge(evidence: GateEvidence, labels: int, champion_labels: int) -> Verdict:
    """Apply the rules of the module.

    Args:
        evidence: Gains over the champion, as `compare` gives them.
        labels: Number of labels that the new version learnt from.
        champion_labels: Number of labels that the champion learnt from.
    """
    found = evidence.mean_iou
    if found.gain is None:
        return Verdict(False, "the mean IoU is undefined: the validation region holds no judged pixel", evidence)
    lost = [
        f"IoU of {name} {_interval(of_class)}"
        for name, of_class in evidence.iou.items()
        if of_class.gain is not None and of_class.gain < -evidence.class_margin
    ]
    learnt = f"from {labels} labels instead of {champion_labels}"
    said = f"mean IoU {_interval(found)} over version {evidence.champion_version} on {evidence.blocks} blocks"
    if lost:
        return Verdict(False, f"a class lost more than {evidence.class_margin:g}: {', '.join(lost)}; {said}", evidence)
    if found.outcome == "not worse":
        enough = labels >= champion_labels
        word = f"not worse by more than {evidence.margin:g}" if enough else "no better"
        return Verdict(enough, f"{word}, {learnt}: {said}", evidence)
    needed = _needed(evidence) if found.outcome == "cannot tell" else ""
    return Verdict(found.outcome == "better", f"{found.outcome}: {said}{needed}", evidence)


def compare(
    candidate: BlockCounts, champion: BlockCounts, names: tuple[str, ...], champion_version: int, rules: GateRules
) -> GateEvidence:
    """Return the gains of a version over the champion with their intervals.

    Args:
        candidate: Counts of the new version.
        champion: Counts of the champion on the same ground.
        names: Names of the K classes.
        champion_version: Its number.
        rules: The settings of the gate.

    Raises:
        ValueError: The two have other blocks, or other numbers of true pixels in them.
    """
    _check_paired(candidate, champion)
    side = independent_side(
        lambda side, fewest: _influences(candidate, champion, side, fewest), _FEWEST_BLOCKS, _ENOUGH_BLOCKS
    )
    place, pairs = _merged(candidate, champion, side)
    found = _influences(candidate, champion, side, _FEWEST_BLOCKS)
    effect = design_effect(neighbour_correlation(*found) if found else None)
    worth, fewest = len(place) / effect, math.ceil(math.ceil(-math.log2(1.0 - rules.confidence)) * effect)
    interval = bootstrap_interval(
        pairs,
        _gains,
        np.random.default_rng(0),
        RESAMPLES,
        2.0 * rules.confidence - 1.0,
        # The spread of means of n draws from n blocks is too narrow by sqrt((n - 1) / n).
        draws=max(round(worth) - 1, 1),
    )
    lows, highs = (
        ends if len(place) >= fewest else np.full_like(ends, np.nan) for ends in (interval.low, interval.high)
    )
    gains = _gains(pairs.sum(axis=0))
    margins = [*(rules.class_margin for _ in names), rules.margin]
    intervals = [
        _judged(float(gain), float(low), float(high), margin)
        for gain, low, high, margin in zip(gains, lows, highs, margins, strict=True)
    ]
    needed = _blocks_needed(intervals[-1], len(place), fewest, rules)
    return GateEvidence(
        champion_version=champion_version,
        confidence=rules.confidence,
        margin=rules.margin,
        class_margin=rules.class_margin,
        mean_iou=intervals[-1],
        iou=dict(zip(names, intervals[:-1], strict=True)),
        blocks=len(place),
        block_px=candidate.side_px * side,
        independent_blocks=round(worth, 1),
        blocks_needed=needed,
        too_small=needed is not None and len(place) < needed,
    )


def _check_paired(candidate: BlockCounts, champion: BlockCounts) -> None:
    same_blocks = (candidate.classes, candidate.side_px, candidate.places) == (
        champion.classes,
        champion.side_px,
        champion.places,
    )
    if not same_blocks or (candidate.confusion.sum(axis=2) != champion.confusion.sum(axis=2)).any():
        raise ValueError(
            f"found {len(candidate.places)} blocks of {candidate.side_px} px of the new version and "
            f"{len(champion.places)} of {champion.side_px} px of the champion, or other true pixels in them; expected "
            "the same ground: judge the champion again"
        )


def _merged(candidate: BlockCounts, champion: BlockCounts, side: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the places (B, 3) of blocks of side x side of those given, and their counts (B, 2, K, K)."""
    place, of_block = np.unique(candidate.place // (1, side, side), axis=0, return_inverse=True)
    pairs = np.zeros((len(place), 2, candidate.classes, candidate.classes), dtype=np.int64)
    np.add.at(pairs, of_block.reshape(-1), np.stack([champion.confusion, candidate.confusion], axis=1))
    return place, pairs


def _gains(pairs: NDArray[np.float64] | NDArray[np.int64]) -> NDArray[np.float64]:
    """Return gains (..., K + 1) from counts (..., 2, K, K) of champion and candidate; the last is that of the mean."""
    with_mean = np.concatenate([iou(pairs), mean_iou(pairs)[..., None]], axis=-1)
    gains: NDArray[np.float64] = with_mean[..., 1, :] - with_mean[..., 0, :]
    return gains


def _influences(candidate: BlockCounts, champion: BlockCounts, side: int, fewest: int) -> BlockValues | None:
    """Return the influence of each block on the gain in mean IoU; None if there are fewer blocks than asked for.

    With the intersection I and the union U of a class over all blocks, a block of i and u adds (i - I/U u) / U to its
    IoU to first order: the values whose correlation decides how independent blocks are.
    """
    place, pairs = _merged(candidate, champion, side)
    if len(place) < fewest:
        return None
    intersection = np.diagonal(pairs, axis1=2, axis2=3).astype(np.float64)
    union = pairs.sum(axis=2) + pairs.sum(axis=3) - intersection
    totals = np.maximum(union.sum(axis=0), 1.0)
    of_class = (intersection - intersection.sum(axis=0) / totals * union) / totals
    present = pairs[:, 0].sum(axis=(0, 2)) > 0  # as in the mean IoU
    return place, (of_class[:, 1] - of_class[:, 0])[:, present].mean(axis=1)


def _judged(gain: float, low: float, high: float, margin: float) -> GainInterval:
    outcome: Outcome = "cannot tell"  # comparisons with NaN are false
    if low > 0:
        outcome = "better"
    elif high < 0 and margin < ANY_LOSS:
        outcome = "worse"
    elif low >= -margin or (margin >= ANY_LOSS and not math.isnan(gain)):
        outcome = "not worse"
    return GainInterval(gain=gain, low=low, high=high, outcome=outcome)


def _blocks_needed(found: GainInterval, blocks: int, fewest: int, rules: GateRules) -> int | None:
    """Return the number of blocks that shows non-inferiority with the power `_POWER` if the gain is 0.

    The standard error falls with the root of the number of blocks and must be margin / (z_confidence + z_power) at
    most (Chow, Shao & Wang 2008, Sample size calculations in clinical research, section 3.2).

    Args:
        found: The gain of the mean IoU.
        blocks: Number of blocks.
        fewest: Number of blocks that an interval takes, which is returned while there is none.
        rules: The settings of the gate.
    """
    if found.gain is None:
        return None
    if found.low is None or found.high is None:
        return fewest
    if rules.margin <= 0:
        return None
    z_confidence, z_power = (NormalDist().inv_cdf(share) for share in (rules.confidence, _POWER))
    error = (found.high - found.low) / 2.0 / z_confidence
    return max(math.ceil(blocks * (error * (z_confidence + z_power) / rules.margin) ** 2), fewest)


def _interval(found: GainInterval) -> str:
    ends = (found.low, found.high)
    shown = "undefined" if None in ends else " to ".join(f"{end:+.3f}" for end in ends)
    gain = "undefined" if found.gain is None else f"{found.gain:+.3f}"
    return f"{gain} ({shown})"


def _needed(evidence: GateEvidence) -> str:
    if not evidence.too_small:
        return ""
    least = "at least" if evidence.mean_iou.low is None else "about"
    needed = f"{least} {evidence.blocks_needed} blocks of {evidence.block_px} px"
    return f"; the validation region is too small to tell: it needs {needed}"
