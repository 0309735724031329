"""Trials that count what an expert would still have to edit: of rules for image objects, and of a network."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from experiments.division import Division
from experiments.network_trial import NetworkTrial, predict_window
from experiments.patches import PatchSet
from experiments.study_data import StudyData
from experiments.trials import OnStep
from imagery.classes import CLEAN_ICE, DEBRIS_COVERED_ICE, GLACIER_SCHEME, UNKNOWN
from models.image_objects import regions_to_edit
from models.metrics import confusion_matrix
from models.object_rules import tune

MAPPED: Final = (CLEAN_ICE.value, DEBRIS_COVERED_ICE.value)
"""In the order in which ICIMOD maps them."""

LEAST_REGION_PX: Final = 22
"""0.02 km2 in pixels of 30 m, about the smallest glacier of ICIMOD's inventory: who edits leaves smaller regions."""


@dataclass(frozen=True)
class ObjectRulesTrial:
    """Rules for image objects: tuned on the training windows, scored on the test windows.

    Attributes:
        name: The name that is shown to people.
        division: The windows.
        bands: Channels by which the objects are made.
        features: Channels that the rules test.
    """

    name: str
    division: Division
    bands: tuple[str, ...]
    features: tuple[str, ...]

    def describe(self, data: StudyData) -> dict[str, Any]:
        """Return everything that the result depends on."""
        ground = data.identity(self.division)
        return {"kind": "object rules", "ground": ground, "bands": self.bands, "features": self.features}

    def run(self, data: StudyData, on_step: OnStep) -> dict[str, Any]:
        """Tune and score.

        Returns:
            "confusions" and "edits" of the test windows, see :func:`_judged`; "scale", the chosen segmentation; and
            "rules": by class and feature the lower and upper end, None where nothing is tested.
        """
        channels = (*self.bands, *self.features)
        bands = len(self.bands)
        training = data.patch_set(self.division, "training", channels)
        mean, std = data.statistics(self.division, self.bands)
        tuned = tune(
            (((raw[:bands], mask), raw[bands:]) for raw, mask in training.arrays()), mean, std, MAPPED, UNKNOWN
        )
        on_step(1, 2)
        test = data.patch_set(self.division, "test", channels)
        names = {item.value: item.name for item in GLACIER_SCHEME.classes}
        return {
            **_judged(lambda raw: tuned.predict(raw[:bands], raw[bands:]), test),
            "scale": tuned.scale,
            "rules": {
                names[value]: {
                    feature: [end if np.isfinite(end) else None for end in ends]
                    for feature, *ends in zip(self.features, rule.low, rule.high, strict=True)
                }
                for value, rule in tuned.rules
            },
        }


@dataclass(frozen=True)
class EditedNetworkTrial:
    """A network whose predictions of the test windows are to be edited.

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
        return {"kind": "edited network", "network": self.network.describe(data)}

    def run(self, data: StudyData, on_step: OnStep) -> dict[str, Any]:
        """Train and score; return "confusions" and "edits" of the test windows, see :func:`_judged`."""
        segmenter, _ = self.network.train(data, on_step)
        test = data.patch_set(self.network.division, "test", self.network.channels)
        return _judged(lambda raw: predict_window(segmenter, raw), test)


def _judged(predict: Callable[[NDArray[np.float32]], NDArray[np.uint8]], patches: PatchSet) -> dict[str, Any]:
    """Return for each window the confusion matrix, and the regions to edit: all, and those of `LEAST_REGION_PX`."""
    confusions, edits = [], []
    for raw, mask in patches.arrays():
        predicted = predict(raw)
        confusions.append(confusion_matrix(predicted, mask, len(GLACIER_SCHEME.classes), UNKNOWN).tolist())
        edits.append([regions_to_edit(predicted, mask, UNKNOWN, least) for least in (1, LEAST_REGION_PX)])
    return {"confusions": {"test": confusions}, "edits": {"test": edits}}
