"""Ways to find the top tenth of a pool from one run of passes, and what each costs.

A scheme is given the scores of one run by one measure, (len(RANGES), N), and answers with the patches that it chooses
and the passes that it spent. Cost is in passes a patch of the pool, and counts ``entry``: what reading a patch and
computing what precedes its first dropout cost, each time that a stage takes the patch up.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.ranking_scores import BLOCK, RANGES, RUN_PASSES, Scores
from models.agreement import TOP_SHARE, top_agreement

ENTRY: Final = 0.5  # the first convolution alone takes 0.2 to 0.3; reading comes on top, and depends on the file
PRIOR_BLOCKS: Final = 4  # the variance of all contested patches counts as much as so many blocks of a patch's own


@dataclass(frozen=True)
class Outcome:
    """What a scheme found.

    Attributes:
        chosen: Indices of the tenth of the pool that it ranks first; a set: their order tells nothing.
        cost: Passes a patch of the pool.
    """

    chosen: NDArray[np.intp]
    cost: float


Scheme = Callable[[Scores], Outcome]


def at(run: Scores, start: int, stop: int) -> NDArray[np.float64]:
    """Take the scores by some passes, (N,)."""
    return np.asarray(run[..., RANGES.index((start, stop)), :], dtype=np.float64)


def top(scores: NDArray[np.floating], count: int) -> NDArray[np.intp]:
    """Indices of the highest scores."""
    return np.argsort(-scores, kind="stable")[:count]


def tenth(patches: int) -> int:
    """How many patches a tenth of a pool is, as :func:`models.agreement.top_agreement` counts."""
    return int(TOP_SHARE * patches)


def overlap(one: NDArray[np.intp], other: NDArray[np.intp]) -> float:
    """Share that two choices of equal size have in common."""
    return len(np.intersect1d(one, other)) / len(one)


def full(passes: int) -> Scheme:
    """All passes on all patches."""

    def choose(run: Scores) -> Outcome:
        scores = at(run, 0, passes)
        return Outcome(top(scores, tenth(len(scores))), passes + ENTRY)

    return choose


def cascade(first: int, passes: int, share: float) -> Scheme:
    """A few passes on all patches, the others on the share that scores highest by them."""

    def choose(run: Scores) -> Outcome:
        before, after = at(run, 0, first), at(run, 0, passes)
        left = top(before, math.ceil(share * len(before)))
        chosen = left[top(after[left], tenth(len(before)))]
        return Outcome(chosen, first + ENTRY + len(left) / len(before) * (passes - first + ENTRY))

    return choose


def race(stages: Sequence[int], z: float) -> Scheme:
    """After each stage go on with those patches only whose place above or below the threshold is open.

    The threshold lies between the last patch that is chosen and the first that is not. A patch is settled when its
    distance from it is more than z standard errors. As all patches meet the same masks, the error of the distance is
    what counts, not that of the score: it is estimated from the distances within the blocks of passes so far, together
    with the mean variance of the contested patches. Blocks of a balanced design are not independent: their means vary
    more than those of whole decks, so that the bound is on the safe side.

    Args:
        stages: Passes after which patches are settled, the last being the most that a patch gets; multiples of five,
            the first at least 10.
        z: Standard errors.
    """

    def choose(run: Scores) -> Outcome:
        patches = run.shape[-1]
        count, settled = tenth(patches), np.empty(0, dtype=np.intp)
        contested, cost, done = np.arange(patches), 0.0, 0
        for stop in stages:
            cost += len(contested) / patches * (stop - done + ENTRY)
            done = stop
            scores, wanted = at(run, 0, stop)[contested], count - len(settled)
            order = np.argsort(-scores, kind="stable")
            if stop == stages[-1] or len(contested) <= wanted:
                return Outcome(np.concatenate([settled, contested[order[:wanted]]]), cost)
            border = order[wanted - 1 : wanted + 1]
            gap = scores - scores[border].mean()
            sure = np.abs(gap) > z * _standard_error(_blocks(run, stop)[:, contested], border)
            settled = np.concatenate([settled, contested[sure & (gap > 0)]])
            contested = contested[~sure]
            if len(settled) == count:
                break
        return Outcome(settled, cost)

    return choose


def stop_when_steady(stages: Sequence[int], target: float) -> Scheme:
    """All patches, until the halves of the passes agree on so much of the top tenth."""

    def choose(run: Scores) -> Outcome:
        for stop in stages:
            if stop == stages[-1] or halves_agree(run, stop) >= target:
                break
        return full(stop)(run)

    return choose


def halves_agree(run: Scores, passes: int) -> float:
    """What the top tenths by the first and by the second half of the passes have in common: what users are shown.

    Raises:
        ValueError: There are fewer than ten patches.
    """
    agreement = top_agreement(at(run, 0, passes // 2), at(run, passes // 2, passes))
    if agreement is None:
        raise ValueError(f"found {run.shape[-1]} patches, which have no top tenth; expected at least 10")
    return agreement


def _blocks(run: Scores, passes: int) -> NDArray[np.float64]:
    """The scores by each block of passes, (B, N)."""
    return np.stack([at(run, start, start + BLOCK) for start in range(0, min(passes, RUN_PASSES), BLOCK)])


def _standard_error(blocks: NDArray[np.float64], border: NDArray[np.intp]) -> NDArray[np.float64]:
    """Of the distance of each patch from the mean of those at the border, (N,)."""
    count = len(blocks)
    variance = (blocks - blocks[:, border].mean(axis=1, keepdims=True)).var(axis=0, ddof=1)
    pooled = (variance * (count - 1) + variance.mean() * PRIOR_BLOCKS) / (count - 1 + PRIOR_BLOCKS)
    return np.asarray(np.sqrt(pooled / count))
