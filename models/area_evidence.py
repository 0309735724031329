"""Predictions on ground of known truth, summed up by cells: the evidence for the error of areas."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from models.area_error import CELL_PX, ZONE_PX
from models.calibration import BINS


@dataclass(frozen=True)
class CellEvidence:
    """Judged pixels of ground with known truth, by cells of `CELL_PX` pixels a side.

    K is the number of classes of the head. The areas are those of Q classes: the K - 1 foreground classes and, if these
    are several, all of them together as the last.

    Attributes:
        place: (n, 3) number of the scene, row and column of the cell.
        total: (n, K, 64) pixels by class and bin of its probability.
        true: (n, K, 64) how many of them are of the class.
        zone: (n, Q, 64) pixels of the class's zone by bin of its probability.
        zone_area: (n, Q) true pixels of the class in its zone.
        true_area: (n, Q) true pixels of the class.
        mapped: (n, Q) pixels mapped as the class.
    """

    place: NDArray[np.int64]
    total: NDArray[np.uint16]
    true: NDArray[np.uint16]
    zone: NDArray[np.uint16]
    zone_area: NDArray[np.uint16]
    true_area: NDArray[np.uint16]
    mapped: NDArray[np.uint16]

    def subset(self, chosen: NDArray[np.bool_]) -> "CellEvidence":
        """Return the evidence of some cells."""
        return CellEvidence(*(array[chosen] for array in vars(self).values()))


def join_rows(parts: Sequence[CellEvidence]) -> CellEvidence:
    """Return the evidence of all rows of one scene together."""
    return CellEvidence(
        *(np.concatenate(arrays) for arrays in zip(*(vars(part).values() for part in parts), strict=True))
    )


def join_scenes(scenes: Sequence[CellEvidence]) -> CellEvidence:
    """Return the evidence of several scenes together; they are numbered in their order."""
    return join_rows(
        [replace(scene, place=scene.place + np.array([number, 0, 0])) for number, scene in enumerate(scenes)]
    )


def foregrounds(classes: int) -> list[tuple[int, ...]]:
    """Return the classes of each of the Q areas, for a head of K classes."""
    single: list[tuple[int, ...]] = [(value,) for value in range(1, classes)]
    return [*single, tuple(range(1, classes))] if classes > 2 else single


def bins_of(bins: NDArray[np.uint8], values: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return the bins (h, w) of the probability of an area's classes, from the bins (K, h, w) of all classes."""
    # The bins are symmetric, so that those of 1 - P(background) need no sum of probabilities.
    return bins[values[0]] if len(values) == 1 else np.uint8(BINS - 1) - bins[0]


def zone_of(mapped: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the zone of mapped ground (h, w): its pixels and those within `ZONE_PX` rows and columns."""
    zone: NDArray[np.bool_] = maximum_filter(mapped, size=2 * ZONE_PX + 1, mode="constant", cval=0)
    return zone


def collect(
    classes: NDArray[np.uint8],
    bins: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    first_row: int,
    rows: slice,
    unknown: int,
) -> CellEvidence:
    """Sum up whole rows of cells of one scene.

    Args:
        classes: (h, W) mapped classes, with at least `ZONE_PX` further rows above and below where the scene has them.
        bins: (K, rows, W) bins of the classes' probabilities in the rows that count.
        truth: (rows, W) true classes.
        first_row: Row of the scene of the first row that counts, a multiple of `CELL_PX`.
        rows: The rows of ``classes`` that count.
        unknown: Value of pixels that are not judged.

    Returns:
        The cells with judged pixels; the number of their scene is 0.
    """
    mapped_classes = classes[rows]
    judged = (truth != unknown) & (mapped_classes != unknown)
    columns = -(-truth.shape[1] // CELL_PX)
    cell_of_row, cell_of_col = (np.arange(side) // CELL_PX for side in truth.shape)
    cell = (cell_of_row[:, None] * columns + cell_of_col)[judged]
    count = (cell_of_row[-1] + 1) * columns

    def by_bin(of: NDArray[np.uint8], where: NDArray[np.bool_]) -> NDArray[np.uint16]:
        keys = cell[where[judged]] * BINS + of[judged & where]
        return np.bincount(keys, minlength=count * BINS).astype(np.uint16).reshape(count, BINS)

    def by_cell(where: NDArray[np.bool_]) -> NDArray[np.uint16]:
        return np.bincount(cell[where[judged]], minlength=count).astype(np.uint16)

    areas = foregrounds(len(bins))
    zones = [zone_of(np.isin(classes, values))[rows] for values in areas]
    trues = [np.isin(truth, values) for values in areas]
    place = np.stack([np.zeros(count, dtype=np.int64), *divmod(np.arange(count), columns)], axis=1)
    place[:, 1] += first_row // CELL_PX
    found = CellEvidence(
        place=place,
        total=np.stack([by_bin(of, judged) for of in bins], axis=1),
        true=np.stack([by_bin(of, truth == value) for value, of in enumerate(bins)], axis=1),
        zone=np.stack([by_bin(bins_of(bins, values), zone) for values, zone in zip(areas, zones, strict=True)], axis=1),
        zone_area=np.stack([by_cell(zone & true) for zone, true in zip(zones, trues, strict=True)], axis=1),
        true_area=np.stack([by_cell(true) for true in trues], axis=1),
        mapped=np.stack([by_cell(np.isin(mapped_classes, values)) for values in areas], axis=1),
    )
    return found.subset(np.bincount(cell, minlength=count) > 0)
