"""The trial of an explanation: train a network, then ask what each channel contributes to it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from experiments.ground import Ground
from experiments.networks import NetworkTrial
from experiments.trials import OnStep
from imagery.classes import CLEAN_ICE, DEBRIS_COVERED_ICE, GLACIER_SCHEME, UNKNOWN
from models.explanations import ChannelScores, saliency_scores
from models.importance import permutation_importance
from models.metrics import Metrics
from models.segmenter import GlacierSegmenter

ICE: Final = (CLEAN_ICE, DEBRIS_COVERED_ICE)
PERMUTATIONS: Final = 3


@dataclass(frozen=True)
class ExplanationTrial:
    """A network to train and explain.

    Attributes:
        network: The network, which tells clean from debris-covered ice.
    """

    network: NetworkTrial

    @property
    def name(self) -> str:
        """What it is, for people."""
        return self.network.name

    def describe(self, ground: Ground) -> dict[str, Any]:
        """All that the result depends on."""
        return {"kind": "explanation", "network": self.network.describe(ground), "permutations": PERMUTATIONS}

    def run(self, ground: Ground, on_step: OnStep) -> dict[str, Any]:
        """Train and explain.

        Returns:
            By class name and channel: the "saliency" over the training windows, and the "permutation" importance, the
            fall of the IoU on the test windows when a channel is permuted.
        """
        segmenter, _ = self.network.train(ground, on_step)
        division, channels = self.network.division, self.network.channels
        training = ground.patch_set(division, "training", channels)
        test = ground.patch_set(division, "test", channels)
        permuted = permutation_importance(
            lambda raw: _predict(segmenter, raw),
            list(test.arrays()),
            channels,
            len(GLACIER_SCHEME.classes),
            UNKNOWN,
            self.network.training.seed,
            PERMUTATIONS,
        )
        saliency = {
            item.name: saliency_scores(segmenter, (raw for raw, _ in training.batches()), item.value) for item in ICE
        }
        drops = {item.name: permuted.drops(_iou_of(item.value)) for item in ICE}
        return {"saliency": _by_channel(saliency), "permutation": _by_channel(drops)}


def _predict(segmenter: GlacierSegmenter, raw: NDArray[np.float32]) -> NDArray[np.uint8]:
    probabilities = segmenter.probabilities(torch.from_numpy(raw)[None])
    return segmenter.decide(probabilities[0].cpu().numpy())


def _iou_of(class_index: int) -> Callable[[Metrics], float]:
    return lambda scores: scores.iou[class_index]


def _by_channel(scores: dict[str, ChannelScores]) -> dict[str, dict[str, float]]:
    return {name: dict(zip(of_class.channels, of_class.values, strict=True)) for name, of_class in scores.items()}
