"""The scores by each half of the Monte Carlo passes, in one array file a scoring: what its agreement is computed from.

Every shard stores its part under a key of its own, before it is marked as done; a shard that is scored again replaces
its part. The job that completes the scoring merges the parts. The files are NumPy's, read without pickle.
"""

import io
from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from catalog.records import Shard, ShardKind
from imagery.store import RasterStore
from models.measures import MEASURES
from services import raster_keys

# 32 bytes a patch: a million patches take 32 MB. The scores are means over maps of float32, so float32 loses nothing.
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
    _save(store, _part(shard), np.array(rows, dtype=ROW))


def merge(store: RasterStore, scoring_id: int, shards: Iterable[Shard]) -> None:
    """Add the parts of all shards of a scoring to its file, ordered by patch, and delete them.

    Idempotent: a part that was merged before replaces the same rows.
    """
    keys = [_part(shard) for shard in shards if shard.kind is ShardKind.MONTE_CARLO]
    parts = [key for key in keys if store.exists(key)]
    if not parts:
        return
    whole = raster_keys.half_scores(scoring_id)
    rows = np.concatenate([_load(store, key) for key in (*parts, whole)])
    _, first = np.unique(rows["patch_id"], return_index=True)
    _save(store, whole, rows[first])
    for key in parts:
        store.delete(key)


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
    rows = _load(store, raster_keys.half_scores(scoring_id))
    if not np.isin(patches, rows["patch_id"]).all():
        return None
    found: NDArray[np.void] = rows[np.searchsorted(rows["patch_id"], patches)]
    return found


def _part(shard: Shard) -> str:
    return raster_keys.half_scores_part(shard.scoring_id, shard.scene_id, shard.stage, shard.first_row)


def _save(store: RasterStore, key: str, rows: NDArray[np.void]) -> None:
    file = io.BytesIO()
    np.save(file, rows, allow_pickle=False)
    store.put(key, file.getvalue())


def _load(store: RasterStore, key: str) -> NDArray[np.void]:
    """Read a file; no rows if there is none, or if a release with other measures wrote it."""
    if not store.exists(key):
        return np.empty(0, dtype=ROW)
    rows: NDArray[np.void] = np.load(io.BytesIO(store.get(key)), allow_pickle=False)
    return rows if rows.dtype == ROW else np.empty(0, dtype=ROW)
