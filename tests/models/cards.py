"""A model's origin with plausible values, for the tests of cards and bundles."""

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from models.card import CardClass, EvaluationSet, LabelProvenance, ModelOrigin, RegionMetrics
from models.input_channels import InputChannel
from models.training_config import TrainingConfig
from tests.models.networks import CHANNELS

CLASSES = ("background", "clean ice", "debris-covered ice")
LABEL_CLASSES = tuple(
    CardClass(name=name, value=value, colour=colour, precedence=value)
    for value, (name, colour) in enumerate(zip(CLASSES, ("#1e293b", "#38bdf8", "#f97316"), strict=True))
)


def digital_numbers(*names: str) -> tuple[InputChannel, ...]:
    """Input channels that are bands of digital numbers."""
    return tuple(InputChannel(name=name, unit="digital number", scale=1.0, offset=0.0) for name in names)


def origin(channels: Sequence[str] = CHANNELS) -> ModelOrigin:
    scores = RegionMetrics.from_confusion(np.array([[6, 2, 0], [2, 2, 0], [0, 0, 0]]), CLASSES)
    return ModelOrigin(
        classes=CLASSES,
        label_classes=LABEL_CLASSES,
        patch_size_px=64,
        input_channels=digital_numbers(*channels),
        levels=(),
        sensors=("landsat-8-oli",),
        parent_version=None,
        labels=LabelProvenance(ids=(4, 9), count=2, simulated_count=1, sha256="0" * 64),
        training=TrainingConfig(steps=5, seed=3),
        code_version="0.1.0",
        evaluation={"validation": EvaluationSet(scenes=(2,), truth_sha256="1" * 64)},
        metrics={"validation": scores, "test": scores},
        gain={},
        created_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    )
