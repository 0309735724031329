"""The trial of a network: train it on the training windows, count its hits and misses on every part."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from experiments.division import Division
from experiments.ground import Ground
from experiments.patches import PatchSet
from experiments.trials import OnStep
from imagery.classes import GLACIER_SCHEME, UNKNOWN
from models.heads import Head, merge_truth
from models.inference import place, predict_windows
from models.metrics import Metrics, confusion_matrix
from models.segmenter import GlacierSegmenter, InputNormalization, build_segmenter
from models.training import StepReport, TrainingConfig, fit
from models.unet import UNetConfig

Confusions = NDArray[np.int64]
"""(P, K, K) counts of each window; rows are the truth, columns the prediction."""

REPORT_EVERY_STEPS: Final = 10


@dataclass(frozen=True)
class NetworkTrial:
    """A network to train and judge.

    Attributes:
        name: What it is, for people; the result does not depend on it.
        division: The windows.
        channels: What it is fed.
        unet: The shape of the network, or of each of two.
        head: The task head.
        input_normalization: By the statistics of the training windows, or of each window.
        training: How it is trained; its seed is that of the initial weights too.
    """

    name: str
    division: Division
    channels: tuple[str, ...]
    unet: UNetConfig
    head: Head
    input_normalization: InputNormalization
    training: TrainingConfig

    def describe(self, ground: Ground) -> dict[str, Any]:
        """All that the result depends on."""
        return {
            "kind": "network",
            "ground": ground.identity(self.division),
            "channels": self.channels,
            "unet": self.unet.to_json(),
            "head": self.head,
            "input_normalization": self.input_normalization,
            "training": self.training.to_json(),
        }

    def run(self, ground: Ground, on_step: OnStep) -> dict[str, Any]:
        """Train and judge.

        Returns:
            "confusions": of each part, see :func:`confusions_of`; "learned": what the loss learnt, every so many steps.
        """
        segmenter, learned = self.train(ground, on_step)
        return {
            "confusions": {
                part: confusions_of(segmenter, ground.patch_set(self.division, part, self.channels)).tolist()
                for part in self.division.named()
            },
            "learned": learned,
        }

    def train(self, ground: Ground, on_step: OnStep) -> tuple[GlacierSegmenter, list[dict[str, float]]]:
        """Train a fresh network; return it with what its loss learnt: the step, and each weight by name."""
        mean, std = ground.statistics(self.division, self.channels)
        segmenter = build_segmenter(
            self.channels,
            mean,
            std,
            self.unet,
            self.training.seed,
            self.head,
            self.input_normalization,
            GLACIER_SCHEME.ranked,
        )
        learned: list[dict[str, float]] = []

        def report(step: StepReport) -> None:
            if step.step % REPORT_EVERY_STEPS == 0 or step.step == step.steps:
                on_step(step.step, step.steps)
                if step.learned:
                    learned.append({"step": step.step, **step.learned})

        validation = ground.patch_set(self.division, "validation", self.channels)
        fit(
            place(segmenter, ground.device),
            ground.patch_set(self.division, "training", self.channels),
            self.training,
            ground.device,
            UNKNOWN,
            report,
            (lambda trained: _mean_iou(trained, validation)) if self.training.needs_validation else None,
        )
        return segmenter, learned


def confusions_of(segmenter: GlacierSegmenter, patches: PatchSet) -> Confusions:
    """Count, window by window, how the predicted classes agree with the true ones.

    Each window is predicted by itself, as in the papers.

    Returns:
        (P, K, K); K is 2 for a binary head, which is judged by glaciers of both kinds together.
    """
    confusions = []
    for raw, masks in patches.batches():
        (probabilities,) = predict_windows(segmenter, [raw])
        for of_window, mask in zip(probabilities.numpy(), masks, strict=True):
            truth = merge_truth(mask, segmenter.head, UNKNOWN)
            confusions.append(confusion_matrix(segmenter.decide(of_window), truth, segmenter.classes, UNKNOWN))
    return np.stack(confusions)


def _mean_iou(segmenter: GlacierSegmenter, patches: PatchSet) -> float:
    return Metrics.from_confusion(confusions_of(segmenter, patches).sum(axis=0)).mean_iou
