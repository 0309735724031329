"""The scores by each half of the Monte Carlo passes, in one array file a scoring: what its agreement is computed from.

How the file is made and merged is told in `workers.shard_arrays`.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from catalog.records import Shard, ShardKind
from imagery.store import RasterStore
from models.measures import MEASURES
from services import raster_keys
from workers import shard_arrays

# 48 bytes a patch: a million patches take 48 MB. The scores are means over maps of float32, so float32 loses nothing.
ROW: Final = np.dtype([("patch_id", "<i8"), *((measure, "<f4", (2,)) for measure in MEASURES)])
"""The id of a patch and, for each measure, its scores by the first and the second half of the passes."""

Halves = tuple[Mapping[str, float], Mapping[str, float]]
"""Scores of a patch by measure, by the first and by the second half of the passes."""


def write_part(store: RasterStore, shard: Shard, halves: Mapping[int, Halves]) -> None:
    """Store the scores of a Monte Carlo shard, by patch id."""
    rows = [
        (patch_id, *((first[measure], second[measure]) for measure in MEASURES))
        for patch_id, (first, second) in halves.items()
    ]
    shard_arrays.save(store, _part(shard), np.array(rows, dtype=ROW))


def merge(store: RasterStore, scoring_id: int, shards: Iterable[Shard]) -> None:
    """Add the parts of all shards of a scoring to its file and delete them. Idempotent."""
    monte_carlo = [shard for shard in shards if shard.kind is ShardKind.MONTE_CARLO]
    shard_arrays.merge(store, raster_keys.half_scores(scoring_id), monte_carlo, _part)


def read(store: RasterStore, scoring_id: int, patches: NDArray[np.int64]) -> NDArray[np.void] | None:
    """Read the half scores of some patches.

    Args:
        store: has the file.
        scoring_id: whose file to read.
        patches: (N,) ids, ascending.

    Returns:
        (N,) of ``ROW``, in the order of ``patches``; None if any of them is missing, as in a scoring that began under a
        release that kept no such file.
    """
    rows = shard_arrays.load(store, raster_keys.half_scores(scoring_id), ROW)
    if not np.isin(patches, rows["patch_id"]).all():
        return None
    found: NDArray[np.void] = rows[np.searchsorted(rows["patch_id"], patches)]
    return found


def _part(shard: Shard) -> str:
    return raster_keys.half_scores_part(shard.scoring_id, shard.scene_id, shard.stage, shard.first_row)
