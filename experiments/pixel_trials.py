"""Trials of methods that see single pixels: scikit-learn's classifiers, and a threshold on the snow index."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from catalog.errors import ConflictError
from experiments.division import Division
from experiments.network_trial import Confusions
from experiments.patches import PatchSet
from experiments.study_data import StudyData
from experiments.trials import OnStep
from imagery.classes import GLACIER_SCHEME, UNKNOWN
from models.baselines import fit_baseline
from models.heads import Head, merge_truth
from models.importance import forest_importance
from models.metrics import confusion_matrix
from models.ndsi import ndsi_sweep
from models.pixels import sample_pixels

NDSI: Final = "ndsi"
SAMPLED_PIXELS: Final = 50_000


@dataclass(frozen=True)
class PixelClassifierTrial:
    """A pixel classifier to fit and score, on the same windows as the networks.

    Attributes:
        name: The name that is shown to people.
        division: The windows.
        channels: Channels of its input.
        baseline: A key of `models.baselines.BASELINES`.
        seed: Seed of the sampling of pixels and of the classifier.
    """

    name: str
    division: Division
    channels: tuple[str, ...]
    baseline: str
    seed: int

    def describe(self, data: StudyData) -> dict[str, Any]:
        """Return everything that the result depends on."""
        return {
            "kind": "pixel classifier",
            "ground": data.identity(self.division),
            "channels": self.channels,
            "baseline": self.baseline,
            "pixels": SAMPLED_PIXELS,
            "seed": self.seed,
        }

    def run(self, data: StudyData, on_step: OnStep) -> dict[str, Any]:
        """Fit and score.

        Returns:
            "confusions" of the test windows; for a random forest also the "importance" of each channel, in [0, 1].

        Raises:
            ConflictError: The training windows hold too few pixels of a class, or none that is valid in all channels.
        """
        training = data.patch_set(self.division, "training", self.channels)
        try:
            sample = sample_pixels(training.arrays(), SAMPLED_PIXELS, UNKNOWN, self.seed)
            classifier = fit_baseline(self.baseline, sample, self.seed)
        except ValueError as error:
            raise ConflictError(f"{self.name}: {error}") from error
        on_step(1, 2)
        test = data.patch_set(self.division, "test", self.channels)
        result: dict[str, Any] = {
            "confusions": {
                "test": _confusions(classifier.predict, test, "multiclass", len(GLACIER_SCHEME.classes)).tolist()
            }
        }
        if self.baseline == "random_forest":
            scores = forest_importance(classifier, self.channels)
            result["importance"] = dict(zip(scores.channels, scores.values, strict=True))
        return result


@dataclass(frozen=True)
class NdsiTrial:
    """A threshold on the NDSI: chosen on the validation windows, swept and scored on the test windows.

    Attributes:
        name: The name that is shown to people.
        division: The windows.
    """

    name: str
    division: Division

    def describe(self, data: StudyData) -> dict[str, Any]:
        """Return everything that the result depends on."""
        return {"kind": "ndsi", "ground": data.identity(self.division)}

    def run(self, data: StudyData, on_step: OnStep) -> dict[str, Any]:
        """Choose the threshold and score it.

        Returns:
            "threshold": the best on the validation windows; "confusions": those of this threshold on the test windows,
            glacier against background; "sweep": the scores (`models.metrics.Metrics`) of each threshold there.
        """
        validation, test = (data.patch_set(self.division, part, [NDSI]) for part in ("validation", "test"))
        best = ndsi_sweep(((raw[0], mask) for raw, mask in validation.arrays()), UNKNOWN).best
        on_step(1, 2)
        sweep = ndsi_sweep(((raw[0], mask) for raw, mask in test.arrays()), UNKNOWN)
        confusions = _confusions(lambda raw: best.predict(raw[0]), test, "binary", 2)
        return {
            "threshold": best.threshold,
            "confusions": {"test": confusions.tolist()},
            "sweep": [
                {"threshold": threshold, **asdict(scores)}
                for threshold, scores in zip(sweep.thresholds, sweep.scores, strict=True)
            ],
        }


def _confusions(
    predict: Callable[[NDArray[np.float32]], NDArray[np.uint8]], patches: PatchSet, head: Head, classes: int
) -> Confusions:
    return np.stack(
        [
            confusion_matrix(predict(raw), merge_truth(mask, head, UNKNOWN), classes, UNKNOWN)
            for raw, mask in patches.arrays()
        ]
    )
