"""A simulated annotator who labels a patch: with the brush, or with strokes that repaint what was not drawn.

With the *brush* the annotator paints every wrong pixel and no other: the label is exactly what the annotator believes.
With *strokes* (`models.strokes`) each stroke repaints the map as the server does for clicks, until `RIGHT` of the
judged pixels are right; what is still wrong then is learnt. After `MOST_STROKES` the annotator goes on without
repainting, stroke by stroke, to the same share.
"""

from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

from experiments.simulated_strokes import draw_session
from imagery.classes import UNKNOWN
from models.strokes import Stroke, as_probabilities, repaint
from services.experiment_options import Annotator

RIGHT: Final = 0.97
"""Share of the judged pixels of a patch that must be right before the annotator with strokes is content."""

MOST_STROKES: Final = 40
"""Strokes after which repainting is given up: it undoes as much as it mends (``docs/benchmarks.md``)."""


@dataclass(frozen=True)
class Effort:
    """What labelling took.

    Attributes:
        edited_pixels: Pixels that differ between the mask offered and the label.
        edited_areas: Connected areas of these pixels, of one class each.
        drawn_pixels: Pixels that the annotator drew.
        strokes: Strokes; with the brush one for each area, the fewest possible.
    """

    edited_pixels: int
    edited_areas: int
    drawn_pixels: int
    strokes: int

    def __add__(self, other: "Effort") -> "Effort":
        return Effort(
            self.edited_pixels + other.edited_pixels,
            self.edited_areas + other.edited_areas,
            self.drawn_pixels + other.drawn_pixels,
            self.strokes + other.strokes,
        )


NOTHING: Final = Effort(0, 0, 0, 0)


def annotate(
    annotator: Annotator,
    offered: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    bands: NDArray[np.float32],
    classes: int,
) -> tuple[NDArray[np.uint8], Effort]:
    """Return the label (h, w) of a patch, and what it took.

    Args:
        annotator: How the annotator works.
        offered: (h, w) the mask to start from, with a class in every pixel.
        truth: (h, w) what the annotator believes to be true; `UNKNOWN` pixels stay so and cost nothing, since clouds
            are masked already.
        bands: (C, h, w) what the sensor recorded; only strokes use it.
        classes: Number of classes.
    """
    if annotator == "brush":
        pixels, areas = edits(offered, truth)
        return truth, Effort(pixels, areas, pixels, areas)
    mend = partial(_repainted, bands, as_probabilities(offered, classes))
    first, shown = draw_session(offered, truth, mend, "stroke", MOST_STROKES, RIGHT)
    rest, shown = draw_session(shown, truth, None, "stroke", truth.size, RIGHT)
    learnt = np.where(truth == UNKNOWN, truth, shown)
    drawn, strokes = first.drawn[-1] + rest.drawn[-1], len(first.drawn) + len(rest.drawn) - 2
    return learnt, Effort(*edits(offered, learnt), drawn, strokes)


def edits(offered: NDArray[np.uint8], label_mask: NDArray[np.uint8]) -> tuple[int, int]:
    """Return how many pixels differ between a mask and a label, and in how many connected areas of one class.

    Args:
        offered: (h, w) the mask to start from.
        label_mask: (h, w) the mask to end with; unknown pixels do not count.
    """
    changed = (offered != label_mask) & (label_mask != UNKNOWN)
    areas = sum(label(changed & (label_mask == value))[1] for value in np.unique(label_mask[changed]))
    return int(changed.sum()), int(areas)


def _repainted(bands: NDArray[np.float32], proposal: NDArray[np.float32], strokes: list[Stroke]) -> NDArray[np.uint8]:
    return repaint([bands], proposal, strokes)
