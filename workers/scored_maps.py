"""The maps of classes and entropy that a scoring leaves: written shard by shard, then put together scene by scene."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from catalog import raster_keys
from catalog.records import Shard
from imagery.classes import UNKNOWN
from imagery.cog import float_map_writer
from imagery.grid import Window
from imagery.maps import read_map
from imagery.masks import mask_to_geotiff
from imagery.stitching import stitch
from imagery.store import RasterStore
from models.heads import Head, decide
from workers.scenes import source_of

MAPS: Final = ("classes", "entropy")
ENTROPY_IN_NATS: Final = "predictive entropy (nats)"
ROWS_TOGETHER: Final = 512

ScoredWindow = tuple[Window, NDArray[np.float32]]
"""A window of a scene, and (K + 2, h, w): its class probabilities, entropy in nats, and 1 where there is no data."""


def window_of_shard(shard: Shard) -> Window:
    """Return the rows of its scene that the patches of a shard cover."""
    height = shard.last_row + shard.scene.patch_size_px - shard.first_row
    return Window(shard.first_row, 0, height, source_of(shard.scene).grid.width)


def write_part(store: RasterStore, shard: Shard, windows: Iterable[ScoredWindow], head: Head) -> None:
    """Blend the windows of a shard where they overlap, and store its part of the scene's maps.

    The map of classes is held whole, one byte a pixel; that of entropy goes to a file as its rows are finished.

    Args:
        store: gets the parts.
        shard: with its scene.
        windows: row by row.
        head: how probabilities become classes.
    """
    rows = window_of_shard(shard)
    grid = source_of(shard.scene).grid.subgrid(rows)
    classes = np.empty((grid.height, grid.width), dtype=np.uint8)
    shifted = (
        (Window(window.row_off - rows.row_off, window.col_off, window.height, window.width), layers)
        for window, layers in windows
    )
    with TemporaryDirectory() as folder:
        entropy_file = Path(folder) / "entropy.tif"
        with float_map_writer(entropy_file, grid, ENTROPY_IN_NATS) as write_entropy:
            for row, strip in stitch(shifted, grid.height, grid.width):
                probability, entropy, invalid = strip[:-2], strip[-2], strip[-1] > 0
                classes[row : row + strip.shape[1]] = np.where(invalid, UNKNOWN.value, decide(probability, head))
                write_entropy(row, np.where(invalid, np.float32(np.nan), entropy))
        store.put(_part(shard, "classes"), mask_to_geotiff(classes, grid))
        store.put_file(_part(shard, "entropy"), entropy_file)


def put_together(store: RasterStore, shards: Sequence[Shard]) -> None:
    """Make the maps of a scene from the parts of all its shards, and drop the parts; nothing if the maps exist.

    Where the patches of two shards overlap, each part counts up to the middle of what they share.

    Args:
        store: has the parts, gets the maps.
        shards: all of one scene in one scoring, from north to south.
    """
    scene, scoring_id = shards[0].scene, shards[0].scoring_id
    keys = {what: raster_keys.scored(scoring_id, scene.id, what) for what in MAPS}
    if store.exists(keys["entropy"]):
        return
    grid = source_of(scene).grid
    classes = np.empty((grid.height, grid.width), dtype=np.uint8)
    with TemporaryDirectory() as folder:
        entropy_file = Path(folder) / "entropy.tif"
        with float_map_writer(entropy_file, grid, ENTROPY_IN_NATS) as write_entropy:
            for shard, first, last in _shared_out(shards):
                for row, strip in _strips(store, shard, "classes", first, last):
                    classes[row : row + strip.shape[0]] = strip
                for row, strip in _strips(store, shard, "entropy", first, last):
                    write_entropy(row, strip)
        store.put(keys["classes"], mask_to_geotiff(classes, grid))
        store.put_file(keys["entropy"], entropy_file)  # last: who finds it finds the other
    for shard, what in product(shards, MAPS):
        store.delete(_part(shard, what))


def _shared_out(shards: Sequence[Shard]) -> Iterator[tuple[Shard, int, int]]:
    """Yield each shard with the first of the scene's rows that count from its part, and the one after the last."""
    rows = [window_of_shard(shard) for shard in shards]
    ends = [window.row_off + window.height for window in rows]
    cuts = [(end + below.row_off) // 2 for end, below in zip(ends, rows[1:], strict=False)]
    yield from zip(shards, [0, *cuts], [*cuts, ends[-1]], strict=True)


def _strips(store: RasterStore, shard: Shard, what: str, first: int, last: int) -> Iterator[tuple[int, NDArray[Any]]]:
    """Read rows of the scene from a part, some at a time."""
    uri, part = store.uri(_part(shard, what)), window_of_shard(shard)
    for row in range(first, last, ROWS_TOGETHER):
        height = min(ROWS_TOGETHER, last - row)
        yield row, read_map(uri, Window(row - part.row_off, 0, height, part.width))


def _part(shard: Shard, what: str) -> str:
    return raster_keys.scored_part(shard.scoring_id, shard.scene_id, what, shard.first_row)
