"""The region of each patch that a round asks for, and the scores of patches of which a part has been judged."""

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from catalog import labels
from catalog.candidates import Candidate
from catalog.pixel_regions import decode_region, encode_region
from catalog.records import Patch, PatchState, Round
from catalog.rounds import Choice
from catalog.settings import PatchPart
from imagery.errors import SceneError, StoreError
from imagery.maps import read_map
from imagery.store import RasterStore
from services import raster_keys
from services.asked_parts import PARTS, uncertainty_left
from services.scenes import window_of
from services.score_table import ENTROPY, ScoreTable


@dataclass(frozen=True)
class AskedRegions:
    """Finds what a round asks for.

    Attributes:
        session: Any session.
        store: Has the maps of the round's scoring.
        opened: The round.
        share: Largest share of a patch that is asked for, where a part is.
    """

    session: Session
    store: RasterStore
    opened: Round
    share: float

    def ask(self, choices: Sequence[Choice]) -> list[Choice]:
        """Return choices with the region that each asks for: never ground that a standing label has judged.

        A round of whole patches asks for what is left of each. A round of parts asks for whole patches where the
        scoring has no map of the scene.
        """
        asked = []
        for choice in choices:
            patch = self.session.get_one(Patch, choice.patch_id)
            region = self._region(patch)
            asked.append(replace(choice, region=None if region.all() else encode_region(region)))
        return asked

    def rescored(self, ranked: Iterable[Candidate]) -> Iterator[Candidate]:
        """Yield candidates in descending order of their scores, counting what has been judged as certain.

        The stored scores are of whole patches, so a patch would stay on top for the ground that it was chosen for. Only
        measures of the entropy can be computed anew, from its map; by other measures the order stays.

        Args:
            ranked: The candidates by their stored scores, highest first.
        """

        def score(candidate: Candidate) -> float | None:
            patch = self.session.get_one(Patch, candidate.patch_id)
            entropy = self._entropy(patch)
            return None if entropy is None else uncertainty_left(self.opened.measure, entropy, self._open(patch))

        partly = select(Patch.id).where(Patch.state == PatchState.PARTLY_LABELLED)
        yield from reorder(ranked, frozenset(self.session.scalars(partly)), score)

    def lowered(self, table: ScoreTable) -> tuple[ScoreTable, dict[int, float]]:
        """Count what has been judged as certain in the table of all patches, as `rescored` does in the ranking.

        Reads the map of every partly labelled patch, some 10 ms each.

        Returns:
            The table, and the entropies that were lowered, in nats by patch id. Patches without a map keep theirs.
        """
        left: dict[int, float] = {}
        for patch in self.session.scalars(select(Patch).where(Patch.state == PatchState.PARTLY_LABELLED)):
            entropy = self._entropy(patch)
            found = None if entropy is None else uncertainty_left(ENTROPY, entropy, self._open(patch))
            if found is not None:
                left[patch.id] = found
        return table.lowered(left), left

    def _region(self, patch: Patch) -> NDArray[np.bool_]:
        is_open = self._open(patch)
        choose = PARTS.get(PatchPart(self.opened.part))
        entropy = self._entropy(patch) if choose is not None else None
        if choose is None or entropy is None:
            return is_open
        region = choose(entropy, is_open, self.share)
        # The last part takes along the pixels without data, so that the patch is done.
        is_last = np.array_equal(region, is_open & np.isfinite(entropy))
        return is_open if is_last else region

    def _open(self, patch: Patch) -> NDArray[np.bool_]:
        """Return the pixels (h, w) of a patch that no standing label was asked about."""
        shape = window_of(patch).shape
        is_open = np.ones(shape, dtype=np.bool_)
        if patch.state is PatchState.PARTLY_LABELLED:
            for label in labels.current(self.session, patch.id):
                is_open &= ~decode_region(label.proposal.region, *shape)
        return is_open

    def _entropy(self, patch: Patch) -> NDArray[np.float32] | None:
        """Return the entropy (h, w) of a patch in nats, NaN without data; None if the scoring has no map of it."""
        if self.opened.scoring_id is None:
            return None
        key = raster_keys.scored(self.opened.scoring_id, patch.scene_id, "entropy")
        try:
            return np.asarray(read_map(self.store.uri(key), window_of(patch)), dtype=np.float32)
        except (SceneError, StoreError):
            return None


def reorder(
    ranked: Iterable[Candidate], lowered: Collection[int], score: Callable[[Candidate], float | None]
) -> Iterator[Candidate]:
    """Yield candidates in descending order of their scores, some of which are lower than stored.

    Reads the ranking no further than the caller does.

    Args:
        ranked: The candidates by their stored scores, highest first.
        lowered: Ids of the patches whose score is computed anew; it is at most the stored one.
        score: Computes it; None if it cannot.
    """
    waiting: list[tuple[float, int, Candidate]] = []
    for candidate in ranked:
        stored = candidate.score or 0.0
        while waiting and -waiting[0][0] >= stored:
            yield heapq.heappop(waiting)[2]
        found = score(candidate) if candidate.patch_id in lowered else None
        if found is None:
            yield candidate
        else:
            heapq.heappush(waiting, (-found, candidate.patch_id, replace(candidate, score=found)))
    while waiting:
        yield heapq.heappop(waiting)[2]
