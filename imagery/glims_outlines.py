"""From a mask of line types to glaciers: merged outlines with holes, and the outlines of what lies on them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize
from shapely import STRtree
from shapely.geometry import Polygon

from imagery.classes import UNKNOWN
from imagery.glaciers import InventoryGlacier
from imagery.glims import CODES, ON_GLACIERS, LineType
from imagery.glims_division import STEP_PX, divide_ice
from imagery.grid import Grid, Window
from imagery.outline_table import area_km2, densified_wgs84
from imagery.polygons import mask_to_polygons, to_map_coordinates
from imagery.vector_geometry import polygonal

MIN_AREA_KM2: Final = 0.01
"""Smallest glacier that RGI takes (RGI 7.0 user guide): below, snow patches are not told from glaciers."""

_LINE_TYPE_OF: Final = {code: kind for kind, code in CODES.items()}


@dataclass(frozen=True)
class Outline:
    """An outline other than a glacier's boundary.

    Attributes:
        line_type: What it surrounds.
        glacier: Index of the glacier that it lies on; None for lakes in front of glaciers.
        pixels: Polygon in pixel coordinates.
        wgs84: In longitude and latitude.
        area_km2: On the WGS 84 ellipsoid.
    """

    line_type: LineType
    glacier: int | None
    pixels: Polygon
    wgs84: Polygon
    area_km2: float


@dataclass(frozen=True)
class GlacierOutlines:
    """Glaciers of a scene.

    Attributes:
        pixels: (n,) polygons in pixel coordinates, from north to south; multipolygons where an inventory's glacier has
            several parts.
        wgs84: (n,) the same in longitude and latitude, edges densified; holes are rock outcrops.
        area_km2: (n,) on the WGS 84 ellipsoid, holes left out.
        owner: (H, W) int32: 1 + index of the glacier that a pixel belongs to, 0 outside all.
        touches_edge: (n,) whether the outline ends where nothing is known: at the edge of the image, or at unknown
            pixels.
        others: Outlines on the glaciers and of lakes in front of them.
        inventory: For each, the glacier of the inventory that it was divided by; None outside, or without one.
        dropped: Number of glaciers below the smallest area.
        dropped_km2: Their area.
    """

    pixels: NDArray[np.object_]
    wgs84: NDArray[np.object_]
    area_km2: NDArray[np.float64]
    owner: NDArray[np.int32]
    touches_edge: NDArray[np.bool_]
    others: tuple[Outline, ...]
    inventory: tuple[InventoryGlacier | None, ...]
    dropped: int
    dropped_km2: float


def outline_glaciers(
    mask: NDArray[np.uint8],
    grid: Grid,
    *,
    smoothing_px: float = 0.0,
    min_area_km2: float = MIN_AREA_KM2,
    inventory: Sequence[InventoryGlacier] = (),
    window: Window | None = None,
) -> GlacierOutlines:
    """Outline glaciers: connected ice, whether clean, under debris or under a lake, divided along an inventory.

    All outlines come from one division of the mask, so that those of debris run along those of its glacier wherever
    both end, also when they are smoothed (see `imagery.polygons.mask_to_polygons`).

    Args:
        mask: (H, W) uint8 of the values `imagery.glims.CODES`, 0 for other ground, 255 for unknown.
        grid: The grid of the mask.
        smoothing_px: As `imagery.polygons.mask_to_polygons`.
        min_area_km2: Glaciers below are left out, with all that lies on them.
        inventory: Glaciers along whose polygons ice is divided (`imagery.glims_division.divide_ice`).
        window: If given, only glaciers and lakes that reach into it are outlined, whole.

    Raises:
        SceneError: The mask does not have the size of the grid, or the CRS has no WGS 84 transformation.
        OutlineError: The smoothing is negative or not finite.
    """
    grid.check_shape(mask.shape)
    pieces = mask_to_polygons(mask, list(CODES.values()), smoothing_px=smoothing_px)
    ice = [polygon for code, polygon in pieces if _LINE_TYPE_OF[code] is not LineType.PROGLACIAL_LAKE]
    merged = polygonal(shapely.union_all(ice)) if ice else []
    glaciers = divide_ice(merged, inventory, grid) if inventory else [(polygon, None) for polygon in merged]
    glaciers.sort(key=lambda glacier: (glacier[0].bounds[1], glacier[0].bounds[0]))
    pixels = _objects([polygon for polygon, _ in glaciers])
    wgs84 = densified_wgs84(to_map_coordinates(pixels, grid), grid)
    areas = np.array([area_km2(outline) for outline in wgs84], dtype=np.float64)
    large, near = areas >= min_area_km2, _reach_into(window, pixels)
    kept = large & near
    pixels, wgs84 = pixels[kept], wgs84[kept]
    owner = _owners(pixels, mask.shape)
    return GlacierOutlines(
        pixels,
        wgs84,
        areas[kept],
        owner,
        _touches_edge(owner, mask, len(pixels)),
        tuple(
            other
            for other in _others(pieces, pixels, grid, divided=bool(inventory))
            if other.glacier is not None or _reach_into(window, _objects([other.pixels]))[0]
        ),
        tuple(glacier for (_, glacier), is_kept in zip(glaciers, kept, strict=True) if is_kept),
        int((near & ~large).sum()),
        float(areas[near & ~large].sum()),
    )


def _reach_into(window: Window | None, pixels: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Return which polygons, in pixel coordinates, share ground with a window; all without one."""
    if window is None:
        return np.full(len(pixels), fill_value=True)
    (top, bottom), (left, right) = ((part.start, part.stop) for part in window.slices)
    ground = shapely.box(left, top, right, bottom)
    found: NDArray[np.bool_] = shapely.intersects(pixels, ground) & ~shapely.touches(pixels, ground)
    return found


def _others(
    pieces: Sequence[tuple[int, Polygon]], glaciers: NDArray[np.object_], grid: Grid, *, divided: bool
) -> list[Outline]:
    kinds = (*ON_GLACIERS, LineType.PROGLACIAL_LAKE)
    chosen = [(_LINE_TYPE_OF[code], polygon) for code, polygon in pieces if _LINE_TYPE_OF[code] in kinds]
    found: list[tuple[LineType, int | None, Polygon]] = list(_on_glaciers(chosen, glaciers, divided=divided))
    found += [(kind, None, polygon) for kind, polygon in chosen if kind not in ON_GLACIERS]
    polygons = _objects([polygon for _, _, polygon in found])
    wgs84 = densified_wgs84(to_map_coordinates(polygons, grid), grid)
    return [Outline(*item, outline, area_km2(outline)) for item, outline in zip(found, wgs84, strict=True)]


def _on_glaciers(
    pieces: Sequence[tuple[LineType, Polygon]], glaciers: NDArray[np.object_], *, divided: bool
) -> Iterator[tuple[LineType, int | None, Polygon]]:
    """Yield what lies on which glacier; what lies on several, divided as they are, is in parts."""
    on = [(kind, polygon) for kind, polygon in pieces if kind in ON_GLACIERS]
    polygons = _objects([polygon for _, polygon in on])
    tree = STRtree(glaciers)
    if not divided:
        # Every piece of ice lies in exactly one glacier, or in one that was too small.
        places = tree.query(shapely.point_on_surface(polygons), predicate="within")
        yield from ((on[piece][0], int(glacier), on[piece][1]) for piece, glacier in zip(*places, strict=True))
        return
    for piece, glacier in zip(*tree.query(polygons, predicate="intersects"), strict=True):
        for part in polygonal(shapely.intersection(polygons[piece], glaciers[glacier], grid_size=STEP_PX)):
            yield on[piece][0], int(glacier), part


def _owners(glaciers: NDArray[np.object_], shape: tuple[int, ...]) -> NDArray[np.int32]:
    owner: NDArray[np.int32] = np.zeros(shape, dtype=np.int32)
    if len(glaciers):
        rasterize([(polygon, number) for number, polygon in enumerate(glaciers, start=1)], out=owner)
    return owner


def _touches_edge(owner: NDArray[np.int32], mask: NDArray[np.uint8], count: int) -> NDArray[np.bool_]:
    unknown = mask == UNKNOWN
    near: NDArray[np.bool_] = np.zeros(mask.shape, dtype=np.bool_)
    near[[0, -1], :] = True
    near[:, [0, -1]] = True
    near[1:] |= unknown[:-1]
    near[:-1] |= unknown[1:]
    near[:, 1:] |= unknown[:, :-1]
    near[:, :-1] |= unknown[:, 1:]
    return np.bincount(owner[near], minlength=count + 1)[1:] > 0


def _objects(polygons: Sequence[Polygon]) -> NDArray[np.object_]:
    array: NDArray[np.object_] = np.empty(len(polygons), dtype=object)
    array[:] = polygons
    return array
