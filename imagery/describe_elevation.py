"""Describing an elevation model: scale, unit and voids of its tiles, and how much of a scene it covers."""

import math
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.io import DatasetReader

from imagery.channels import ELEVATION
from imagery.elevation import HIGHEST_M, LOWEST_M
from imagery.errors import SceneError
from imagery.grid import Grid, Window
from imagery.raster_file import grid_of, open_raster
from imagery.resampling import MARGIN_PX, overlaps, unwrapped, window_under
from imagery.scene_reader import SceneReader
from imagery.scene_source import BandSource, ElevationSource, SceneSource
from imagery.stored_numbers import declared_scale, declared_unit, isolated_extremes, sample, void_numbers
from imagery.units import METRE

LEAST_COVERAGE: Final = 0.99
"""Share of a scene's valid ground that must have elevation, unless gaps are allowed."""

_FOOT: Final = 0.3048
_US_SURVEY_FOOT: Final = 1200 / 3937  # differs by 2 millionths: 2 cm on Mount Everest
_SAME_UNIT: Final = 1e-4  # so that either foot is a foot
_METRES_OF: Final = {
    **dict.fromkeys(("m", "metre", "metres", "meter", "meters"), 1.0),
    **dict.fromkeys(("cm", "centimetre", "centimetres", "centimeter", "centimeters"), 0.01),
    **dict.fromkeys(("dm", "decimetre", "decimetres", "decimeter", "decimeters"), 0.1),
    **dict.fromkeys(("mm", "millimetre", "millimetres", "millimeter", "millimeters"), 0.001),
    **dict.fromkeys(("km", "kilometre", "kilometres", "kilometer", "kilometers"), 1000.0),
    **dict.fromkeys(("ft", "foot", "feet", "international foot", "international feet", "ft int", "intl ft"), _FOOT),
    **dict.fromkeys(
        ("us survey foot", "us survey feet", "us ft", "ftus", "ft us", "foot us", "us foot", "us feet", "survey foot"),
        _US_SURVEY_FOOT,
    ),
}
# What may follow the unit: above what the elevations are.
_ABOVE_SEA: Final = re.compile(r"\ba\W*(m\W*)?s\W*l\b")
_REFERENCES: Final = frozenset(
    (
        *("above", "over", "the", "mean", "sea", "level", "msl", "amsl", "asl", "ellipsoid", "ellipsoidal", "geoid"),
        *("egm", "wgs", "grs", "navd", "evrf", "height", "heights", "elevation", "orthometric"),
    )
)
# A few wild pixels are errors of a model that is right elsewhere; ASTER's has some.
_TOLERATED_SHARE: Final = 0.001
_ABOVE_EVEREST_M: Final = 9000.0
# If the ground nearest to sea level is still this far from it, zeros are no sea.
_NO_SEA_WITHIN_M: Final = 100.0
# Terrain has no such gap between the elevations of many pixels, and no elevation twice beyond it.
_GAP_M: Final = 500.0
_COVERAGE_SIDE_PX: Final = 256
# Glaciers thin by up to 20 m between two surveys, the ground around them does not.
_STEP_M: Final = 10.0
_STEP_SIDE_PX: Final = 64
_LEAST_COMMON_PX: Final = 20


def describe_dem(
    paths: Sequence[str],
    over: Grid | None = None,
    *,
    index: int = 1,
    scale: float | None = None,
    offset: float | None = None,
    nodata: float | None = None,
    unit: str | None = None,
) -> tuple[tuple[BandSource, ...], tuple[str, ...]]:
    """Read what files say about their elevations, and check it by a sample of their pixels.

    A unit other than metres becomes part of the scale. What a file does not say is guessed, and every guess is told:

    * the unit is metres;
    * -9999, -32768 and the like (`imagery.stored_numbers.VOID_NUMBERS`) mean no data, and so does any single number
      that is no possible elevation;
    * so does the lowest or the highest number if it occurs repeatedly, 500 m or more from every other;
    * zero means no data where all other ground is further than 100 m from sea level.

    Elevations above 9000 m, which no land has, are told too: they may be in feet.

    Args:
        paths: At least one tile, the most trusted first.
        over: The scene's grid, on whose ground tiles are sampled; tiles that miss it are left out. All ground if None.
        index: The 1-based band that holds elevation, in every file.
        scale: Factor from stored numbers to the unit, instead of what the files declare.
        offset: Elevation of the stored number 0 in the unit, instead of what the files declare.
        nodata: A stored number that means no data, in addition to what the files declare. No other is guessed then.
        unit: Unit of the elevations ("m", "ft", "US survey foot", ...), instead of what the files declare.

    Returns:
        The tiles, for `ElevationSource`, and notes: guesses, and what was left out.

    Raises:
        SceneError: A file cannot be read or lacks the band; the unit is not known; more than 0.1 % of the elevations
            sampled are impossible (below -500 or above 12,500 m); no tile has elevation on the scene's ground.
    """
    stated = _Stated(scale, offset, nodata, unit)
    notes = _Notes()
    tiles = []
    for path in paths:
        with open_raster(path) as dataset:
            if index not in dataset.indexes:
                raise SceneError(f"{path}: found {dataset.count} bands; expected elevation in band {index}")
            if dataset.count > 1 and (dataset.descriptions[index - 1] or "").strip().lower() != ELEVATION:
                notes.add(path, f"band {index} of {dataset.count} is taken as elevation")
            grid = grid_of(dataset)
            part = grid.window if over is None else window_under(over, unwrapped(grid, over), MARGIN_PX)
            if part is None or (over is not None and not overlaps(grid, over)):
                notes.add(path, "left out: it misses the scene's ground")
                continue
            tile = _describe_tile(dataset, path, index, stated, part, notes)
            if tile is not None:
                tiles.append(tile)
    if not tiles:
        raise SceneError(
            f"found no elevation for the scene ({'; '.join(notes.lines()) or 'no file'}); expected at least one file "
            "that has elevation on the scene's ground"
        )
    return tuple(tiles), notes.lines()


@dataclass(frozen=True)
class Coverage:
    """Elevation of a scene, from at most 256 x 256 of its pixels.

    Attributes:
        share: Share of the scene's valid ground that has elevation, 0 to 1.
        lowest_m: Lowest elevation in metres; NaN without any.
        highest_m: Highest elevation.
    """

    share: float
    lowest_m: float
    highest_m: float


def elevation_coverage(source: SceneSource) -> Coverage:
    """Return how much of a scene's valid ground has elevation, and between which heights.

    Raises:
        SceneError: A file of the scene cannot be read, or the scene has no elevation.
    """
    with SceneReader(source) as reader:
        stack = reader.read_decimated((*source.band_names, ELEVATION), _COVERAGE_SIDE_PX)
    known = ~np.isnan(stack[-1])
    valid = ~np.isnan(stack[:-1]).any(axis=0)
    share = float(known[valid].mean() if valid.any() else known.mean())
    heights = stack[-1][known & valid] if (known & valid).any() else stack[-1][known]
    if not heights.size:
        return Coverage(share, math.nan, math.nan)
    return Coverage(share, float(heights.min()), float(heights.max()))


def check_coverage(source: SceneSource, *, allow_partial_dem: bool = False) -> Coverage:
    """Return a scene's `elevation_coverage`; raise an error if too little of its ground has elevation.

    Args:
        source: A scene with elevation.
        allow_partial_dem: Accept any coverage but none.

    Raises:
        SceneError: Less than 99 % of the valid ground has elevation, or none if gaps are allowed; otherwise as
            `elevation_coverage`.
    """
    found = elevation_coverage(source)
    share = found.share
    if share == 0 or (share < LEAST_COVERAGE and not allow_partial_dem):
        files = ", ".join(raster.path for raster in source.continuous if raster.name == ELEVATION)
        raise SceneError(
            f"{files}: found elevation for {math.floor(1000 * share) / 10:g} % of the scene's valid ground; expected "
            f"at least {100 * LEAST_COVERAGE:g} %: add the tiles that are missing, or after them another model, which "
            "fills the voids; or allow a partial DEM (--allow-partial-dem)"
        )
    return found


def notes_on_steps(source: SceneSource) -> list[str]:
    """Return a note on elevation models that lie higher or lower than those named before them; none if all agree.

    Heights above the ellipsoid and above the sea differ by up to 110 m: where one model fills the voids of another,
    such a step is a cliff.

    Raises:
        SceneError: A file of the scene cannot be read.
    """
    tiles = source.dem.tiles if source.dem else ()
    merged: NDArray[np.float32] | None = None
    steps = []
    for tile in tiles if len(tiles) > 1 else ():
        alone = replace(source, dem=ElevationSource((tile,)), quality=(), border=None, border_sha256=None)
        with SceneReader(alone) as reader:
            heights = reader.read_decimated([ELEVATION], _STEP_SIDE_PX)[0]
        if merged is None:
            merged = heights
            continue
        difference = heights - merged
        difference = difference[~np.isnan(difference)]
        step = float(np.median(difference)) if difference.size >= _LEAST_COMMON_PX else 0.0
        if abs(step) > _STEP_M:
            steps.append(f"{tile.path} lies {abs(step):.0f} m {'above' if step > 0 else 'below'} those named before it")
        merged = np.where(np.isnan(merged), heights, merged)
    if not steps:
        return []
    return [
        f"elevation models differ where they overlap: {', '.join(steps)}, in the median. Where one ends or fills the "
        "voids of another, slopes are wrong: if one is above the ellipsoid and another above the sea, convert one of "
        "them (gdalwarp -s_srs and -t_srs with vertical systems, such as EPSG:4326+3855)"
    ]


@dataclass(frozen=True)
class _Stated:
    """What the user says about the numbers, instead of the file; see `describe_dem`."""

    scale: float | None
    offset: float | None
    nodata: float | None
    unit: str | None


@dataclass
class _Notes:
    """Notes on files; what holds for several files is told once."""

    _files: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, path: str, text: str) -> None:
        self._files[text].append(PurePath(path).name)

    def lines(self) -> tuple[str, ...]:
        return tuple(f"{', '.join(files)}: {text}" for text, files in self._files.items())


def _describe_tile(
    dataset: DatasetReader, path: str, index: int, stated: _Stated, part: Window, notes: _Notes
) -> BandSource | None:
    """Return the description of a tile; None if it has no elevation in this part of it."""
    metres = _metres_per_unit(dataset, path, index, stated, notes)
    scale, offset = (
        _declared_scale(dataset, path, index, notes) if None in (stated.scale, stated.offset) else (1.0, 0.0)
    )
    guessed = stated.scale is None and stated.unit is None
    if guessed and metres != 1.0 and math.isclose(scale, metres, rel_tol=_SAME_UNIT):
        notes.add(
            path,
            f"numbers are multiplied by {scale:g} as its tags say, and again because of its unit: check the "
            "elevations; if the tags make metres of them, state the unit m",
        )
    scale = metres * (scale if stated.scale is None else stated.scale)
    offset = metres * (offset if stated.offset is None else stated.offset)
    if scale == 0 or not math.isfinite(scale + offset):
        raise SceneError(
            f"{path}: found the scale {scale:g} and the offset {offset:g}; expected numbers, not 0 as scale"
        )
    numbers = sample(dataset, index, part).astype(np.float64)
    nodata = stated.nodata
    if nodata is not None:
        numbers = numbers[numbers != nodata]
    else:
        numbers, nodata = _without_voids(numbers, path, scale, offset, notes)
    numbers = _without_impossible(numbers, path, scale, offset, notes)
    if numbers.size == 0:
        notes.add(path, "left out: it has no elevation on the scene's ground")
        return None
    highest = float((numbers * scale + offset).max())
    if highest > _ABOVE_EVEREST_M:
        notes.add(path, f"elevations reach {highest:.0f} m, above Mount Everest: check their unit (feet?)")
    if not numbers.any():
        notes.add(path, "all elevations sampled are 0")
    if dataset.dtypes[index - 1] == "uint8" and scale == metres:
        notes.add(path, "its numbers have 8 bits: is it a picture of the relief (hillshade) instead of elevation?")
    return BandSource(ELEVATION, path, index, scale, offset, nodata, METRE)


def _declared_scale(dataset: DatasetReader, path: str, index: int, notes: _Notes) -> tuple[float, float]:
    """Return scale and offset as the file declares them for elevation.

    In a file of several bands, items of the whole file state how the numbers of the others become reflectance.
    """
    of_band = declared_scale(dataset, index, of_file=dataset.count == 1)
    of_file = declared_scale(dataset, index)
    if of_file != of_band:
        notes.add(path, f"scale {of_file[0]:g} and offset {of_file[1]:g} of the file are not applied to elevation")
    return of_band


def _metres_per_unit(dataset: DatasetReader, path: str, index: int, stated: _Stated, notes: _Notes) -> float:
    crs = CRS.from_user_input(dataset.crs)
    vertical = next((part for part in crs.sub_crs_list if part.is_vertical), None)
    axis = vertical.axis_info[0] if vertical is not None else None
    if vertical is not None:
        notes.add(path, f"heights are above {vertical.name}, as the file says")
    elif len(crs.axis_info) == 3:  # geographic with a third axis
        notes.add(path, "heights are above the ellipsoid, as the file says")
    unit = stated.unit or declared_unit(dataset, index)
    if unit is not None:
        known = _metres_of(unit)
        if known is None:
            raise SceneError(
                f"{path}: found elevation in {unit!r}; expected m, ft, US survey foot, cm, dm, mm or km: state the unit"
            )
        if axis and not stated.unit and not math.isclose(known, axis.unit_conversion_factor, rel_tol=_SAME_UNIT):
            notes.add(
                path,
                f"elevation is in {unit!r} by its band, which is used, and its vertical coordinate system is in "
                f"{axis.unit_name!r}: check the elevations, and state the unit if that is right",
            )
        if known != 1.0:
            notes.add(path, f"elevation is in {unit!r}; it is converted to metres")
        return known
    if axis is not None:
        return float(axis.unit_conversion_factor)
    horizontal = crs.axis_info[0].unit_name
    map_unit = f" (its map is in {horizontal}: check it)" if "foot" in horizontal.lower() else ""
    notes.add(path, f"it does not say the unit of its elevations, which are taken as metres{map_unit}")
    return 1.0


def _metres_of(unit: str) -> float | None:
    """Return how many metres a unit is, with or without a reference ("m a.s.l.", "metre (EGM96)"); None if unknown."""
    words = re.sub(r"[^a-z]", " ", _ABOVE_SEA.sub(" asl", unit.lower())).split()
    while words and words[-1] in _REFERENCES:
        words.pop()
    return _METRES_OF.get(" ".join(words))


def _without_voids(
    numbers: NDArray[np.float64], path: str, scale: float, offset: float, notes: _Notes
) -> tuple[NDArray[np.float64], float | None]:
    """Drop numbers that mean no data without being declared; also return the one for `BandSource.nodata`."""
    voids = void_numbers(numbers)
    rest = numbers[~np.isin(numbers, voids)]
    wild = np.unique(rest[_impossible(rest, scale, offset)])
    if wild.size == 1:
        voids.append(float(wild[0]))
    voids += isolated_extremes(rest[~np.isin(rest, voids)], _GAP_M / abs(scale))
    zero, others = rest == 0, rest[rest != 0] * scale + offset
    if 0 not in voids and offset == 0 and zero.any() and others.size and np.abs(others).min() > _NO_SEA_WITHIN_M:
        voids.append(0.0)
    for void in voids:
        # Rounded up, so that a single pixel is not said to be 0 %.
        share = math.ceil(1000 * float((numbers == void).mean())) / 10
        reason = f", while all other ground is above {others.min():.0f} m" if void == 0 else ""
        notes.add(path, f"{share:g} % of its pixels are {void:g}{reason}: taken as no data, which it does not declare")
    # Numbers that are no possible elevation are missing anyway (see `imagery.elevation`).
    possible = [void for void in voids if not _impossible(np.array([void]), scale, offset)[0]]
    if len(possible) > 1:
        raise SceneError(
            f"{path}: found the numbers {possible}, all of which may mean no data; expected one: state the nodata "
            "value, or declare it in the file (gdal_edit.py -a_nodata)"
        )
    return numbers[~np.isin(numbers, voids)], next(iter(possible or voids), None)


def _without_impossible(
    numbers: NDArray[np.float64], path: str, scale: float, offset: float, notes: _Notes
) -> NDArray[np.float64]:
    """Drop a few impossible elevations.

    Raises:
        SceneError: More than a few are.
    """
    wild = _impossible(numbers, scale, offset)
    if not wild.any():
        return numbers
    found = numbers[wild] * scale + offset
    extent = f"{found.min():g} to {found.max():g} m"
    if wild.mean() > _TOLERATED_SHARE:
        raise SceneError(
            f"{path}: found impossible elevations of {extent} in {100 * wild.mean():.1f} % of its pixels; expected "
            f"{LOWEST_M:g} to {HIGHEST_M:g} m: state the unit (feet?), the scale (0.1 for dm) or the nodata value"
        )
    notes.add(
        path, f"{wild.sum()} of {wild.size} pixels sampled are impossible elevations ({extent}): taken as no data"
    )
    return numbers[~wild]


def _impossible(numbers: NDArray[np.float64], scale: float, offset: float) -> NDArray[np.bool_]:
    metres = numbers * scale + offset
    impossible: NDArray[np.bool_] = (metres < LOWEST_M) | (metres > HIGHEST_M)
    return impossible
