"""Choosing the patches of a round: a pure function from candidates to choices."""

from collections.abc import Iterable, Sequence

import numpy as np

from catalog.records import ProposalReason
from catalog.rounds import Candidate, Choice
from catalog.settings import Strategy


def select(
    candidates: Sequence[Candidate], strategy: Strategy, size: int, control_share: float, seed: int
) -> list[Choice]:
    """Choose the patches of a round, in the order in which annotators should see them.

    Ranking strategies take the highest scores, passing over a patch that touches one already chosen: neighbours
    look alike and teach less together than apart. Only when nothing else is left are neighbours taken after all. A
    share of the round is drawn at random instead, and said to be so: without such a control nobody could tell later
    whether choosing gained anything.

    Args:
        candidates: patches that may be proposed; with scores (nats) unless the strategy is ``random``.
        strategy: how to choose; ``recipe`` must have been resolved before.
        size: patches wanted; fewer are returned when there are fewer candidates.
        control_share: share of the round drawn at random in a ranking strategy, rounded to whole patches; at least one
            patch, unless the share is 0 or the round is of one patch.
        seed: the same seed gives the same choices.

    Returns:
        Distinct choices. Controls stand at random places among the others, so that an annotator who stops early has
        labelled both kinds.

    Raises:
        ValueError: the strategy is ``recipe``, or a ranking lacks scores.
    """
    if strategy is Strategy.RECIPE:
        raise ValueError("the strategy 'recipe' stands for another one that depends on the round; resolve it first")
    size = min(size, len(candidates))
    generator = np.random.default_rng(seed)
    shuffled = [candidates[i] for i in generator.permutation(len(candidates))]
    if strategy is Strategy.RANDOM:
        return [Choice(patch.patch_id, ProposalReason.RANDOM_START, None) for patch in _spread(shuffled, size)]
    if any(candidate.score is None for candidate in candidates):
        raise ValueError(f"the strategy {strategy.value!r} needs a score for every candidate")
    at_least = 1 if control_share > 0 and size > 1 else 0
    controls = shuffled[: max(at_least, round(control_share * size))]
    taken = {patch.patch_id for patch in controls}
    ranked = sorted((c for c in candidates if c.patch_id not in taken), key=lambda c: (-(c.score or 0.0), c.patch_id))
    choices = [
        Choice(patch.patch_id, ProposalReason.UNCERTAIN, patch.score)
        for patch in _spread(ranked, size - len(controls), around=controls)
    ]
    for patch in controls:
        place = int(generator.integers(len(choices) + 1))
        choices.insert(place, Choice(patch.patch_id, ProposalReason.CONTROL, patch.score))
    return choices


def _spread(ordered: Sequence[Candidate], size: int, around: Iterable[Candidate] = ()) -> list[Candidate]:
    """Take the first ``size`` candidates that touch neither each other nor ``around``; then the passed-over ones."""
    chosen: list[Candidate] = []
    avoided = list(around)
    passed_over = []
    for candidate in ordered:
        if len(chosen) == size:
            break
        if any(_touch(candidate, other) for other in (*avoided, *chosen)):
            passed_over.append(candidate)
        else:
            chosen.append(candidate)
    return chosen + passed_over[: size - len(chosen)]


def _touch(a: Candidate, b: Candidate) -> bool:
    """Tell whether two patches of a scene share an edge, a corner or ground."""
    return (
        a.scene_id == b.scene_id
        and a.row_off <= b.row_off + b.size_px
        and b.row_off <= a.row_off + a.size_px
        and a.col_off <= b.col_off + b.size_px
        and b.col_off <= a.col_off + a.size_px
    )
