"""Regions, the things an annotator draws: Label Studio's JSON to masks and outlines, and back.

Pixel coordinates have x to the right and y down; (0, 0) is the outer corner of the first pixel.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from labeling.config import BRUSH, CLICK, IMAGE, POLYGON, SKIP_REASON, SKIP_REASONS
from labeling.errors import RegionError
from labeling.foreign_values import shown
from labeling.rle import decode_rle, encode_rle

MAX_REGIONS = 20_000
"""Most regions read in one result; a result is bounded by its bytes besides."""
MAX_POLYGON_POINTS = 20_000

_BRUSH_TYPE = "brushlabels"
POLYGON_TYPE = "polygonlabels"
_RELATION_TYPE = "relation"
_CHOICES_TYPE = "choices"
CLICK_TYPE = "keypointlabels"
_CONTROLS = {_BRUSH_TYPE: BRUSH, POLYGON_TYPE: POLYGON}
_PROPOSED = re.compile(r"pre-([0-9]{1,3})")
_OPAQUE_ABOVE = 127  # of 255: a stroke's soft edge belongs to it where it covers half a pixel or more


@dataclass(frozen=True, eq=False)
class BrushRegion:
    """A painted mask.

    Attributes:
        label: Its one label.
        mask: Bool (height, width), True where painted; may be empty after the eraser.
        proposed: The class value that it showed in the proposal; None if the annotator created it.
    """

    label: str
    mask: npt.NDArray[np.bool_]
    proposed: int | None = None


@dataclass(frozen=True, eq=False)
class PolygonRegion:
    """A filled outline. Label Studio's polygons have no holes.

    Attributes:
        label: Its one label.
        rings_px: Float64 (n, 2), n >= 3: x, y of each corner in pixels; the last is not the first again.
    """

    label: str
    rings_px: npt.NDArray[np.float64]


Region = BrushRegion | PolygonRegion


def decode_result(result: object, *, height: int, width: int, labels: Collection[str]) -> list[Region]:
    """Read the ``result`` of an annotation or prediction, all regions at once; see `iterate_regions`.

    Returns:
        The regions in drawing order.

    Raises:
        RegionError: If a region cannot be read.
    """
    return list(iterate_regions(result, height=height, width=width, labels=labels))


def iterate_regions(result: object, *, height: int, width: int, labels: Collection[str]) -> Iterator[Region]:
    """Read the ``result`` of an annotation or prediction, one region after the other: thousands of masks take memory.

    Relations (arrows between regions, which Label Studio lets annotators draw unasked) and the reason for a skip carry
    no pixels and are passed over. Anything else that is not a brush or polygon region is an error, so that no drawing
    is lost in silence.

    Args:
        result: The parsed JSON.
        height: Height of the image that was drawn on, in pixels.
        width: Width of that image, in pixels.
        labels: The labels of the labelling configuration.

    Yields:
        The regions in drawing order: where two overlap, the later one was drawn on top.

    Raises:
        RegionError: If a region cannot be read; the message names the region and what was found and expected.
    """
    if not isinstance(result, list):
        raise RegionError(f"The result is {type(result).__name__}; expected a list of regions.")
    if len(result) > MAX_REGIONS:
        raise RegionError(f"The result has {len(result)} regions; at most {MAX_REGIONS} are accepted.")
    for number, item in enumerate(result, start=1):
        if not isinstance(item, dict):
            raise RegionError(f"Region {number} is {type(item).__name__}; expected an object.")
        if item.get("type") == _RELATION_TYPE or _is_skip_reason(item) or _is_echo(item):
            continue
        try:
            yield _decode_region(item, height, width, labels)
        except RegionError as error:
            name = item.get("id")
            raise RegionError(f"Region {number} of {len(result)} (id {shown(name)}): {error}") from error


def skip_reason(result: Sequence[object]) -> str | None:
    """Return why a patch was skipped, in the words of `labeling.config.SKIP_REASONS`; None if nothing was chosen."""
    for item in result:
        value = item.get("value") if isinstance(item, dict) and _is_skip_reason(item) else None
        chosen = value.get(_CHOICES_TYPE) if isinstance(value, dict) else None
        if isinstance(chosen, list) and len(chosen) == 1 and chosen[0] in SKIP_REASONS:
            return str(chosen[0])
    return None


def proposed_id(number: int) -> str:
    """Return the id of a region of a proposal: of a mask by its class value, of an outline by its place."""
    return f"pre-{number}"


def encode_brush(
    mask: npt.NDArray[np.bool_], label: str, region_id: str, *, may_be_empty: bool = False
) -> dict[str, Any]:
    """Write a mask as a brush region.

    Args:
        mask: Bool (height, width).
        label: A label of the labelling configuration.
        region_id: Unique within the prediction, for Label Studio merges regions of one id.
        may_be_empty: Whether no pixel need be True, for a region that replaces another one.

    Returns:
        The region's JSON; `decode_result` gives back exactly the same mask.

    Raises:
        RegionError: If the mask is not a two-dimensional bool array or has no pixel.
    """
    if mask.ndim != 2 or mask.dtype != np.bool_:
        raise RegionError(f"The mask is {mask.dtype} {mask.shape}; expected bool (height, width).")
    if not (may_be_empty or mask.any()):
        raise RegionError(f"The mask of {label!r} has no pixel; leave the region out.")
    height, width = mask.shape
    value = {"format": "rle", "rle": encode_rle(mask), _BRUSH_TYPE: [label]}
    return _region(_BRUSH_TYPE, value, height, width, region_id)


def encode_polygon(
    points_px: npt.NDArray[np.float64], label: str, height: int, width: int, region_id: str
) -> dict[str, Any]:
    """Write an outline without holes as a polygon region.

    Args:
        points_px: (n, 2), n >= 3: x, y of each corner in pixels; a repeated last point is dropped.
        label: A label of the labelling configuration.
        height: Height of the image, in pixels.
        width: Width of the image, in pixels.
        region_id: Unique within the prediction, for Label Studio merges regions of one id.

    Returns:
        The region's JSON, with corners in percent of the image's size.

    Raises:
        RegionError: If there are fewer than three corners, or one that is not finite or far outside the image.
    """
    points = np.asarray(points_px, np.float64)
    if points.ndim == 2 and len(points) > 1 and np.array_equal(points[0], points[-1]):
        points = points[:-1]
    percent = points / (width, height) * 100 if points.ndim == 2 and points.shape[1] == 2 else points
    _check_points(percent)
    value = {"points": percent.tolist(), "closed": True, POLYGON_TYPE: [label]}
    return _region(POLYGON_TYPE, value, height, width, region_id)


def _region(kind: str, value: dict[str, Any], height: int, width: int, region_id: str) -> dict[str, Any]:
    return {
        "id": region_id,
        "type": kind,
        "from_name": _CONTROLS[kind],
        "to_name": IMAGE,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": value,
    }


def _is_skip_reason(item: dict[str, Any]) -> bool:
    return item.get("type") == _CHOICES_TYPE and item.get("from_name") == SKIP_REASON


def _is_echo(item: dict[str, Any]) -> bool:
    """Return whether a region repeats the mask of an accepted suggestion under the type of the click that asked for it.

    Label Studio adds one if the annotator keeps a label selected while suggestions are accepted automatically.
    """
    value = item.get("value")
    return item.get("type") == CLICK_TYPE and isinstance(value, dict) and "rle" in value


def _decode_region(item: dict[str, Any], height: int, width: int, labels: Collection[str]) -> Region:
    kind = item.get("type")
    if kind == CLICK_TYPE:
        raise RegionError(
            f"it is a click of {CLICK!r} whose suggestion was not accepted, so that the mask is missing: open the task "
            "again, accept the suggestion or delete the click, and update."
        )
    if not isinstance(kind, str) or kind not in _CONTROLS:
        raise RegionError(
            f"its type is {shown(kind)}; expected one of {sorted(_CONTROLS)}. A region drawn without a label arrives "
            "as 'brush' or 'polygon': give it a label or delete it."
        )
    expected = {
        "from_name": _CONTROLS[kind],
        "to_name": IMAGE,
        "original_width": width,
        "original_height": height,
    }
    for key, wanted in expected.items():
        found = item.get(key)
        if found != wanted or isinstance(found, bool):
            raise RegionError(f"its {key} is {shown(found)}; expected {wanted!r}.")
    if item.get("image_rotation", 0) != 0:
        raise RegionError(f"it was drawn with the image turned by {shown(item['image_rotation'])} degrees; expected 0.")
    value = item.get("value")
    if not isinstance(value, dict):
        raise RegionError(f"its value is {type(value).__name__}; expected an object.")
    label = _one_label(value.get(kind), labels)
    if kind == _BRUSH_TYPE:
        return BrushRegion(label, _decode_mask(value, height, width), _proposed_value(item.get("id")))
    return PolygonRegion(label, _decode_points(value) / 100 * (width, height))


def _proposed_value(region_id: object) -> int | None:
    found = _PROPOSED.fullmatch(region_id) if isinstance(region_id, str) else None
    return None if found is None else int(found[1])


def _one_label(found: object, labels: Collection[str]) -> str:
    if not isinstance(found, list) or len(found) != 1:
        raise RegionError(f"its labels are {shown(found)}; expected exactly one of {sorted(labels)}.")
    label = found[0]
    if not isinstance(label, str) or label not in labels:
        raise RegionError(f"its label is {shown(label)}; expected one of {sorted(labels)}.")
    return label


def _decode_mask(value: dict[str, Any], height: int, width: int) -> npt.NDArray[np.bool_]:
    if value.get("format") != "rle":
        raise RegionError(f"its mask's format is {shown(value.get('format'))}; expected 'rle'.")
    alpha = decode_rle(value.get("rle"), height=height, width=width)[..., 3]
    return alpha > _OPAQUE_ABOVE


def _decode_points(value: dict[str, Any]) -> npt.NDArray[np.float64]:
    if "holes" in value:
        raise RegionError("its polygon has 'holes', which Label Studio draws filled; use the brush for holes.")
    if value.get("closed", True) is not True:
        raise RegionError("its polygon is not closed; close it in Label Studio by clicking its first point.")
    points = value.get("points")
    if not isinstance(points, list) or not all(_is_point(point) for point in points):
        raise RegionError("its points are malformed; expected a list of [x, y] in percent, finite.")
    percent = np.array(points, np.float64).reshape(-1, 2)
    _check_points(percent)
    return percent


def _is_point(point: object) -> bool:
    # JSON holds integers beyond any float, and Python's parser NaN and Infinity.
    return isinstance(point, list) and len(point) == 2 and all(type(x) in (int, float) and abs(x) < 1e6 for x in point)


def _check_points(percent: npt.NDArray[np.float64]) -> None:
    if percent.ndim != 2 or percent.shape[1] != 2 or not 3 <= len(percent) <= MAX_POLYGON_POINTS:
        raise RegionError(
            f"its points have the shape {percent.shape}; expected (n, 2) with 3 <= n <= {MAX_POLYGON_POINTS}."
        )
    # Label Studio lets a corner slip over the edge; beyond one image size it is a mistake, not a slip.
    if not np.isfinite(percent).all() or percent.min() < -100 or percent.max() > 200:
        raise RegionError("its points are not finite, or lie farther outside the image than its own size.")
