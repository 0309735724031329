"""The rows of features (`services.patch_features`) that each shard writes, and the merging of the parts."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from catalog.records import Shard
from imagery.store import RasterStore
from services import raster_keys
from services.patch_features import DIMENSIONS, ROW
from workers import shard_arrays

_LARGEST: Final = float(np.finfo(np.float16).max)


def project(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Reduce features to `DIMENSIONS` numbers; few features are filled up with zeros.

    A random projection by a fixed matrix of normal numbers. It keeps each distance up to a relative error with a
    standard deviation of about 1 / sqrt(2 * `DIMENSIONS`), 9 %, however many features there are (Johnson &
    Lindenstrauss 1984).

    Args:
        features: (N, F).

    Returns:
        (N, `DIMENSIONS`).
    """
    count = features.shape[1]
    if count <= DIMENSIONS:
        return np.pad(features, ((0, 0), (0, DIMENSIONS - count)))
    projected: NDArray[np.float32] = features @ _matrix(count)
    return projected


@lru_cache(maxsize=1)
def _matrix(count: int) -> NDArray[np.float32]:
    normal = np.random.default_rng(0).standard_normal((count, DIMENSIONS), dtype=np.float32)
    return normal / np.float32(np.sqrt(DIMENSIONS))


def write_part(store: RasterStore, shard: Shard, features: Mapping[int, NDArray[np.float32]]) -> None:
    """Store the projected features of the patches of a shard, by patch id."""
    rows = np.empty(len(features), dtype=ROW)
    rows["patch_id"] = list(features)
    rows["features"] = np.clip(np.stack(list(features.values())), -_LARGEST, _LARGEST)
    shard_arrays.save(store, _part(shard), rows)


def merge(store: RasterStore, scoring_id: int, shards: Iterable[Shard]) -> None:
    """Add the parts of all shards of a scoring to its file and delete them. Idempotent."""
    shard_arrays.merge(store, raster_keys.patch_features(scoring_id), shards, _part)


def _part(shard: Shard) -> str:
    return raster_keys.patch_features_part(shard.scoring_id, shard.scene_id, shard.stage, shard.first_row)
