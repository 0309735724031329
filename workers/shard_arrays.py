"""Arrays with one row a patch, written shard by shard and merged into one file a scoring.

Every shard stores its part under a key of its own, before it is marked as done; a shard that is scored again replaces
its part. The job that completes the scoring merges the parts. The files are NumPy's, read without pickle.
"""

import io
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from catalog.records import Shard
from imagery.store import RasterStore


def save(store: RasterStore, key: str, rows: NDArray[np.void]) -> None:
    """Store an array of rows under this key."""
    file = io.BytesIO()
    np.save(file, rows, allow_pickle=False)
    store.put(key, file.getvalue())


def load(store: RasterStore, key: str, kind: np.dtype[np.void]) -> NDArray[np.void]:
    """Read an array; no rows if there is none, or if a release with rows of another type wrote it."""
    rows = _read(store, key) if store.exists(key) else None
    return rows if rows is not None and rows.dtype == kind else np.empty(0, dtype=kind)


def merge(store: RasterStore, whole: str, shards: Iterable[Shard], part: Callable[[Shard], str]) -> None:
    """Add the parts of some shards of a scoring to its file, ordered by patch, and delete them.

    Idempotent: a part that was merged before replaces the same rows. Rows of a later stage replace those of an earlier.

    Args:
        store: has the parts, gets the file.
        whole: key of the file.
        shards: whose parts to merge, if they exist.
        part: returns the key of the part of a shard; its rows have a field ``patch_id``.
    """
    latest_first = sorted(shards, key=lambda shard: shard.stage, reverse=True)
    keys = [key for key in map(part, latest_first) if store.exists(key)]
    if not keys:
        return
    parts = [_read(store, key) for key in keys]
    rows = np.concatenate([*parts, load(store, whole, parts[0].dtype)])
    _, first = np.unique(rows["patch_id"], return_index=True)
    save(store, whole, rows[first])
    for key in reversed(keys):  # earlier stages first: what a killed attempt leaves is as late as what is in the file
        store.delete(key)


def _read(store: RasterStore, key: str) -> NDArray[np.void]:
    rows: NDArray[np.void] = np.load(io.BytesIO(store.get(key)), allow_pickle=False)
    return rows
