"""Comparing two class maps of one ground: areas, their change and its error, gained and lost ground."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.features import rasterize
from rasterio.warp import reproject
from scipy import ndimage

from imagery.area_interval import AreaInterval, add_independent, difference, of_standard_error
from imagery.classes import BACKGROUND, UNKNOWN
from imagery.errors import SceneError
from imagery.grid import Grid, Window
from imagery.ground_metric import GroundMetric
from imagery.resampling import window_under

_STRIP_ROWS: Final = 256
# An outline is placed within half a pixel (Paul et al. 2017, Error sources and guidelines for quality assessment of
# glacier area, elevation change, and velocity products, section 3.2: the buffer method).
_PLACED_WITHIN_PX: Final = 0.5
# Pixel edges along a line of random direction are longer than the line by this factor.
_EDGES_PER_LENGTH: Final = 4 / np.pi


def common_grid(first: Grid, second: Grid) -> Grid:
    """Return the grid on which two maps are compared: the coarser of the two, cut to the ground of both.

    Raises:
        SceneError: The two share no ground.
    """
    coarse, fine = sorted((first, second), key=_pixel_m2, reverse=True)
    window = window_under(fine, coarse, 0)
    if window is None:
        raise SceneError(
            f"found scenes without common ground: {first.bounds} in {first.crs} and {second.bounds} in {second.crs}; "
            "expected two images of the same ground"
        )
    return coarse.subgrid(window)


def map_onto(classes: NDArray[np.uint8], own: Grid, grid: Grid) -> NDArray[np.uint8]:
    """Resample a class map onto a grid: the most frequent class of the finer pixels, unknown outside the map.

    Args:
        classes: (H, W) class map on `own`.
        own: The map's grid.
        grid: The grid wanted.

    Raises:
        SceneError: The map's size is not its grid's.
    """
    own.check_shape(classes.shape)
    onto: NDArray[np.uint8] = np.full((grid.height, grid.width), UNKNOWN, dtype=np.uint8)
    reproject(
        classes,
        onto,
        src_transform=own.affine,
        src_crs=own.crs,
        dst_transform=grid.affine,
        dst_crs=grid.crs,
        src_nodata=UNKNOWN,
        dst_nodata=UNKNOWN,
        resampling=Resampling.mode,
    )
    return onto


def number_glaciers(
    before: NDArray[np.uint8], after: NDArray[np.uint8], glaciers: Sequence[tuple[str, Any]], grid: Grid
) -> tuple[NDArray[np.int32], list[str]]:
    """Number the glaciers that are compared.

    Args:
        before: (H, W) class map of the first date.
        after: (H, W) class map of the second date.
        glaciers: Ids and polygons in the grid's CRS; polygons of one id are one glacier, and where those of two ids
            overlap the later counts. Without any, a glacier is a connected patch of whatever was mapped at either date.
        grid: The grid of the maps.

    Returns:
        (H, W) numbers from 1, 0 outside all glaciers, and the name of each: its id, or without polygons its number.
    """
    if len(glaciers):
        number = {name: index for index, name in enumerate(dict.fromkeys(name for name, _ in glaciers), start=1)}
        numbers: NDArray[np.int32] = rasterize(
            [(polygon, number[name]) for name, polygon in glaciers],
            out_shape=before.shape,
            transform=grid.affine,
            dtype=np.int32,
            fill=0,
        )
        return numbers, list(number)
    mapped = _mapped(before) | _mapped(after)
    numbers, count = ndimage.label(mapped)
    return numbers.astype(np.int32), [str(each) for each in range(1, int(count) + 1)]


class ErrorMethod(StrEnum):
    """How the intervals of two areas that are compared were found: always the same way at both dates.

    `TOTAL`: calibrated intervals of total areas, missed ground included. `OUTLINES`: those of outlines, added up.
    `BUFFER`: length of the outline times half a pixel.
    """

    TOTAL = "calibrated total"
    OUTLINES = "calibrated outlines"
    BUFFER = "buffer"


@dataclass(frozen=True)
class AreaChange:
    """The change of one class on one glacier, or on all of them. Areas in square kilometres.

    Attributes:
        before: Mapped area at the first date, of pixels known at both.
        after: Mapped area at the second date.
        before_interval: Best estimate and 95 % interval at the first date.
        after_interval: The same at the second date.
        gained: Area that became of the class.
        lost: Area that ceased to be of the class.
        method: How the intervals were found.
    """

    before: float
    after: float
    before_interval: AreaInterval
    after_interval: AreaInterval
    gained: float
    lost: float
    method: ErrorMethod = ErrorMethod.BUFFER

    @property
    def change(self) -> float:
        """Mapped area after minus mapped area before."""
        return self.after - self.before

    @property
    def change_interval(self) -> AreaInterval:
        """The change with its 95 % interval; the errors of the two dates are taken to be independent."""
        return difference(self.after_interval, self.before_interval)

    @property
    def is_significant(self) -> bool:
        """Whether the 95 % interval of the change leaves out 0."""
        return not self.change_interval.low <= 0 <= self.change_interval.high


def compare_areas(
    before: NDArray[np.uint8],
    after: NDArray[np.uint8],
    glaciers: NDArray[np.int32],
    count: int,
    values: Sequence[int],
    grid: Grid,
) -> list[AreaChange]:
    """Compare the area of some classes together, on each glacier.

    Pixels unknown at either date are left out at both. The standard error of an area is the length of its outline
    within the glacier times half a pixel (`ErrorMethod.BUFFER`).

    Args:
        before: (H, W) class map of the first date.
        after: (H, W) class map of the second date.
        glaciers: (H, W) numbers of glaciers (`number_glaciers`).
        count: How many glaciers there are.
        values: The class values that count as one; ground that changes between them is neither gained nor lost.
        grid: The grid of the maps.

    Returns:
        One item a glacier, in the order of their numbers.
    """
    known = (before != UNKNOWN) & (after != UNKNOWN)
    then, now = (np.isin(classes, values) & known for classes in (before, after))
    metric = GroundMetric(grid)
    sums = np.zeros((6, count + 1))
    for top in range(0, grid.height, _STRIP_ROWS):
        rows = slice(top, min(top + _STRIP_ROWS, grid.height))
        across, skew, down = metric.at(Window(top, 0, rows.stop - top, grid.width))
        km2 = np.sqrt(across * down - skew**2) / 1e6
        side_km = np.sqrt(km2)
        edges = [_edges(mask, known, rows) * side_km for mask in (then, now)]
        parts = (then[rows] * km2, now[rows] * km2, (~then & now)[rows] * km2, (then & ~now)[rows] * km2)
        numbers = glaciers[rows].ravel()
        error = _PLACED_WITHIN_PX / _EDGES_PER_LENGTH
        for index, part in enumerate((*parts, *(edge * side_km * error for edge in edges))):
            sums[index] += np.bincount(numbers, part.ravel(), minlength=count + 1)
    return [
        AreaChange(a, b, of_standard_error(a, a_error), of_standard_error(b, b_error), gained, lost)
        for a, b, gained, lost, a_error, b_error in sums.T[1:].tolist()
    ]


def total(changes: Sequence[AreaChange]) -> AreaChange:
    """Add up the changes of glaciers; their errors are taken to be independent of each other."""
    return AreaChange(
        sum(each.before for each in changes),
        sum(each.after for each in changes),
        add_independent([each.before_interval for each in changes]),
        add_independent([each.after_interval for each in changes]),
        sum(each.gained for each in changes),
        sum(each.lost for each in changes),
    )


GAINED: Final = 1
LOST: Final = 2
CONVERTED: Final = 3


def transitions(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return which pixels were gained, lost, or changed from one mapped class to another, (H, W).

    `GAINED`: background became a class; `LOST`: a class became background; `CONVERTED`: one class became another; 0: no
    change; 255: unknown at either date.
    """
    then, now = _mapped(before), _mapped(after)
    codes: NDArray[np.uint8] = np.zeros(before.shape, dtype=np.uint8)
    codes[~then & now] = GAINED
    codes[then & ~now] = LOST
    codes[then & now & (before != after)] = CONVERTED
    codes[(before == UNKNOWN) | (after == UNKNOWN)] = UNKNOWN
    return codes


def _mapped(classes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    mapped: NDArray[np.bool_] = (classes != BACKGROUND) & (classes != UNKNOWN)
    return mapped


def _edges(mask: NDArray[np.bool_], known: NDArray[np.bool_], rows: slice) -> NDArray[np.int64]:
    """Count the edges of each pixel of a mask towards known ground that is not of the mask, in some rows."""
    top, bottom = max(rows.start - 1, 0), min(rows.stop + 1, len(mask))
    inside, outside = mask[top:bottom], known[top:bottom] & ~mask[top:bottom]
    padded = np.pad(outside, 1)
    count = padded[:-2, 1:-1].astype(np.int64) + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    counted: NDArray[np.int64] = (count * inside)[rows.start - top : rows.stop - top]
    return counted


def _pixel_m2(grid: Grid) -> float:
    across, skew, down = GroundMetric(grid).at(Window(grid.height // 2, grid.width // 2, 1, 1))[:, 0, 0]
    return float(np.sqrt(across * down - skew**2))
