"""Values that the papers report, as reference columns. They were measured on other data and are no targets for ours."""

from collections.abc import Mapping
from typing import Final

from experiments.estimates import (
    ACCURACY,
    CLEAN_IOU,
    CLEAN_PRECISION,
    CLEAN_RECALL,
    DEBRIS_IOU,
    DEBRIS_PRECISION,
    DEBRIS_RECALL,
    FALSE_ALARM,
    GLACIER_IOU,
    KAPPA,
    MISSED_ALARM,
)

Published = Mapping[str, Mapping[str, float]]

BASELINES: Final[Published] = {
    # Baraka et al. 2020, table 1.
    "random forest": {CLEAN_IOU: 0.5807, DEBRIS_IOU: 0.2024},
    "gradient boosting": {CLEAN_IOU: 0.5663, DEBRIS_IOU: 0.1930},
    "multi-layer perceptron": {CLEAN_IOU: 0.5452, DEBRIS_IOU: 0.1781},
    "U-Net": {CLEAN_IOU: 0.5829, DEBRIS_IOU: 0.3707},
    # He et al. 2020, table 4.
    "NDSI threshold": {MISSED_ALARM: 0.1606, FALSE_ALARM: 0.2036, ACCURACY: 0.9584, KAPPA: 0.7939},
    "U-Net, binary": {MISSED_ALARM: 0.1949, FALSE_ALARM: 0.0602, ACCURACY: 0.9727, KAPPA: 0.8522},
}

NDSI_SWEEP: Final[Mapping[float, Mapping[str, float]]] = {
    # He et al. 2020, table 4, which gives them in per cent.
    threshold: dict(zip((MISSED_ALARM, FALSE_ALARM, ACCURACY, KAPPA), scores, strict=True))
    for threshold, scores in {
        0.0: (0.1397, 0.2221, 0.9573, 0.7929),
        0.1: (0.1606, 0.2036, 0.9584, 0.7939),
        0.2: (0.1779, 0.1940, 0.9584, 0.7905),
        0.3: (0.1956, 0.1857, 0.9580, 0.7857),
        0.4: (0.2143, 0.1792, 0.9572, 0.7789),
        0.5: (0.2343, 0.1742, 0.9561, 0.7701),
        0.6: (0.2575, 0.1699, 0.9546, 0.7586),
        0.7: (0.2866, 0.1668, 0.9524, 0.7423),
    }.items()
}

OBJECT_BASED: Final[Published] = {"U-Net": BASELINES["U-Net"]}
"""Nobody has published the IoU of the semi-automated workflow, whose edited results are the labels of the papers."""

HEADS: Final[Published] = {
    # Baraka et al. 2020, table 2.
    "binary": {GLACIER_IOU: 0.476},
    "multiclass": {GLACIER_IOU: 0.473, CLEAN_IOU: 0.456, DEBRIS_IOU: 0.291},
    "two binaries": {GLACIER_IOU: 0.48, CLEAN_IOU: 0.476, DEBRIS_IOU: 0.31},
}

LOSSES: Final[Published] = {
    # Aryal et al. 2023, table 3, without cross-entropy, whose precision and recall imply another IoU, and without the
    # rows of alpha 0.5 and 0.9, which are one row printed twice.
    name: dict(
        zip(
            (CLEAN_PRECISION, CLEAN_RECALL, CLEAN_IOU, DEBRIS_PRECISION, DEBRIS_RECALL, DEBRIS_IOU), scores, strict=True
        )
    )
    for name, scores in {
        "boundary alone (α = 0)": (0.6840, 0.0025, 0.0025, 0.0300, 0.9975, 0.0300),
        "combined, α = 0.1": (0.7982, 0.7966, 0.6631, 0.5093, 0.4930, 0.3343),
        "masked Dice (α = 1)": (0.8031, 0.8065, 0.6734, 0.4600, 0.4410, 0.2905),
        "self-learning boundary-aware": (0.8159, 0.8055, 0.6817, 0.5197, 0.5381, 0.3594),
    }.items()
}

LABEL_SHARES: Final[Mapping[str, Mapping[str, float]]] = {
    # Aryal et al. 2023, table 2: shares of all pixels of the sub-images.
    "training": {"background": 0.7244, "clean ice": 0.2177, "debris-covered ice": 0.0244, "masked/unknown": 0.0335},
    "validation": {"background": 0.6869, "clean ice": 0.2322, "debris-covered ice": 0.0324, "masked/unknown": 0.0485},
    "test": {"background": 0.7016, "clean ice": 0.2297, "debris-covered ice": 0.0265, "masked/unknown": 0.0421},
}

DEBRIS_SHARE: Final[Mapping[float, tuple[float, float]]] = {
    # Baraka et al. 2020, table 3: glacier IoU of the binary and of the multiclass model by least share of debris.
    0.0: (0.476, 0.473),
    0.01: (0.523, 0.532),
    0.02: (0.524, 0.544),
    0.05: (0.497, 0.571),
    0.10: (0.46, 0.603),
}

SALIENCY_RANKS: Final[Mapping[str, tuple[str, ...]]] = {
    # Aryal et al. 2023, section 3.2: channels by saliency score, highest first.
    "clean ice": ("swir2", "blue", "swir1", "thermal_high", "red", "thermal_low", "nir", "green"),
    "debris-covered ice": ("red", "swir1", "nir", "green", "thermal_high", "swir2", "thermal_low", "blue"),
}
