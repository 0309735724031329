"""A trial that trains a network on the training windows and counts its confusions on every part."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from experiments.division import Division
from experiments.patches import PatchSet
from experiments.study_data import StudyData
from experiments.trials import OnStep
from imagery.classes import GLACIER_SCHEME, UNKNOWN
from models.heads import Head, merge_truth
from models.inference import place, predict_windows
from models.metrics import Metrics, confusion_matrix
from models.segmenter import GlacierSegmenter, InputNormalization, build_segmenter
from models.training import StepReport, fit
from models.training_config import TrainingConfig
from models.unet import UNetConfig

Confusions = NDArray[np.int64]
"""(P, K, K) confusion matrix of each window; rows are the truth, columns the prediction."""

REPORT_EVERY_STEPS: Final = 10


@dataclass(frozen=True)
class NetworkTrial:
    """A network to train and score.

    Attributes:
        name: The name that is shown to people; the result does not depend on it.
        division: The windows.
        channels: Channels of its input.
        unet: The shape of the network, or of each of two networks.
        head: The task head.
        input_normalization: Whether inputs are normalised by the statistics of the training windows, or of each window.
        training: Configuration of the training; its seed also seeds the initial weights.
    """

    name: str
    division: Division
    channels: tuple[str, ...]
    unet: UNetConfig
    head: Head
    input_normalization: InputNormalization
    training: TrainingConfig

    def describe(self, data: StudyData) -> dict[str, Any]:
        """Return everything that the result depends on."""
        return {
            "kind": "network",
            "ground": data.identity(self.division),
            "channels": self.channels,
            "unet": self.unet.to_json(),
            "head": self.head,
            "input_normalization": self.input_normalization,
            "training": self.training.to_json(),
        }

    def run(self, data: StudyData, on_step: OnStep) -> dict[str, Any]:
        """Train and score.

        Returns:
            "confusions": by part, see :func:`confusions_of`; "learned": the learnt weights of the loss every ten steps.
        """
        segmenter, learned = self.train(data, on_step)
        return {
            "confusions": {
                part: confusions_of(segmenter, data.patch_set(self.division, part, self.channels)).tolist()
                for part in self.division.named()
            },
            "learned": learned,
        }

    def train(self, data: StudyData, on_step: OnStep) -> tuple[GlacierSegmenter, list[dict[str, float]]]:
        """Return a trained network, and the learnt weights of its loss: the step, and each weight by name."""
        mean, std = data.statistics(self.division, self.channels)
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

        validation = data.patch_set(self.division, "validation", self.channels)
        fit(
            place(segmenter, data.device),
            data.patch_set(self.division, "training", self.channels),
            self.training,
            data.device,
            UNKNOWN,
            report,
            (lambda trained: _mean_iou(trained, validation)) if self.training.needs_validation else None,
            validation_patches=validation,
        )
        return segmenter, learned


def confusions_of(segmenter: GlacierSegmenter, patches: PatchSet) -> Confusions:
    """Return the confusion matrix of each window.

    Each window is predicted separately, as in the papers.

    Returns:
        (P, K, K); K is 2 for a binary head, for which clean and debris-covered ice are one class.
    """
    confusions = []
    for raw, masks in patches.batches():
        (probabilities,) = predict_windows(segmenter, [raw])
        for of_window, mask in zip(probabilities.numpy(), masks, strict=True):
            truth = merge_truth(mask, segmenter.head, UNKNOWN)
            confusions.append(confusion_matrix(segmenter.decide(of_window), truth, segmenter.classes, UNKNOWN))
    return np.stack(confusions)


def predict_window(segmenter: GlacierSegmenter, raw: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the classes (h, w) of one window (C, h, w)."""
    probabilities = segmenter.probabilities(torch.from_numpy(raw)[None])
    return segmenter.decide(probabilities[0].cpu().numpy())


def _mean_iou(segmenter: GlacierSegmenter, patches: PatchSet) -> float:
    return Metrics.from_confusion(confusions_of(segmenter, patches).sum(axis=0)).mean_iou
