"""Repaint a class map from a few strokes of an annotator: Gaussian process regression of what the proposal got wrong.

The process has zero mean, so the map changes only near strokes, and there only where pixels look like those drawn on
(Rasmussen and Williams 2006, "Gaussian Processes for Machine Learning", chapter 2; one regression per class, as in
section 6.5). The experiment behind the form and the numbers is ``benchmarks/strokes.py``.

A port to a browser needs a matrix of kernel values, the solution of one symmetric system of at most :data:`MAX_POINTS`
unknowns, and one product of matrices: no iteration, no random numbers, no library.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MAX_POINTS: Final = 400
"""Most drawn pixels that the regression uses; of more, evenly spaced ones are taken. All of them are kept as drawn."""

_CHUNK_PX: Final = 16384  # pixels computed together: 26 MB of kernel values
_REACH: Final = 4.0  # length scales of the place beyond which a stroke changes nothing: the kernel is below 0.0004


@dataclass(frozen=True, eq=False)
class Stroke:
    """Pixels that an annotator assigned to a class; a click is a stroke of one pixel.

    Attributes:
        value: The class, an index of the proposal's first axis.
        pixels: (n, 2) integers, row and column of each pixel.
    """

    value: int
    pixels: NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Similarity:
    """How alike two pixels must be for a stroke through one to change the other.

    The kernel is exp(-d² / 2), where d² = |distance in pixels / ``place_px``|² + |distance in guides / ``guide``|².

    Attributes:
        place_px: Length scale of the place, pixels.
        guide: Length scale of the guides, in root mean square standard deviations of a group's maps.
        noise: Variance of the noise on the drawn classes: with more, strokes that contradict each other average out.
    """

    place_px: float = 13.0
    guide: float = 1.0
    noise: float = 0.1


def repaint(
    guides: Sequence[NDArray[np.floating[Any]]],
    proposal: NDArray[np.floating[Any]],
    strokes: Iterable[Stroke],
    similarity: Similarity | None = None,
) -> NDArray[np.uint8]:
    """Return the class map of a proposal, repainted from strokes. Deterministic.

    Args:
        guides: Groups of maps (C, h, w) that show how alike pixels look, such as the bands or the features of a
            network. Every map is standardised, and every group has the same weight. NaN counts as the map's mean.
        proposal: (K, h, w) class probabilities; the most probable class of each pixel is the map to repaint.
        strokes: In the order drawn: where two overlap, the later one counts.
        similarity: The kernel; the defaults of `Similarity` if None.

    Returns:
        (h, w) class values. Drawn pixels have exactly the class that was drawn.

    Raises:
        ValueError: Shapes disagree, or a stroke has a pixel outside the map or a class that does not exist.
    """
    classes, height, width = proposal.shape
    if wrong := [guide.shape for guide in guides if guide.ndim != 3 or guide.shape[1:] != (height, width)]:
        raise ValueError(f"found guides of the shapes {wrong}; expected (C, {height}, {width}), as the proposal has")
    similarity = similarity or Similarity()
    drawn = _drawn_values(strokes, classes, height, width)
    points = np.flatnonzero(drawn >= 0)
    if not len(points):
        return _most_probable(proposal)
    used = points[np.linspace(0, len(points) - 1, min(len(points), MAX_POINTS)).round().astype(np.intp)]
    space = _Space(guides, height, width, similarity)
    probabilities = proposal.reshape(classes, -1)
    at = space.coordinates(used)
    missing = np.eye(classes, dtype=np.float32)[drawn[used]] - probabilities[:, used].T
    weights = np.linalg.solve(_kernel(at, at) + similarity.noise * np.eye(len(used), dtype=np.float32), missing)
    repainted = _most_probable(proposal).ravel()
    near = space.near(used)
    for start in range(0, len(near), _CHUNK_PX):
        chunk = near[start : start + _CHUNK_PX]
        corrected = probabilities[:, chunk].T + _kernel(space.coordinates(chunk), at) @ weights
        repainted[chunk] = corrected.argmax(axis=1)
    repainted[points] = drawn[points]
    mended: NDArray[np.uint8] = repainted.reshape(height, width)
    return mended


def as_probabilities(classes: NDArray[np.uint8], count: int, confidence: float = 0.8) -> NDArray[np.float32]:
    """Return a class map as a proposal whose shown class has the same probability everywhere.

    Args:
        classes: (h, w) class values below ``count``.
        count: K, the number of classes, at least 2.
        confidence: Probability of the class shown, above 1 / K and at most 1; the others share the rest.

    Returns:
        (K, h, w) probabilities.
    """
    others = (1 - confidence) / (count - 1)
    shown = classes[None] == np.arange(count, dtype=np.uint8)[:, None, None]
    return np.where(shown, confidence, others).astype(np.float32)


def _most_probable(proposal: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Return the most probable class (h, w) of probabilities (K, h, w)."""
    classes: NDArray[np.uint8] = proposal.argmax(axis=0).astype(np.uint8)
    return classes


def _drawn_values(strokes: Iterable[Stroke], classes: int, height: int, width: int) -> NDArray[np.int16]:
    """Return the drawn class of each of the h * w pixels, -1 where nothing is drawn."""
    drawn = np.full((height, width), -1, dtype=np.int16)
    for stroke in strokes:
        if not 0 <= stroke.value < classes:
            raise ValueError(f"found a stroke of the class {stroke.value}; expected 0 to {classes - 1}")
        rows, columns = np.asarray(stroke.pixels).T
        if not ((rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)).all():
            raise ValueError(f"found a stroke that leaves the map; expected pixels within {height} x {width}")
        drawn[rows, columns] = stroke.value
    return drawn.ravel()


class _Space:
    """The space in which pixels are compared: place and standardised guides, in length scales of the kernel."""

    def __init__(
        self, guides: Sequence[NDArray[np.floating[Any]]], height: int, width: int, similarity: Similarity
    ) -> None:
        self._shape = height, width
        self._place_px = similarity.place_px
        self._maps = [guide.reshape(len(guide), -1) for guide in guides]
        self._means, self._scales = [], []
        for maps in self._maps:
            known = np.isfinite(maps)
            count = np.maximum(known.sum(axis=1), 1)
            mean = maps.sum(axis=1, where=known, dtype=np.float64) / count
            squares = np.square(maps - mean[:, None]).sum(axis=1, where=known, dtype=np.float64)
            # A map that is constant, or known nowhere, tells no pixel from another.
            deviation = np.where(squares > 0, np.sqrt(squares / count), np.inf)
            self._means.append(mean.astype(np.float32))
            self._scales.append((deviation * similarity.guide * np.sqrt(len(maps))).astype(np.float32))

    def coordinates(self, pixels: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the (n, D) coordinates of pixels, given by their place in the flat map."""
        place = np.stack(np.unravel_index(pixels, self._shape)).astype(np.float32) / self._place_px
        groups = [
            np.nan_to_num((maps[:, pixels] - mean[:, None]) / scale[:, None])
            for maps, mean, scale in zip(self._maps, self._means, self._scales, strict=True)
        ]
        found: NDArray[np.float32] = np.concatenate([place, *groups]).T.astype(np.float32)
        return found

    def near(self, pixels: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return the pixels that strokes through some pixels can change, by their place in the flat map."""
        reach = math.ceil(_REACH * self._place_px)
        within = np.zeros(self._shape, dtype=np.bool_)
        for row, column in zip(*np.unravel_index(pixels, self._shape), strict=True):
            within[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1] = True
        return np.flatnonzero(within)


def _kernel(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the kernel (n, m) of (n, D) and (m, D) coordinates."""
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * one @ other.T
    kernel: NDArray[np.float32] = np.exp(-np.maximum(squares, 0) / 2)
    return kernel
