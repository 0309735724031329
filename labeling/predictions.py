"""Predictions, the drawings a task opens with: checked here, because Label Studio accepts anything.

A prediction that Label Studio cannot draw is stored without complaint and breaks the labelling page later.
"""

import json
import math
import re
from collections.abc import Collection, Sequence
from typing import Any, Final

from labeling.errors import PredictionError, RegionError
from labeling.foreign_values import shown
from labeling.regions import iterate_regions

MODEL_VERSION: Final = "proposal"
"""The model version of all our predictions, as Label Studio calls it.

It shows the predictions of one version per project. While some tasks are renewed, others keep an earlier proposal:
named by the versions that drew them, only some would be shown. Our database notes which version drew which.
"""
_EARLIER_NAMES = re.compile(r"version [0-9]+|no model yet")
MAX_PREDICTION_BYTES = 8 * 2**20
"""Largest prediction as JSON; webhooks carry it back with every annotation."""
MAX_PREDICTION_REGIONS = 500
"""Most regions of a prediction; with more the labelling page becomes slow."""


def is_ours(model_version: str) -> bool:
    """Return whether a prediction of this version is ours: an earlier release named them by what drew them."""
    return model_version == MODEL_VERSION or _EARLIER_NAMES.fullmatch(model_version) is not None


def score_of(priority: float) -> float:
    """Translate a task's priority to the score of its prediction.

    Label Studio orders work in two ways: "Uncertainty sampling" serves the lowest score first, our Data Manager tab the
    highest ``priority`` of the task's data. This strictly falling map makes them agree.

    Args:
        priority: How much the task is worth an expert's time; finite, 0 or more, higher is more urgent.

    Returns:
        1 / (1 + priority), in (0, 1].

    Raises:
        PredictionError: If the priority is negative or not finite.
    """
    if not math.isfinite(priority) or priority < 0:
        raise PredictionError(f"The priority is {priority}; expected a finite number of 0 or more.")
    return 1.0 / (1.0 + priority)


def build_prediction(
    regions: Sequence[dict[str, Any]],
    *,
    score: float,
    height: int,
    width: int,
    labels: Collection[str],
) -> dict[str, Any]:
    """Compose a prediction for import together with its task.

    A prediction without regions is legal, and is how a task without a pre-annotation gets its place in the queue:
    uncertainty sampling passes over tasks that have no prediction of the version that is shown.

    Args:
        regions: From `labeling.regions.encode_brush` and `encode_polygon`, in drawing order.
        score: Place in the queue, 0..1, low is urgent; see `score_of`.
        height: Height of the image, in pixels.
        width: Width of the image, in pixels.
        labels: The labels of the labelling configuration.

    Returns:
        The prediction's JSON.

    Raises:
        PredictionError: If anything in it is not as Label Studio draws it, or it is too large.
    """
    if len(regions) > MAX_PREDICTION_REGIONS:
        raise PredictionError(f"The prediction has {len(regions)} regions; at most {MAX_PREDICTION_REGIONS} are sent.")
    try:
        for _ in iterate_regions(list(regions), height=height, width=width, labels=labels):
            pass
    except RegionError as error:
        raise PredictionError(f"The prediction could not be drawn. {error}") from error
    ids = [region.get("id") for region in regions]
    if not all(isinstance(name, str) and name for name in ids) or len(set(ids)) < len(ids):
        raise PredictionError(f"The regions' ids are {shown(ids)}; expected distinct non-empty strings.")
    if not 0.0 <= score <= 1.0:
        raise PredictionError(f"The prediction's score is {score}; expected a number from 0 to 1.")
    prediction = {"model_version": MODEL_VERSION, "score": score, "result": list(regions)}
    size = len(json.dumps(prediction))
    if size > MAX_PREDICTION_BYTES:
        raise PredictionError(
            f"The prediction takes {size} bytes; at most {MAX_PREDICTION_BYTES} are sent. Smooth the masks first."
        )
    return prediction
