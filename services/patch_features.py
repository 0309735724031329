"""What a network sees in each patch, as a few numbers: for strategies that choose patches unlike each other.

The features of a patch are the means of the maps of the U-Net's bottleneck over its pixels, by all passes of the
scoring, projected to `DIMENSIONS` numbers (`workers.feature_rows`). They are in a file of their own, because only some
strategies read them, and they take four times as much as the table of scores.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from imagery.store import RasterStore
from services import raster_keys

DIMENSIONS: Final = 64

# 136 bytes a patch. Half precision errs by .05 %, the projection of many maps by some 9 % of a distance.
ROW: Final = np.dtype([("patch_id", "<i8"), ("features", "<f2", (DIMENSIONS,))])


@dataclass(frozen=True)
class PatchFeatures:
    """The features of all patches that a scoring has scored.

    Attributes:
        patch_ids: (N,) int64, ascending.
        features: (N, `DIMENSIONS`) float16.
    """

    patch_ids: NDArray[np.int64]
    features: NDArray[np.float16]

    def known(self, patch_ids: Sequence[int]) -> list[int]:
        """Return those of these patches that have features."""
        is_known = np.isin(np.asarray(patch_ids, dtype=np.int64), self.patch_ids)
        return [patch_id for patch_id, known in zip(patch_ids, is_known, strict=True) if known]

    def of(self, patch_ids: Sequence[int]) -> NDArray[np.float64]:
        """Return the features (n, `DIMENSIONS`) of these patches, in their order.

        Raises:
            ValueError: a patch has none.
        """
        if len(self.known(patch_ids)) != len(patch_ids):
            raise ValueError("found patches without features, which this strategy needs; have the pool scored anew")
        rows = np.searchsorted(self.patch_ids, np.asarray(patch_ids, dtype=np.int64))
        return self.features[rows].astype(np.float64)


def features_of(rows: NDArray[np.void]) -> PatchFeatures:
    """Return the features in some rows of `ROW`, each of another patch."""
    ordered = rows[np.argsort(rows["patch_id"])]
    return PatchFeatures(np.ascontiguousarray(ordered["patch_id"]), ordered["features"])


def read_features(store: RasterStore, scoring_id: int) -> PatchFeatures | None:
    """Read the features by a scoring; None if a release that kept none made it."""
    key = raster_keys.patch_features(scoring_id)
    return features_of(np.load(io.BytesIO(store.get(key)), allow_pickle=False)) if store.exists(key) else None


def farthest_first(points: NDArray[np.float64], centres: NDArray[np.float64]) -> Iterator[int]:
    """Yield the index of the point farthest from its nearest centre, which then becomes a centre; and so on.

    Greedy k-centre (Gonzalez 1985): its largest distance of any point to its nearest centre is at most twice the least
    possible. Each point takes time in proportion to the number of points.

    Args:
        points: (N, D).
        centres: (M, D); without any, the first point comes first.

    Yields:
        Each index once; of equal distances the lowest.
    """
    nearest = cdist(points, centres).min(axis=1) if len(centres) else np.full(len(points), np.inf)
    for _ in range(len(points)):
        farthest = int(nearest.argmax())
        yield farthest
        nearest = np.minimum(nearest, cdist(points, points[farthest : farthest + 1])[:, 0])
        nearest[farthest] = -1.0  # taken
