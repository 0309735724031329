"""Reading headers of a product's rasters, and choosing the scaling of a band."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Final

import numpy as np
from rasterio.io import DatasetReader

from imagery import stored_numbers
from imagery.errors import SceneError
from imagery.grid import Window
from imagery.ground_metric import pixel_size_m
from imagery.radiometry import (
    Scaling,
    already_reflectance,
    already_temperature,
    declared_scaling,
    implausible,
    possible_thermal,
    prefer,
    sample,
)
from imagery.raster_file import grid_of, open_raster
from imagery.scene_source import BandSource
from imagery.units import KELVIN, REFLECTANCE

_AS_FINE: Final = 1.1
_FIRST_OF_LANDSAT_9: Final = date(2021, 10, 31)  # its first images (NASA, USGS)
_CELSIUS: Final = 273.15  # 0 degrees Celsius in kelvin
RASTER_ENDINGS: Final = (".tif", ".tiff", ".jp2", ".vrt")


def is_raster(name: str) -> bool:
    """Return whether a file of this name is a raster that can be read."""
    return name.lower().endswith(RASTER_ENDINGS)


def choose_scaling(
    dataset: DatasetReader,
    index: int,
    stated: Scaling,
    *,
    constant: bool = False,
    check: bool = True,
    void: float | None = None,
) -> tuple[Scaling, list[str]]:
    """Return how the stored numbers of a band become values, and notes on contradictions.

    Reflectances whose numbers the file's data type cannot hold were changed by somebody (stretched to 8 bits, scaled
    anew): the file's tags count, or else they are digital numbers.

    Args:
        dataset: An open dataset.
        index: The 1-based band index.
        stated: What the product's metadata state, or its constants.
        constant: Whether `stated` are constants, which tags of the file overrule.
        check: Whether to compare some pixels with what is possible, which reads them.
        void: A further stored number that means no data: such pixels are not compared.

    Raises:
        SceneError: Tags are no numbers, or pixels cannot be read.
    """
    declared = declared_scaling(dataset, index)
    where = f"{dataset.name}, band {index}"
    notes: list[str] = []
    scaling = stated
    dtype = str(dataset.dtypes[index - 1])
    if not stated.fits(dtype):
        changed = f"{where}: holds {dtype}, and the product's numbers are {' or '.join(stated.stored_as)}"
        if declared is not None:
            nodata = stated.nodata if declared.nodata is None else declared.nodata
            tags = f"x {declared.scale:g} {declared.offset:+g}"
            return Scaling(declared.scale, declared.offset, nodata, stated.unit), [
                f"{changed}: the scaling of the file's tags ({tags}) is used, not the product's"
            ]
        return Scaling(nodata=stated.nodata), [
            f"{changed}, so its scaling x {stated.scale:g} {stated.offset:+g} does not hold: they are read as digital "
            "numbers; give the product as downloaded, or tag the file with what was done (gdal_edit.py -scale -offset)"
        ]
    if declared is not None and constant:
        nodata = stated.nodata if declared.nodata is None else declared.nodata
        scaling = Scaling(declared.scale, declared.offset, nodata, stated.unit)
        if not declared.agrees(stated):
            notes.append(
                f"{where}: the file's tags say x {declared.scale:g} {declared.offset:+g}, which is used; the product's "
                f"usual scaling is x {stated.scale:g} {stated.offset:+g}"
            )
    elif declared is not None:
        scaling, note = prefer(stated, declared, where)
        notes += [note] if note else []
    is_float = dtype.startswith("float")
    if stated.unit != REFLECTANCE or not (check or is_float):
        return scaling, notes
    nodata, found = _fill_of_fractions(dataset, index, scaling) if is_float else (scaling.nodata, [])
    values = sample(dataset, index, nodata, void)
    if already_reflectance(dtype, values) and (scaling.scale, scaling.offset) != (1.0, 0.0):
        notes.append(
            f"{dataset.name}: holds fractions already, so "
            f"the scaling x {scaling.scale:g} {scaling.offset:+g} is not applied again"
        )
        return Scaling(1.0, 0.0, nodata, REFLECTANCE), [*notes, *found]
    if problem := implausible(scaling, values):
        notes.append(f"{where}: {problem}: check the scaling x {scaling.scale:g} {scaling.offset:+g}")
    return scaling, notes


def choose_thermal(
    dataset: DatasetReader, index: int, stated: Scaling, *, constant: bool = False
) -> tuple[Scaling, list[str]]:
    """Return how the stored numbers of a thermal band become values, and notes: `choose_scaling`, and a look at pixels.

    A float file that holds kelvin already, or degrees Celsius of a product in these, is not scaled again. Temperatures
    and radiances that cannot be, as those of a picture stretched to 8 bits, are digital numbers.

    Args:
        dataset: An open dataset.
        index: The 1-based band index.
        stated: As for `choose_scaling`.
        constant: As for `choose_scaling`.

    Raises:
        SceneError: Tags are no numbers, or pixels cannot be read.
    """
    scaling, notes = choose_scaling(dataset, index, stated, constant=constant)
    if stated.offset == _CELSIUS and scaling.unit == KELVIN and scaling.offset == 0.0:
        # The tags mean degrees Celsius, as HLS's do.
        scaling = replace(scaling, offset=_CELSIUS)
        notes = [] if scaling.agrees(stated) else notes
    return _possible_scaling(dataset, index, scaling, notes)


def _possible_scaling(
    dataset: DatasetReader, index: int, scaling: Scaling, notes: list[str]
) -> tuple[Scaling, list[str]]:
    """Return the scaling of a thermal band if its values are possible, else another one, and notes.

    Args:
        dataset: An open dataset.
        index: The 1-based band index.
        scaling: Of the band.
        notes: Notes so far. They are kept, unless the file's tags are used after all: those say that they are not.

    Raises:
        SceneError: Pixels cannot be read.
    """
    dtype = str(dataset.dtypes[index - 1])
    is_float = dtype.startswith("float")
    for zero_k, held_unit in ((0.0, "kelvin"), (_CELSIUS, "degrees Celsius")):
        if is_float and scaling.unit == KELVIN and zero_k in {0.0, scaling.offset}:
            held, found = _unscaled(dataset, index, scaling, zero_k, held_unit)
            if already_temperature(dtype, sample(dataset, index, held.nodata), zero_k):
                return (scaling, notes) if held.agrees(scaling) else (held, [*notes, *found])
    numbers = sample(dataset, index, scaling.nodata)
    if possible_thermal(scaling.unit, numbers * scaling.scale + scaling.offset):
        return scaling, notes
    where = f"{dataset.name}, band {index}"
    tags = declared_scaling(dataset, index)
    if tags is not None and not tags.agrees(scaling):
        tags = replace(tags, nodata=scaling.nodata if tags.nodata is None else tags.nodata, unit=scaling.unit)
        tagged = sample(dataset, index, tags.nodata) * tags.scale + tags.offset
        if possible_thermal(scaling.unit, tagged):
            used = f"the file's tags (x {tags.scale:g} {tags.offset:+g}) are used for its temperatures"
            return tags, [f"{where}: {used}, as the product's scaling makes none"]
    if is_float and scaling.unit == KELVIN:
        held, found = _unscaled(dataset, index, scaling, 0.0, "kelvin")
        if possible_thermal(KELVIN, sample(dataset, index, held.nodata)):
            return held, [*notes, *found]
    middle = float(np.median(numbers))
    celsius = is_float and scaling.unit == KELVIN and possible_thermal(KELVIN, numbers + _CELSIUS)
    hint = f"; if they are degrees Celsius, say so (gdal_edit.py -scale 1 -offset {_CELSIUS})" if celsius else ""
    return Scaling(nodata=scaling.nodata), [
        *notes,
        f"{where}: the scaling x {scaling.scale:g} {scaling.offset:+g} makes of its numbers, {middle:.4g} in the "
        f"median, {middle * scaling.scale + scaling.offset:.4g} {scaling.unit}, which no surface has: the thermal "
        f"band is read as digital numbers{hint}",
    ]


def _unscaled(
    dataset: DatasetReader, index: int, scaling: Scaling, zero_k: float, held_unit: str
) -> tuple[Scaling, list[str]]:
    """Return the scaling of a file that holds temperatures already, with 0 at a temperature in kelvin, and notes."""
    nodata, found = _fill_of_fractions(dataset, index, replace(scaling, offset=scaling.offset - zero_k))
    note = (
        f"{dataset.name}, band {index}: holds {held_unit} already, so the scaling x {scaling.scale:g} "
        f"{scaling.offset:+g} is not applied again"
    )
    return Scaling(1.0, zero_k, nodata, KELVIN), [note, *found]


def _fill_of_fractions(dataset: DatasetReader, index: int, scaling: Scaling) -> tuple[float | None, list[str]]:
    """Return the number that means no data in a band scaled by its user, and a note if it is another than before.

    Whoever scales a product without masking it turns its fill into another number: Landsat's 0 into -0.2, HLS's -9999
    into -0.9999.
    """
    if scaling.nodata is None or scaling.nodata == scaling.nodata * scaling.scale + scaling.offset:
        return scaling.nodata, []
    numbers = stored_numbers.sample(dataset, index, Window(0, 0, dataset.height, dataset.width))
    scaled = numbers.dtype.type(scaling.nodata * scaling.scale + scaling.offset)
    found = int((numbers == scaled).sum())
    if found == 0 or found < int((numbers == scaling.nodata).sum()):
        return scaling.nodata, []
    return float(scaled), [
        f"{dataset.name}: {scaled:g} is taken as no data: it is what the scaling makes of the fill {scaling.nodata:g}"
    ]


_HLS_LANDSAT: Final = r"HLS[._]?L30"
# In front of two scales, names as providers give them: Landsat's, Sentinel-2's, HLS's.
_SENSOR_IN_NAME: Final[Mapping[str, str]] = {
    r"L[CO]0?8": "landsat-8-oli",
    r"L[CO]0?9": "landsat-9-oli-2",
    r"LE0?7": "landsat-7-etm+",
    r"LT0?5": "landsat-5-tm",
    r"LT0?4": "landsat-4-tm",
    r"S2[A-D]?|Sentinel-?2[A-D]?": "sentinel-2-msi",
    r"HLS[._]?S30": "sentinel-2-msi",
    _HLS_LANDSAT: "landsat-8-oli",
}


def sensor_in_name(name: str) -> str | None:
    """Return the sensor that a file's or folder's name tells, as providers name their scenes; None if it tells none."""
    for pattern, sensor in _SENSOR_IN_NAME.items():
        if _holds(name, pattern):
            return sensor
    return None


def is_hls_landsat(name: str) -> bool:
    """Return whether a file's or folder's name tells HLS L30, which is of Landsat 8 or 9."""
    return _holds(name, _HLS_LANDSAT)


def _holds(name: str, pattern: str) -> bool:
    return re.search(rf"(?:^|[^A-Za-z0-9])(?:{pattern})(?=[^A-Za-z]|$)", name, re.IGNORECASE) is not None


def notes_on_landsat_of_hls(day: date | None) -> list[str]:
    """Return a note that a granule of HLS L30 is of Landsat 8 or 9, if Landsat 9 had begun by its day or it is unknown.

    Args:
        day: Of the granule, or its moment; None if unknown.
    """
    day = day.date() if isinstance(day, datetime) else day
    if day is not None and day < _FIRST_OF_LANDSAT_9:
        return []
    return [
        "HLS L30 holds images of Landsat 8 and, from 31 October 2021 on, of Landsat 9, whose bands are the same; "
        "nothing tells which; taken as landsat-8-oli: say --sensor landsat-9-oli-2 if it is that"
    ]


def satellite_in_name(name: str) -> bool:
    """Return whether a name tells Sentinel-2 beyond doubt: "S2A" or "Sentinel-2"; "S2" alone may be a site."""
    return _holds(name, r"S2[A-D]|Sentinel-?2[A-D]?")


def finest_first(bands: Sequence[BandSource]) -> list[BandSource]:
    """Sort bands by pixel size, since the first one's grid becomes the scene's; those of one size stay in order.

    Sizes are those on the ground where the files differ in CRS. Of bands that are as fine as the finest but for 10 %,
    which is what projecting them changes, the first has the CRS of most bands.

    Raises:
        SceneError: A file cannot be read; or the files differ in CRS, and one has none.
    """
    sizes: dict[str, float] = {}
    systems: dict[str, str] = {}
    for path in dict.fromkeys(band.path for band in bands):
        with open_raster(path) as dataset:
            systems[path] = dataset.crs.to_wkt() if dataset.crs else ""
            sizes[path] = round(math.sqrt(abs(dataset.transform.determinant)), 9)
    if len(set(systems.values())) > 1:
        for path in sizes:
            with open_raster(path) as dataset:
                sizes[path] = math.sqrt(math.prod(pixel_size_m(grid_of(dataset))))
    counts = Counter(systems[band.path] for band in bands)
    finest = min(sizes.values(), default=0.0)
    first = min(
        sizes,
        key=lambda path: (sizes[path] > _AS_FINE * finest, -counts[systems[path]], sizes[path]),
        default="",
    )
    return sorted(bands, key=lambda band: (band.path != first, sizes[band.path]))


def check_tags(bands: Sequence[BandSource]) -> None:
    """Refuse bands of which some are scaled by tags of their files and others, without tags, by another constant.

    Raises:
        SceneError: As said.
    """
    scalings: dict[bool, dict[tuple[float, float], str]] = {True: {}, False: {}}
    for band in bands:
        with open_raster(band.path) as dataset:
            tagged = declared_scaling(dataset, band.index) is not None
        scalings[tagged].setdefault((band.scale, band.offset), band.name)
    if scalings[True] and scalings[False] and scalings[True].keys() != scalings[False].keys():
        (with_tags, named), (without, other) = (next(iter(scalings[key].items())) for key in (True, False))
        raise SceneError(
            f"found tags of scale and offset on some bands (x {with_tags[0]:g} {with_tags[1]:+g} on {named}), and "
            f"others without, for which x {without[0]:g} {without[1]:+g} is usual ({other}); expected tags on every "
            "band or on none (gdal_edit.py -scale -offset)"
        )


def date_in_name(name: str) -> date | datetime | None:
    """Return the first moment in a name (20181026T044110, 2018299T044110; UTC), or else the first day (2018-10-26)."""
    for match in re.finditer(r"(?<!\d)((?:19|20)\d{6})T(\d{6})(?!\d)", name):
        with suppress(ValueError):
            return datetime.strptime("".join(match.groups()), "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    for match in re.finditer(r"(?<!\d)((?:19|20)\d{2})(\d{3})T(\d{6})(?!\d)", name):
        with suppress(ValueError):
            return datetime.strptime("".join(match.groups()), "%Y%j%H%M%S").replace(tzinfo=UTC)
    # Before the collections, Landsat's names held path, row, year and day of the year: LC81400412018299LGN00.
    for match in re.finditer(r"L[A-Z]\d{7}((?:19|20)\d{2}\d{3})[A-Z]{3}\d{2}", name):
        with suppress(ValueError):
            return datetime.strptime(match[1], "%Y%j").replace(tzinfo=UTC).date()
    for match in re.finditer(r"doy((?:19|20)\d{5})(?!\d)", name):  # AppEEARS
        with suppress(ValueError):
            return datetime.strptime(match[1], "%Y%j").replace(tzinfo=UTC).date()
    for match in re.finditer(r"(?<!\d)((?:19|20)\d{2})([-_]?)(\d{2})\2(\d{2})(?!\d)", name):
        with suppress(ValueError):
            return date(int(match[1]), int(match[3]), int(match[4]))
    return None
