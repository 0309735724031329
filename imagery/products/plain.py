"""Files and folders of no known product: bands by their names, reflectance by tags or by what the names tell."""

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Final

import numpy as np

from imagery.band_descriptions import contradicts
from imagery.band_names import band_name
from imagery.channels import ELEVATION, INDICES, SLOPE
from imagery.errors import SceneError
from imagery.products.bundle import Located, notes_on_names
from imagery.products.earth_engine import Convention, convention, names_upper
from imagery.products.fill import undeclared_fill
from imagery.products.headers import (
    check_tags,
    choose_scaling,
    choose_thermal,
    date_in_name,
    finest_first,
    is_hls_landsat,
    notes_on_landsat_of_hls,
    sensor_in_name,
)
from imagery.products.landsat_names import flag_table, flags_of_another, landsat_name, notes_on_ground_control
from imagery.products.product import Product, level_of_bands, unique
from imagery.radiometry import (
    LANDSAT_SURFACE,
    LANDSAT_SURFACE_TEMPERATURE,
    Scaling,
    already_reflectance,
    declared_scaling,
    level_of,
    sample,
)
from imagery.raster_file import open_raster
from imagery.scene_source import BandSource, ElevationSource, QualityBand
from imagery.sensors import FLAG_TABLE_OF, SENSORS, SURFACE_TEMPERATURE, holds_flags, names_of, sensor_bands
from imagery.units import DIGITAL_NUMBER, REFLECTANCE, Level

KIND: Final = "raster without a product's metadata"
"""`Product.kind` of what is no known product."""
_NOT_BANDS: Final = frozenset({"TCI", "TCI_R", "TCI_G", "TCI_B", "AOT", "WVP", "SZA", "SAA", "VZA", "VAA"})


@dataclass(frozen=True)
class Stated:
    """What the user says of bands that their files may not tell.

    Attributes:
        sensor: A key of `imagery.sensors.SENSORS`, or None.
        level: What reflectances refer to, or None.
        extra: Names of bands that are further channels.
        acquired: When the image was taken; None: as the name tells.
        nodata: A stored number that means no data, or None. Pixels are judged without it; the bands do not state it
            (see `imagery.describe_scene.describe`).
    """

    sensor: str | None = None
    level: Level | None = None
    extra: Collection[str] = ()
    acquired: date | None = None
    nodata: float | None = None

    def moment(self, name: str) -> date | None:
        """Return when the image was taken: as stated, or else as the name of the file or folder tells."""
        return self.acquired or date_in_name(name)


def recognise_plain(
    name: str,
    located: Sequence[Located],
    stated: Stated,
    *,
    others: Sequence[tuple[str, str]] = (),
    first_sets_grid: bool = False,
) -> Product:
    """Return the product that these bands make up.

    Args:
        name: The file's or folder's name.
        located: The bands by their designations.
        stated: What the user says of them.
        others: Files that are no bands, each with the reason.
        first_sets_grid: Whether the file of the first band comes first, whose grid becomes the scene's; else that of
            the finest.

    Raises:
        SceneError: A band is unknown, or the same as another, or there is none.
    """
    sensor, level, extra = stated.sensor, stated.level, stated.extra
    with _naming(name):
        told = convention(located, sensor, level, name, acquired=stated.moment(name), nodata=stated.nodata)
    known = told.sensor if told else sensor or _sensor_by_name(located, name) or _sensor_by_bands(located, name)
    notes: list[str | None] = [*(told.notes if told else ())]
    if sensor is None and known is not None and told is None:
        notes.append(f"the sensor follows from the names of file and bands; taken as {known}")
    with _naming(name):
        parts = _sort(located, known, extra, name)
    bands: list[BandSource] = []
    extras: list[BandSource] = []
    further = {SURFACE_TEMPERATURE, *(text.lower() for text in extra)}
    stacked = {band.name for band in sensor_bands(known) if band.stacked} if known else None
    levels: set[Level | None] = set()
    notes += notes_on_names(parts.measured, known)
    measured = [item for item, ours in parts.measured if ours not in further]
    fill, found = undeclared_fill(measured, zero=known is None)
    notes += found
    for item, ours in parts.measured:
        source, found_level, found = _source(item, ours, told, stated, fill.get(item))
        if item in fill:
            source = replace(source, nodata=fill[item])
        elif told is None and known is not None and source.nodata is None:
            source = replace(source, nodata=_fill(item))
        notes += found
        if ours in further or (stacked is not None and ours not in stacked) or (told and ours.startswith("thermal")):
            extras.append(source)
        else:
            bands.append(source)
            levels.add(found_level)
    units = {band.unit for band in bands if not band.name.startswith("thermal")}
    if units == {REFLECTANCE}:
        thermal = [band for band in bands if band.unit != REFLECTANCE]
        notes += [f"{band.name}: a further channel of digital numbers, beside reflectances" for band in thermal]
        extras += thermal
        bands = [band for band in bands if band.unit == REFLECTANCE]
    _check_names(name, bands, extras)
    first = bands[0].path
    bands = sorted(bands, key=lambda band: band.path != first) if first_sets_grid else finest_first(bands)
    with _naming(name):
        if told:
            check_tags(bands)
        final, more = _level(levels, level, bands)
    notes += more
    if product := landsat_name(name):
        notes += notes_on_ground_control(product.level, product.text)
    if sensor is None and known == "landsat-8-oli" and told is None and is_hls_landsat(name):
        notes += notes_on_landsat_of_hls(stated.moment(name))
    if not any(band.table for band in parts.quality):
        notes.append(f"{name}: found no band of clouds that is decoded, so clouds and shadows are not masked")
    return Product(
        kind=told.kind if told else KIND,
        sensor=known,
        level=final,
        acquired=date_in_name(name),
        acquired_by=f"the name {name}",
        bands=tuple(bands),
        quality=tuple(parts.quality),
        extras=tuple(extras),
        dem=ElevationSource(tuple(parts.tiles)) if parts.tiles else None,
        product_id=re.sub(r"\.(?:tiff?|jp2|vrt)$", "", name.partition("/")[0], flags=re.IGNORECASE),
        notes=unique(notes),
        left_out=(*others, *parts.left_out),
    )


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Put the name of the file or folder in front of an error that does not begin with a path."""
    try:
        yield
    except SceneError as error:
        raise SceneError(str(error) if str(error).startswith("/") else f"{name}: {error}") from error


@dataclass
class _Parts:
    """What the bands of a raster are: measurements with our names, flags, elevation, and what is not used."""

    measured: list[tuple[Located, str]] = field(default_factory=list)
    quality: list[QualityBand] = field(default_factory=list)
    tiles: list[BandSource] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)


def _sort(located: Sequence[Located], sensor: str | None, extra: Collection[str], name: str) -> _Parts:
    """Sort bands by what they are; the names of their files, or else that of all, tell the generation of flags.

    Raises:
        SceneError: A band is unknown.
    """
    parts = _Parts()
    for item in located:
        if item.designation.upper() in _NOT_BANDS:
            parts.left_out.append((item.label, "a picture, an angle or a property of the air, which is not used"))
            continue
        ours = band_name(item.designation, sensor, extra)
        table = flag_table(item.designation, landsat_name(item.path.rpartition("/")[2]) or landsat_name(name))
        if table:
            parts.quality.append(QualityBand(ours, item.path, item.index, table))
        elif item.designation.lower() in FLAG_TABLE_OF:
            parts.left_out.append((item.label, flags_of_another(item.designation)))
        elif ours == "quality":
            parts.quality.append(QualityBand(ours, item.path, item.index))
        elif holds_flags(ours):
            parts.left_out.append((item.label, "flags that are not used"))
        elif ours in {*INDICES, SLOPE}:
            parts.left_out.append((item.label, f"{ours} is computed from the bands or the elevation"))
        elif ours == ELEVATION:
            parts.tiles.append(BandSource(ELEVATION, item.path, item.index))
        else:
            parts.measured.append((item, ours))
    return parts


def _sensor_by_name(located: Sequence[Located], name: str) -> str | None:
    """The sensor that the name tells, if the bands' designations are of that sensor."""
    sensor = sensor_in_name(name)
    fields = {item.designation.upper() for item in located}
    return sensor if sensor and fields & names_upper(sensor) else None


def _sensor_by_bands(located: Sequence[Located], name: str) -> str | None:
    """The sensor whose table has all designations, if all that have agree on what they mean; None without designations.

    Only Landsat has the scaling of its surface reflectance, and no thermal band has, which tells 4 to 7 from 8 and 9.
    So do wavelengths, if they are told.

    Raises:
        SceneError: The designations mean different bands on several sensors.
    """
    ours = {band.name for bands in SENSORS.values() for band in bands}
    fields = [item for item in located if not holds_flags(item.designation) and item.designation.lower() not in ours]
    meanings: dict[str, tuple[str | None, ...]] = {}
    for sensor in SENSORS:
        table = names_of(sensor)
        means = tuple(table.get(item.designation.lower()) for item in fields)
        contradicted = any(
            contradicts(str(meaning), sensor, item.wavelength_um)
            or (_surface_scaling(item) and (str(meaning).startswith("thermal") or not sensor.startswith("landsat")))
            for item, meaning in zip(fields, means, strict=True)
        )
        if all(means) and not contradicted:
            meanings[sensor] = means
    if not fields or not meanings:
        return None
    if len(set(meanings.values())) > 1:
        raise SceneError(
            f"{name}: found the bands {', '.join(item.designation for item in fields)}, which mean other colours on "
            f"different sensors; expected to be told which: --sensor, one of {', '.join(meanings)}"
        )
    # Landsat 4 and 5 carry the same sensor; 5 took a hundred times as many scenes.
    return next((sensor for sensor in meanings if sensor != "landsat-4-tm"), "landsat-4-tm")


def _fill(item: Located) -> float | None:
    """The stored number by which providers mark missing pixels of a known sensor, where the file declares none.

    It is 0 in unsigned integers (Landsat, Sentinel-2), -9999 in signed ones (HLS, ESPA), NaN in fractions.
    """
    with open_raster(item.path) as dataset:
        if dataset.nodatavals[item.index - 1] is not None:
            return None
        kind = np.dtype(dataset.dtypes[item.index - 1]).kind
    return {"u": 0.0, "i": -9999.0}.get(kind)


def _surface_scaling(item: Located) -> bool:
    with open_raster(item.path) as dataset:
        declared = declared_scaling(dataset, item.index)
    return declared is not None and declared.agrees(LANDSAT_SURFACE)


def _source(
    item: Located,
    ours: str,
    told: Convention | None,
    stated: Stated,
    fill: float | None,
) -> tuple[BandSource, Level | None, list[str]]:
    """A band with its scaling, the level that the scaling is characteristic of, and notes."""
    void = fill if stated.nodata is None else stated.nodata
    found_level: Level | None = None
    notes: list[str] = []
    with open_raster(item.path) as dataset:
        declared = declared_scaling(dataset, item.index)
        if ours in {text.lower() for text in stated.extra}:
            scaling = declared or Scaling()
        elif ours == SURFACE_TEMPERATURE or ours.startswith("thermal"):
            usual = LANDSAT_SURFACE_TEMPERATURE if ours == SURFACE_TEMPERATURE else told.thermal if told else Scaling()
            if usual.unit == DIGITAL_NUMBER:
                scaling = declared or usual
                if scaling.nodata is None:
                    scaling = replace(scaling, nodata=usual.nodata)
            else:
                scaling, notes = choose_thermal(dataset, item.index, usual, constant=True)
        elif told:
            scaling, notes = choose_scaling(dataset, item.index, told.reflective, constant=True, void=void)
            found_level = told.level
        elif declared:
            scaling, notes = choose_scaling(dataset, item.index, replace(declared, unit=REFLECTANCE), void=void)
            found_level = level_of(declared)
        elif not already_reflectance(dataset.dtypes[item.index - 1], sample(dataset, item.index, void)):
            scaling = Scaling()
            notes = ["no tags state how the numbers become reflectance; they are read as digital numbers"]
        elif stated.level:
            scaling = Scaling(unit=REFLECTANCE)
        else:
            scaling = Scaling()
            notes = [
                "the numbers look like reflectances, but nothing states of which level; they are read as digital "
                "numbers: say --level to use them as reflectances"
            ]
    return scaling.band(ours, item.path, item.index), found_level, notes


def _check_names(name: str, bands: Sequence[BandSource], extras: Sequence[BandSource]) -> None:
    if not bands:
        raise SceneError(
            f"{name}: found no band of a known name; expected at least one of red, green, blue, nir, swir1: describe "
            "the bands, or give each with --band NAME=FILE"
        )
    names = [source.name for source in (*bands, *extras)]
    twice = sorted({text for text in names if names.count(text) > 1})
    if twice:
        raise SceneError(f"{name}: found several bands that mean {', '.join(twice)}; expected each once")


def _level(
    levels: set[Level | None], level: Level | None, bands: Sequence[BandSource]
) -> tuple[Level | None, list[str]]:
    """The level of all bands: as stated, else as told by names or scaling, else guessed and said."""
    if level_of_bands(Level.SURFACE, bands) is None:
        return None, []
    known = levels - {None}
    if level and known - {level}:
        return level, [
            f"the level is {level} as stated, though the scaling is that of {', '.join(sorted(map(str, known)))}"
        ]
    if level or len(known) == 1:
        return level or known.pop(), []
    return Level.SURFACE, [
        "nothing states what the reflectances refer to; taken as of the surface: say --level if it is another"
    ]
