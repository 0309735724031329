"""The part of a scoring's table (`services.score_table`) that each shard writes, and the merging of the parts."""

from collections.abc import Iterable, Mapping

import numpy as np

from catalog.records import Shard, ShardKind
from imagery.store import RasterStore
from models.measures import PatchProfile
from services import raster_keys
from services.score_table import row_type
from workers import shard_arrays


def write_part(
    store: RasterStore,
    shard: Shard,
    profiles: Mapping[int, tuple[float, PatchProfile]],
    prior_shares: Mapping[int, float],
) -> None:
    """Store what is known of each patch of a shard.

    Args:
        store: gets the part.
        shard: with its kind.
        profiles: the measure ``entropy_top10`` and the profile of each patch, by its id.
        prior_shares: share of foreground in the prior outlines, by patch id; 0 where none is given.
    """
    (classes,) = {1 + len(profile.class_entropy) for _, profile in profiles.values()}
    screening = shard.kind is ShardKind.SCREENING
    rows = [
        (
            *(patch_id, screening, entropy, profile.foreground_share, profile.class_entropy),
            prior_shares.get(patch_id, 0.0),
        )
        for patch_id, (entropy, profile) in profiles.items()
    ]
    shard_arrays.save(store, _part(shard), np.array(rows, dtype=row_type(classes)))


def merge(store: RasterStore, scoring_id: int, shards: Iterable[Shard]) -> None:
    """Add the parts of all shards of a scoring to its table and delete them. Idempotent."""
    shard_arrays.merge(store, raster_keys.score_table(scoring_id), shards, _part)


def _part(shard: Shard) -> str:
    return raster_keys.score_table_part(shard.scoring_id, shard.scene_id, shard.stage, shard.first_row)
