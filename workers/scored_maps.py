"""The maps of a scoring: written shard by shard, then merged scene by scene.

There are four: the classes, the probability that the mapped class is wrong, the probability that the ground is not
background (both as `services.expected_edits.encode_probability` stores them), and the entropy.

Where patches of the shortlist lie, the maps by all passes replace those of the screening pass.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from catalog.records import Shard
from imagery.classes import BACKGROUND, UNKNOWN, ClassScheme
from imagery.cog import StripWriter, byte_map_writer, float_map_writer
from imagery.grid import Grid, Window
from imagery.maps import read_map
from imagery.masks import mask_to_geotiff
from imagery.stitching import stitch
from imagery.store import RasterStore
from models.calibration import probability_bins
from services import raster_keys
from services.expected_edits import ERROR, FOREGROUND, encode_probability
from services.scenes import source_of

CLASSES: Final = "classes"
ENTROPY: Final = "entropy"
STREAMED: Final = {
    ERROR: "probability that the mapped class is wrong: square of (value / 254)",
    FOREGROUND: "probability of any foreground class: square of (value / 254)",
    ENTROPY: "predictive entropy (nats)",
}
"""Maps that are written to files as their rows are finished, with their descriptions. The entropy is stored last: if it
exists, so do the others."""
MAPS: Final = (CLASSES, *STREAMED)
ROWS_TOGETHER: Final = 512

Decide = Callable[[NDArray[np.float32]], NDArray[np.uint8]]
"""Class probabilities (K, h, w) to class values (h, w)."""

ScoredWindow = tuple[Window, NDArray[np.float32]]
"""A window of a scene, and its layers (K + 2, h, w): class probabilities, entropy in nats, and 1 where no data is."""


def window_of_shard(shard: Shard) -> Window:
    """Return the rows of the scene that the patches of a shard cover, over the scene's whole width."""
    height = shard.last_row + shard.scene.patch_size_px - shard.first_row
    return Window(shard.first_row, 0, height, source_of(shard.scene).grid.width)


def write_part(
    store: RasterStore,
    shard: Shard,
    windows: Iterable[ScoredWindow],
    decide: Decide,
    scheme: ClassScheme,
    tables: Sequence[NDArray[np.float64]] | None = None,
) -> None:
    """Blend the windows of a shard where they overlap, and store its part of the scene's maps.

    Where no patch of a shortlist lies, classes are unknown and the entropy is NaN. The map of classes is held in
    memory, one byte a pixel.

    Args:
        store: gets the parts.
        shard: with its scene.
        windows: the shard's windows, row by row.
        decide: how probabilities become classes.
        scheme: the classes.
        tables: calibrated probability of each bin (64,) by class; None: probabilities are taken as they are.
    """
    rows = window_of_shard(shard)
    grid = source_of(shard.scene).grid.subgrid(rows)
    classes = np.empty((grid.height, grid.width), dtype=np.uint8)
    shifted = (
        (Window(window.row_off - rows.row_off, window.col_off, window.height, window.width), layers)
        for window, layers in windows
    )
    with _streamed(store, partial(_part, shard), grid) as write:
        for row, strip in stitch(shifted, grid.height, grid.width, holes=shard.stage > 0):
            probability, entropy = strip[:-2], strip[-2]
            invalid = ~(strip[-1] == 0)  # the last layer is 1 where no data is, NaN where no window lies
            mapped = decide(probability)
            classes[row : row + strip.shape[1]] = np.where(invalid, UNKNOWN, mapped)
            for what, wrong in zip((ERROR, FOREGROUND), wrong_probabilities(probability, mapped, tables), strict=True):
                write[what](row, np.where(invalid, np.uint8(UNKNOWN), encode_probability(np.where(invalid, 0, wrong))))
            write[ENTROPY](row, np.where(invalid, np.float32(np.nan), entropy))
        store.put(_part(shard, CLASSES), mask_to_geotiff(classes, grid, scheme))


def wrong_probabilities(
    probability: NDArray[np.float32], mapped: NDArray[np.uint8], tables: Sequence[NDArray[np.float64]] | None
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return the probability that the mapped class is wrong, and that the ground is not background.

    Without calibration the first is never above the second where the mapped class is the most probable one, so that a
    proposal would never be expected to cost more than an empty mask.

    Args:
        probability: (K, h, w) class probabilities, background first.
        mapped: (h, w) mapped class.
        tables: Calibrated probability of each bin (64,) by class; None to take the probabilities as they are.

    Returns:
        Two arrays (h, w).
    """
    right = np.take_along_axis(probability, mapped[None].astype(np.intp), axis=0)[0]
    if tables is None:
        return 1.0 - right, 1.0 - probability[BACKGROUND]
    background = tables[BACKGROUND][probability_bins(probability[BACKGROUND])]
    return 1.0 - np.stack(tables)[mapped, probability_bins(right)], 1.0 - background


@contextmanager
def _streamed(store: RasterStore, key: Callable[[str], str], grid: Grid) -> Iterator[Mapping[str, StripWriter]]:
    """Yield a writer of strips for each map of `STREAMED`; store the files at the end of the block, if it succeeds.

    Args:
        store: gets the files.
        key: their keys by the name of the map.
        grid: their grid.
    """
    with TemporaryDirectory() as folder:
        files = {what: Path(folder) / f"{what}.tif" for what in STREAMED}
        with ExitStack() as stack:
            yield {
                what: stack.enter_context(
                    (float_map_writer if what == ENTROPY else byte_map_writer)(file, grid, STREAMED[what])
                )
                for what, file in files.items()
            }
        for what, file in files.items():
            store.put_file(key(what), file)


def merge_parts(store: RasterStore, shards: Sequence[Shard], scheme: ClassScheme) -> None:
    """Make the maps of a scene from the parts of its shards, and delete the parts. Idempotent.

    Where the patches of two shards of stage 0 overlap, the part of each counts up to the middle of the overlap. Parts
    of later stages replace what lies below them, in the order of the stages.

    Args:
        store: has the parts, gets the maps.
        shards: all of one scene in one scoring, by stage and first row.
        scheme: the classes.
    """
    base = [shard for shard in shards if shard.stage == 0]
    shortlisted = [shard for shard in shards if shard.stage > 0 and store.exists(_part(shard, ENTROPY))]
    layers = _Layers(store, base, shortlisted, made=store.exists(_map(base[0], ENTROPY)))
    if shortlisted or not layers.made:
        _write_maps(layers, scheme)
    # The entropy goes first: a part without it no longer counts. An interrupted job may have deleted some already.
    for what, shard in product(reversed(MAPS), shards):
        if store.exists(_part(shard, what)):
            store.delete(_part(shard, what))


@dataclass(frozen=True)
class _Layers:
    """The rasters that the maps of a scene are merged from.

    Attributes:
        store: Has all of them.
        base: The shards whose parts cover the scene.
        shortlisted: The shards whose parts replace parts of that.
        made: Whether maps by earlier stages exist, which stand for the parts of ``base``.
    """

    store: RasterStore
    base: Sequence[Shard]
    shortlisted: Sequence[Shard]
    made: bool

    def strips(self, what: str) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield a map as strips of rows, each with the number of its first row, from north to south."""
        for row, strip in self._base_strips(what):
            yield row, self._covered(row, strip, what)

    def _base_strips(self, what: str) -> Iterator[tuple[int, NDArray[Any]]]:
        if self.made:
            grid = source_of(self.base[0].scene).grid
            whole = Window(0, 0, grid.height, grid.width)
            yield from self._strips(what, _map(self.base[0], what), whole, 0, grid.height)
            return
        for shard, first, last in _split_overlaps(self.base):
            yield from self._strips(what, _part(shard, what), window_of_shard(shard), first, last)

    def _covered(self, row: int, strip: NDArray[Any], what: str) -> NDArray[Any]:
        for shard in self.shortlisted:
            part = window_of_shard(shard)
            first, last = max(row, part.row_off), min(row + len(strip), part.row_off + part.height)
            for at, over in self._strips(what, _part(shard, what), part, first, last):
                known = ~np.isnan(over) if what == ENTROPY else over != UNKNOWN
                rows = slice(at - row, at - row + len(over))
                strip[rows] = np.where(known, over, strip[rows])
        return strip

    def _strips(self, what: str, key: str, part: Window, first: int, last: int) -> Iterator[tuple[int, NDArray[Any]]]:
        """Read the rows ``first`` to ``last`` (exclusive) of the scene from a raster that covers the window ``part``.

        Releases before this one stored no probabilities: these are unknown where such a release scored.
        """
        absent = what in (ERROR, FOREGROUND) and not self.store.exists(key)
        for row in range(first, last, ROWS_TOGETHER):
            rows = Window(row - part.row_off, 0, min(ROWS_TOGETHER, last - row), part.width)
            yield row, np.full(rows.shape, UNKNOWN, np.uint8) if absent else read_map(self.store.uri(key), rows)


def _write_maps(layers: _Layers, scheme: ClassScheme) -> None:
    store, shard = layers.store, layers.base[0]
    grid = source_of(shard.scene).grid
    classes = np.empty((grid.height, grid.width), dtype=np.uint8)
    with _streamed(store, partial(_map, shard), grid) as write:
        for row, strip in layers.strips(CLASSES):
            classes[row : row + strip.shape[0]] = strip
        for what in STREAMED:
            for row, strip in layers.strips(what):
                write[what](row, strip)
        store.put(_map(shard, CLASSES), mask_to_geotiff(classes, grid, scheme))


def _split_overlaps(shards: Sequence[Shard]) -> Iterator[tuple[Shard, int, int]]:
    """Yield each shard with the half-open range of the scene's rows that are taken from its part."""
    rows = [window_of_shard(shard) for shard in shards]
    ends = [window.row_off + window.height for window in rows]
    cuts = [(end + below.row_off) // 2 for end, below in zip(ends, rows[1:], strict=False)]
    yield from zip(shards, [0, *cuts], [*cuts, ends[-1]], strict=True)


def _part(shard: Shard, what: str) -> str:
    return raster_keys.scored_part(shard.scoring_id, shard.scene_id, what, shard.stage, shard.first_row)


def _map(shard: Shard, what: str) -> str:
    return raster_keys.scored(shard.scoring_id, shard.scene_id, what)
