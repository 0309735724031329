"""Read windows of a scene as batches of tensors, and predict class maps of whole scenes."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import islice
from typing import Final, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from imagery.grid import Window, tile
from imagery.scene_reader import SceneReader
from imagery.scene_source import SceneSource
from imagery.stitching import stitch
from models.inference import predict_windows
from models.segmenter import GlacierSegmenter

T = TypeVar("T")
R = TypeVar("R")

# Pixels per batch. Measured: activations of the paper's U-Net (depth 5, 16 maps, 15 channels) then take 170 MiB.
_MAX_BATCH_PIXELS: Final = 512 * 512


def batches(items: Sequence[T], size: int) -> Iterator[list[T]]:
    """Yield batches of at most ``size`` items."""
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch


def read_ahead(items: Iterable[T], read: Callable[[T], R]) -> Iterator[tuple[T, R]]:
    """Yield items with their data, reading the next item in a thread while the caller works on the present one.

    Reading, decompressing and the forward pass all release Python's global lock. At most two items are in memory.

    Args:
        items: the items.
        read: reads one item; called in one thread only.

    Yields:
        Each item with its data, in order. Errors of `read` are raised here.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="read-ahead") as thread:
        waiting: tuple[T, Future[R]] | None = None
        for item in items:
            upcoming = item, thread.submit(read, item)
            if waiting is not None:
                yield waiting[0], waiting[1].result()
            waiting = upcoming
        if waiting is not None:
            yield waiting[0], waiting[1].result()


def batch_size_for(patch_size: int, limit: int) -> int:
    """Return the batch size, from 1 to ``limit``, that bounds memory for windows of ``patch_size`` pixels a side."""
    return max(1, min(limit, _MAX_BATCH_PIXELS // patch_size**2))


def read_batch(reader: SceneReader, channels: Sequence[str], windows: Sequence[Window], margin: int = 0) -> Tensor:
    """Read windows of one size as a tensor (N, C, h, w) float32 in the channels' units, NaN = nodata.

    Horizontal neighbours are read as one window and then cut: opening, warping and slope cost about as much for a small
    window as for a large one, and overlaps are read once.

    Args:
        reader: of the scene.
        channels: their names.
        windows: within the scene.
        margin: pixels that are read around each window, so that h and w are larger by twice as many; NaN beyond the
            scene.
    """
    height, width = (side + 2 * margin for side in windows[0].shape)
    batch = torch.empty((len(windows), len(channels), height, width), dtype=torch.float32)
    at = 0
    for run in _runs(windows):
        first, last = run[0], run[-1]
        whole = Window(first.row_off, first.col_off, first.height, last.col_off + last.width - first.col_off)
        row = _read_around(reader, channels, whole, margin)
        for window in run:
            batch[at] = torch.from_numpy(row[:, :, window.col_off - first.col_off :][:, :, :width])
            at += 1
    return batch


def _read_around(reader: SceneReader, channels: Sequence[str], window: Window, margin: int) -> NDArray[np.float32]:
    """Read a window (C, h, w) that is larger by a margin on each side; NaN beyond the scene."""
    grid = reader.source.grid
    ends = [
        (max(start - margin, 0), min(start + side + margin, limit))
        for start, side, limit in (
            (window.row_off, window.height, grid.height),
            (window.col_off, window.width, grid.width),
        )
    ]
    (top, bottom), (left, right) = ends
    within = reader.read(channels, Window(top, left, bottom - top, right - left))
    above, before = margin - (window.row_off - top), margin - (window.col_off - left)
    below, behind = (
        side + 2 * margin - lead - found
        for side, lead, found in zip(window.shape, (above, before), within.shape[1:], strict=True)
    )
    return np.pad(within, ((0, 0), (above, below), (before, behind)), constant_values=np.nan)


def _runs(windows: Sequence[Window]) -> Iterator[list[Window]]:
    """Yield runs of windows in which each touches or overlaps the one before on its right-hand side."""
    run: list[Window] = []
    for window in windows:
        if run and not (
            window.row_off == run[-1].row_off and run[-1].col_off < window.col_off <= run[-1].col_off + run[-1].width
        ):
            yield run
            run = []
        run.append(window)
    if run:
        yield run


def predict_strips(
    segmenter: GlacierSegmenter, source: SceneSource, patch_size: int, batch_size: int, unknown: int
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Predict the classes of a scene strip by strip: :func:`predict_probability_strips` without the probabilities."""
    for row, classes, _ in predict_probability_strips(segmenter, source, patch_size, batch_size, unknown):
        yield row, classes


def predict_probability_strips(
    segmenter: GlacierSegmenter, source: SceneSource, patch_size: int, batch_size: int, unknown: int
) -> Iterator[tuple[int, NDArray[np.uint8], NDArray[np.float32]]]:
    """Predict a scene from half-overlapping windows with blended seams, strip by strip.

    With ``segmenter.orientations`` "alternating", windows beside each other, and above each other, differ by a quarter
    turn or two (`quarter_turns`): the four that cover a pixel see it in four orientations.

    Memory does not grow with the scene's height: windows are read, predicted and blended as the strips are taken.

    Args:
        segmenter: the network, on its device.
        source: the scene.
        patch_size: side of the windows, pixels; the size that the network was trained on.
        batch_size: most windows predicted together; fewer when they are large (`batch_size_for`).
        unknown: value of pixels without data in any of the network's bands and indices
            (`imagery.scene_source.SceneSource.measured`).

    Yields:
        First row, class values (rows, W) uint8 and class probabilities (K, rows, W) of strips that follow each other
        from row 0 to the last row. Probabilities of unknown pixels are meaningless.

    Raises:
        SceneError: the scene lacks a channel, is smaller than a window, or cannot be read.
    """
    grid = source.grid
    windows = tile(grid.width, grid.height, patch_size, patch_size // 2)
    batch_size = batch_size_for(patch_size, batch_size)
    # The generator uses the reader in a thread, so it must be closed before the reader.
    with SceneReader(source) as reader, closing(_predicted(segmenter, reader, windows, batch_size)) as parts:
        for row, strip in stitch(parts, grid.height, grid.width):
            classes = segmenter.decide(strip[:-1])
            classes[strip[-1] > 0] = unknown
            yield row, classes, strip[:-1]


def predict_classes(
    segmenter: GlacierSegmenter, source: SceneSource, patch_size: int, batch_size: int, unknown: int
) -> NDArray[np.uint8]:
    """Return the predicted class map of a whole scene; memory grows only by the map, one byte a pixel.

    Arguments and errors are those of :func:`predict_strips`.

    Returns:
        (H, W) uint8 class values.
    """
    classes = np.empty((source.grid.height, source.grid.width), dtype=np.uint8)
    for row, strip in predict_strips(segmenter, source, patch_size, batch_size, unknown):
        classes[row : row + strip.shape[0]] = strip
    return classes


def quarter_turns(windows: Sequence[Window]) -> list[int]:
    """Return the quarter turns in which windows are predicted in alternating orientations.

    0 and 1 in turn in the first row, 2 and 3 in the second, and so on.

    Args:
        windows: All windows of a scene, as :func:`imagery.grid.tile` gives them.
    """
    rows = {row: number for number, row in enumerate(dict.fromkeys(window.row_off for window in windows))}
    cols = {col: number for number, col in enumerate(dict.fromkeys(window.col_off for window in windows))}
    return [2 * (rows[window.row_off] % 2) + cols[window.col_off] % 2 for window in windows]


def _predicted(
    segmenter: GlacierSegmenter, reader: SceneReader, windows: Sequence[Window], batch_size: int
) -> Generator[tuple[Window, NDArray[np.float32]], None, None]:
    """Yield windows with their class probabilities and, as the last layer, 1 where nothing is known, else 0."""
    measured = list(reader.source.measured(segmenter.channels))
    turns = batches(quarter_turns(windows), batch_size)
    for batch, raw in read_ahead(batches(windows, batch_size), partial(read_batch, reader, segmenter.channels)):
        (probabilities,) = predict_windows(segmenter, [raw], [next(turns)])
        invalid = (~raw[:, measured].isfinite()).any(dim=1, keepdim=True)
        yield from zip(batch, torch.cat([probabilities, invalid.float()], dim=1).numpy(), strict=True)
