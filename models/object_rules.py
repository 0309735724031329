"""Object-based classification by rules: the semi-automated workflow by which glaciers have been mapped so far.

Bajracharya et al. (ICIMOD Manual 2017/10, "Glacier mapping using eCognition") segment an image into objects and keep
those whose mean NDSI, NDVI, water index, slope and elevation lie within thresholds: first clean ice, then, among the
rest, debris-covered ice. An expert sets the thresholds by eye, image by image, and edits the result. Here the
thresholds are those that are best on the training patches; nobody edits.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.image_objects import object_means, segment
from models.pixels import LabelledPatch

SCALES: Final = (25.0, 50.0, 100.0, 200.0, 400.0)
"""Scales of the segmentation to choose from: 40 to 120 objects in a window of 64 x 64 px of our two examples."""

CANDIDATES: Final = 64
"""Thresholds that are tried for each end of each feature: quantiles over the objects."""

MOST_ROUNDS: Final = 10


@dataclass(frozen=True)
class Rule:
    """An interval for each feature; an object fits if all of its means lie within.

    Attributes:
        low: (F,) lower ends; -inf tests nothing.
        high: (F,) upper ends; inf tests nothing.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]

    def fits(self, means: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which objects fit, (O,), for means (O, F); NaN fits only where nothing is tested."""
        return np.asarray(self._within(means).all(axis=1))

    def fits_but(self, means: NDArray[np.float64], feature: int) -> NDArray[np.bool_]:
        """Return which objects fit, (O,), if one feature is not tested."""
        within = self._within(means)
        within[:, feature] = True
        return np.asarray(within.all(axis=1))

    def _within(self, means: NDArray[np.float64]) -> NDArray[np.bool_]:
        low, high = np.array(self.low), np.array(self.high)
        above = (means >= low) | np.isneginf(low)
        within: NDArray[np.bool_] = above & ((means <= high) | np.isposinf(high))
        return within


@dataclass(frozen=True)
class ObjectRules:
    """The segmentation and the rules of each class.

    Attributes:
        scale: Scale of the segmentation.
        mean: (B,) means by which the bands are standardised.
        std: (B,) standard deviations, likewise.
        rules: Classes and their rules in order; an object gets the first class whose rule it fits, else 0.
    """

    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    rules: tuple[tuple[int, Rule], ...]

    def predict(self, bands: NDArray[np.float32], features: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Classify an image.

        Args:
            bands: (B, h, w) that are segmented, NaN = nodata.
            features: (F, h, w) that the rules test, NaN = nodata.

        Returns:
            (h, w) uint8 classes; every object has one class.
        """
        labels = segment(standardised(bands, self.mean, self.std), self.scale)
        means = object_means(features, labels)
        classes = np.zeros(len(means), dtype=np.uint8)
        for value, rule in reversed(self.rules):
            classes[rule.fits(means)] = value
        found: NDArray[np.uint8] = classes[labels]
        return found


def standardised(bands: NDArray[np.float32], mean: Sequence[float], std: Sequence[float]) -> NDArray[np.float32]:
    """Return bands (B, h, w) with mean 0 and standard deviation 1; nodata becomes the mean."""
    centred = (bands - np.array(mean, np.float32)[:, None, None]) / np.array(std, np.float32)[:, None, None]
    return np.nan_to_num(centred, nan=0.0)


def tune(
    patches: Iterable[tuple[LabelledPatch, NDArray[np.float32]]],
    mean: Sequence[float],
    std: Sequence[float],
    classes: Sequence[int],
    ignore_index: int,
) -> ObjectRules:
    """Choose the scale and the thresholds that give the highest mean IoU of the classes on training patches.

    For each scale and each class in turn, the interval of one feature after another is replaced by the one that gives
    the class the highest IoU while the others stay, until nothing improves: coordinate ascent, from rules that test
    nothing.

    Args:
        patches: Pairs of (bands (B, h, w), mask (h, w)) and features (F, h, w).
        mean: (B,) means of the bands.
        std: (B,) standard deviations of the bands.
        classes: The classes in the order in which they are mapped: clean ice first.
        ignore_index: Mask value of pixels that nobody judged.

    Raises:
        ValueError: There is no patch.
    """
    known = list(patches)
    if not known:
        raise ValueError("found no patch to tune the rules on; expected at least one")
    candidates = []
    for scale in SCALES:
        objects = [
            _objects(segment(standardised(bands, mean, std), scale), features, mask, classes, ignore_index)
            for (bands, mask), features in known
        ]
        means, counts = (np.concatenate(parts) for parts in zip(*objects, strict=True))
        rules, score = _rules(means, counts)
        named = tuple(zip(classes, rules, strict=True))
        candidates.append((score, ObjectRules(scale, tuple(mean), tuple(std), named)))
    return max(candidates, key=lambda candidate: candidate[0])[1]


def _objects(
    labels: NDArray[np.int64],
    features: NDArray[np.float32],
    mask: NDArray[np.uint8],
    classes: Sequence[int],
    ignore_index: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the means (O, F) and the judged pixels of each object: of each class, then of all, (O, K + 1)."""
    count = int(labels.max()) + 1
    members = [*(mask == value for value in classes), mask != ignore_index]
    pixels = [np.bincount(labels[member], minlength=count) for member in members]
    return object_means(features, labels), np.stack(pixels, axis=1).astype(np.float64)


def _rules(means: NDArray[np.float64], counts: NDArray[np.float64]) -> tuple[list[Rule], float]:
    """Return a rule for each class, and the mean of their IoU; later rules see the objects that earlier ones left."""
    left = np.ones(len(means), dtype=bool)
    rules, scores = [], []
    for number in range(counts.shape[1] - 1):
        missed = counts[~left, number].sum()  # already taken by another class
        rule, score = _best_rule(means[left], counts[left, number], counts[left, -1], missed)
        rules.append(rule)
        scores.append(score)
        left &= ~rule.fits(means)
    return rules, float(np.mean(scores))


def _best_rule(
    means: NDArray[np.float64], hits: NDArray[np.float64], judged: NDArray[np.float64], missed: float
) -> tuple[Rule, float]:
    """Return the rule of one class and its IoU, for objects (O, F) with pixels of the class and judged ones (O,)."""
    features = means.shape[1]
    rule = Rule((-np.inf,) * features, (np.inf,) * features)
    total = hits.sum() + missed
    score = float(_iou(hits.sum(), judged.sum(), total))
    for _ in range(MOST_ROUNDS):
        before = score
        for feature in range(features):
            among = rule.fits_but(means, feature)
            found, low, high = _best_interval(means[among, feature], hits[among], judged[among], total)
            if found > score:
                score = found
                ends = list(rule.low), list(rule.high)
                ends[0][feature], ends[1][feature] = low, high
                rule = Rule(tuple(ends[0]), tuple(ends[1]))
        if score == before:
            break
    return rule, score


def _best_interval(
    values: NDArray[np.float64], hits: NDArray[np.float64], judged: NDArray[np.float64], total: float
) -> tuple[float, float, float]:
    """Return the highest IoU and the interval of one feature that gives it, over all pairs of candidate thresholds."""
    valid = ~np.isnan(values)
    if not valid.any():
        return -1.0, -np.inf, np.inf
    ends = np.unique(np.quantile(values[valid], np.linspace(0.0, 1.0, CANDIDATES)))
    # Objects from ends[i] up to ends[j]: the sums below each end, with and without the objects on the end itself.
    order = np.argsort(values[valid])
    sorted_values = values[valid][order]
    below = np.searchsorted(sorted_values, ends, side="left")
    up_to = np.searchsorted(sorted_values, ends, side="right")
    sums = [np.concatenate([[0.0], np.cumsum(part[valid][order])]) for part in (hits, judged)]
    taken_hits, taken = (part[up_to][None, :] - part[below][:, None] for part in sums)
    scores = np.where(np.triu(np.ones_like(taken, dtype=bool)), _iou(taken_hits, taken, total), -1.0)
    low, high = np.unravel_index(int(scores.argmax()), scores.shape)
    first, last = low == 0, high == len(ends) - 1
    return float(scores[low, high]), -np.inf if first else float(ends[low]), np.inf if last else float(ends[high])


def _iou(hits: NDArray[np.float64], taken: NDArray[np.float64], total: float) -> NDArray[np.float64]:
    """Return hits / (taken + missed); 0 where there is neither."""
    union = np.asarray(taken + total - hits)
    return np.divide(hits, union, out=np.zeros_like(union), where=union > 0)
