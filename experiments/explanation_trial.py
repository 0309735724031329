"""A trial that trains a network and explains it: the saliency and the permutation importance of each channel."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from experiments.network_trial import NetworkTrial, predict_window
from experiments.study_data import StudyData
from experiments.trials import OnStep
from imagery.classes import CLEAN_ICE, DEBRIS_COVERED_ICE, GLACIER_SCHEME, UNKNOWN
from models.explanations import ChannelScores, saliency_scores
from models.importance import permutation_importance
from models.metrics import Metrics

ICE: Final = (CLEAN_ICE, DEBRIS_COVERED_ICE)
PERMUTATIONS: Final = 3


@dataclass(frozen=True)
class ExplanationTrial:
    """A network to train and explain.

    Attributes:
        network: The network; its head distinguishes clean and debris-covered ice.
    """

    network: NetworkTrial

    @property
    def name(self) -> str:
        """The name that is shown to people."""
        return self.network.name

    def describe(self, data: StudyData) -> dict[str, Any]:
        """Return everything that the result depends on."""
        return {"kind": "explanation", "network": self.network.describe(data), "permutations": PERMUTATIONS}

    def run(self, data: StudyData, on_step: OnStep) -> dict[str, Any]:
        """Train and explain.

        Returns:
            By class name and channel: the "saliency" over the training windows, and the "permutation" importance, the
            loss of IoU on the test windows when a channel is permuted.
        """
        segmenter, _ = self.network.train(data, on_step)
        division, channels = self.network.division, self.network.channels
        training = data.patch_set(division, "training", channels)
        test = data.patch_set(division, "test", channels)
        permuted = permutation_importance(
            lambda raw: predict_window(segmenter, raw),
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


def _iou_of(class_index: int) -> Callable[[Metrics], float]:
    return lambda scores: scores.iou[class_index]


def _by_channel(scores: dict[str, ChannelScores]) -> dict[str, dict[str, float]]:
    return {name: dict(zip(of_class.channels, of_class.values, strict=True)) for name, of_class in scores.items()}
