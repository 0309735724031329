"""Importance of each channel to a classifier: permutation importance, and impurity importance of a random forest."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from models.baselines import PixelClassifier
from models.explanations import ChannelScores
from models.metrics import Metrics, confusion_matrix
from models.pixels import LabelledPatch

FOREST_IMPORTANCE_THRESHOLD: Final = 0.05
"""Baraka et al. 2020 keep the channels whose random-forest importance is above 5 % (figure 5)."""


@dataclass(frozen=True)
class PermutationImportance:
    """Confusion matrices before and after each channel is permuted; any score can be computed from them.

    Attributes:
        channels: C channel names.
        unpermuted: (K, K) int64; rows are the truth, columns the prediction.
        permuted: (C, R, K, K) int64, for each channel and repeat.
    """

    channels: tuple[str, ...]
    unpermuted: NDArray[np.int64]
    permuted: NDArray[np.int64]

    def drops(self, metric: Callable[[Metrics], float]) -> ChannelScores:
        """Return how much a score falls when a channel is permuted.

        Args:
            metric: Selects the score, as ``lambda scores: scores.iou[2]`` or ``lambda scores: scores.mean_iou``.

        Returns:
            Mean and standard deviation over the repeats; negative where the score rose, NaN where it is undefined.
        """
        reference = metric(Metrics.from_confusion(self.unpermuted))
        drops = [
            [reference - metric(Metrics.from_confusion(repeat)) for repeat in channel] for channel in self.permuted
        ]
        return ChannelScores.from_samples(self.channels, np.array(drops))


def permutation_importance(
    predict: Callable[[NDArray[np.float32]], NDArray[np.uint8]],
    patches: Sequence[LabelledPatch],
    channels: Sequence[str],
    classes: int,
    ignore_index: int,
    seed: int,
    repeats: int = 5,
) -> PermutationImportance:
    """Measure how much worse a classifier scores without the information of a channel (Breiman 2001, section 10).

    The values of one channel are permuted among all its valid pixels of all patches together: the channel keeps its
    distribution and its nodata, and loses every relation to the truth and to the other channels. The same method serves
    pixel classifiers and networks. A network also loses the texture of the channel, and gets noise that is unlike its
    training data: its drops are upper bounds. Of two strongly correlated channels, neither may look important.

    Args:
        predict: Maps raw values (C, h, w), NaN = nodata, to classes (h, w); called (C * repeats + 1) times a patch.
        patches: Evaluation patches; on training patches memorised noise would look important.
        channels: C names, in the order of the images.
        classes: K.
        ignore_index: Mask value of pixels that nobody judged; they are permuted but not counted.
        seed: Each permutation depends only on it, the index of the channel and the repeat.
        repeats: Permutations of each channel.

    Returns:
        The counts, from which :meth:`PermutationImportance.drops` computes the importance.

    Raises:
        ValueError: There is no patch or no repeat, the images do not have C channels, or a class is out of range.
    """
    if not patches or repeats < 1:
        raise ValueError(f"{len(patches)} patches and {repeats} repeats were given; at least one of each is needed")
    found = sorted({len(raw) for raw, _ in patches})
    if found != [len(channels)]:
        raise ValueError(f"the images have {found} channels; the names are {len(channels)}: {', '.join(channels)}")

    def count(images: Iterable[NDArray[np.float32]]) -> NDArray[np.int64]:
        confusion = np.zeros((classes, classes), dtype=np.int64)
        for image, (_, mask) in zip(images, patches, strict=True):
            confusion += confusion_matrix(predict(image), mask, classes, ignore_index)
        return confusion

    images = [raw for raw, _ in patches]
    permuted = [
        [
            count(_permute_channel(images, index, np.random.default_rng([seed, index, repeat])))
            for repeat in range(repeats)
        ]
        for index in range(len(channels))
    ]
    return PermutationImportance(tuple(channels), count(images), np.array(permuted))


def _permute_channel(
    images: Sequence[NDArray[np.float32]], index: int, generator: np.random.Generator
) -> Iterator[NDArray[np.float32]]:
    """Yield copies of the images with the valid values of one channel permuted across all of them."""
    valid = [~np.isnan(image[index]) for image in images]
    values = np.concatenate([image[index][where] for image, where in zip(images, valid, strict=True)])
    generator.shuffle(values)
    ends = np.cumsum([where.sum() for where in valid])
    for image, where, share in zip(images, valid, np.split(values, ends[:-1]), strict=True):
        copy = image.copy()
        copy[index, where] = share
        yield copy


def forest_importance(forest: PixelClassifier, channels: Sequence[str]) -> ChannelScores:
    """Return the impurity importance of each channel: its share of the decrease in Gini impurity (Breiman 2001).

    Baraka et al. 2020 select the channels above ``FOREST_IMPORTANCE_THRESHOLD`` by it (figure
    5). It is computed from the training sample and favours channels of many distinct values (Strobl et al. 2007), such
    as elevation; :func:`permutation_importance` on evaluation patches does neither.

    Args:
        forest: A fitted ``"random_forest"``.
        channels: C names, in the order that the forest was fitted on.

    Returns:
        Mean and standard deviation over the trees; the means sum to 1.

    Raises:
        ValueError: The classifier is not a random forest, or has another number of channels.
    """
    if not isinstance(forest.model, RandomForestClassifier):
        raise ValueError(  # noqa: TRY004 (the type is right, the baseline is not)
            f"a random_forest is needed; {forest.name} has no impurity: use permutation_importance"
        )
    if len(channels) != len(forest.mean):
        raise ValueError(f"the forest was fitted on {len(forest.mean)} channels; found the names {', '.join(channels)}")
    return ChannelScores.from_samples(
        channels, np.stack([tree.feature_importances_ for tree in forest.model.estimators_], axis=1)
    )
