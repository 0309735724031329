"""Choosing the patches of a round: pure functions from candidates to choices.

Candidates come in the order in which they are to be taken, and are asked for one by one: a pool of millions is read no
further than a round needs (``catalog.candidates``). ``select`` is for those who hold all of them.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import islice, product

import numpy as np

from catalog.candidates import Candidate
from catalog.records import ProposalReason
from catalog.rounds import Choice
from catalog.settings import Strategy


def select(
    candidates: Sequence[Candidate], strategy: Strategy, size: int, control_share: float, seed: int
) -> list[Choice]:
    """Choose the patches of a round among all candidates, as ``draw`` or ``choose`` does.

    Args:
        candidates: patches that may be proposed; with scores (nats) unless the strategy is ``random``.
        strategy: how to choose; ``recipe`` must have been resolved before.
        size: patches wanted; fewer are returned when there are fewer candidates.
        control_share: as of ``choose``.
        seed: the same seed gives the same choices.

    Returns:
        Distinct choices, in the order in which annotators should see them.

    Raises:
        ValueError: the strategy is ``recipe``, or a ranking lacks scores.
    """
    if strategy is Strategy.RECIPE:
        raise ValueError("the strategy 'recipe' stands for another one that depends on the round; resolve it first")
    generator = np.random.default_rng(seed)
    shuffled = [candidates[i] for i in generator.permutation(len(candidates))]
    if strategy is Strategy.RANDOM:
        return draw(shuffled, size)
    if any(candidate.score is None for candidate in candidates):
        raise ValueError(f"the strategy {strategy.value!r} needs a score for every candidate")
    ranked = sorted(candidates, key=lambda patch: (patch.score or 0.0, patch.patch_id), reverse=True)
    return choose(ranked, shuffled, min(size, len(candidates)), control_share, generator)


def draw(shuffled: Iterable[Candidate], size: int) -> list[Choice]:
    """Take the first ``size`` candidates of a random order that touch no other; touching ones when there are no more.

    Neighbours look alike and teach less together than apart.
    """
    return [Choice(patch.patch_id, ProposalReason.RANDOM_START, None) for patch in _spread(shuffled, size)]


def choose(
    ranked: Iterable[Candidate],
    shuffled: Iterable[Candidate],
    size: int,
    control_share: float,
    generator: np.random.Generator,
) -> list[Choice]:
    """Choose the patches of a round by their scores, in the order in which annotators should see them.

    Takes the highest scores, passing over a patch that touches one already chosen: neighbours look alike and teach less
    together than apart. Only when nothing else is left are neighbours taken after all. A share of the round is drawn at
    random instead, and said to be so: without such a control nobody could tell later whether choosing gained anything.

    Time and memory are those of the candidates that it reads: some more than ``size``, but for rounds that take a good
    part of the pool.

    Args:
        ranked: the candidates, highest score first (nats).
        shuffled: the same in a random order.
        size: patches wanted, at most as many as there are candidates.
        control_share: share of the round drawn at random, rounded to whole patches; at least one patch, unless the
            share is 0 or the round is of one patch.
        generator: finds places for the controls.

    Returns:
        Distinct choices. Controls stand at random places among the others, so that an annotator who stops early has
        labelled both kinds.
    """
    at_least = 1 if control_share > 0 and size > 1 else 0
    controls = list(islice(shuffled, max(at_least, round(control_share * size))))
    taken = {patch.patch_id for patch in controls}
    free = (patch for patch in ranked if patch.patch_id not in taken)
    choices = [
        Choice(patch.patch_id, ProposalReason.UNCERTAIN, patch.score)
        for patch in _spread(free, size - len(controls), around=controls)
    ]
    for patch in controls:
        place = int(generator.integers(len(choices) + 1))
        choices.insert(place, Choice(patch.patch_id, ProposalReason.CONTROL, patch.score))
    return choices


def _spread(ordered: Iterable[Candidate], size: int, around: Iterable[Candidate] = ()) -> list[Candidate]:
    """Take the first ``size`` candidates that touch neither each other nor ``around``; then the passed-over ones."""
    chosen: list[Candidate] = []
    passed_over: list[Candidate] = []
    ground = _Ground(around)
    for candidate in ordered:
        if len(chosen) == size:
            break
        if not ground.is_touched_by(candidate):
            ground.add(candidate)
            chosen.append(candidate)
        elif len(passed_over) < size:
            passed_over.append(candidate)
    return chosen + passed_over[: size - len(chosen)]


class _Ground:
    """Where patches lie, in cells of their own size: one can only touch those of its own cell and of the eight around.

    Asking takes the same time however many patches there are.
    """

    def __init__(self, patches: Iterable[Candidate]) -> None:
        self._cells: dict[tuple[int, int, int], list[Candidate]] = defaultdict(list)
        for patch in patches:
            self.add(patch)

    def add(self, patch: Candidate) -> None:
        """Let a patch lie here from now on."""
        self._cells[_cell(patch)].append(patch)

    def is_touched_by(self, patch: Candidate) -> bool:
        """Tell whether a patch shares an edge, a corner or ground with one that lies here."""
        scene, row, col = _cell(patch)
        around = product((scene,), (row - 1, row, row + 1), (col - 1, col, col + 1))
        return any(_touch(patch, other) for cell in around for other in self._cells.get(cell, ()))


def _cell(patch: Candidate) -> tuple[int, int, int]:
    return patch.scene_id, patch.row_off // patch.size_px, patch.col_off // patch.size_px


def _touch(a: Candidate, b: Candidate) -> bool:
    """Tell whether two patches of a scene, of one size, share an edge, a corner or ground."""
    return abs(a.row_off - b.row_off) <= a.size_px and abs(a.col_off - b.col_off) <= a.size_px
