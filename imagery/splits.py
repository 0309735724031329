"""Splitting the windows of a scene into training, validation and test sets, in three ways."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import mapping

from imagery.classes import BACKGROUND, UNKNOWN
from imagery.errors import SceneError
from imagery.grid import Grid, Window, blocks, tile

TRAINING: Final = "training"
VALIDATION: Final = "validation"
TEST: Final = "test"
SPLITS: Final = (TRAINING, VALIDATION, TEST)

Shares = tuple[float, float, float]
"""Shares of training, validation and test; positive, summing to 1."""

BARAKA_SHARES: Final[Shares] = (0.7, 0.1, 0.2)
BARAKA_VALIDATION_SHARE: Final = 1 / 8  # 10 % beside 70 %
ARYAL_SHARES: Final[Shares] = (141 / 201, 20 / 201, 40 / 201)


@dataclass(frozen=True)
class Split:
    """Windows of one scene by split. No pixel is in windows of two splits.

    Attributes:
        training: Windows to train on.
        validation: Windows by which the best epoch and the settings are chosen.
        test: Windows for the final evaluation.
        dropped: Windows in no split, because they overlap another split or are not completely inside a cell or region.
    """

    training: tuple[Window, ...]
    validation: tuple[Window, ...]
    test: tuple[Window, ...]
    dropped: tuple[Window, ...] = ()

    def __post_init__(self) -> None:
        for name, windows in self.named().items():
            if not windows:
                raise SceneError(
                    f"found no window for {name} ({len(self.dropped)} dropped); expected at least one in each split: "
                    "take smaller windows, less overlap, other cells or regions, or a larger scene"
                )
        for one, other in ((TRAINING, VALIDATION), (TRAINING, TEST), (VALIDATION, TEST)):
            if _overlaps(self.named()[one], self.named()[other]).size:
                raise SceneError(f"found windows of {one} that overlap windows of {other}; expected no shared pixel")

    def named(self) -> dict[str, tuple[Window, ...]]:
        """The three splits by name."""
        return {TRAINING: self.training, VALIDATION: self.validation, TEST: self.test}


def random_split(windows: Sequence[Window], generator: np.random.Generator, shares: Shares = BARAKA_SHARES) -> Split:
    """Split windows at random (Baraka et al. 2020, appendix A).

    The paper prints 70/10/10, which leaves a tenth out; its counts of patches are those of 70/10/20, the default here.
    Its code draws from numpy's global generator without a seed; here the caller passes the generator, so that a split
    can be repeated.

    Windows that overlap cannot be in two splits: windows that overlap the test split are dropped from training and
    validation, then windows that overlap validation are dropped from training, so that the published figures rest on as
    many test windows as were drawn. If windows were cut without overlap, this concerns only those moved back at the
    scene's edges. If they were cut with overlap, nearly every window overlaps another split, and `fishnet_split` keeps
    far more of them.

    Args:
        windows: Windows of one scene (`imagery.grid.tile`).
        generator: The random generator (`numpy.random.default_rng(seed)`).
        shares: Shares of training, validation and test.

    Returns:
        The split; windows keep their order.

    Raises:
        SceneError: The shares are not positive or do not sum to 1, or a split would be empty.
    """
    drawn = _draw(len(windows), generator, shares)
    return _disjoint(windows, drawn)


def fishnet(width: int, height: int, cell_px: int) -> list[Window]:
    """Cut a raster into square cells that do not overlap; the last row and column of cells may be smaller.

    Args:
        width: Columns of the raster.
        height: Rows of the raster.
        cell_px: Side of a cell in pixels.

    Returns:
        The cells, row by row from the first pixel.

    Raises:
        SceneError: The side is not positive.
    """
    if cell_px < 1:
        raise SceneError(f"found a cell of {cell_px} px; expected at least 1")
    return blocks(width, height, cell_px)


def tile_cells(cells: Iterable[Window], size: int, overlap: int = 0) -> list[Window]:
    """Cut each cell into windows as `imagery.grid.tile` cuts a scene, so that no window crosses a cell's edge.

    Cells smaller than a window, which may occur at the scene's edge, give no windows.

    Raises:
        SceneError: The overlap is out of range.
    """
    return [
        Window(cell.row_off + window.row_off, cell.col_off + window.col_off, size, size)
        for cell in cells
        if min(cell.shape) >= size
        for window in tile(cell.width, cell.height, size, overlap)
    ]


def fishnet_split(
    windows: Sequence[Window],
    cells: Sequence[Window],
    generator: np.random.Generator,
    shares: Shares = ARYAL_SHARES,
) -> Split:
    """Split cells at random, each with all the windows inside it (Aryal et al. 2023, section 2).

    Windows may overlap one another within a cell (`tile_cells`), never across cells.

    Args:
        windows: Windows of one scene; those that are not completely inside a cell are dropped.
        cells: Rectangles that do not overlap (`fishnet`); those without a window are not drawn.
        generator: The random generator.
        shares: Shares of training, validation and test; the paper has 141, 20 and 40 cells.

    Returns:
        The split; windows keep their order.

    Raises:
        SceneError: Cells overlap, the shares are not positive or do not sum to 1, or a split would be empty.
    """
    _check_disjoint({f"cell {i}": cell for i, cell in enumerate(cells)})
    cell_of = _containing_cell(windows, cells)
    used = np.unique(cell_of[cell_of >= 0])
    split_of_cell = np.full(len(cells) + 1, -1)  # the last element, index -1, is for windows in no cell
    split_of_cell[used] = _draw(len(used), generator, shares)
    return _disjoint(windows, split_of_cell[cell_of])


def region_split(
    windows: Sequence[Window],
    region: Window,
    generator: np.random.Generator,
    validation_share: float = BARAKA_VALIDATION_SHARE,
) -> Split:
    """Hold a region out as the test set (Baraka et al. 2020, figure 8), to measure geographic generalisation.

    "The validation set is chosen at random from the same region as training."

    Args:
        windows: Windows of one scene; those that cross the region's edge are dropped.
        region: The part of the scene whose windows are the test set.
        generator: The random generator, for the validation windows.
        validation_share: Share of the windows outside the region.

    Returns:
        The split; windows keep their order.

    Raises:
        SceneError: A split would be empty.
    """
    rest = np.setdiff1d(np.arange(len(windows)), _overlaps(windows, [region])[0])
    split_of = np.full(len(windows), -1)
    split_of[_containing_cell(windows, [region]) == 0] = 2
    split_of[rest] = 0
    split_of[generator.permutation(rest)[: max(1, round(validation_share * len(rest)))]] = 1
    return _disjoint(windows, split_of)


def select_windows(
    windows: Iterable[Window],
    valid_of: Callable[[Window], NDArray[np.bool_]],
    mask_of: Callable[[Window], NDArray[np.uint8]],
    least_valid: float,
    least_foreground: float,
) -> list[Window]:
    """Keep windows with enough valid pixels and enough foreground (glacier), reading one at a time.

    Args:
        windows: Windows of one scene.
        valid_of: Returns where a window has data, (h, w) (`imagery.scene_reader.SceneReader.valid_mask`).
        mask_of: Returns the label mask of a window, (h, w) (`imagery.maps.read_map`).
        least_valid: Smallest share of valid pixels, 0 to 1.
        least_foreground: Smallest share of classes other than background among all pixels of the window, 0 to 1;
            unknown pixels are none of these. Of glacier, Baraka et al. and Aryal et al. use 0.1.
    """
    return [
        window
        for window in windows
        if valid_of(window).mean() >= least_valid and _foreground_share(mask_of(window)) >= least_foreground
    ]


def write_footprints(split: Split, grid: Grid, scene: str, acquired: date | None) -> bytes:
    """Encode the footprints of a split's windows as GeoJSON (RFC 7946: longitude and latitude, WGS 84).

    The footprints published with Baraka's code are mirrored north-south; these are computed from the grid's transform,
    whatever the direction of its rows.

    Args:
        split: Windows of the scene.
        grid: The scene's grid.
        scene: The scene's id.
        acquired: When the scene was acquired, if known: a day, or a time with its time zone.

    Returns:
        A FeatureCollection, UTF-8. Properties: scene, acquired (ISO 8601 or null), crs (the scene's own), split, and in
        pixels row_off, col_off, height, width.

    Raises:
        SceneError: The time has no zone, a window reaches beyond the grid, or the CRS has no transformation to WGS 84.
    """
    if isinstance(acquired, datetime) and acquired.tzinfo is None:
        raise SceneError(f"found the time {acquired.isoformat()} without a zone; expected one, such as +00:00")
    common = {"scene": scene, "acquired": acquired and acquired.isoformat(), "crs": grid.crs}
    features = [
        {
            "type": "Feature",
            "geometry": mapping(grid.footprint_wgs84(window)),
            "properties": common
            | {"split": name, "row_off": window.row_off, "col_off": window.col_off}
            | {"height": window.height, "width": window.width},
        }
        for name, windows in split.named().items()
        for window in windows
    ]
    return json.dumps({"type": "FeatureCollection", "features": features}).encode()


def _draw(count: int, generator: np.random.Generator, shares: Shares) -> NDArray[np.int64]:
    """Draw the split (0, 1 or 2) of each of `count` items; the shares are exact up to rounding."""
    if min(shares) <= 0 or abs(sum(shares) - 1) > 1e-9:
        raise SceneError(f"found the shares {shares}; expected three positive numbers that sum to 1")
    ends = np.round(np.cumsum(shares[:2]) * count).astype(np.int64)
    split_of_rank = np.searchsorted(ends, np.arange(count), side="right")
    return generator.permutation(split_of_rank)


def _disjoint(windows: Sequence[Window], split_of: NDArray[np.int64]) -> Split:
    """Make the splits, test first; drops windows of no split (-1) and those that overlap a split made before."""
    drawn = [[window for window, i in zip(windows, split_of, strict=True) if i == k] for k in range(len(SPLITS))]
    test = drawn[2]
    validation = _without_overlap(drawn[1], test)
    training = _without_overlap(drawn[0], [*test, *validation])
    kept = {*training, *validation, *test}
    dropped = tuple(window for window in windows if window not in kept)
    return Split(tuple(training), tuple(validation), tuple(test), dropped)


def _without_overlap(windows: Sequence[Window], others: Sequence[Window]) -> list[Window]:
    overlapping = set(_overlaps(windows, others)[0].tolist())
    return [window for i, window in enumerate(windows) if i not in overlapping]


def _overlaps(windows: Sequence[Window], others: Sequence[Window]) -> NDArray[np.int64]:
    """Indices of the pairs of a window and another window that share a pixel, (2, pairs)."""
    pairs: NDArray[np.int64] = _tree(others).query(_boxes(windows), predicate="intersects")
    return pairs


def _containing_cell(windows: Sequence[Window], cells: Sequence[Window]) -> NDArray[np.int64]:
    """Index of the cell that contains each window completely, -1 if none does; cells must not overlap."""
    cell_of: NDArray[np.int64] = np.full(len(windows), -1, dtype=np.int64)
    inside, cell = _tree(cells).query(_boxes(windows), predicate="within")
    cell_of[inside] = cell
    return cell_of


def _tree(windows: Sequence[Window]) -> shapely.STRtree:
    return shapely.STRtree(_boxes(windows))


def _boxes(windows: Sequence[Window]) -> NDArray[np.object_]:
    """The windows as rectangles shrunk by a quarter of a pixel, so that windows that only touch do not intersect."""
    edges = [(w.col_off, w.row_off, w.col_off + w.width, w.row_off + w.height) for w in windows]
    left, top, right, bottom = np.array(edges, dtype=np.float64).reshape(-1, 4).T
    boxes: NDArray[np.object_] = shapely.box(left + 0.25, top + 0.25, right - 0.25, bottom - 0.25)
    return boxes


def _check_disjoint(rectangles: Mapping[str, Window]) -> None:
    names, windows = list(rectangles), list(rectangles.values())
    shared = sorted((i, j) for i, j in _overlaps(windows, windows).T.tolist() if i < j)
    if shared:
        one, other = (names[i] for i in shared[0])
        raise SceneError(
            f"found {one} ({rectangles[one]}) and {other} ({rectangles[other]}) that overlap; expected no shared ground"
        )


def _foreground_share(mask: NDArray[np.uint8]) -> float:
    return float(((mask != BACKGROUND) & (mask != UNKNOWN)).mean())
