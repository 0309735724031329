"""What a scoring knows of every patch of the pool, as one table in memory, for strategies that look at all of them.

Scores that rank are rows of the database, read from the top (``catalog.candidates``). A strategy that adds noise to
scores, or draws among the patches with foreground, has to see the whole pool: an array file of some 30 bytes a patch
does not make the table of scores larger, and is read without a query.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from imagery.store import RasterStore
from services import raster_keys

ENTROPY: Final = "entropy_top10"
"""The measure in the table."""

FIELDS: Final = ("patch_id", "screening", "entropy", "foreground_share", "class_entropy", "prior_share")


def row_type(classes: int) -> np.dtype[np.void]:
    """Return the type of the rows of a table by a version of K classes; its fields are those of `ScoreTable`."""
    kinds: list[tuple[str, str] | tuple[str, str, tuple[int]]] = [
        ("patch_id", "<i8"),
        ("screening", "?"),
        ("entropy", "<f4"),
        ("foreground_share", "<f4"),
        ("class_entropy", "<f4", (classes - 1,)),
        ("prior_share", "<f4"),
    ]
    return np.dtype(kinds)


@dataclass(frozen=True)
class ScoreTable:
    """The patches that a scoring has scored, in the order of their ids.

    Attributes:
        patch_ids: (N,) int64, ascending.
        screening: (N,) bool, whether one deterministic pass gave the figures. Its entropies are lower than those of all
            T passes and do not compare with them; the shares do.
        entropy: (N,) float32, the measure `ENTROPY` in nats.
        foreground_share: (N,) float32, share of the pixels that are more probably foreground than background.
        class_entropy: (N, K - 1) float32, in nats, for each foreground class (`models.measures.PatchProfile`).
        prior_share: (N,) float32, share of the pixels that prior outlines call foreground; 0 without any.
    """

    patch_ids: NDArray[np.int64]
    screening: NDArray[np.bool_]
    entropy: NDArray[np.float32]
    foreground_share: NDArray[np.float32]
    class_entropy: NDArray[np.float32]
    prior_share: NDArray[np.float32]

    def foreground(self, share: float) -> NDArray[np.int64]:
        """Return the ids of the patches with at least this share of foreground, predicted or prior, ascending.

        A version that few labels have trained misses ice that the old outlines have, and they miss what they left out.
        """
        return self.patch_ids[(self.foreground_share >= share) | (self.prior_share >= share)]

    def lowered(self, entropy: Mapping[int, float]) -> "ScoreTable":
        """Return the table with lower entropies of some patches, of which a part has been judged.

        Their entropies by class fall in proportion, because no map of a scoring has the probability of each class; the
        shares of foreground stay those of the whole patch.

        Args:
            entropy: The entropy of what is left, in nats, by patch id.
        """
        at = np.flatnonzero(np.isin(self.patch_ids, list(entropy)))
        left = np.array([entropy[patch_id] for patch_id in self.patch_ids[at].tolist()], dtype=np.float32)
        whole, by_class = self.entropy.copy(), self.class_entropy.copy()
        whole[at] = np.minimum(left, self.entropy[at])
        share = np.divide(whole[at], self.entropy[at], out=np.zeros_like(left), where=self.entropy[at] > 0)
        by_class[at] *= share[:, None]
        return replace(self, entropy=whole, class_entropy=by_class)

    def order(self, scores: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return all ids by falling scores (N,); patches that were only screened come after all others.

        Of equal scores the highest id comes first, as in `catalog.candidates.ranked`.
        """
        ordered: NDArray[np.int64] = self.patch_ids[np.lexsort((-self.patch_ids, -scores, self.screening))]
        return ordered


def table_of(rows: NDArray[np.void]) -> ScoreTable:
    """Return the table of some rows of `row_type`, each of another patch."""
    ordered = rows[np.argsort(rows["patch_id"])]
    return ScoreTable(*(np.ascontiguousarray(ordered[field]) for field in FIELDS))


def read_table(store: RasterStore, scoring_id: int) -> ScoreTable | None:
    """Read the table of a scoring; None if a release that kept none made it."""
    key = raster_keys.score_table(scoring_id)
    return table_of(np.load(io.BytesIO(store.get(key)), allow_pickle=False)) if store.exists(key) else None
