"""Images exported from Earth Engine: one file with the bands' names as descriptions, or a file for each band."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Final

import numpy as np

from imagery.errors import SceneError
from imagery.products.bundle import Located
from imagery.products.headers import notes_on_landsat_of_hls, satellite_in_name, sensor_in_name
from imagery.products.landsat_names import LandsatName, is_of_earth_engine, landsat_name
from imagery.products.sentinel2 import guess_offset, offset_by_pixels
from imagery.radiometry import (
    HLS_REFLECTANCE,
    HLS_TEMPERATURE,
    LANDSAT_COLLECTION_1_SURFACE,
    LANDSAT_SURFACE,
    LANDSAT_SURFACE_TEMPERATURE,
    OLI_TOP_OF_ATMOSPHERE,
    Scaling,
    already_reflectance,
    declared_scaling,
    sample,
    sentinel_2,
)
from imagery.raster_file import open_raster
from imagery.sensors import SENSORS, holds_flags, names_of, sensor_bands
from imagery.units import KELVIN, REFLECTANCE, Level

# Bands that only one level of Sentinel-2 has, in Earth Engine's names (COPERNICUS/S2_SR, COPERNICUS/S2).
_SURFACE_ONLY: Final = frozenset({"SCL", "AOT", "WVP", "MSK_CLDPRB", "MSK_SNWPRB", "TCI_R"})

_OLI: Final = frozenset({"landsat-8-oli", "landsat-9-oli-2"})
_VISIBLE: Final = frozenset({"B2", "B3", "B4"})
_QUALITY: Final = frozenset({"QA_PIXEL", "BQA"})

# Bands of HLS that only its Sentinel-2 product has.
_S30_ONLY: Final = frozenset({"B8A", "B8", "B08", "B12"})


@dataclass(frozen=True)
class Convention:
    """What the names of the bands tell about all of them.

    Attributes:
        kind: As in `imagery.products.product.Product`.
        sensor: As there.
        level: As there.
        reflective: Scaling of the reflective bands.
        thermal: Scaling of the thermal bands.
        notes: Guesses.
    """

    kind: str
    sensor: str
    level: Level | None
    reflective: Scaling
    thermal: Scaling
    notes: tuple[str, ...] = ()


def convention(
    located: Sequence[Located],
    sensor: str | None,
    level: Level | None,
    name: str,
    *,
    acquired: date | None,
    nodata: float | None,
) -> Convention | None:
    """Return what the designations tell about sensor, level and scaling; None if they are not Earth Engine's or USGS's.

    1. SR_B4 and so on are Landsat Collection 2 surface reflectance, stored x 2.75e-5 - 0.2 (sr_band4 and so on in int16
       Collection 1's, x 1e-4); so are B4 and so on if the
       name is of a Level-2 product (L2SP).
    2. B8A, B11 and B12, or SCL, are Sentinel-2, stored x 1e-4; whether with the offset of baseline 04.00 depends on the
       collection (harmonised or not) and is judged by the pixels (`imagery.products.sentinel2.guess_offset`).
    3. B4 and QA_PIXEL are Landsat: fractions are top-of-atmosphere reflectance (collections T1_TOA), integers Level-1
       in a file that is named as Earth Engine or USGS names Level-1; in other files the level must be stated.
    4. Fmask is HLS: surface reflectance, fractions in Earth Engine's collections, stored x 1e-4 elsewhere.

    Args:
        located: The bands.
        sensor: A key of `imagery.sensors.SENSORS` as the user states it, or None.
        level: What reflectances refer to, as the user states it, or None.
        name: The file's or folder's name, which may tell the sensor.
        acquired: When the image was taken; None if unknown.
        nodata: A stored number that means no data, in addition to what the files declare, or None.

    Raises:
        SceneError: The sensor or the level cannot be told, or the bands contradict the name or the stated sensor.
    """
    fields = {item.designation.upper() for item in located}
    named = sensor_in_name(name)
    if any(field.startswith("SR_B") for field in fields):
        told = _landsat_surface(fields, sensor, named, level, landsat_name(name))
        return _of_collection_1(told) if _is_of_collection_1(located) else told
    if "FMASK" in fields:
        found = sensor or named or ("sentinel-2-msi" if fields & _S30_ONLY else "landsat-8-oli")
        either = sensor is None and found == "landsat-8-oli"
        return _hls(located, found, notes_on_landsat_of_hls(acquired) if either else [], nodata)
    if sensor == "sentinel-2-msi" or (sensor is None and _is_sentinel_2(fields, named)):
        by_name = sensor is None and not _only_of_sentinel_2(fields)
        if by_name:
            _check_no_landsat(located, fields, name)
        notes = ("the sensor follows from the name; taken as sentinel-2-msi",) if by_name else ()
        return _sentinel_2(located, fields, level, name, notes, acquired, nodata)
    landsat = sensor or named or _landsat_of(fields)
    if landsat is None or not landsat.startswith("landsat") or not fields & (names_upper(landsat) - _QUALITY):
        return None
    if _is_level_2(located, level, fields, name):
        return _landsat_level_2(located, landsat)
    return _landsat_level_1(located, landsat, level, name, nodata) if fields & _QUALITY else None


def _is_sentinel_2(fields: set[str], named: str | None) -> bool:
    told = _only_of_sentinel_2(fields) or named == "sentinel-2-msi"
    return told and not fields.isdisjoint(names_upper("sentinel-2-msi"))


def _only_of_sentinel_2(fields: set[str]) -> bool:
    """Return whether bands are among these that no other sensor has."""
    return bool(fields & {"B8A", "B08", "SCL", "QA60", "MSK_CLDPRB"}) or {"B11", "B12"} <= fields


def _check_no_landsat(located: Sequence[Located], fields: set[str], name: str) -> None:
    """Refuse bands that Landsat has, too, if only "S2" in the name speaks for Sentinel-2, which may be a site.

    Raises:
        SceneError: As said.
    """
    if satellite_in_name(name):
        return
    bands = {item.designation.upper() for item in located if not holds_flags(item.designation)}
    fits = [
        sensor
        for sensor in SENSORS
        if sensor.startswith("landsat")
        and bands <= {text.upper() for band in sensor_bands(sensor) if band.stacked for text in band.field_names}
    ]
    if fits:
        raise SceneError(
            f"found {', '.join(sorted(fields))} in a file whose name holds S2, which other sensors have, too, in other "
            f"colours; expected to be told which: --sensor, one of sentinel-2-msi, {', '.join(fits)}"
        )


def names_upper(sensor: str) -> frozenset[str]:
    """Return every designation of a sensor in upper case, our names not among them."""
    return frozenset(text.upper() for text, name in names_of(sensor).items() if text != name)


def _landsat_of(fields: set[str]) -> str | None:
    """The Landsat sensor that has these bands, if there is one family only."""
    if fields & {"B10", "B11", "B9"}:
        return "landsat-8-oli"
    return "landsat-7-etm+" if any(field.startswith("B6_VCID") for field in fields) else None


def _landsat_surface(
    fields: set[str], sensor: str | None, named: str | None, level: Level | None, product: LandsatName | None
) -> Convention:
    found = sensor or named
    if product is not None and product.level.startswith("L1") and level is None:
        raise SceneError(
            f"found {', '.join(sorted(fields))}, named as surface reflectance, in {product.text}, a Level-1 product; "
            "expected names that agree: if it is surface reflectance, say --level surface"
        )
    notes: list[str] = []
    newer = bool(fields & {"SR_B6", "ST_B10", "SR_QA_AEROSOL"})
    older = bool(fields & {"ST_B6", "SR_CLOUD_QA", "SR_ATMOS_OPACITY"})
    if found is None and newer and not older:
        found = "landsat-8-oli"
        notes.append("the sensor follows from the bands: Landsat 8 or 9, which have the same; taken as landsat-8-oli")
    if found is None:
        raise SceneError(
            f"found {', '.join(sorted(fields))}, whose numbers mean other colours on Landsat 4 to 7 than on 8 and 9; "
            "expected to be told the sensor: --sensor landsat-5-tm, landsat-7-etm+ or landsat-8-oli"
        )
    if (newer and found in {"landsat-4-tm", "landsat-5-tm", "landsat-7-etm+"}) or (older and found in _OLI):
        raise SceneError(f"found {', '.join(sorted(fields))}, which {found} does not have; expected another sensor")
    return Convention(
        "Landsat Collection 2 surface reflectance",
        found,
        Level.SURFACE,
        LANDSAT_SURFACE,
        LANDSAT_SURFACE_TEMPERATURE,
        tuple(notes),
    )


def _is_of_collection_1(located: Sequence[Located]) -> bool:
    """Return whether bands are named as ESPA names those of Collection 1, and stored as they are: sr_band4, int16."""
    bands = [item for item in located if item.designation.upper().startswith("SR_B")]
    if not all(item.designation.lower().startswith("sr_band") for item in bands):
        return False
    types = set()
    for item in bands:
        with open_raster(item.path) as dataset:
            types.add(str(dataset.dtypes[item.index - 1]))
    return types == set(LANDSAT_COLLECTION_1_SURFACE.stored_as)


def _of_collection_1(told: Convention) -> Convention:
    return replace(told, kind="Landsat Collection 1 surface reflectance", reflective=LANDSAT_COLLECTION_1_SURFACE)


def _sentinel_2(
    located: Sequence[Located],
    fields: set[str],
    stated: Level | None,
    name: str,
    told: Sequence[str],
    acquired: date | None,
    nodata: float | None,
) -> Convention:
    notes: list[str] = [*told]
    level = stated or Level.SURFACE
    if fields & _SURFACE_ONLY:
        kind, level = "Sentinel-2 surface reflectance", Level.SURFACE
    elif "B10" in fields:
        kind, level = "Sentinel-2 top-of-atmosphere reflectance", Level.TOP_OF_ATMOSPHERE
    else:
        kind = "Sentinel-2"
    in_name = re.search(r"(?:^|[^A-Za-z0-9]|MSI|MSIL)L?(1C|2A)(?=[^A-Za-z0-9]|$)", name)
    if kind == "Sentinel-2" and in_name:
        level = Level.SURFACE if in_name[1] == "2A" else Level.TOP_OF_ATMOSPHERE
    elif kind == "Sentinel-2" and stated is None:
        notes.append(
            "nothing tells Level-1C from Level-2A; taken as surface reflectance: say --level if it is of the top of "
            "atmosphere"
        )
    designations = names_upper("sentinel-2-msi") - {"B10"}
    parts, fractional = [], []
    for item in located:
        if item.designation.upper() in designations:
            with open_raster(item.path) as dataset:
                values = sample(dataset, item.index, 0, nodata)
                fractional.append(already_reflectance(str(dataset.dtypes[item.index - 1]), values))
                tagged = (dataset.scales[item.index - 1], dataset.offsets[item.index - 1]) != (1.0, 0.0)
            if tagged:
                return Convention(kind, "sentinel-2-msi", level, sentinel_2(0), Scaling(), tuple(notes))
            parts.append(values)
    offset = 0
    integer = _integer_of_browser(located)
    fractions = any(fractional)
    if integer is not None and not fractions:
        notes.append(
            f"the Copernicus Browser stores reflectance x {integer} in integers of this type: taken so, without offset"
        )
        return Convention(
            kind, "sentinel-2-msi", level, Scaling(1 / integer, 0.0, 0, REFLECTANCE), Scaling(), (*notes,)
        )
    infrared = not {"B11", "B12"}.isdisjoint(fields)
    if parts and all(fractional) and offset_by_pixels(10_000 * np.concatenate(parts), infrared=infrared):
        notes.append(
            "hardly any reflectance is below 0.1, as if 0.1 were added to all: from processing baseline 04.00 on "
            "(25 January 2022) Sentinel-2's numbers hold 1000 more, and (number - 1000) / 10000 is the reflectance; "
            "check how the fractions were made"
        )
    if parts and not fractions:
        offset, note = guess_offset(np.concatenate(parts), acquired, infrared=infrared)
        notes.append(note)
    return Convention(kind, "sentinel-2-msi", level, sentinel_2(offset), Scaling(), tuple(notes))


def _integer_of_browser(located: Sequence[Located]) -> int | None:
    """Return what the Copernicus Browser (EO Browser) multiplies reflectance with; None for files of other origin.

    Source: `getRawBandsScalingFactor` of its code: 255 and 65535 for integers of 8 and 16 bits. Files of a single band
    are named "..._Sentinel-2_L2A_B04_(Raw).tiff".
    """
    if not all("_(raw)." in item.path.lower() for item in located):
        return None
    with open_raster(located[0].path) as dataset:
        return {"uint8": 255, "uint16": 65535}.get(str(dataset.dtypes[0]))


def _hls(located: Sequence[Located], sensor: str, notes: Sequence[str], nodata: float | None) -> Convention | None:
    """HLS by its Fmask: Earth Engine's bands are fractions and degrees Celsius, NASA's stored x 1e-4 and x 0.01."""
    names = names_of(sensor)
    solar = next((item for item in located if names.get(item.designation.lower()) in {"red", "green", "blue"}), None)
    if solar is None:
        return None
    with open_raster(solar.path) as dataset:
        values = sample(dataset, solar.index, 0, nodata)
        fractions = already_reflectance(str(dataset.dtypes[solar.index - 1]), values)
    reflective, thermal = HLS_REFLECTANCE, HLS_TEMPERATURE
    if fractions:
        reflective = Scaling(1.0, 0.0, 0, REFLECTANCE)
        thermal = Scaling(1.0, HLS_TEMPERATURE.offset, 0, KELVIN)
    return Convention("HLS surface reflectance", sensor, Level.SURFACE, reflective, thermal, tuple(notes))


def _is_level_2(located: Sequence[Located], stated: Level | None, fields: set[str], name: str) -> bool:
    """Return whether bands named B4 and so on are of Collection 2 Level-2: by the name, as stated, or by tags."""
    product = landsat_name(name)
    if product is not None:
        return product.level.startswith("L2")
    tags = _tags_of_first(located)
    return "QA_PIXEL" in fields and (stated is Level.SURFACE or (tags is not None and tags.agrees(LANDSAT_SURFACE)))


def _tags_of_first(located: Sequence[Located]) -> Scaling | None:
    """Return the scaling that the file states of a visible band, or None."""
    solar = next((item for item in located if item.designation.upper() in _VISIBLE), None)
    if solar is None:
        return None
    with open_raster(solar.path) as dataset:
        return declared_scaling(dataset, solar.index)


def _landsat_level_2(located: Sequence[Located], sensor: str) -> Convention:
    """Files of a Level-2 product whose bands were renamed from SR_B4 to B4; fractions are taken as they are."""
    fields = ", ".join(item.designation for item in located)
    return Convention(
        "Landsat Collection 2 surface reflectance",
        sensor,
        Level.SURFACE,
        LANDSAT_SURFACE,
        LANDSAT_SURFACE_TEMPERATURE,
        (
            "taken as Collection 2 surface reflectance, as its name, --level or its tags say, "
            f"though the bands are {fields}",
        ),
    )


def _landsat_level_1(
    located: Sequence[Located], sensor: str, level: Level | None, name: str, nodata: float | None
) -> Convention | None:
    """Fractions are the collections T1_TOA, whose thermal bands are in kelvin; OLI's integers have constants.

    Raises:
        SceneError: Nothing tells whether OLI's integers are of Level-1 or Level-2, which are scaled differently.
    """
    solar = next((item for item in located if item.designation.upper() in _VISIBLE), None)
    if solar is None:
        return None
    with open_raster(solar.path) as dataset:
        dtype = str(dataset.dtypes[solar.index - 1])
        fractions = already_reflectance(dtype, sample(dataset, solar.index, 0, nodata))
    # BQA is of Collection 1, whose surface reflectance has another quality band.
    has_bqa = any(item.designation.upper() == "BQA" for item in located)
    named = has_bqa or is_of_earth_engine(name) or landsat_name(name) is not None
    if not (fractions or named) and _tags_of_first(located) is not None:
        return None  # the tags state the scaling, and nothing the level
    if sensor in _OLI and OLI_TOP_OF_ATMOSPHERE.fits(dtype) and not (fractions or named or level):
        raise SceneError(
            f"found {', '.join(item.designation for item in located)} in integers, which are scaled differently in "
            "Level-1 and Level-2; expected a name that tells which (L1TP, L2SP), or the level: --level surface for "
            "Level-2, or --level 'top of atmosphere' for Level-1, which is read as digital numbers without its MTL"
        )
    if fractions:
        return Convention(
            "Landsat top-of-atmosphere reflectance",
            sensor,
            Level.TOP_OF_ATMOSPHERE,
            Scaling(1.0, 0.0, 0, REFLECTANCE),
            Scaling(1.0, 0.0, 0, KELVIN),
        )
    if sensor in _OLI and (named or level is Level.TOP_OF_ATMOSPHERE_SUN_UNCORRECTED):
        return Convention(
            "Landsat Level-1 digital numbers",
            sensor,
            Level.TOP_OF_ATMOSPHERE_SUN_UNCORRECTED,
            OLI_TOP_OF_ATMOSPHERE,
            Scaling(nodata=0),
            ("the sun's elevation is not stated, so reflectances are too low by its sine",),
        )
    return Convention(
        "Landsat Level-1 digital numbers",
        sensor,
        None,
        Scaling(nodata=0),
        Scaling(nodata=0),
        ("nothing states how the numbers become reflectance; they are read as digital numbers",),
    )
