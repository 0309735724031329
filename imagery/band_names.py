"""Naming bands: a sensor's designations become our names, which are the same for every sensor."""

import re
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType
from typing import Final

from rasterio.io import DatasetReader

from imagery.band_descriptions import meaning
from imagery.channels import ELEVATION, INDICES, SLOPE
from imagery.errors import SceneError
from imagery.raster_file import alpha_index, open_raster
from imagery.scene_source import BandSource
from imagery.sensors import (
    SENSORS,
    SURFACE_TEMPERATURE,
    SURFACE_TEMPERATURE_FIELDS,
    Band,
    holds_flags,
    names_of,
    sensor_bands,
)

_OUR_NAMES: Final = frozenset(band.name for bands in SENSORS.values() for band in bands)
# What rioxarray, terra and others write where a band has no name.
_COUNTED: Final = re.compile(r"(?:band|layer|lyr)[ _.]?(\d+)", re.IGNORECASE)
_DERIVED: Final = frozenset({*INDICES, ELEVATION, SLOPE, SURFACE_TEMPERATURE})


def band_name(given: str, sensor: str | None, extra: Collection[str] = ()) -> str:
    """Return our name of a band.

    Args:
        given: Our name ("nir"), a designation of the sensor ("B5", "B05", "SR_B5"), or a description of both in other
            words ("B5 - Near Infrared", "NIR (0.86 um)"), in any case.
        sensor: A key of `imagery.sensors.SENSORS`, or None if unknown: then only our own names are understood.
        extra: Names of further channels, which are kept, whatever else they may mean.

    Returns:
        Our name; the name of a further channel or of a quality band in lower case.

    Raises:
        SceneError: The sensor is unknown, or the name is neither in its table nor in `extra`.
    """
    text = given.strip().lower()
    table = names_of(sensor) if sensor else {name: name for name in _OUR_NAMES}
    if text in {name.lower() for name in extra}:
        return text
    if text in table:
        return table[text]
    if text in SURFACE_TEMPERATURE_FIELDS:
        return SURFACE_TEMPERATURE
    if text in _DERIVED or holds_flags(text):
        return text
    if (meant := meaning(text, table, of_sensor=sensor is not None)) is not None:
        return meant
    raise SceneError(_unknown(given, text, sensor, table))


def _unknown(given: str, text: str, sensor: str | None, table: dict[str, str]) -> str:
    """The message for a name that is in no table: what it may mean, and how to say so."""
    meanings = {key: name for key in SENSORS if (name := names_of(key).get(text))}
    if sensor is None and meanings:
        means = ", ".join(f"{name} of {key}" for key, name in meanings.items())
        return f"found the band {given!r}, which is {means}; expected to be told the sensor (--sensor)"
    near = get_close_matches(text, table, n=3)
    hint = f" (did you mean {' or '.join(near)}?)" if near else ""
    known = ", ".join(dict.fromkeys(table.values())) if sensor else "our names"
    elsewhere = f"; it is {meanings[key]} of {key}" if (key := next(iter(meanings), None)) else ""
    return (
        f"found the band {given!r}; expected {known}{f' or their designations on {sensor}' if sensor else ''}{hint}"
        f"{elsewhere}: correct the name, or declare it as a further channel (--channel)"
    )


def data_indexes(dataset: DatasetReader, sensor: str | None) -> list[int]:
    """Return the 1-based indexes of a file's bands, without the alpha band (see `imagery.raster_file.alpha_index`).

    An alpha band counts as data if the number of bands equals the sensor's usual stack only with it.
    """
    stack = sum(band.stacked for band in sensor_bands(sensor)) if sensor else 0
    alpha = None if dataset.count == stack else alpha_index(dataset)
    return [index for index in dataset.indexes if index != alpha]


def is_described(text: str | None) -> bool:
    """Return whether a band's description tells which band it is, and does not only count the bands ("Band 2")."""
    return text is not None and text.strip() != "" and not _COUNTED.fullmatch(text.strip())


def designations(
    dataset: DatasetReader, indexes: list[int], sensor: str | None, otherwise: Mapping[int, str] = MappingProxyType({})
) -> tuple[list[str], bool]:
    """Return what each band of a file is called, and whether only its place says so: by the sensor's table.

    1. If every band has a description and no two are the same, the descriptions are the designations; not if they only
       count the bands ("band_1", "Band 2"), as some programs write them.
    2. Otherwise, if the number of bands agrees, they come from the sensor's table: either all its bands, or only those
       that are usually stacked in one file (for example the eight spectral bands of ETM+). Descriptions that
       some bands have, or that count them, must agree with their places.

    Args:
        dataset: An open dataset.
        indexes: 1-based indexes of its bands.
        sensor: A key of `imagery.sensors.SENSORS`, or None if unknown.
        otherwise: By index, what counts as the description of a band that has none.

    Raises:
        SceneError: The sensor is unknown, or the bands cannot be told apart, or are in another order than the table's.
    """
    table = sensor_bands(sensor) if sensor else ()
    stack = [band for band in table if band.stacked]
    texts = [(dataset.descriptions[index - 1] or "").strip() for index in indexes]
    texts = [
        otherwise.get(index, text) if not is_described(text) else text
        for index, text in zip(indexes, texts, strict=True)
    ]
    counted = all(_COUNTED.fullmatch(text) for text in texts)
    if all(texts) and not counted and len({text.lower() for text in texts}) == len(texts):
        return texts, False
    if sensor and len(indexes) in {len(stack), len(table)}:
        placed = stack if len(indexes) == len(stack) else table
        _check_order(dataset, texts, placed, names_of(sensor))
        return [band.field_name for band in placed], True
    counts = " or ".join(str(count) for count in sorted({len(stack), len(table)}))
    expected = (
        f"{counts} ({sensor})" if table else "a description of each, or a sensor that says which they are (--sensor)"
    )
    found = (
        "1 band without a description" if len(indexes) == 1 else f"{len(indexes)} bands without distinct descriptions"
    )
    raise SceneError(f"{dataset.name}: found {found}; expected {expected}")


def _check_order(dataset: DatasetReader, texts: list[str], placed: Sequence[Band], table: dict[str, str]) -> None:
    """Refuse descriptions that contradict the places of their bands."""
    numbers = [int(match[1]) for text in texts if (match := _COUNTED.fullmatch(text))]
    if len(numbers) == len(texts) and numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        raise SceneError(
            f"{dataset.name}: found descriptions that count the bands in another order than the file's "
            f"({', '.join(texts)}); expected the names of the bands: describe them (gdal_edit.py, or QGIS), or give "
            "each with --band NAME=FILE"
        )
    for index, (text, band) in enumerate(zip(texts, placed, strict=True), start=1):
        meant = None if _COUNTED.fullmatch(text) else table.get(text.lower()) or meaning(text, table, of_sensor=True)
        if meant not in {None, band.name}:
            raise SceneError(
                f"{dataset.name}: found band {index} described as {text!r}, which is {meant}, and by its place "
                f"{band.name}, since not every band has a description of its own; expected one: describe every band"
            )


def bands_of_file(path: str, sensor: str | None, extra: Collection[str] = ()) -> tuple[BandSource, ...]:
    """Name the bands of a multi-band file, as stored (see `imagery.products.recognise` for reflectance).

    Args:
        path: The raster file.
        sensor: A key of `imagery.sensors.SENSORS`, or None if unknown.
        extra: Names of further channels.

    Raises:
        SceneError: The file is no raster that is read, the sensor is unknown, or the bands have no distinct names.
    """
    with open_raster(path) as dataset:
        indexes = data_indexes(dataset, sensor)
        texts, _ = designations(dataset, indexes, sensor)
    names = [_named(path, text, sensor, extra) for text in texts]
    for name in names:
        if names.count(name) > 1:
            same = ", ".join(text for text, other in zip(texts, names, strict=True) if other == name)
            raise SceneError(f"{path}: found {same}, which all mean {name}; expected each band once")
    return tuple(BandSource(name, path, index) for name, index in zip(names, indexes, strict=True))


def _named(path: str, text: str, sensor: str | None, extra: Collection[str]) -> str:
    try:
        return band_name(text, sensor, extra)
    except SceneError as error:
        raise SceneError(f"{path}: {error}") from error
