"""Pre-annotations: the scoring version's prediction of a patch as regions that an annotator can correct."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from imagery.classes import ClassScheme
from imagery.masks import despeckle
from imagery.polygons import mask_to_polygons, split_holes
from labeling.errors import PredictionError, RegionError
from labeling.regions import encode_brush, encode_polygon, proposed_id

# Smaller specks are noise: each costs the annotator a click, and together they make megabytes of regions.
SMALLEST_REGION_PX = 8
COARSER_PX = (32, 128, 512)
"""Smallest area of a piece, raised in these steps until Label Studio accepts the remaining pieces."""

Form = Literal["brush", "polygon", "none"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Preannotation:
    """The pre-annotation of a task.

    Attributes:
        regions: Label Studio's regions.
        shown: The class map (h, w) that they draw; None if nothing is drawn.
        note: A note for the annotator if the form or the pieces differ from the settings; else empty.
    """

    regions: Sequence[dict[str, Any]] = ()
    shown: NDArray[np.uint8] | None = None
    note: str = ""


def preannotate(
    classes: NDArray[np.uint8],
    form: Form,
    labels: Mapping[int, str],
    check: Callable[[Sequence[dict[str, Any]]], object],
) -> Preannotation:
    """Return a predicted class map as regions that Label Studio accepts, with as many of its pieces as possible.

    Too many polygons become masks; of masks that are too large, the smallest pieces are left out.

    Args:
        classes: (h, w), values of the scheme.
        form: How regions are drawn.
        labels: Label by value, see `drawable`.
        check: Raises `labeling.errors.PredictionError` if Label Studio would not accept the regions.

    Returns:
        The first attempt that passes the check; without regions if none does.
    """
    for attempted, shown, note in _attempts(classes, form):
        try:
            drawn = regions(shown, attempted, labels)
            check(drawn)
        except (PredictionError, RegionError) as error:
            log.warning("a pre-annotation as %s cannot be sent: %s", attempted, error)
        else:
            return Preannotation(drawn, shown, note)
    return Preannotation(note="; no pre-annotation is drawn: it has too many pieces")


def _attempts(classes: NDArray[np.uint8], form: Form) -> Iterator[tuple[Form, NDArray[np.uint8], str]]:
    """Yield form, class map and note of each attempt, the most faithful first."""
    shown = clean(classes)
    yield form, shown, ""
    if form == "polygon":
        yield "brush", shown, "; the pre-annotation is drawn with the brush: too many pieces for polygons"
    for size in COARSER_PX:
        yield "brush", despeckle(shown, size), f"; the pre-annotation leaves out pieces of fewer than {size} pixels"


def drawable(class_names: Sequence[str], scheme: ClassScheme) -> Mapping[int, str]:
    """Return the labels with which pre-annotations are drawn, by class value in the version's maps.

    Args:
        class_names: Names of the classes that the version predicts.
        scheme: The classes that annotators draw.

    Returns:
        The foreground classes; empty if the version predicts other classes than annotators draw. That is so for a
        binary head, unless there is a single foreground class: its foreground could be any of several.
    """
    return dict(enumerate(class_names[1:], start=1)) if tuple(class_names) == scheme.names else {}


def clean(classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a predicted class map (h, w) without specks, as the annotator sees it."""
    return despeckle(classes, SMALLEST_REGION_PX)


def regions(shown: NDArray[np.uint8], form: Form, labels: Mapping[int, str]) -> Sequence[dict[str, Any]]:
    """Return a class map (h, w) as Label Studio regions, for the values that have a label.

    The brush gives one region per class. Polygons give one per connected area; areas with holes are cut through the
    holes, because Label Studio's polygons cannot have any.
    """
    height, width = shown.shape
    if form == "brush":
        present = [(value, name) for value, name in labels.items() if (shown == value).any()]
        return [encode_brush(shown == value, name, proposed_id(value)) for value, name in present]
    if form == "none":
        return []
    pieces = [
        (labels[value], piece) for value, area in mask_to_polygons(shown, list(labels)) for piece in split_holes(area)
    ]
    return [
        encode_polygon(np.asarray(piece.exterior.coords)[:-1], name, height, width, proposed_id(number))
        for number, (name, piece) in enumerate(pieces)
    ]
