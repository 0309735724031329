"""Areas of a predicted scene with their intervals, and the confidence of its map, by the calibration of the version."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from imagery.classes import UNKNOWN
from imagery.grid import Grid
from imagery.ground_metric import GroundMetric
from imagery.outline_owners import OutlineOwners
from imagery.outline_table import OutlineTable
from imagery.vectors import CLASS_FIELD
from models.area_error import (
    CELL_PX,
    CONFIDENCE,
    AreaError,
    AreaEstimates,
    CellSums,
    ClassAreaError,
    outline_areas,
    total_areas,
)
from models.area_evidence import bins_of, foregrounds, owners_of, zone_of
from models.calibration import UNCALIBRATED, reverse
from services.area_report import EXPERTS, Area, AreaReport, AreaTotal, GlacierAreas, HeldOutBlocks
from workers.predicted_scene import PredictedScene, RowsOfCells

CONFIDENCE_UNKNOWN: Final = 255
"""The value of unknown pixels in a map of confidence."""


@dataclass(frozen=True)
class VersionCalibration:
    """The calibrated probabilities of a version.

    Attributes:
        names: Names of the K classes of its head.
        together: Name of all foreground classes together.
        error: What its card says; None for versions of earlier releases, whose probabilities are taken as they are.
    """

    names: tuple[str, ...]
    together: str
    error: AreaError | None

    @property
    def tables(self) -> list[NDArray[np.float64]]:
        """The calibrated probability of each bin (64,), by class."""
        if self.error is None:
            return [UNCALIBRATED] * len(self.names)
        return [np.array(self.error.background), *(self.error.classes[name].values for name in self.names[1:])]

    def areas(self) -> list[tuple[str, tuple[int, ...]]]:
        """Return name and class values of each area: the foreground classes and, if several, all of them together."""
        return [
            (self.names[values[0]] if len(values) == 1 else self.together, values)
            for values in foregrounds(len(self.names))
        ]

    def table_of(self, values: tuple[int, ...]) -> NDArray[np.float64]:
        """Return the table of an area."""
        return self.tables[values[0]] if len(values) == 1 else reverse(self.tables[0])

    def error_of(self, name: str) -> ClassAreaError | None:
        """Return the error of an area; None if the version has none."""
        return None if self.error is None else self.error.classes[name]


def confidence_map(predicted: PredictedScene, calibration: VersionCalibration) -> NDArray[np.uint8]:
    """Return the calibrated probability of the class that the map shows, in percent.

    Returns:
        (H, W) 0 to 100; `CONFIDENCE_UNKNOWN` where there are no data.
    """
    percent = [np.rint(100.0 * table).astype(np.uint8) for table in calibration.tables]
    found = np.full(predicted.classes.shape, CONFIDENCE_UNKNOWN, dtype=np.uint8)
    for cells in predicted.rows_of_cells():
        shown = cells.classes[cells.rows]
        strip = found[cells.first : cells.first + len(shown)]
        for value, (bins, table) in enumerate(zip(cells.bins, percent, strict=True)):
            np.copyto(strip, table[bins], where=shown == value)
    return found


def with_areas(
    table: OutlineTable, predicted: PredictedScene, grid: Grid, calibration: VersionCalibration
) -> OutlineTable:
    """Add the areas with their intervals and the mean confidence to the fields of outlines.

    The fields are `area_best`, `area_low`, `area_high` (km², of the zone of the outline: see `models.area_error`) and
    `conf_mean` (calibrated probability inside, 0 to 1); NaN where undefined.
    """
    count = len(table.map_polygons)
    fields = {name: np.full(count, np.nan) for name in ("area_best", "area_low", "area_high", "conf_mean")}
    for value, name in enumerate(calibration.names[1:], start=1):
        chosen = np.flatnonzero(table.fields[CLASS_FIELD] == name)
        if not chosen.size:
            continue
        owners = OutlineOwners(table.map_polygons[chosen], grid)
        sums, confidence, sizes = _sums_of_outlines(
            owners, len(chosen), predicted, grid, calibration.table_of((value,)), value
        )
        fields["conf_mean"][chosen] = confidence
        error = calibration.error_of(name)
        if error is not None:
            areas = outline_areas(error, sums, sizes)
            for field, values in zip(fields, (areas.best, areas.low, areas.high), strict=False):
                fields[field][chosen] = values / 1e6
    return replace(table, fields=table.fields | fields)


def area_report(
    table: OutlineTable,
    predicted: PredictedScene,
    grid: Grid,
    calibration: VersionCalibration,
    scene: str,
    version: int,
    glaciers: Sequence[tuple[str, Any]] = (),
) -> AreaReport:
    """Return the total areas of a scene, and of glaciers on it, with their intervals.

    Args:
        table: Outlines of the scene.
        predicted: The prediction that they were made from.
        grid: The scene's grid.
        calibration: That of the version.
        scene: Name of the scene.
        version: The model version.
        glaciers: Id and polygon, in the grid's CRS; polygons of one id are one glacier.
    """
    parts: dict[str, list[Any]] = {}
    for name, polygon in glaciers:
        parts.setdefault(name, []).append(polygon)
    ids = list(parts)
    owners = OutlineOwners(np.array([shapely.union_all(found) for found in parts.values()], dtype=object), grid)
    totals, by_glacier = [], []
    for name, values in calibration.areas():
        (total,) = _areas(name, values, predicted, grid, calibration, None, 1)
        by_glacier.append(_areas(name, values, predicted, grid, calibration, owners, len(ids)) if ids else [])
        error = calibration.error_of(name)
        totals.append(
            AreaTotal(
                **total.model_dump(),
                outlines=int((table.fields[CLASS_FIELD] == name).sum()) if len(values) == 1 else None,
                experts_differ=EXPERTS.get(name),
                blocks=error.blocks if error else None,
                block_px=error.block_px if error else None,
                held_out=_held_out(error),
                undefined_because=_why_undefined(name, total, calibration),
            )
        )
    return AreaReport(
        scene=scene,
        model_version=version,
        confidence=CONFIDENCE,
        totals=totals,
        glaciers=[GlacierAreas(id=each, areas=list(areas)) for each, *areas in zip(ids, *by_glacier, strict=True)],
    )


def _areas(
    name: str,
    values: tuple[int, ...],
    predicted: PredictedScene,
    grid: Grid,
    calibration: VersionCalibration,
    owners: OutlineOwners | None,
    count: int,
) -> list[Area]:
    """Return the area of one class in the polygons of ``owners``, or in the whole scene."""
    error = calibration.error_of(name)
    block_px = None if error is None else error.block_px
    sums, mapped_m2, blocks = _sums_of_regions(
        predicted, grid, calibration.table_of(values), values, owners, count, block_px
    )
    undefined = np.full(count, np.nan)
    estimates = AreaEstimates(undefined, undefined, undefined)
    if error is not None and blocks is not None:
        estimates = total_areas(error, sums, count, blocks)
    areas = []
    for mapped, *ends in zip(mapped_m2, estimates.best, estimates.low, estimates.high, strict=True):
        best, low, high = (None if np.isnan(end) else float(end) / 1e6 for end in ends)
        error_share = (high - low) / 2 / best if best and low is not None and high is not None else None
        areas.append(
            Area(
                name=name,
                mapped_km2=float(mapped) / 1e6,
                area_km2=best,
                low_km2=low,
                high_km2=high,
                error=error_share,
            )
        )
    return areas


def _why_undefined(name: str, total: Area, calibration: VersionCalibration) -> str | None:
    error = calibration.error_of(name)
    if error is None or calibration.error is None:
        return "the version is of a release that did not measure the error of areas"
    if error.true_px == 0:
        return (
            f"found no {name} in the outlines of the validation ground; expected some: register validation ground with "
            f"outlines of {name}"
        )
    if error.block_px is None:
        return (
            f"found {error.blocks} blocks of validation ground with mapped {name}; expected at least "
            f"{calibration.error.fewest_blocks}: register more validation ground"
        )
    return f"found no {name} in the map" if total.area_km2 is None else None


def _held_out(error: ClassAreaError | None) -> list[HeldOutBlocks]:
    if error is None:
        return []
    return [
        HeldOutBlocks(
            ground=ground,
            blocks=coverage.blocks,
            covered_outlines=coverage.outlines,
            covered_totals=coverage.totals,
        )
        for ground, coverage in error.coverage.items()
    ]


def _sums_of_outlines(
    owners: OutlineOwners,
    count: int,
    predicted: PredictedScene,
    grid: Grid,
    table: NDArray[np.float64],
    value: int,
) -> tuple[CellSums, NDArray[np.float64], NDArray[np.int64]]:
    """Return the sums over the zones of outlines, and the mean calibrated probability and the pixels inside each."""
    inside_sum, inside = np.zeros(count), np.zeros(count, dtype=np.int64)
    parts = []
    for cells in predicted.rows_of_cells():
        above = cells.rows.start
        owner = owners.in_rows(cells.first - above, len(cells.classes))
        zone = owners_of(owner)[cells.rows]
        zone[cells.classes[cells.rows] == UNKNOWN] = 0
        probability = table[cells.bins[value]]
        parts.append(_sum_up(zone, probability, cells))
        within = owner[cells.rows]
        inside_sum += np.bincount(within[within > 0] - 1, probability[within > 0], minlength=count)
        inside += np.bincount(within[within > 0] - 1, minlength=count)
    with np.errstate(invalid="ignore"):
        return _joined(parts, grid), inside_sum / inside, inside


def _sums_of_regions(
    predicted: PredictedScene,
    grid: Grid,
    table: NDArray[np.float64],
    values: tuple[int, ...],
    owners: OutlineOwners | None,
    count: int,
    block_px: int | None,
) -> tuple[CellSums, NDArray[np.float64], list[float] | None]:
    """Return the sums over the zone of a class in regions, the mapped area of each in m², and its blocks with data.

    Without owners the scene is the only region; without the side of blocks these are not counted.
    """
    areas = _pixel_areas(grid)
    mapped_m2 = np.zeros(count)
    parts, blocks = [], []
    for cells in predicted.rows_of_cells():
        mapped = np.isin(cells.classes, values)
        data = cells.classes[cells.rows] != UNKNOWN
        region = data.astype(np.int32)
        if owners is not None:
            region *= owners.in_rows(cells.first, len(data))
        parts.append(_sum_up(region * zone_of(mapped)[cells.rows], table[bins_of(cells.bins, values)], cells))
        if block_px is not None:
            blocks.append(_blocks_with_data(region, cells, block_px))
        owner, row, col, pixels, _ = _sum_up(region * mapped[cells.rows], np.ones(region.shape), cells)
        mapped_m2 += np.bincount(owner, pixels * areas[row, col], minlength=count)
    found = None if block_px is None else _count_blocks(blocks, count)
    return _joined(parts, grid), mapped_m2, found


def _blocks_with_data(region: NDArray[np.int32], cells: RowsOfCells, block_px: int) -> NDArray[np.int64]:
    """Return region, row and column of each block that has data of a region in these rows, (n, 3)."""
    step = block_px // CELL_PX
    owner, row, col, _, _ = _sum_up(region, np.ones(region.shape), cells)
    found: NDArray[np.int64] = np.unique(np.stack([owner, row // step, col // step], axis=1), axis=0)
    return found


def _count_blocks(blocks: Sequence[NDArray[np.int64]], count: int) -> list[float]:
    """Return how many blocks have data in each region; a block may lie in several strips of rows."""
    found: list[float] = (
        np.bincount(np.unique(np.concatenate(blocks), axis=0)[:, 0], minlength=count).astype(np.float64).tolist()
    )
    return found


def _sum_up(owner: NDArray[np.int32], probability: NDArray[np.float64], cells: RowsOfCells) -> tuple[NDArray[Any], ...]:
    """Return owner, row and column of each part of the zones in these rows, and their expected and uncertain area."""
    row, col = np.nonzero(owner)
    columns = -(-owner.shape[1] // CELL_PX)
    count = -(-len(owner) // CELL_PX) * columns
    number = owner[row, col].astype(np.int64) - 1
    key = number * count + row // CELL_PX * columns + col // CELL_PX
    if int(number.max(initial=0)) * count < len(key):  # few owners: counting is faster than sorting
        keys = np.flatnonzero(np.bincount(key))
        place = np.zeros(int(keys.max(initial=0)) + 1, dtype=np.int64)
        place[keys] = np.arange(len(keys))
        place = place[key]
    else:
        keys, place = np.unique(key, return_inverse=True)
    of_owner, cell = np.divmod(keys, count)
    found = probability[row, col]
    return (
        of_owner,
        cell // columns + cells.first // CELL_PX,
        cell % columns,
        np.bincount(place, found, minlength=len(keys)),
        np.bincount(place, found * (1.0 - found), minlength=len(keys)),
    )


def _joined(parts: Sequence[tuple[NDArray[Any], ...]], grid: Grid) -> CellSums:
    owner, row, col, expected, uncertain = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return CellSums(owner, row, col, expected, uncertain, _pixel_areas(grid)[row, col])


def _pixel_areas(grid: Grid) -> NDArray[np.float64]:
    """Return the area in m² of a pixel in the middle of each cell, (rows of cells, columns of cells)."""
    rows, cols = (
        np.minimum((np.arange(-(-side // CELL_PX)) + 0.5) * CELL_PX, side) for side in (grid.height, grid.width)
    )
    return GroundMetric(grid).pixel_area(rows, cols)
