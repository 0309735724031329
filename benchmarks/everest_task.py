"""The Everest scene as the demo divides it: networks for its pool, judged on its validation and test strips."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from catalog.settings import Settings
from cli.everest import PATCH_SIZE_PX
from imagery.classes import GLACIER_SCHEME, UNKNOWN
from imagery.describe_scene import describe
from imagery.everest import prepare
from imagery.grid import Window
from imagery.masks import rasterize_outlines
from imagery.scene_source import SceneSource
from imagery.statistics import channel_statistics
from models.block_counts import SceneBlocks, block_side
from models.segmenter import GlacierSegmenter
from workers.evaluation import Evaluation
from workers.recipe import fresh_network
from workers.windows import predict_classes


@dataclass(frozen=True)
class Strip:
    """A part of the scene with its true classes (H, W)."""

    source: SceneSource
    truth: NDArray[np.uint8]


class EverestTask:
    """The pool, validation and test strips.

    Args:
        folder: Gets the files of the truth.
        settings: Settings of the demo.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.settings = settings
        everest = prepare(folder)
        sources = {role: describe(everest.bands, window) for role, window in everest.regions.items()}
        self.strips = {
            role: Strip(source, rasterize_outlines(everest.outlines, source.grid, GLACIER_SCHEME))
            for role, source in sources.items()
        }

    def fresh(self, seed: int) -> GlacierSegmenter:
        """Return a network with fresh weights and the channel statistics of the pool."""
        source = self.strips["pool"].source
        whole = Window(0, 0, source.grid.height, source.grid.width)
        statistics_of_pool = channel_statistics([(source, [whole])], source.band_names)
        return fresh_network(self.settings, source.band_names, statistics_of_pool, seed, GLACIER_SCHEME.ranked)

    def evaluate(self, segmenter: GlacierSegmenter, role: str) -> Evaluation:
        """Return what a network gets right on a whole strip."""
        strip = self.strips[role]
        size = (strip.source.grid.height, strip.source.grid.width)
        blocks = SceneBlocks.empty(size, len(GLACIER_SCHEME.classes), block_side([size]))
        predicted = predict_classes(segmenter, strip.source, PATCH_SIZE_PX, self.settings.inference_batch_size, UNKNOWN)
        blocks.add(predicted, strip.truth, 0, UNKNOWN)
        return Evaluation.of([blocks], GLACIER_SCHEME.names)
