"""A model's origin with plausible values, for the tests of cards and bundles."""

from datetime import UTC, datetime

import numpy as np

from models.card import CardClass, EvaluationSet, LabelProvenance, ModelOrigin, RegionMetrics
from models.training import TrainingConfig

CLASSES = ("background", "clean ice", "debris-covered ice")
LABEL_CLASSES = tuple(
    CardClass(name=name, value=value, colour=colour, precedence=value)
    for value, (name, colour) in enumerate(zip(CLASSES, ("#1e293b", "#38bdf8", "#f97316"), strict=True))
)


def origin() -> ModelOrigin:
    scores = RegionMetrics.from_confusion(np.array([[6, 2, 0], [2, 2, 0], [0, 0, 0]]), CLASSES)
    return ModelOrigin(
        classes=CLASSES,
        label_classes=LABEL_CLASSES,
        patch_size_px=64,
        parent_version=None,
        labels=LabelProvenance(ids=(4, 9), count=2, simulated_count=1, sha256="0" * 64),
        training=TrainingConfig(steps=5, seed=3),
        code_version="0.1.0",
        evaluation={"validation": EvaluationSet(scenes=(2,), truth_sha256="1" * 64)},
        metrics={"validation": scores, "test": scores},
        gain={},
        created_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    )
