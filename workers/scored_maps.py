"""The maps of classes and entropy that a scoring leaves: written shard by shard, then put together scene by scene.

What all passes say of contested patches lies over what a survey says of the whole scene.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from catalog.records import Shard
from imagery.classes import UNKNOWN, ClassScheme
from imagery.cog import float_map_writer
from imagery.grid import Window
from imagery.maps import read_map
from imagery.masks import mask_to_geotiff
from imagery.stitching import stitch
from imagery.store import RasterStore
from services import raster_keys
from services.scenes import source_of

MAPS: Final = ("classes", "entropy")
ENTROPY_IN_NATS: Final = "predictive entropy (nats)"
ROWS_TOGETHER: Final = 512

Decide = Callable[[NDArray[np.float32]], NDArray[np.uint8]]
"""Class probabilities (K, h, w) to class values (h, w)."""

ScoredWindow = tuple[Window, NDArray[np.float32]]
"""A window of a scene, and (K + 2, h, w): its class probabilities, entropy in nats, and 1 where there is no data."""


def window_of_shard(shard: Shard) -> Window:
    """Return the rows of its scene that the patches of a shard cover."""
    height = shard.last_row + shard.scene.patch_size_px - shard.first_row
    return Window(shard.first_row, 0, height, source_of(shard.scene).grid.width)


def write_part(
    store: RasterStore, shard: Shard, windows: Iterable[ScoredWindow], decide: Decide, scheme: ClassScheme
) -> None:
    """Blend the windows of a shard where they overlap, and store its part of the scene's maps.

    Where it has no window, because nothing is contested there, the part is unknown and not a number. The map of
    classes is held whole, one byte a pixel; that of entropy goes to a file as its rows are finished.

    Args:
        store: gets the parts.
        shard: with its scene.
        windows: row by row.
        decide: how probabilities become classes.
        scheme: the classes.
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
            for row, strip in stitch(shifted, grid.height, grid.width, holes=shard.stage > 0):
                probability, entropy, invalid = strip[:-2], strip[-2], ~(strip[-1] == 0)  # 1 without data, NaN in holes
                classes[row : row + strip.shape[1]] = np.where(invalid, UNKNOWN, decide(probability))
                write_entropy(row, np.where(invalid, np.float32(np.nan), entropy))
        store.put(_part(shard, "classes"), mask_to_geotiff(classes, grid, scheme))
        store.put_file(_part(shard, "entropy"), entropy_file)


def put_together(store: RasterStore, shards: Sequence[Shard], scheme: ClassScheme) -> None:
    """Make the maps of a scene from the parts of all its shards, and drop the parts; nothing if that was done.

    Where the patches of two shards of a stage overlap, the part of each counts up to the middle of what they share;
    but for contested patches, which lie over all before, the later ones over the earlier.

    Args:
        store: has the parts, gets the maps.
        shards: all of one scene in one scoring, by stage from north to south.
        scheme: the classes.
    """
    base = [shard for shard in shards if shard.stage == 0]
    contested = [shard for shard in shards if shard.stage > 0 and store.exists(_part(shard, "entropy"))]
    layers = _Layers(store, base, contested, made=store.exists(_map(base[0], "entropy")))
    if contested or not layers.made:
        _write_maps(layers, scheme)
    for what, shard in product(reversed(MAPS), shards):  # a part counts while its entropy is there
        if store.exists(_part(shard, what)):  # those of earlier stages may have been dropped then
            store.delete(_part(shard, what))


@dataclass(frozen=True)
class _Layers:
    """What the maps of a scene are put together from.

    Attributes:
        store: Has all of it.
        base: The shards whose parts cover the scene.
        contested: Those whose parts lie over that.
        made: Whether there are maps by earlier stages, in place of the parts of ``base``.
    """

    store: RasterStore
    base: Sequence[Shard]
    contested: Sequence[Shard]
    made: bool

    def strips(self, what: str) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield strips of a map that follow each other from the first row to the last."""
        for row, strip in self._base_strips(what):
            yield row, self._covered(row, strip, what)

    def _base_strips(self, what: str) -> Iterator[tuple[int, NDArray[Any]]]:
        if self.made:
            grid = source_of(self.base[0].scene).grid
            whole = Window(0, 0, grid.height, grid.width)
            yield from _strips(self.store.uri(_map(self.base[0], what)), whole, 0, grid.height)
            return
        for shard, first, last in _shared_out(self.base):
            yield from _strips(self.store.uri(_part(shard, what)), window_of_shard(shard), first, last)

    def _covered(self, row: int, strip: NDArray[Any], what: str) -> NDArray[Any]:
        for shard in self.contested:
            part = window_of_shard(shard)
            first, last = max(row, part.row_off), min(row + len(strip), part.row_off + part.height)
            for at, over in _strips(self.store.uri(_part(shard, what)), part, first, last):
                known = over != UNKNOWN if what == "classes" else ~np.isnan(over)
                rows = slice(at - row, at - row + len(over))
                strip[rows] = np.where(known, over, strip[rows])
        return strip


def _write_maps(layers: _Layers, scheme: ClassScheme) -> None:
    store, shard = layers.store, layers.base[0]
    grid = source_of(shard.scene).grid
    classes = np.empty((grid.height, grid.width), dtype=np.uint8)
    with TemporaryDirectory() as folder:
        entropy_file = Path(folder) / "entropy.tif"
        for row, strip in layers.strips("classes"):
            classes[row : row + strip.shape[0]] = strip
        with float_map_writer(entropy_file, grid, ENTROPY_IN_NATS) as write_entropy:
            for row, strip in layers.strips("entropy"):
                write_entropy(row, strip)
        store.put(_map(shard, "classes"), mask_to_geotiff(classes, grid, scheme))
        store.put_file(_map(shard, "entropy"), entropy_file)  # last: who finds it finds the other


def _shared_out(shards: Sequence[Shard]) -> Iterator[tuple[Shard, int, int]]:
    """Yield each shard with the first of the scene's rows that count from its part, and the one after the last."""
    rows = [window_of_shard(shard) for shard in shards]
    ends = [window.row_off + window.height for window in rows]
    cuts = [(end + below.row_off) // 2 for end, below in zip(ends, rows[1:], strict=False)]
    yield from zip(shards, [0, *cuts], [*cuts, ends[-1]], strict=True)


def _strips(uri: str, part: Window, first: int, last: int) -> Iterator[tuple[int, NDArray[Any]]]:
    """Read rows of the scene from a raster that covers the rows of ``part``, some at a time."""
    for row in range(first, last, ROWS_TOGETHER):
        yield row, read_map(uri, Window(row - part.row_off, 0, min(ROWS_TOGETHER, last - row), part.width))


def _part(shard: Shard, what: str) -> str:
    return raster_keys.scored_part(shard.scoring_id, shard.scene_id, what, shard.stage, shard.first_row)


def _map(shard: Shard, what: str) -> str:
    return raster_keys.scored(shard.scoring_id, shard.scene_id, what)
