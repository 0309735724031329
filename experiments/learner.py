"""The network of the simulated loop: made, trained, used to score and propose, and judged, as the workers do."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from experiments.old_outlines import OldOutlines
from experiments.region import Part, Raster, Region
from imagery.classes import BACKGROUND, UNKNOWN
from imagery.grid import Window
from models.block_counts import BlockCounts, SceneBlocks, block_side
from models.inference import predict_windows
from models.mc_dropout import McSampler
from models.measures import profile_patch, score_patch
from models.presets import PRESETS
from models.segmenter import GlacierSegmenter, build_segmenter
from models.training import fit
from services.experiment_options import Annotator
from services.patch_features import ROW, PatchFeatures, features_of
from services.score_table import ScoreTable, row_type, table_of
from workers.feature_rows import project

TOGETHER: Final = 16
"""Patches predicted at once."""

Labels = Mapping[int, NDArray[np.uint8]]
"""The mask (h, w) that is learnt of each labelled patch, by its number in the pool."""

_CPU: Final = torch.device("cpu")


@dataclass(frozen=True)
class LoopConfig:
    """Size of the loop.

    Attributes:
        round_size: Patches of a round.
        start_rounds: Rounds drawn at random before a strategy chooses; all strategies share them.
        chosen_rounds: Rounds that a strategy chooses.
        steps: Training steps of a round; the ceiling takes as many as all rounds together.
        depth: Depth of the U-Net.
        width: Its feature maps at full resolution.
        passes: Passes of Monte Carlo dropout.
        annotator: How the annotator mends what is offered (`experiments.patch_annotator`).
    """

    round_size: int = 6
    start_rounds: int = 2
    chosen_rounds: int = 4
    steps: int = 100
    depth: int = 3
    width: int = 8
    passes: int = 10
    annotator: Annotator = "brush"

    @property
    def rounds(self) -> int:
        """Number of all rounds."""
        return self.start_rounds + self.chosen_rounds

    @property
    def labels(self) -> int:
        """Number of labels after all rounds."""
        return self.rounds * self.round_size


class Learner:
    """What is done with the networks of one region and one seed.

    Attributes:
        images: (N, C, h, w) the patches of the pool.
    """

    def __init__(self, region: Region, seed: int, config: LoopConfig, outlines: OldOutlines | None = None) -> None:
        self.region, self.seed, self.config, self._outlines = region, seed, config, outlines
        self.images = region.images("pool")
        self._unmasked = region.unmasked("pool")
        self._weak = outlines.masks(region, seed) if outlines else None

    def fresh(self) -> GlacierSegmenter:
        """Return a network with fresh weights."""
        preset, channels = PRESETS["default"], self.region.channels
        network = preset.network(len(channels), self.region.classes, preset.head)
        network = replace(network, depth=self.config.depth, width=self.config.width)
        mean, std = self.region.statistics
        normalization, precedence = preset.input_normalization, self.region.scheme.ranked
        return build_segmenter(channels, mean, std, network, self.seed, preset.head, normalization, precedence)

    def train(self, segmenter: GlacierSegmenter, labels: Labels, steps: int, seed: int) -> None:
        """Train in place, without labels on old outlines alone.

        Patches that are all cloud teach nothing and are left out by the training itself. Old outlines of labelled
        patches are left out too.
        """
        config = replace(PRESETS["default"].training, steps=steps, seed=seed, precision="float32")
        patches = [(self.images[i], torch.from_numpy(mask)) for i, mask in labels.items()]
        weak: list[tuple[Tensor, Tensor]] = []
        share = 0.0
        if self._outlines is not None and self._weak is not None:
            share = self._outlines.share if labels else 1.0
            unlabelled = [i for i in range(len(self.images)) if i not in labels]
            weak = [(self.images[i], self._weak[i]) for i in unlabelled if (self._weak[i] != UNKNOWN).any()]
        fit(segmenter, patches, config, _CPU, UNKNOWN, weak_patches=weak or None, weak_share=share if weak else 0.0)

    def propose(self, segmenter: GlacierSegmenter, patch: int) -> NDArray[np.uint8]:
        """Return the predicted classes (h, w) of a patch of the pool."""
        (probabilities,) = predict_windows(segmenter, [self.images[patch : patch + 1]])
        return segmenter.decide(probabilities[0].numpy())

    def score(
        self, segmenter: GlacierSegmenter, seed: int, most: int | None = None
    ) -> tuple[list[dict[str, float]], ScoreTable, PatchFeatures]:
        """Score every patch of the pool, or the first ones at most.

        Returns:
            The measures of each patch, and the table and the features that a scoring keeps.
        """
        sampler = McSampler(segmenter)
        masks = sampler.draw(self.config.passes, seed)
        measured, rows, features, images = [], [], [], self.images[:most]
        for first in range(0, len(images), TOGETHER):
            sums = sampler.sample(images[first : first + TOGETHER], masks)
            features += list(project(sums.features().numpy()))
            prediction = sums.prediction()
            maps = {name: of_batch.numpy() for name, of_batch in prediction.maps().items()}
            for index, probability in enumerate(prediction.mean_probability.numpy()):
                valid = self._unmasked[first + index]
                found = score_patch({name: of_batch[index] for name, of_batch in maps.items()}, valid)
                profile = profile_patch(probability, maps["predictive_entropy"][index], valid)
                measured.append(found)
                row = (profile.foreground_share, profile.class_entropy, self._outlined_share(first + index))
                rows.append((first + index, False, found["entropy_top10"], *row))
        described = features_of(np.array(list(enumerate(features)), dtype=ROW))
        return measured, table_of(np.array(rows, dtype=row_type(self.region.classes))), described

    def _outlined_share(self, patch: int) -> float:
        """Return the share of a patch's pixels that old outlines call foreground; 0 without any."""
        if self._weak is None:
            return 0.0
        mask = self._weak[patch]
        return float(((mask != BACKGROUND) & (mask != UNKNOWN)).float().mean())

    def judge(self, part: Part, segmenter: GlacierSegmenter) -> BlockCounts:
        """Count true and predicted classes of a part by spatial block."""
        rasters = self.region.parts[part]
        side = block_side([raster.shape for raster in rasters])
        scenes = []
        for raster in rasters:
            predicted = np.full(raster.shape, UNKNOWN, dtype=np.uint8)
            windows = raster.windows(self.region.patch_px)
            for window, classes in zip(windows, _predict(segmenter, raster, windows), strict=True):
                predicted[window.slices] = classes
            predicted[~raster.unmasked] = UNKNOWN
            scene = SceneBlocks.empty(raster.shape, self.region.classes, side)
            scene.add(predicted, raster.truth, 0, UNKNOWN)
            scenes.append(scene)
        return BlockCounts.of_scenes(scenes)


def _predict(segmenter: GlacierSegmenter, raster: Raster, windows: Sequence[Window]) -> Iterator[NDArray[np.uint8]]:
    batches = (raster.images(windows[at : at + TOGETHER]) for at in range(0, len(windows), TOGETHER))
    for probabilities in predict_windows(segmenter, batches):
        yield from map(segmenter.decide, probabilities.numpy())
