"""The division of the study areas into windows for training, for validation and for the test."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from experiments.areas import StudyArea
from imagery.classes import CLEAN_ICE, DEBRIS_COVERED_ICE
from imagery.errors import SceneError
from imagery.grid import Window
from imagery.maps import read_map
from imagery.scene_reader import SceneReader
from imagery.splits import (
    Split,
    fishnet,
    fishnet_split,
    random_split,
    region_split,
    select_windows,
    tile_cells,
    write_footprints,
)
from services.experiment_options import SplitKind

LEAST_VALID: Final = 0.5
LEAST_GLACIER: Final = 0.1
"""Baraka et al. and Aryal et al. leave out windows with less glacier than this share."""

BLOCK_WINDOWS: Final = 2
"""Side, in windows, of the squares that the fishnet draws, and of the blocks of the bootstrap."""


@dataclass(frozen=True)
class Place:
    """A window of a study area."""

    area: StudyArea
    window: Window


@dataclass(frozen=True)
class Division:
    """The windows of the three parts. No pixel is in windows of two parts."""

    training: tuple[Place, ...]
    validation: tuple[Place, ...]
    test: tuple[Place, ...]

    def named(self) -> dict[str, tuple[Place, ...]]:
        """Return the windows of the three parts by name."""
        return {"training": self.training, "validation": self.validation, "test": self.test}

    def blocks(self, part: str) -> NDArray[np.int64]:
        """Return the number of the spatial block of each window of a part, (P,).

        A block is a square of 2 x 2 windows. Neighbouring windows are hard or easy together (spatial autocorrelation),
        so a bootstrap has to draw blocks.
        """
        squares = [
            (place.area.name, *(at // (BLOCK_WINDOWS * place.window.height) for at in _corner(place.window)))
            for place in self.named()[part]
        ]
        numbers = {square: number for number, square in enumerate(dict.fromkeys(squares))}
        return np.array([numbers[square] for square in squares], dtype=np.int64)


def divide(areas: Sequence[StudyArea], kind: SplitKind, patch_size_px: int, seed: int) -> Division:
    """Divide each area separately, and join the parts of all areas.

    Windows do not overlap, have data in at least half of their pixels, and glacier in at least a tenth.

    Args:
        areas: The study areas, which do not overlap.
        kind: ``"random"`` draws windows in the shares of Baraka et al.; ``"fishnet"`` draws squares of 2 x 2 windows in
            the shares of Aryal et al., so that fewer test windows lie beside a training window.
        patch_size_px: Side of the windows.
        seed: Seed of the draw.

    Raises:
        SceneError: An area is too small to fill the three parts, or cannot be read.
    """
    generator = np.random.default_rng(seed)
    return _joined((area, _split(area, kind, patch_size_px, generator)) for area in areas)


def hold_out(areas: Sequence[StudyArea], patch_size_px: int, seed: int) -> list[Division]:
    """Return three divisions, each with another third of the areas as the test region (Baraka et al. 2020, fig. 8, 9).

    Each area is cut into thirds across its longer side; each third is the test region once. Validation windows are
    drawn from the other two thirds.

    Args:
        areas: The study areas, which do not overlap.
        patch_size_px: Side of the windows.
        seed: Seed of the draw of validation windows.

    Raises:
        SceneError: An area is too small to fill the three parts, or cannot be read.
    """
    windows = [_windows(area, patch_size_px) for area in areas]
    generator = np.random.default_rng(seed)
    return [
        _joined(
            (area, region_split(of_area, _third(area, number), generator))
            for area, of_area in zip(areas, windows, strict=True)
        )
        for number in range(3)
    ]


def with_both_classes(division: Division, truth_of: Callable[[Place], NDArray[np.uint8]]) -> Division:
    """Keep the windows that hold clean as well as debris-covered ice, as Baraka et al. 2020 do to compare heads.

    Args:
        division: The windows.
        truth_of: Returns the true classes of a window, (h, w).

    Raises:
        SceneError: A part has no such window.
    """
    kept = {
        part: tuple(
            place for place in places if {CLEAN_ICE.value, DEBRIS_COVERED_ICE.value} <= set(np.unique(truth_of(place)))
        )
        for part, places in division.named().items()
    }
    for part, places in kept.items():
        if not places:
            raise SceneError(
                f"found no window for {part} with both clean and debris-covered ice among "
                f"{len(division.named()[part])}; expected some, as heads are compared on such windows only: take "
                "larger patches, or scenes that have both"
            )
    return Division(**kept)


def footprints(division: Division) -> dict[str, bytes]:
    """Return the footprints of the windows as GeoJSON, by name of area (`imagery.splits.write_footprints`)."""
    areas = {place.area.name: place.area for places in division.named().values() for place in places}
    return {
        name: write_footprints(
            Split(
                **{
                    part: tuple(place.window for place in places if place.area.name == name)
                    for part, places in division.named().items()
                }
            ),
            area.source.grid,
            name,
            area.acquired,
        )
        for name, area in areas.items()
    }


def _split(area: StudyArea, kind: SplitKind, size: int, generator: np.random.Generator) -> Split:
    windows = _windows(area, size)
    if kind == "random":
        return random_split(windows, generator)
    squares = fishnet(area.source.grid.width, area.source.grid.height, BLOCK_WINDOWS * size)
    return fishnet_split(windows, squares, generator)


def _third(area: StudyArea, number: int) -> Window:
    height, width = area.source.grid.height, area.source.grid.width
    start, end = (round(max(height, width) * edge / 3) for edge in (number, number + 1))
    return Window(0, start, height, end - start) if width >= height else Window(start, 0, end - start, width)


def _windows(area: StudyArea, size: int) -> list[Window]:
    """Return windows of an area that do not overlap, with enough data and enough glacier."""
    windows = tile_cells(fishnet(area.source.grid.width, area.source.grid.height, size), size)
    with SceneReader(area.source) as reader:
        kept = select_windows(
            windows, reader.valid_mask, lambda window: read_map(area.truth, window), LEAST_VALID, LEAST_GLACIER
        )
    if not kept:
        raise SceneError(
            f"found no window of {size} px in {area.name} with {LEAST_GLACIER:.0%} of glacier; "
            "expected some: take smaller patches, or another scene"
        )
    return kept


def _joined(splits: Iterable[tuple[StudyArea, Split]]) -> Division:
    parts: dict[str, list[Place]] = {}
    for area, split in splits:
        for name, windows in split.named().items():
            parts.setdefault(name, []).extend(Place(area, window) for window in windows)
    return Division(**{name: tuple(places) for name, places in parts.items()})


def _corner(window: Window) -> tuple[int, int]:
    return window.row_off, window.col_off
