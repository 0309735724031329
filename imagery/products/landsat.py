"""Landsat product folders as USGS delivers them: Level-1 and Level-2, Landsat 4 to 9, the collections and before.

Surface reflectance of Collection 1 comes from ESPA ("..._T1_sr_band4.tif") or as U.S. Analysis Ready Data
("..._C01_V01_SRB4.tif").
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from imagery.errors import SceneError
from imagery.products.headers import choose_scaling, choose_thermal, is_raster
from imagery.products.landsat_names import (
    PRE_COLLECTION,
    LandsatName,
    flag_table,
    flags_of_another,
    landsat_file,
    landsat_name,
    notes_on_ground_control,
)
from imagery.products.listing import Listing
from imagery.products.metadata import Groups, moment, number, parse_mtl
from imagery.products.product import Product, left_files, level_of_bands, unique
from imagery.radiometry import (
    LANDSAT_COLLECTION_1_SURFACE,
    LANDSAT_FILL,
    LANDSAT_SURFACE,
    LANDSAT_SURFACE_TEMPERATURE,
    OLI_TOP_OF_ATMOSPHERE,
    RADIANCE,
    Scaling,
    top_of_atmosphere,
)
from imagery.raster_file import open_raster
from imagery.scene_source import BandSource, QualityBand
from imagery.sensors import (
    SURFACE_TEMPERATURE,
    SURFACE_TEMPERATURE_FIELDS,
    Band,
    names_of,
    sensor_bands,
)
from imagery.units import DIGITAL_NUMBER, REFLECTANCE, Level

_SENSORS: Final = {
    "LC08": "landsat-8-oli",
    "LO08": "landsat-8-oli",
    "LC09": "landsat-9-oli-2",
    "LO09": "landsat-9-oli-2",
    "LE07": "landsat-7-etm+",
    "LT05": "landsat-5-tm",
    "LT04": "landsat-4-tm",
}
_FLAGS_OF: Final = {PRE_COLLECTION: "BQA", "01": "BQA", "02": "QA_PIXEL"}
_COLLECTION_1_SURFACE: Final = re.compile(r"(?:SR_BAND|SRB)(?P<number>\d)$")
_FLAG_FIELDS: Final = {"QA_PIXEL": "qa_pixel", "BQA": "bqa", "PIXEL_QA": "pixel_qa", "PIXELQA": "pixel_qa"}
_REASONS: Final = {
    "QA_RADSAT": "flags of saturation, which are not used",
    "SR_QA_AEROSOL": "flags of aerosol, which are not used",
    "SR_CLOUD_QA": "flags of cloud, which QA_PIXEL has too",
    "SR_ATMOS_OPACITY": "opacity of the atmosphere, which is not used",
}


@dataclass(frozen=True)
class _Files:
    """The files of one product.

    Attributes:
        name: As USGS names the product.
        rasters: Member by designation in upper case ("SR_B4").
        metadata: The MTL file, or None.
        others: Further members.
    """

    name: LandsatName
    rasters: dict[str, str]
    metadata: str | None
    others: tuple[str, ...]

    @property
    def product_id(self) -> str:
        """Return the product's name as text."""
        return self.name.text


def recognise_landsat(listing: Listing) -> Product | None:
    """Return the Landsat product in a folder or archive, or None if there is none.

    Level-1 becomes top-of-atmosphere reflectance by the MTL: (M x Q + A) / sin(sun elevation). Without an MTL, OLI's
    constants are used, uncorrected for the sun's height; TM and ETM+ stay digital numbers. Level-2 has constants.

    Raises:
        SceneError: There are several products, the sensor has no table, or metadata cannot be read.
    """
    files = _find(listing)
    if files is None:
        return None
    craft = files.name.craft
    if craft not in _SENSORS:
        raise SceneError(
            f"{listing.root}: found {files.product_id}, of {craft}; expected one of {', '.join(_SENSORS)}: MSS and "
            "scenes of the thermal sensor alone are not supported"
        )
    sensor = _SENSORS[craft]
    notes: list[str] = []
    metadata = _metadata(listing, files, notes)
    image = metadata.get("IMAGE_ATTRIBUTES", {}) if metadata else {}
    product = metadata.get("PRODUCT_METADATA", {}) if metadata else {}  # Collection 1
    notes += notes_on_ground_control(_level_1_of(files, metadata), files.product_id)
    sun = number(image.get("SUN_ELEVATION"))
    scalings, level = _scalings(files, sensor, metadata, sun, notes)
    bands: list[BandSource] = []
    extras: list[BandSource] = []
    quality: list[QualityBand] = []
    left_out: list[tuple[str, str]] = []
    named = names_of(sensor)
    by_name = {band.name: band for band in sensor_bands(sensor)}
    for field, member in files.rasters.items():
        path = listing.path(member)
        if field in _FLAG_FIELDS:
            designation = _FLAG_FIELDS[field]
            table = flag_table(designation, files.name)
            if table:
                quality.append(QualityBand(designation if designation == "pixel_qa" else "quality", path, 1, table))
            else:
                left_out.append((member, flags_of_another(designation)))
        elif field.lower() in SURFACE_TEMPERATURE_FIELDS:
            extras.append(_checked(path, scalings[field], notes, check=True).band(SURFACE_TEMPERATURE, path))
        elif field in scalings:
            name = named[_designation(field).lower()]
            scaling = _checked(path, scalings[field], notes, check=not bands)
            source = scaling.band(name, path)
            (bands if by_name[name].stacked and not name.startswith("thermal") else extras).append(source)
        else:
            left_out.append((member, _REASONS.get(field, "an intermediate product or angles, which are not used")))
    if not bands:
        raise SceneError(
            f"{listing.root}: found no reflective band of {files.product_id}, only {', '.join(files.rasters)}; "
            "expected files such as ..._B4.TIF or ..._SR_B4.TIF"
        )
    order = [band.name for band in sensor_bands(sensor)]
    missing = [band.name for band in _reflective(sensor) if band.name not in {source.name for source in bands}]
    if missing:
        notes.append(f"{files.product_id}: found no file of {', '.join(missing)}; the product has them")
    if not quality:
        expected = "pixel_qa" if _surface_of_collection_1(files) else _FLAGS_OF[files.name.collection]
        notes.append(f"{files.product_id}: found no {expected} file, so clouds and shadows are not masked")
    return Product(
        kind=_kind(files),
        sensor=sensor,
        level=level_of_bands(level, bands),
        acquired=moment(
            image.get("DATE_ACQUIRED") or product.get("DATE_ACQUIRED"),
            image.get("SCENE_CENTER_TIME") or product.get("SCENE_CENTER_TIME"),
        )
        or files.name.day,
        bands=tuple(sorted(bands, key=lambda source: order.index(source.name))),
        quality=tuple(quality),
        extras=tuple(extras),
        product_id=files.product_id,
        sun_elevation_deg=sun,
        cloud_percent=_share(number(image.get("CLOUD_COVER"))),
        notes=unique(notes),
        left_out=(*left_out, *left_files(files.others)),
    )


def _level_1_of(files: _Files, metadata: Groups | None) -> str | None:
    """Return the level of the Level-1 scene that a product is, or was made of: "L1TP", "L1GT"; None if not told."""
    if files.name.level.startswith("L1") and files.name.level != "L1":
        return files.name.level
    groups = metadata or {}
    record = groups.get("LEVEL1_PROCESSING_RECORD", {})  # of Level-2
    return record.get("PROCESSING_LEVEL") or groups.get("PRODUCT_METADATA", {}).get(
        "DATA_TYPE"
    )  # before the collections


def _find(listing: Listing) -> _Files | None:
    """Sort the files: by their names, or by the folder's name if the files were renamed to "B4.TIF"."""
    found: dict[str, dict[str, str]] = {}
    metadata: dict[str, list[str]] = {}
    others: list[str] = []
    names: dict[str, LandsatName] = {}
    inherited = landsat_name(listing.name)
    # A file in the folder itself comes before a copy in a folder below.
    for base, member in sorted(listing.base_names(), key=lambda pair: pair[1].count("/")):
        folder = landsat_name(member.rpartition("/")[0]) or inherited
        stem, _, ending = base.rpartition(".")
        name, field, ending = landsat_file(base) or (folder, stem.upper(), ending)
        product = name.text if name else ""
        if name:
            names[product] = name
        if product and re.search(r"(?:^|_)MTL$", field) and ending.lower() in {"txt", "json", "xml"}:
            metadata.setdefault(product, []).append(member)
        elif product and is_raster(base) and field not in found.get(product, {}):
            found.setdefault(product, {})[field] = member
        else:
            others.append(member)
            if re.search(r"(?:^|_)MTL\.txt$", base, re.IGNORECASE):
                metadata.setdefault("", []).append(member)
    if not found:
        return None
    if len(found) > 1:
        folders = {name: {member.rpartition("/")[0] for member in rasters.values()} for name, rasters in found.items()}
        places = set.union(*folders.values())
        if "" not in places and len(places) == sum(map(len, folders.values())):
            listed = ", ".join(repr(listing.path(min(below))) for _, below in sorted(folders.items()))
            advice = f"give one of the folders {listed}"
        else:
            commands = " && ".join(f"mkdir {name} && mv {name}_* {name}/" for name in sorted(found))
            advice = f"put each into its own folder, for example {commands}"
        raise SceneError(
            f"{listing.root}: found {len(found)} products ({', '.join(sorted(found))}); expected one: {advice}"
        )
    product_id, rasters = next(iter(found.items()))
    mine = sorted(
        metadata.get(product_id, []) or metadata.get("", []), key=lambda name: not name.lower().endswith("txt")
    )
    return _Files(
        names[product_id], rasters, mine[0] if mine else None, tuple(name for name in others if name not in mine[:1])
    )


def _metadata(listing: Listing, files: _Files, notes: list[str]) -> Groups | None:
    """Read the MTL file, unless it is of another product."""
    if files.metadata is None:
        return None
    groups = parse_mtl(listing.read(files.metadata), files.metadata)
    key = "LANDSAT_SCENE_ID" if files.name.collection == PRE_COLLECTION else "LANDSAT_PRODUCT_ID"
    stated = {groups.get(group, {}).get(key) for group in ("PRODUCT_CONTENTS", "METADATA_FILE_INFO")} - {
        None,
        files.product_id,
    }
    if stated:
        notes.append(
            f"{files.metadata} is the metadata of {', '.join(map(str, stated))}, not of {files.product_id}: not used"
        )
        return None
    return groups


def _scalings(
    files: _Files, sensor: str, metadata: Groups | None, sun: float | None, notes: list[str]
) -> tuple[dict[str, Scaling], Level | None]:
    """Return the scaling of every raster that is a band, by designation, and the level of the reflective ones."""
    if surface := _surface_of_collection_1(files):
        level_1 = [field for field in files.rasters if re.fullmatch(r"B\d{1,2}", field)]
        if level_1:
            raise SceneError(
                f"{files.product_id}: found surface reflectance ({', '.join(surface)}) and Level-1 "
                f"({', '.join(level_1)}); expected one of them: put each into its own folder"
            )
        known = names_of(sensor)
        surface = [field for field in surface if _designation(field).lower() in known]
        return dict.fromkeys(surface, LANDSAT_COLLECTION_1_SURFACE), Level.SURFACE
    if files.name.level.startswith("L2"):
        return _level_2(files, sensor, metadata), Level.SURFACE
    return _level_1(files, sensor, metadata, sun, notes)


def _surface_of_collection_1(files: _Files) -> list[str]:
    """Return the bands of Collection 1's surface reflectance, as their files are named."""
    return [field for field in files.rasters if _COLLECTION_1_SURFACE.match(field)]


def _designation(field: str) -> str:
    """Return the designation of a band in the tables of the sensors: "SRB4" is sr_band4."""
    match = _COLLECTION_1_SURFACE.match(field)
    return f"sr_band{match['number']}" if match else field


def _level_2(files: _Files, sensor: str, metadata: Groups | None) -> dict[str, Scaling]:
    groups = metadata or {}
    reflectance = groups.get("LEVEL2_SURFACE_REFLECTANCE_PARAMETERS", {})
    temperature = groups.get("LEVEL2_SURFACE_TEMPERATURE_PARAMETERS", {})
    scalings = {}
    for field in files.rasters:
        if field.startswith("SR_B") and field.lower() in names_of(sensor):
            factors = _factors(reflectance, f"REFLECTANCE_{{}}_BAND_{field[4:]}")
            scalings[field] = (
                replace(LANDSAT_SURFACE, scale=factors[0], offset=factors[1]) if factors else LANDSAT_SURFACE
            )
        elif field.lower() in SURFACE_TEMPERATURE_FIELDS:
            factors = _factors(temperature, f"TEMPERATURE_{{}}_BAND_{field}")
            scalings[field] = (
                replace(LANDSAT_SURFACE_TEMPERATURE, scale=factors[0], offset=factors[1])
                if factors
                else LANDSAT_SURFACE_TEMPERATURE
            )
    return scalings


def _factors(values: Mapping[str, str], key: str) -> tuple[float, float] | None:
    """Return factor and summand that a group of the MTL states, or None unless it states both."""
    mult, add = number(values.get(key.format("MULT"))), number(values.get(key.format("ADD")))
    return None if mult is None or add is None else (mult, add)


def _level_1(
    files: _Files, sensor: str, metadata: Groups | None, sun: float | None, notes: list[str]
) -> tuple[dict[str, Scaling], Level | None]:
    groups = metadata or {}
    stated = groups.get("LEVEL1_RADIOMETRIC_RESCALING") or groups.get("RADIOMETRIC_RESCALING") or {}
    if sun is not None and sun <= 0:
        raise SceneError(
            f"{files.product_id}: found a sun elevation of {sun:g} degrees; expected a scene taken by day, since a "
            "night scene has no reflectance"
        )
    named = names_of(sensor)
    # TM's and ETM+'s numbers are of 8 bits.
    stored_as = OLI_TOP_OF_ATMOSPHERE.stored_as if sensor in {"landsat-8-oli", "landsat-9-oli-2"} else ()
    solar = {f"{band.field_name}" for band in _reflective(sensor, every=True)}
    rescaling: dict[str, tuple[float, float]] = {}
    scalings: dict[str, Scaling] = {}
    for field in files.rasters:
        if field in solar:
            factors = _factors(stated, f"REFLECTANCE_{{}}_BAND_{field[1:]}")
            if factors is None and sensor in {"landsat-8-oli", "landsat-9-oli-2"}:
                factors = OLI_TOP_OF_ATMOSPHERE.scale, OLI_TOP_OF_ATMOSPHERE.offset
            if factors:
                rescaling[field] = factors
        elif named.get(field.lower(), "").startswith("thermal"):
            factors = _factors(stated, f"RADIANCE_{{}}_BAND_{field[1:]}")
            scalings[field] = Scaling(*factors, 0, RADIANCE, stored_as) if factors else LANDSAT_FILL
    reflective = [field for field in files.rasters if field in solar]
    if set(reflective) - set(rescaling):
        notes.append(
            f"{files.product_id}: found no MTL file that states how the numbers become reflectance, which for this "
            "sensor differs from scene to scene: the bands are read as digital numbers. Put the product's MTL.txt "
            "beside them"
        )
        return scalings | dict.fromkeys(reflective, LANDSAT_FILL), None
    if sun is None:
        notes.append(
            f"{files.product_id}: found no sun elevation (SUN_ELEVATION in the MTL file), so reflectances are too low "
            "by its sine: put the product's MTL.txt beside the bands"
        )
        plain = {field: Scaling(mult, add, 0, REFLECTANCE, stored_as) for field, (mult, add) in rescaling.items()}
        return scalings | plain, Level.TOP_OF_ATMOSPHERE_SUN_UNCORRECTED
    corrected = {field: top_of_atmosphere(mult, add, sun, stored_as) for field, (mult, add) in rescaling.items()}
    return scalings | corrected, Level.TOP_OF_ATMOSPHERE


def _reflective(sensor: str, *, every: bool = False) -> Sequence[Band]:
    """The bands of reflected sunlight: those usually stacked, or every one."""
    return [band for band in sensor_bands(sensor) if band.centre_um and band.centre_um < 3 and (every or band.stacked)]


def _checked(path: str, scaling: Scaling, notes: list[str], *, check: bool) -> Scaling:
    if scaling.unit == DIGITAL_NUMBER:
        return scaling
    with open_raster(path) as dataset:
        if scaling.unit == REFLECTANCE:
            chosen, found = choose_scaling(dataset, 1, scaling, check=check)
        else:
            chosen, found = choose_thermal(dataset, 1, scaling)
    notes += found
    return chosen


def _kind(files: _Files) -> str:
    name = files.name
    if _surface_of_collection_1(files):
        return "Landsat Collection 1 surface reflectance"
    if name.collection == PRE_COLLECTION:
        return "Landsat Level-1 from before the collections"
    return f"Landsat Collection {int(name.collection)} {name.level}"


def _share(percent: float | None) -> float | None:
    """Cloud cover; the metadata state -1 where it was not estimated."""
    return percent if percent is not None and 0 <= percent <= 100 else None
