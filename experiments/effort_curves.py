"""What the rounds of strategies say: mean IoU over labels and over what annotators do, and differences between two."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from experiments.cells import Cells

Rounds = Sequence[Mapping[str, Any]]
"""The rounds of a cell (`experiments.learning_loop.RoundResult` as JSON)."""

Effort = Literal["edited_pixels", "edited_areas", "drawn_pixels", "strokes", "labels"]
Track = Literal["learner_mean_iou", "served_mean_iou"]


def at_equal_effort(
    ours: Rounds,
    theirs: Rounds,
    start_rounds: int,
    effort: Effort = "edited_pixels",
    track: Track = "learner_mean_iou",
) -> float | None:
    """Return the difference of mean IoU at equal effort, averaged over the rounds that were chosen.

    Mean IoU is interpolated linearly between rounds. It is compared at as many evenly spaced budgets as there are
    chosen rounds, from the end of the start, which both share, up to the smaller of the two total efforts.

    Args:
        ours: Rounds of one strategy.
        theirs: Rounds of another with the same start.
        start_rounds: Rounds of the start.
        effort: What is spent.
        track: Whose mean IoU.

    Returns:
        None if one of the two spent nothing after the start.
    """
    chosen = min(len(ours), len(theirs)) - start_rounds
    spent, limit = ours[start_rounds - 1][effort], min(ours[-1][effort], theirs[-1][effort])
    if chosen < 1 or limit <= spent:
        return None
    budgets = np.linspace(spent, limit, chosen + 1)[1:]
    curves = [
        np.interp(budgets, [one[effort] for one in rounds], [one[track] for one in rounds]) for rounds in (ours, theirs)
    ]
    return float(np.mean(curves[0] - curves[1]))


def in_round(number: int, track: Track = "learner_mean_iou") -> Callable[[Any, Any], float | None]:
    """Return the comparison of mean IoU after a round, counted from 0: at equal labels."""

    def compare(ours: Rounds, theirs: Rounds) -> float | None:
        if number >= min(len(ours), len(theirs)):
            return None
        return float(ours[number][track] - theirs[number][track])

    return compare


def mean_curve(cells: Cells, strategy: str, field: str) -> list[float]:
    """Return the mean over all cells of a strategy after each round that all of them have."""
    runs = [rounds for (_, name, _), rounds in cells.items() if name == strategy]
    count = min((len(rounds) for rounds in runs), default=0)
    return [statistics.mean(rounds[number][field] for rounds in runs) for number in range(count)]
