"""Predictions on ground of known truth, summed up by cells: the evidence for the error of areas."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label, maximum_filter

from models.area_error import CELL_PX, ZONE_PX
from models.calibration import BINS


@dataclass(frozen=True)
class OutlinePieces:
    """What outlines have of cells.

    Attributes:
        place: (m, 3) number of the scene, row and column of the cell.
        value: (m,) class of the outline.
        outline: (m,) its number among those of its class in the scene.
        size: (m,) mapped pixels of the whole outline.
        zone: (m, 64) judged pixels of its zone in the cell, by bin of the class's probability.
        zone_area: (m,) how many of them are of the class.
    """

    place: NDArray[np.int64]
    value: NDArray[np.int64]
    outline: NDArray[np.int64]
    size: NDArray[np.int64]
    zone: NDArray[np.uint16]
    zone_area: NDArray[np.int64]


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
        true_area: (n, Q) true pixels of the class.
        mapped: (n, Q) pixels mapped as the class.
        pieces: The outlines of the foreground classes.
    """

    place: NDArray[np.int64]
    total: NDArray[np.uint16]
    true: NDArray[np.uint16]
    zone: NDArray[np.uint16]
    true_area: NDArray[np.uint16]
    mapped: NDArray[np.uint16]
    pieces: OutlinePieces

    def subset(self, chosen: NDArray[np.bool_], pieces: NDArray[np.bool_]) -> "CellEvidence":
        """Return the evidence of some cells and some pieces of outlines."""
        arrays = {name: array[chosen] for name, array in vars(self).items() if name != "pieces"}
        return CellEvidence(**arrays, pieces=OutlinePieces(*(array[pieces] for array in vars(self.pieces).values())))


def join_rows(parts: Sequence[CellEvidence]) -> CellEvidence:
    """Return the evidence of all rows of one scene together."""
    pieces = OutlinePieces(**_joined([vars(part.pieces) for part in parts]))
    cells = [{name: array for name, array in vars(part).items() if name != "pieces"} for part in parts]
    return CellEvidence(**_joined(cells), pieces=pieces)


def join_scenes(scenes: Sequence[CellEvidence]) -> CellEvidence:
    """Return the evidence of several scenes together; they are numbered in their order."""
    steps = [np.array([number, 0, 0]) for number in range(len(scenes))]
    return join_rows(
        [
            replace(scene, place=scene.place + step, pieces=replace(scene.pieces, place=scene.pieces.place + step))
            for scene, step in zip(scenes, steps, strict=True)
        ]
    )


def _joined(parts: Sequence[dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def foregrounds(classes: int) -> list[tuple[int, ...]]:
    """Return the classes of each of the Q areas, for a head of K classes."""
    single: list[tuple[int, ...]] = [(value,) for value in range(1, classes)]
    return [*single, tuple(range(1, classes))] if classes > 2 else single


def bins_of(bins: NDArray[np.uint8], values: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return the bins (h, w) of the probability of an area's classes, from the bins (K, h, w) of all classes."""
    # The bins are symmetric, so that those of 1 - P(background) need no sum of probabilities.
    chosen: NDArray[np.uint8] = bins[values[0]] if len(values) == 1 else np.uint8(BINS - 1) - bins[0]
    return chosen


def zone_of(mapped: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the zone of mapped ground (h, w): its pixels and those within `ZONE_PX` rows and columns."""
    zone: NDArray[np.bool_] = maximum_filter(mapped, size=2 * ZONE_PX + 1, mode="constant", cval=0)
    return zone


@dataclass(frozen=True)
class Outlines:
    """The outlines of a predicted scene: the 4-connected patches of each foreground class.

    Attributes:
        labels: For each foreground class, (H, W) number of the outline from 1, 0 where there is none.
        sizes: For each, (n + 1,) pixels by this number.
    """

    labels: tuple[NDArray[np.int32], ...]
    sizes: tuple[NDArray[np.int64], ...]


def outlines_of(classes: NDArray[np.uint8], count: int) -> Outlines:
    """Return the outlines of a map (H, W) of ``count`` classes; 4 bytes a pixel and foreground class."""
    labels = tuple(label(classes == value)[0] for value in range(1, count))
    return Outlines(labels, tuple(np.bincount(each.ravel()) for each in labels))


def owners_of(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the outline whose zone each pixel (h, w) belongs to, 0 for none, from those that the pixels lie in."""
    spread = maximum_filter(labels, size=2 * ZONE_PX + 1, mode="constant", cval=0)
    owners: NDArray[np.int32] = np.where(labels > 0, labels, spread)
    return owners


def collect(
    classes: NDArray[np.uint8],
    bins: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    outlines: Outlines,
    rows: slice,
    unknown: int,
) -> CellEvidence:
    """Sum up whole rows of cells of one scene.

    Args:
        classes: (H, W) mapped classes of the whole scene.
        bins: (K, rows, W) bins of the classes' probabilities in the rows.
        truth: (rows, W) true classes.
        outlines: Outlines of the scene.
        rows: The rows; the first is a multiple of `CELL_PX`.
        unknown: Value of pixels that are not judged.

    Returns:
        The cells with judged pixels; the number of their scene is 0.
    """
    around = slice(max(rows.start - ZONE_PX, 0), rows.stop + ZONE_PX)
    inner = slice(rows.start - around.start, rows.stop - around.start)
    judged = (truth != unknown) & (classes[rows] != unknown)
    columns = -(-truth.shape[1] // CELL_PX)
    cell_of_row, cell_of_col = (np.arange(side) // CELL_PX for side in truth.shape)
    cell = cell_of_row[:, None] * columns + cell_of_col
    count = int(cell[-1, -1]) + 1

    def by_bin(of: NDArray[np.uint8], where: NDArray[np.bool_]) -> NDArray[np.uint16]:
        keys = cell[where] * BINS + of[where]
        return np.bincount(keys, minlength=count * BINS).astype(np.uint16).reshape(count, BINS)

    def by_cell(where: NDArray[np.bool_]) -> NDArray[np.uint16]:
        return np.bincount(cell[where], minlength=count).astype(np.uint16)

    def place_of(cells: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.stack([np.zeros_like(cells), cells // columns + rows.start // CELL_PX, cells % columns], axis=1)

    def pieces_of(value: int) -> dict[str, NDArray[Any]]:
        owner = np.where(judged, owners_of(outlines.labels[value - 1][around])[inner], 0)
        inside = owner > 0
        keys, piece = np.unique(owner[inside].astype(np.int64) * count + cell[inside], return_inverse=True)
        zone = np.bincount(piece * BINS + bins[value][inside], minlength=len(keys) * BINS)
        return {
            "place": place_of(keys % count),
            "value": np.full(len(keys), value),
            "outline": keys // count,
            "size": outlines.sizes[value - 1][keys // count],
            "zone": zone.astype(np.uint16).reshape(len(keys), BINS),
            "zone_area": np.bincount(piece, truth[inside] == value, minlength=len(keys)).astype(np.int64),
        }

    areas = foregrounds(len(bins))
    mapped = [np.isin(classes[around], values) for values in areas]
    found = CellEvidence(
        place=place_of(np.arange(count)),
        total=np.stack([by_bin(of, judged) for of in bins], axis=1),
        true=np.stack([by_bin(of, judged & (truth == value)) for value, of in enumerate(bins)], axis=1),
        zone=np.stack(
            [
                by_bin(bins_of(bins, values), judged & zone_of(each)[inner])
                for values, each in zip(areas, mapped, strict=True)
            ],
            axis=1,
        ),
        true_area=np.stack([by_cell(judged & np.isin(truth, values)) for values in areas], axis=1),
        mapped=np.stack([by_cell(judged & each[inner]) for each in mapped], axis=1),
        pieces=OutlinePieces(**_joined([pieces_of(value) for value in range(1, len(bins))])),
    )
    return found.subset(by_cell(judged) > 0, np.ones(len(found.pieces.value), dtype=np.bool_))
