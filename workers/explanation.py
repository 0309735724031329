"""Find out what a new version looks at on the validation scenes."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch

from catalog.context import Catalog
from catalog.records import Scene
from imagery.grid import Grid, Window
from imagery.scene_reader import SceneReader
from models.explanations import saliency_map, saliency_scores
from models.saliency import BlockSaliency, Saliency
from models.segmenter import GlacierSegmenter
from services.block_changes import BlockChange
from services.places import raster_store
from services.scenes import source_of
from workers.validation_windows import ValidationWindowDataset

MOST_WINDOWS: Final = 8
"""Windows that the shares of the channels are of: each costs about as much as to learn from it once."""
LARGEST_SIDE: Final = 256
"""Longest side of these windows, pixels."""


def explain(
    catalog: Catalog,
    segmenter: GlacierSegmenter,
    scenes: Sequence[Scene],
    patch_size: int,
    names: Sequence[str],
    blocks: Sequence[BlockChange],
) -> Saliency:
    """Return what a network looks at.

    Args:
        catalog: for the raster store.
        segmenter: the trained network, on its device.
        scenes: ready validation scenes with outlines.
        patch_size: side of the windows that it was trained on, pixels.
        names: the names of its classes.
        blocks: blocks of these scenes to draw.

    Raises:
        SceneError: a scene cannot be read.
    """
    sizes = (source_of(scene).grid for scene in scenes)
    side = min(patch_size, LARGEST_SIDE, *(min(grid.height, grid.width) for grid in sizes))
    windows = ValidationWindowDataset(scenes, segmenter.channels, side, raster_store(catalog))
    chosen = np.unique(np.linspace(0, len(windows) - 1, min(MOST_WINDOWS, len(windows))).round().astype(int))
    raw = [windows[index][0] for index in chosen.tolist()]
    raw = [window for window in raw if not window.isnan().any(dim=0).all()]
    shares = {}
    for value in range(1, len(names)) if raw else ():
        scores = saliency_scores(segmenter, (window[None] for window in raw), value).values
        total = sum(scores)
        shares[names[value]] = {
            channel: score / total if total else 0.0 for channel, score in zip(segmenter.channels, scores, strict=True)
        }
    by_id = {scene.id: scene for scene in scenes}
    drawn = tuple(_draw(segmenter, by_id[block.scene_id], block, side) for block in blocks)
    return Saliency(windows=len(raw), channels=shares, blocks=drawn)


def _draw(segmenter: GlacierSegmenter, scene: Scene, block: BlockChange, side: int) -> BlockSaliency:
    """Draw where the network looks for a block, in a window around it."""
    source = source_of(scene)
    part = block.window(source.grid)
    window = _around(part, source.grid, max(side, *part.shape))
    with SceneReader(source) as reader:
        raw = torch.from_numpy(reader.read(segmenter.channels, window))
    rows, columns = part.slices
    inside = (
        slice(rows.start - window.row_off, rows.stop - window.row_off),
        slice(columns.start - window.col_off, columns.stop - window.col_off),
    )
    wanted = np.zeros(window.shape, dtype=np.bool_)
    wanted[inside] = True
    return BlockSaliency.of(saliency_map(segmenter, raw, wanted), inside, (block.scene_id, block.row, block.col))


def _around(part: Window, grid: Grid, side: int) -> Window:
    """Return a window of a side around another, moved into the scene; of the scene's size if that is smaller."""

    def placed(first: int, length: int, most: int) -> tuple[int, int]:
        wanted = min(side, most)
        return max(0, min(first + length // 2 - wanted // 2, most - wanted)), wanted

    row, height = placed(part.row_off, part.height, grid.height)
    col, width = placed(part.col_off, part.width, grid.width)
    return Window(row, col, height, width)
