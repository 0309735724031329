"""Describing further rasters of a scene: coherence, backscatter, velocity, elevation change, thermal, ..."""

from typing import Final

import numpy as np

from imagery.channels import ELEVATION, INDICES, TERRAIN_UNITS
from imagery.errors import SceneError
from imagery.grid import Grid
from imagery.raster_file import grid_of, has_colour_table, open_raster
from imagery.resampling import MARGIN_PX, check_overlaps, unwrapped, window_under
from imagery.scene_source import BandSource
from imagery.sensors import SENSORS
from imagery.stored_numbers import FEW_VALUES, declared_scale, declared_unit, isolated_extremes, sample, void_numbers
from imagery.units import DEGREE, DIGITAL_NUMBER, KELVIN, METRE

_SPELLINGS: Final = {
    **dict.fromkeys(("k", "kelvin", "kelvins"), KELVIN),
    **dict.fromkeys(("m", "metre", "metres", "meter", "meters"), METRE),
    **dict.fromkeys(("deg", "degree", "degrees"), DEGREE),
}
_BANDS: Final = frozenset(band.name for bands in SENSORS.values() for band in bands if band.stacked)


def describe_extra(
    name: str,
    path: str,
    index: int = 1,
    over: Grid | None = None,
    *,
    nodata: float | None = None,
    unit: str | None = None,
    scale: float | None = None,
    offset: float | None = None,
) -> tuple[BandSource, tuple[str, ...]]:
    """Read what a file says about a raster that becomes a channel of a scene, on any grid.

    Args:
        name: The channel's name.
        path: The file.
        index: The 1-based band index.
        over: The scene's grid, on whose ground the raster is sampled; all of the file if None.
        nodata: A stored number that means no data, in addition to what the file declares.
        unit: Unit of the values, instead of what the file declares.
        scale: Factor from stored numbers to values, instead of what the file declares.
        offset: Value of the stored number 0, instead of what the file declares.

    Returns:
        The raster, for `SceneSource.extras`, and notes: guesses and doubts.

    Raises:
        SceneError: The name is that of a computed channel or of a band; the file cannot be read, lacks the band, misses
            the scene or has no valid pixel on its ground.
    """
    _check_name(name, path)
    notes = []
    with open_raster(path) as dataset:
        if index not in dataset.indexes:
            raise SceneError(f"{path}: found {dataset.count} bands; expected {name!r} in band {index}")
        grid = grid_of(dataset)
        if over is not None:
            check_overlaps(path, grid, over)
        part = grid.window if over is None else window_under(over, unwrapped(grid, over), MARGIN_PX)
        numbers = sample(dataset, index, part or grid.window)
        if nodata is not None:
            numbers = numbers[numbers != nodata]
        elif voids := void_numbers(numbers) or isolated_extremes(numbers.astype(np.float64)):
            nodata = voids[0]
            numbers = numbers[~np.isin(numbers, voids)]
            if len(voids) > 1:
                raise SceneError(
                    f"{path}: found the numbers {voids}, all of which may mean no data; expected one: state the nodata "
                    "value, or declare it in the file (gdal_edit.py -a_nodata)"
                )
            notes.append(f"{name}: {nodata:g} is taken as no data, which the file does not declare")
        if numbers.size == 0:
            raise SceneError(f"{path}: found no valid pixel for {name!r} on the scene's ground; expected some")
        values = np.unique(numbers)
        if dataset.dtypes[index - 1].startswith(("int", "uint")) and values.size <= FEW_VALUES:
            notes.append(
                f"{name}: holds only the whole numbers {', '.join(map(str, values.tolist()))}; if they are classes, "
                "averages of them have no meaning, and the file is no channel"
            )
        if has_colour_table(dataset, index):
            notes.append(f"{name}: has a colour table; if its numbers stand for colours or classes, it is no channel")
        declared = declared_scale(dataset, index) if None in (scale, offset) else (1.0, 0.0)
        unit = unit or declared_unit(dataset, index)
    if unit is None:
        unit = DIGITAL_NUMBER
        notes.append(f"{name}: the file does not say its unit")
    scale = declared[0] if scale is None else scale
    offset = declared[1] if offset is None else offset
    if scale == 0 or not np.isfinite([scale, offset]).all():
        raise SceneError(
            f"{path}: found the scale {scale:g} and the offset {offset:g}; expected numbers, not 0 as scale"
        )
    return BandSource(name, path, index, scale, offset, nodata, _SPELLINGS.get(unit.lower(), unit)), tuple(notes)


def _check_name(name: str, path: str) -> None:
    if name in INDICES or name in TERRAIN_UNITS:
        raise SceneError(
            f"{path}: found the channel name {name!r}, which is computed from other channels; expected another name"
        )
    if name == ELEVATION:
        raise SceneError(f"{path}: found the channel name {name!r}; expected elevation as a DEM, not as a channel")
    if name in _BANDS and not name.startswith("thermal"):
        raise SceneError(
            f"{path}: found the channel name {name!r}, which is that of a band; expected another name, or the file "
            "among the scene's bands"
        )
    if not name.isidentifier():
        raise SceneError(f"{path}: found the channel name {name!r}; expected letters, digits and underscores")
