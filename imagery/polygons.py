"""From label masks to polygons, in pixel coordinates and in map coordinates."""

from collections.abc import Collection
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import shapes
from shapely.geometry import Polygon, shape

from imagery.errors import OutlineError
from imagery.grid import Grid
from imagery.vector_geometry import polygonal

# Far below the 0.7 px (the square root of half a square pixel) at which the first corner is removed.
_COLLINEAR_PX: Final = 1e-3


Mask = NDArray[np.uint8] | NDArray[np.uint16]
"""A raster of whole numbers: class values, or numbers of patches."""


def mask_to_polygons(mask: Mask, values: Collection[int], *, smoothing_px: float = 0.0) -> list[tuple[int, Polygon]]:
    """Outline the 4-connected patches of the given values, with their holes.

    Without smoothing, the outlines run along pixel edges, and rasterising them with `imagery.masks.compose` gives
    exactly the original pixels.

    With smoothing, the staircase of pixel edges is simplified by the Visvalingam-Whyatt algorithm on the whole mask as
    one coverage (Visvalingam and Whyatt 1993; GEOS CoverageSimplifier): neighbours keep sharing one edge, without gap
    or overlap, whatever their classes, and the edges of the mask itself stay. `imagery.smoothing.smoothing_error`
    measures the effect.

    Args:
        mask: (H, W) label mask, or other numbers of patches.
        values: The class values to outline.
        smoothing_px: 0, or the square root of the area in pixels of the triangles that smoothing removes. A single
            stair has 0.5 px², so 0.8 straightens diagonals; 2 rounds off features of a few pixels.

    Returns:
        (value, polygon) in pixel coordinates (x right, y down, (0, 0) the outer corner of the first pixel).

    Raises:
        OutlineError: The smoothing is negative or not finite.
    """
    if not 0 <= smoothing_px < np.inf:
        raise OutlineError(f"found a smoothing of {smoothing_px} px; expected 0 (exact) or more")
    if smoothing_px == 0:
        return _outline(mask, np.isin(mask, list(values)))
    patches = _outline(mask, np.ones(mask.shape, dtype=np.bool_))
    smooth = _simplify([polygon for _, polygon in patches], smoothing_px)
    return [(value, polygon) for (value, _), polygon in zip(patches, smooth, strict=True) if value in values]


def to_map_coordinates(polygons: NDArray[np.object_], grid: Grid) -> NDArray[np.object_]:
    """Transform an array of polygons from pixel coordinates to the grid's CRS."""
    a, b, c, d, e, f = grid.transform
    linear = np.array([[a, d], [b, e]])
    moved: NDArray[np.object_] = shapely.transform(polygons, lambda points: points @ linear + (c, f))
    return moved


def mask_to_map_polygons(
    mask: Mask, grid: Grid, values: Collection[int], *, smoothing_px: float = 0.0
) -> list[tuple[int, Polygon]]:
    """Outline a mask as `mask_to_polygons` does, with coordinates in the grid's CRS.

    Raises:
        SceneError: The mask's size is not the grid's.
        OutlineError: As `mask_to_polygons`.
    """
    grid.check_shape(mask.shape)
    outlines = mask_to_polygons(mask, values, smoothing_px=smoothing_px)
    moved = to_map_coordinates(np.array([polygon for _, polygon in outlines], dtype=object), grid)
    return [(value, polygon) for (value, _), polygon in zip(outlines, moved, strict=True)]


def split_holes(polygon: Polygon) -> list[Polygon]:
    """Cut a polygon through its holes into polygons without holes that cover the same area.

    For tools whose polygons cannot have holes. Cuts are vertical, and run along pixel edges if the polygon itself does,
    so that rasterising the parts gives the same pixels as rasterising the whole.
    """
    if not polygon.interiors:
        return [polygon]
    x = _cut_at(polygon.interiors[0])
    left, bottom, right, top = polygon.bounds
    halves = (shapely.box(left, bottom, x, top), shapely.box(x, bottom, right, top))
    return [part for half in halves for piece in polygonal(polygon.intersection(half)) for part in split_holes(piece)]


def _outline(mask: Mask, wanted: NDArray[np.bool_]) -> list[tuple[int, Polygon]]:
    return [(int(value), shape(geometry)) for geometry, value in shapes(mask, mask=wanted, connectivity=4)]


def _simplify(polygons: list[Polygon], smoothing_px: float) -> NDArray[np.object_]:
    # A coverage must have every vertex in all polygons that touch it. Where three patches touch, the straight edge of
    # one lacks the corner of the others, so a vertex is added at each pixel corner. `rint` undoes the rounding of
    # `segmentize`.
    dense = shapely.transform(shapely.segmentize(np.array(polygons, dtype=object), 1.0), np.rint)
    # The edges of the mask must not be smoothed, but their collinear points would stay too: remove these first.
    cornered = shapely.coverage_simplify(dense, _COLLINEAR_PX, simplify_boundary=True)
    simple: NDArray[np.object_] = shapely.coverage_simplify(cornered, smoothing_px, simplify_boundary=False)
    return simple


def _cut_at(hole: Any) -> float:
    """Choose the x at which a vertical cut divides the hole: a whole number if possible, else its middle."""
    left, _, right, _ = hole.bounds
    middle = (left + right) / 2
    whole = float(round(middle))
    xs = shapely.get_coordinates(hole)[:, 0]
    along_an_edge = bool(np.any((xs[:-1] == whole) & (xs[1:] == whole)))
    return whole if left < whole < right or along_an_edge else middle
