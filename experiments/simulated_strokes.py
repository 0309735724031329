"""A simulated annotator who mends a class map: strokes or clicks where the map shown is most wrong.

The annotator looks at the largest connected area that is shown wrongly and truly has one class, and draws through its
deepest pixel: the longest straight line that stays inside the area, of at most `STROKE_PX` pixels, or that pixel alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from imagery.classes import UNKNOWN
from models.strokes import Stroke

Kind = Literal["stroke", "click"]
Mend = Callable[[list[Stroke]], NDArray[np.uint8]]
"""Computes the class map (h, w) that is shown after some strokes."""

STROKE_PX: Final = 25
_DIRECTIONS: Final = 16


@dataclass(frozen=True)
class Session:
    """What an annotator's strokes did to a map.

    Attributes:
        errors: Wrongly shown judged pixels before the first and after each stroke.
        drawn: Pixels drawn so far, likewise.
        judged: Pixels whose truth is known.
    """

    errors: list[int]
    drawn: list[int]
    judged: int

    def effort(self, right: float) -> tuple[float, int, bool]:
        """Return what it takes until a share of the judged pixels is right.

        Returns:
            Drawn pixels, strokes, and whether the strokes sufficed. If they did not, the annotator is taken to paint
            the pixels that are still missing, and no others, with the brush; they count as drawn.
        """
        tolerated = (1 - right) * self.judged
        for strokes, (wrong, drawn) in enumerate(zip(self.errors, self.drawn, strict=True)):
            if wrong <= tolerated:
                return float(drawn), strokes, True
        return self.drawn[-1] + self.errors[-1] - tolerated, len(self.errors) - 1, False


def draw_session(
    shown: NDArray[np.uint8], truth: NDArray[np.uint8], mend: Mend | None, kind: Kind, strokes: int, enough: float
) -> tuple[Session, NDArray[np.uint8]]:
    """Let the annotator draw until a share of the pixels is right, or for a number of strokes.

    Args:
        shown: (h, w), the map to mend.
        truth: (h, w), with `UNKNOWN` where nobody can judge.
        mend: What repaints the map after each stroke; None leaves all but the drawn pixels as they are.
        kind: What is drawn.
        strokes: Most strokes.
        enough: Share of the judged pixels at which the annotator stops, 0 to 1.

    Returns:
        What was drawn, and the map (h, w) that is shown at the end.
    """
    judged = truth != UNKNOWN
    errors, drawn, made = [_wrong(shown, truth)], [0], list[Stroke]()
    while len(made) < strokes and errors[-1] > (1 - enough) * judged.sum():
        stroke = next_stroke(shown, truth, kind)
        made.append(stroke)
        shown = mend(made) if mend is not None else shown.copy()
        shown[tuple(stroke.pixels.T)] = stroke.value
        errors.append(_wrong(shown, truth))
        drawn.append(drawn[-1] + len(stroke.pixels))
    return Session(errors, drawn, int(judged.sum())), shown


def next_stroke(shown: NDArray[np.uint8], truth: NDArray[np.uint8], kind: Kind) -> Stroke:
    """Return the stroke that the annotator draws on a map (h, w) that is wrong somewhere."""
    wrong = (shown != truth) & (truth != UNKNOWN)
    areas = []
    for value in np.unique(truth[wrong]):
        numbered, _ = ndimage.label(wrong & (truth == value))
        sizes = np.bincount(numbered.ravel())[1:]
        areas.append((int(sizes.max()), int(value), numbered == sizes.argmax() + 1))
    _, value, whole = max(areas, key=lambda item: item[0])
    (box,) = ndimage.find_objects(whole.astype(np.uint8))
    area, corner = whole[box], np.array([part.start for part in box])
    depth = ndimage.distance_transform_edt(np.pad(area, 1))[1:-1, 1:-1]
    deepest = np.unravel_index(depth.argmax(), depth.shape)
    if kind == "click":
        return Stroke(value, np.array([deepest]) + corner)
    lines = [_line(area, deepest, np.pi * turn / _DIRECTIONS) for turn in range(_DIRECTIONS)]
    return Stroke(value, np.unique(max(lines, key=len), axis=0) + corner)


def _line(area: NDArray[np.bool_], start: tuple[np.intp, ...], angle: float) -> NDArray[np.intp]:
    """Return the pixels (n, 2) of a straight line through a pixel, as far as it stays within an area."""
    pixels = [np.array(start, dtype=np.intp)]
    for sign in (1, -1):
        for step in range(1, STROKE_PX // 2 + 1):
            pixel = np.round(np.array(start) + sign * step * np.array([np.sin(angle), np.cos(angle)])).astype(np.intp)
            if (pixel < 0).any() or (pixel >= area.shape).any() or not area[tuple(pixel)]:
                break
            pixels.append(pixel)
    return np.stack(pixels)


def _wrong(shown: NDArray[np.uint8], truth: NDArray[np.uint8]) -> int:
    return int(((shown != truth) & (truth != UNKNOWN)).sum())
