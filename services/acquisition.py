"""Choosing the patches of a round: pure functions from candidates to choices.

Candidates are read one by one, in the order in which they are to be taken: of a pool of millions no more is read than a
round needs (``catalog.candidates``).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog.candidates import Candidate
from catalog.records import ProposalReason
from catalog.rounds import Choice

ReadMap = Callable[[Candidate, str], NDArray[Any] | None]
"""Returns the window (h, w) of a candidate in one of the maps of its scene, by name; None if its scene has none yet."""


def no_map(candidate: Candidate, name: str) -> None:
    """Return None: nothing has been mapped."""


@dataclass(frozen=True)
class Pool:
    """What a strategy chooses from.

    Attributes:
        ranked: The candidates by the strategy's measure, highest score first; none if it has no measure.
        shuffled: The candidates in a uniformly random order.
        size: Patches wanted.
        control_share: Share of a ranked round that is drawn at random, in [0, 1].
        generator: The only source of chance, seeded by the round.
        read_map: Reads the maps that the strategy needs: ``classes`` (uint8, values of the class scheme) or ``entropy``
            (float32, nats).
    """

    ranked: Iterable[Candidate]
    shuffled: Iterable[Candidate]
    size: int
    control_share: float
    generator: np.random.Generator
    read_map: ReadMap = no_map

    @classmethod
    def of(cls, candidates: Sequence[Candidate], size: int, control_share: float, seed: int) -> "Pool":
        """Make a pool of candidates that are all in memory; it ranks if each of them has a score."""
        generator = np.random.default_rng(seed)
        shuffled = [candidates[i] for i in generator.permutation(len(candidates))]
        scored = [patch for patch in candidates if patch.score is not None]
        ranked = sorted(scored, key=lambda patch: (patch.score or 0.0, patch.patch_id), reverse=True)
        return cls(ranked, shuffled, min(size, len(candidates)), control_share, generator)


def draw(shuffled: Iterable[Candidate], size: int) -> list[Choice]:
    """Take the first ``size`` candidates of a random order that do not touch each other.

    Neighbours look alike, so the network learns less from two of them. They are taken only if nothing else is left.
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

    Takes the highest scores and skips a patch that touches one already chosen: neighbours look alike, so the network
    learns less from two of them. They are taken only if nothing else is left. A share of the round is drawn at random
    and marked as control: it measures whether choosing by score gains anything over chance.

    Cost grows with the candidates read: somewhat more than ``size``, unless the round takes a large part of the pool.

    Args:
        ranked: the candidates, highest score first.
        shuffled: the same in a random order.
        size: patches wanted, at most the number of candidates.
        control_share: share of the round drawn at random, rounded to whole patches; at least one patch, unless the
            share is 0 or the round has one patch.
        generator: places the controls.

    Returns:
        Distinct choices. Controls are at random places among the others, so that an annotator who stops early has
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
    """Take the first ``size`` candidates that touch neither each other nor ``around``; fill up with skipped ones."""
    chosen: list[Candidate] = []
    skipped: list[Candidate] = []
    taken = _SpatialIndex(around)
    for candidate in ordered:
        if len(chosen) == size:
            break
        if not taken.touches(candidate):
            taken.add(candidate)
            chosen.append(candidate)
        elif len(skipped) < size:
            skipped.append(candidate)
    return chosen + skipped[: size - len(chosen)]


class _SpatialIndex:
    """Patches in a grid of cells of their own size: a patch can touch only those in its cell and the eight around it.

    A query takes constant time.
    """

    def __init__(self, patches: Iterable[Candidate]) -> None:
        self._cells: dict[tuple[int, int, int], list[Candidate]] = defaultdict(list)
        for patch in patches:
            self.add(patch)

    def add(self, patch: Candidate) -> None:
        """Add a patch."""
        self._cells[_cell(patch)].append(patch)

    def touches(self, patch: Candidate) -> bool:
        """Return whether a patch shares an edge, a corner or pixels with one in the index."""
        scene, row, col = _cell(patch)
        around = product((scene,), (row - 1, row, row + 1), (col - 1, col, col + 1))
        return any(_touch(patch, other) for cell in around for other in self._cells.get(cell, ()))


def _cell(patch: Candidate) -> tuple[int, int, int]:
    return patch.scene_id, patch.row_off // patch.size_px, patch.col_off // patch.size_px


def _touch(a: Candidate, b: Candidate) -> bool:
    """Return whether two patches of a scene, which have one size, share an edge, a corner or pixels."""
    return abs(a.row_off - b.row_off) <= a.size_px and abs(a.col_off - b.col_off) <= a.size_px
