"""Choosing the patches of a round: pure functions from candidates to choices.

Candidates are read one by one, in the order in which they are to be taken: of a pool of millions no more is read than a
round needs (``catalog.candidates``).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog.candidates import Candidate
from catalog.records import ProposalReason
from catalog.rounds import Choice
from services.patch_features import PatchFeatures
from services.score_table import ScoreTable

InOrder = Callable[[NDArray[np.int64]], Iterator[Candidate]]
"""Yields those candidates whose ids (N,) are given, in that order; ids of other patches are left out."""


def no_candidates(ids: NDArray[np.int64]) -> Iterator[Candidate]:
    """Yield nothing: there is no table that ids could come from."""
    return iter(())


@dataclass(frozen=True)
class Pool:
    """What a strategy chooses from.

    Attributes:
        ranked: The candidates by the strategy's measure, highest score first; none if it has no measure.
        shuffled: The candidates in a uniformly random order.
        size: Patches wanted.
        control_share: Share of a ranked round that is drawn at random, in [0, 1].
        generator: The only source of chance, seeded by the round.
        table: What the scoring knows of each patch, candidates or not; None without a scoring, or by an old release.
        in_order: Returns candidates in an order that a strategy made of ids of the table.
        pool_control_share: Share of these that is drawn from all candidates instead of the shortlist, in [0, 1].
        shortlist_foreground: Least share of foreground, predicted or in prior outlines, that puts a patch on the
            shortlist, in (0, 1].
        past_rounds: Number of earlier rounds that were chosen by scores.
        features: What the network sees in each patch, candidates or not; None unless the strategy needs it.
        labelled: Ids of the patches that have a label or wait for one, for a strategy that needs the features.
    """

    ranked: Iterable[Candidate]
    shuffled: Iterable[Candidate]
    size: int
    control_share: float
    generator: np.random.Generator
    table: ScoreTable | None = None
    in_order: InOrder = no_candidates
    pool_control_share: float = 0.0
    shortlist_foreground: float = 0.01
    past_rounds: int = 0
    features: PatchFeatures | None = None
    labelled: Sequence[int] = ()

    @classmethod
    def of(
        cls,
        candidates: Sequence[Candidate],
        size: int,
        control_share: float,
        seed: int,
        table: ScoreTable | None = None,
        **options: Any,
    ) -> "Pool":
        """Make a pool of candidates that are all in memory; it ranks if each of them has a score.

        Args:
            candidates: The candidates.
            size: Patches wanted; no more than there are are chosen.
            control_share: As the attribute.
            seed: Of the generator.
            table: As the attribute.
            options: Further attributes.
        """
        generator = np.random.default_rng(seed)
        shuffled = [candidates[i] for i in generator.permutation(len(candidates))]
        scored = [patch for patch in candidates if patch.score is not None]
        ranked = sorted(scored, key=lambda patch: (patch.score or 0.0, patch.patch_id), reverse=True)
        by_id = {patch.patch_id: patch for patch in candidates}

        def in_order(ids: NDArray[np.int64]) -> Iterator[Candidate]:
            return (by_id[patch_id] for patch_id in ids.tolist() if patch_id in by_id)

        size = min(size, len(candidates))
        return cls(ranked, shuffled, size, control_share, generator, table=table, in_order=in_order, **options)

    @property
    def scored(self) -> ScoreTable:
        """The table, for a strategy that needs one.

        Raises:
            ValueError: there is none.
        """
        if self.table is None:
            raise ValueError("found no table of scores, which this strategy needs; have the pool scored anew")
        return self.table

    @property
    def described(self) -> PatchFeatures:
        """The features, for a strategy that needs them.

        Raises:
            ValueError: there are none.
        """
        if self.features is None:
            raise ValueError("found no features of patches, which this strategy needs; have the pool scored anew")
        return self.features

    def shortlist(self) -> Iterator[Candidate]:
        """Yield the candidates with enough foreground in a uniformly random order; none without a table."""
        ids = np.empty(0, dtype=np.int64) if self.table is None else self.table.foreground(self.shortlist_foreground)
        return self.in_order(self.generator.permutation(ids))


def draw(shuffled: Iterable[Candidate], size: int) -> list[Choice]:
    """Take the first ``size`` candidates of a random order that do not touch each other.

    Neighbours look alike, so the network learns less from two of them. They are taken only if nothing else is left.
    """
    return [Choice(patch.patch_id, ProposalReason.RANDOM_START, None) for patch in spread([shuffled], size)]


def choose(pool: Pool, orders: Sequence[Iterable[Candidate]]) -> list[Choice]:
    """Choose the patches of a round that ranks, in the order in which annotators should see them.

    Takes candidates from the orders in turn, and skips one that touches another already chosen: neighbours look alike,
    so the network learns less from two of them. They are taken only if nothing else is left. A share of the round is
    drawn at random as controls (:func:`draw_controls`).

    Cost grows with the candidates read: somewhat more than the round's size, unless it takes a large part of the pool.

    Args:
        pool: what to choose from.
        orders: which candidates to prefer: from each one is taken in turn, its first that is free.

    Returns:
        Distinct choices. Controls are at random places among the others, so that an annotator who stops early has
        labelled all kinds.
    """
    controls = draw_controls(pool)
    chosen = spread(orders, pool.size - len(controls), around=[patch for patch, _ in controls])
    return mingle(pool, [Choice(patch.patch_id, ProposalReason.UNCERTAIN, patch.score) for patch in chosen], controls)


def draw_controls(pool: Pool, from_shortlist: bool = True) -> list[tuple[Candidate, ProposalReason]]:
    """Draw the controls of a round: what choosing is compared with.

    - From the shortlist, the patches where foreground is predicted or was outlined before: what the others find more
      than these is what ranking by uncertainty gains.
    - A share of them from the whole pool: what those of the shortlist find more than these is what going to where
      foreground is gains. Controls that the shortlist lacks, all of them without a table, are drawn here, too.

    Controls are drawn evenly, whatever the scores, and whether they touch or not.

    Args:
        pool: what to draw from. Its ``control_share`` is rounded to whole patches; at least one, unless the share is 0
            or the round has one patch. The share of the controls that come from the whole pool is rounded at random
            (:func:`round_at_random`).
        from_shortlist: False for a strategy that itself draws from the shortlist: all come from the whole pool.

    Returns:
        Distinct candidates with their reasons, those from the shortlist first.
    """
    at_least = 1 if pool.control_share > 0 and pool.size > 1 else 0
    total = max(at_least, round(pool.control_share * pool.size))
    wanted = total - round_at_random(pool.pool_control_share * total, pool.generator) if from_shortlist else 0
    drawn = list(islice(pool.shortlist(), wanted)) if wanted else []
    taken = {patch.patch_id for patch in drawn}
    others = islice((patch for patch in pool.shuffled if patch.patch_id not in taken), total - len(drawn))
    return [
        *((patch, ProposalReason.SHORTLIST_CONTROL) for patch in drawn),
        *((patch, ProposalReason.CONTROL) for patch in others),
    ]


def round_at_random(count: float, generator: np.random.Generator) -> int:
    """Round so that the mean over many rounds is the count: small rounds have their share, too, over several of them.

    A whole count takes nothing from the generator.
    """
    whole = int(count)
    return whole if count == whole else whole + int(generator.random() < count - whole)


def mingle(pool: Pool, choices: Sequence[Choice], controls: Iterable[tuple[Candidate, ProposalReason]]) -> list[Choice]:
    """Insert the controls at random places among the choices."""
    mingled = list(choices)
    for patch, reason in controls:
        place = int(pool.generator.integers(len(mingled) + 1))
        mingled.insert(place, Choice(patch.patch_id, reason, patch.score))
    return mingled


def spread(orders: Sequence[Iterable[Candidate]], size: int, around: Sequence[Candidate] = ()) -> list[Candidate]:
    """Take candidates from several orders in turn that touch neither each other nor ``around``.

    Args:
        orders: each as an iterable of candidates; they may hold the same ones.
        size: how many to take. If there are fewer that do not touch, skipped ones fill up.
        around: candidates that are taken already, and are not taken again.

    Returns:
        Distinct candidates, in the order of taking.
    """
    chosen: list[Candidate] = []
    skipped: dict[int, Candidate] = {}
    index = _SpatialIndex(around)
    taken = {patch.patch_id for patch in around}
    left = [iter(order) for order in orders]
    while left and len(chosen) < size:
        order = left.pop(0)
        for candidate in order:
            if candidate.patch_id in taken:
                continue
            if not index.touches(candidate):
                index.add(candidate)
                taken.add(candidate.patch_id)
                chosen.append(candidate)
                left.append(order)
                break
            if len(skipped) < size:
                skipped[candidate.patch_id] = candidate
    return chosen + list(skipped.values())[: size - len(chosen)]


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
