"""Classifiers of single pixels, the baselines of Baraka et al. 2020 (table 1).

They use the channels of one pixel and none of its neighbours, so what the U-Net gains over them measures the value of
shape and texture. The comparison is fair only when both are trained on the same patches and evaluated on the same
other patches.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from models.pixels import PixelSample, as_rows

# The perceptron holds out a tenth of the sample of every class; below this a class may be missing from that tenth.
MIN_PIXELS_PER_CLASS: Final = 10


class Classifier(Protocol):
    """The methods of scikit-learn's classifiers that this module uses."""

    def fit(self, X: NDArray[np.float32], y: NDArray[np.uint8]) -> Self:
        """Learn from features (n, C) and classes (n,)."""

    def predict(self, X: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Predict classes (n,) from features (n, C)."""


def _random_forest(seed: int, n_jobs: int) -> Classifier:
    # Leaves of single pixels would memorise label noise, at several times the memory and time.
    forest: Classifier = RandomForestClassifier(min_samples_leaf=5, random_state=seed, n_jobs=n_jobs)
    return forest


def _gradient_boosting(seed: int, _n_jobs: int) -> Classifier:
    # By default boosting would stop early on a sample of over 10,000 pixels only; one rule for all sizes is clearer.
    boosting: Classifier = HistGradientBoostingClassifier(early_stopping=False, random_state=seed)
    return boosting


def _mlp(seed: int, _n_jobs: int) -> Classifier:
    # Early stopping on held-out pixels ends the training at a fitting time for a sample of any size.
    network = MLPClassifier(early_stopping=True, random_state=seed)
    pipeline: Classifier = make_pipeline(StandardScaler(), network)
    return pipeline


BASELINES: Final[Mapping[str, Callable[[int, int], Classifier]]] = MappingProxyType(
    {"random_forest": _random_forest, "gradient_boosting": _gradient_boosting, "mlp": _mlp}
)
"""Names and factories (seed, n_jobs). The paper states no hyperparameters: these are scikit-learn's defaults (100
trees; 100 rounds of boosting; one hidden layer of 100 units) except for the leaf size and early stopping.
Gradient boosting is the histogram-based kind (Ke et al. 2017, "LightGBM"), which bins each channel to 255 levels."""


@dataclass(frozen=True)
class PixelClassifier:
    """A fitted baseline.

    Attributes:
        name: Its name in ``BASELINES``.
        model: The fitted scikit-learn classifier.
        mean: (C,) float32, the means of the training sample, which replace nodata.
        n_jobs: Threads that prediction may use.
    """

    name: str
    model: Classifier
    mean: NDArray[np.float32]
    n_jobs: int

    def predict(self, raw: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Classify each pixel of an image on its own.

        A channel that is nodata at a pixel takes its mean over the training sample, as in the U-Net (Baraka et al.
        2020, appendix A).

        Args:
            raw: (C, h, w) float32, NaN = nodata.

        Returns:
            (h, w) uint8 classes.

        Raises:
            ValueError: The image is not 3-dimensional or has another number of channels.
        """
        if raw.ndim != 3 or len(raw) != len(self.mean):
            raise ValueError(
                f"the image has shape {raw.shape}; this {self.name} was fitted on {len(self.mean)} channels "
                f"and takes ({len(self.mean)}, h, w)"
            )
        rows = as_rows(raw)
        imputed = np.where(np.isnan(rows), self.mean, rows)
        with threadpool_limits(limits=self.n_jobs):
            return self.model.predict(imputed).reshape(raw.shape[1:])


def fit_baseline(name: str, sample: PixelSample, seed: int, n_jobs: int = 1) -> PixelClassifier:
    """Fit a baseline. On one thread the result depends only on the sample and the seed.

    Args:
        name: One of ``BASELINES``.
        sample: Pixels of training patches, from :func:`models.pixels.sample_pixels`.
        seed: Seed of the classifier.
        n_jobs: Threads to use, for fitting and for prediction. With more than one, sums may round differently.

    Returns:
        The fitted baseline. A class that the sample lacks is never predicted.

    Raises:
        ValueError: The name is unknown, or the sample holds fewer than two classes, or fewer than
            ``MIN_PIXELS_PER_CLASS`` pixels of one.
    """
    if name not in BASELINES:
        raise ValueError(f"the baseline {name!r} is unknown; choose one of {', '.join(BASELINES)}")
    _check_classes(sample)
    with threadpool_limits(limits=n_jobs):
        model = BASELINES[name](seed, n_jobs).fit(sample.features, sample.classes)
    return PixelClassifier(name, model, sample.features.mean(axis=0, dtype=np.float64).astype(np.float32), n_jobs)


def _check_classes(sample: PixelSample) -> None:
    found = Counter(sample.classes.tolist())
    if len(found) < 2 or min(found.values()) < MIN_PIXELS_PER_CLASS:
        raise ValueError(
            f"the sample holds these pixels by class: {dict(found)}; two classes or more, and "
            f"{MIN_PIXELS_PER_CLASS} pixels or more of each, are needed: draw more pixels, or train on more patches"
        )
