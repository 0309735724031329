"""The layers of a GLIMS submission, as attribute tables with geometries, written as shapefiles and as a GeoPackage.

Field names are GLIMS's own where it defines them (see `imagery.glims`), and RGI's in the layer `rgi` (user guide of RGI
7.0, "Glacier product"). No name is longer than 10 characters, and no text longer than 254 bytes, as shapefiles need.
Fields of ours: `orig_id` on outlines (identifier of the image, which ties them to the layer `images`), `model_ver`,
`exp_share`, `edge`, `debris_km2`, `area_best`, `area_low` and `area_high` (the area with its 95 % interval, km²), and
`inv_id` (id in an inventory other than RGI).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from imagery.area_interval import AreaInterval
from imagery.gdal_limits import limited_pyogrio
from imagery.glims import (
    DEBRIS,
    GLACIERS,
    IMAGES,
    LAKES,
    RGI,
    SESSION,
    LineType,
    distinct_ids,
)
from imagery.glims_outlines import GlacierOutlines
from imagery.outline_table import central_points
from imagery.projection import WGS84

RGI_ID: Final = "rgi_id"
INVENTORY_ID: Final = "inv_id"
GEOPACKAGE: Final = "outlines.gpkg"
_LONGEST_TEXT: Final = 254  # bytes in a shapefile's table
_NOT_ASSIGNED: Final = 9  # RGI 7.0: value of surge_type, term_type and aspect_sec


@dataclass(frozen=True)
class Image:
    """The image that outlines were drawn from.

    Attributes:
        orig_id: Identifier by its provider.
        instrument: Sensor ("OLI").
        platform: Satellite ("Landsat 8").
        acquired: Day.
        footprint: Polygon in longitude and latitude; two beside each other across the antimeridian.
        centre: Longitude and latitude of its centre.
    """

    orig_id: str
    instrument: str
    platform: str
    acquired: date
    footprint: Any
    centre: tuple[float, float]


@dataclass(frozen=True)
class Analyst:
    """A person who drew or checked outlines.

    Attributes:
        surname: Family name, or a pseudonym.
        given: Given names.
        affiliation: Institution.
    """

    surname: str
    given: str = ""
    affiliation: str = ""

    def __str__(self) -> str:
        """Return the name as GLIMS lists analysts: "Surname, Given"."""
        return ", ".join(part for part in (self.surname, self.given) if part)


@dataclass(frozen=True)
class Analysis:
    """How outlines were made.

    Attributes:
        day: Day of the newest analysis; also that of lakes in front of glaciers.
        analysts: At least one; also those of lakes in front of glaciers.
        process: Short description of the processing.
        model_version: Version of the model; None if experts drew everything.
        software: Name and version of this program.
        loc_unc_m: (n, 2) local uncertainty of each glacier in x and y, metres.
        glob_unc_m: Global uncertainty in metres; None if unknown.
        expert_share: (n,) share of each glacier's pixels that experts judged, 0 to 1.
        glacier_areas: Interval of each glacier's area; None where undefined.
        other_areas: The same of each of `GlacierOutlines.others`.
        analysts_of: For each glacier, the analysts who judged a part of it; all analysts where nobody did.
        day_of: For each glacier, the day of its analysis.
    """

    day: date
    analysts: tuple[Analyst, ...]
    process: str
    model_version: int | None
    software: str
    loc_unc_m: NDArray[np.float64]
    glob_unc_m: float | None
    expert_share: NDArray[np.float64]
    glacier_areas: Sequence[AreaInterval | None]
    other_areas: Sequence[AreaInterval | None]
    analysts_of: Sequence[str]
    day_of: Sequence[date]


@dataclass(frozen=True)
class Layer:
    """A layer.

    Attributes:
        geometry_type: "Polygon" or "Point".
        geometries: (n,) in longitude and latitude.
        fields: Columns (n,) by name; NaN and empty text stand for what is not known.
    """

    geometry_type: str
    geometries: NDArray[np.object_]
    fields: Mapping[str, NDArray[Any]]


def submission_layers(
    outlines: GlacierOutlines,
    image: Image,
    analysis: Analysis,
    local_id: str,
    terrain: Mapping[str, NDArray[np.float64]] | None,
) -> dict[str, Layer]:
    """Return the layers by name; `debris` and `lakes` only if there are any.

    Args:
        outlines: The glaciers.
        image: The image that they were drawn from.
        analysis: How they were made.
        local_id: Name that the glaciers' own identifiers begin with.
        terrain: Terrain attributes of each glacier (`imagery.outline_table.terrain_statistics`), if there is a DEM.
    """
    centres = central_points(outlines.wgs84)
    inside = shapely.point_on_surface(outlines.wgs84)
    places = list(zip(shapely.get_x(inside).tolist(), shapely.get_y(inside).tolist(), strict=True))
    identifiers = distinct_ids(places, [glacier.glims_id if glacier else None for glacier in outlines.inventory])
    number = range(len(outlines.wgs84))
    common = {
        **_common_fields(identifiers, image, analysis, [f"{local_id}-{index + 1:05d}" for index in number]),
        **_inventory_ids(outlines),
    }
    debris_km2 = np.zeros(len(identifiers))
    for item in outlines.others:
        if item.glacier is not None and item.line_type is LineType.DEBRIS:
            debris_km2[item.glacier] += item.area_km2
    glaciers = {
        **_line_types([LineType.GLACIER] * len(identifiers)),
        **common,
        "area": outlines.area_km2,
        **_interval_fields(analysis.glacier_areas),
        "debris_km2": debris_km2,
        **_elevations(terrain, len(identifiers)),
        "exp_share": analysis.expert_share,
        "edge": _texts(["Y" if at_edge else "N" for at_edge in outlines.touches_edge]),
    }
    alone: dict[str, str | float] = {
        **dict.fromkeys(("glac_id", "local_id", RGI_ID, INVENTORY_ID), ""),
        "anlys_time": analysis.day.isoformat(),
        "analysts": shorten("; ".join(str(person) for person in analysis.analysts)),
        **dict.fromkeys(("loc_unc_x", "loc_unc_y"), math.nan),  # known of the outlines of glaciers only
    }
    layers = {
        GLACIERS: Layer("Polygon", outlines.wgs84, glaciers),
        IMAGES: _images(image),
        SESSION: _session(analysis, image),
        RGI: Layer("Polygon", outlines.wgs84, _rgi_fields(outlines, centres, identifiers, common, image, terrain)),
    }
    for name, kinds in ((DEBRIS, {LineType.DEBRIS}), (LAKES, {LineType.SUPRAGLACIAL_LAKE, LineType.PROGLACIAL_LAKE})):
        layer = _others(outlines, kinds, common, alone, analysis.other_areas if name == DEBRIS else None)
        if layer is not None:
            layers[name] = layer
    return layers


def write_shapefiles(folder: Path, layers: Mapping[str, Layer]) -> None:
    """Write each layer as a shapefile of its name: text in UTF-8, exteriors clockwise, holes counter-clockwise."""
    for name, layer in layers.items():
        _write(folder / f"{name}.shp", layer, driver="ESRI Shapefile", encoding="UTF-8")


def write_geopackage(folder: Path, layers: Mapping[str, Layer]) -> None:
    """Write all layers as one GeoPackage."""
    for name, layer in layers.items():
        _write(folder / GEOPACKAGE, layer, driver="GPKG", layer=name)


def _write(path: Path, table: Layer, **options: Any) -> None:
    pyogrio = limited_pyogrio()

    columns = list(table.fields.values())
    geometry_type = table.geometry_type
    if options["driver"] == "GPKG" and any(item.geom_type == "MultiPolygon" for item in table.geometries):
        geometry_type = "MultiPolygon"  # a GeoPackage does not mix both; a shapefile does
    pyogrio.raw.write(
        path,
        shapely.to_wkb(table.geometries),
        field_data=columns,
        # Without these masks NaN would be written as a number instead of null.
        field_mask=[np.isnan(column) if column.dtype.kind == "f" else None for column in columns],
        fields=list(table.fields),
        geometry_type=geometry_type,
        promote_to_multi=geometry_type == "MultiPolygon",
        crs=WGS84,
        **options,
    )


def _common_fields(
    identifiers: Sequence[str], image: Image, analysis: Analysis, local_ids: Sequence[str]
) -> dict[str, NDArray[Any]]:
    """Return the fields that all outlines have, one value for each glacier."""
    count = len(identifiers)
    version = "" if analysis.model_version is None else str(analysis.model_version)
    unknown = float("nan") if analysis.glob_unc_m is None else analysis.glob_unc_m
    return {
        "glac_id": _texts(identifiers),
        "local_id": _texts(local_ids),
        "src_date": _texts([image.acquired.isoformat()] * count),
        "anlys_time": _texts([day.isoformat() for day in analysis.day_of]),
        "orig_id": _texts([image.orig_id] * count),
        "inst_name": _texts([image.instrument] * count),
        "loc_unc_x": analysis.loc_unc_m[:, 0],
        "loc_unc_y": analysis.loc_unc_m[:, 1],
        "glob_unc_x": np.full(count, unknown),
        "glob_unc_y": np.full(count, unknown),
        "analysts": _texts(analysis.analysts_of),
        "proc_desc": _texts([analysis.process] * count),
        "model_ver": _texts([version] * count),
    }


def _inventory_ids(outlines: GlacierOutlines) -> dict[str, NDArray[Any]]:
    """Return the ids of glaciers in an inventory, unless they are those of GLIMS, which have a field already."""
    ids = [glacier.name if glacier and glacier.has_id else "" for glacier in outlines.inventory]
    if all(glacier.name == glacier.glims_id for glacier in outlines.inventory if glacier and glacier.has_id):
        return {}
    field = RGI_ID if all(each.startswith("RGI") for each in ids if each) else INVENTORY_ID
    return {field: _texts(ids)}


def _interval_fields(areas: Sequence[AreaInterval | None]) -> dict[str, NDArray[Any]]:
    ends = [(item.best, item.low, item.high) if item else (np.nan,) * 3 for item in areas]
    columns = np.array(ends, dtype=np.float64).reshape(-1, 3).T
    return dict(zip(("area_best", "area_low", "area_high"), columns, strict=True))


def _others(
    outlines: GlacierOutlines,
    kinds: set[LineType],
    common: Mapping[str, NDArray[Any]],
    alone: Mapping[str, str | float],
    areas: Sequence[AreaInterval | None] | None,
) -> Layer | None:
    """Return a layer of outlines other than glaciers, with the fields of the glacier that each lies on.

    Those that lie on none have what ``alone`` says.
    """
    numbers = [number for number, item in enumerate(outlines.others) if item.line_type in kinds]
    chosen = [outlines.others[number] for number in numbers]
    if not chosen:
        return None
    on = np.array([-1 if item.glacier is None else item.glacier for item in chosen])
    fields: dict[str, NDArray[Any]] = _line_types([item.line_type for item in chosen])
    for name, column in common.items():
        if len(column):
            values = column[on]  # of the last glacier where there is none, which is mended below
        else:
            values = np.full(len(chosen), np.nan if column.dtype.kind == "f" else "", dtype=column.dtype)
        if name in alone:
            values = np.where(on < 0, alone[name], values).astype(column.dtype)
        fields[name] = values
    fields["area"] = np.array([item.area_km2 for item in chosen])
    if areas is not None:
        fields |= _interval_fields([areas[number] for number in numbers])
    geometries: NDArray[np.object_] = np.empty(len(chosen), dtype=object)
    geometries[:] = [item.wgs84 for item in chosen]
    return Layer("Polygon", geometries, fields)


def _images(image: Image) -> Layer:
    lon, lat = image.centre
    fields = {
        "orig_id": _texts([image.orig_id]),
        "inst_name": _texts([image.instrument]),
        "platform": _texts([image.platform]),
        "acq_time": _texts([image.acquired.isoformat()]),
        "imgctrlon": np.array([lon]),
        "imgctrlat": np.array([lat]),
    }
    return Layer("Polygon", _one(image.footprint), fields)


def _session(analysis: Analysis, image: Image) -> Layer:
    count = len(analysis.analysts)
    version = "" if analysis.model_version is None else str(analysis.model_version)
    fields = {
        "anlst_surn": _texts([person.surname for person in analysis.analysts]),
        "anlst_givn": _texts([person.given for person in analysis.analysts]),
        "anlst_affl": _texts([person.affiliation for person in analysis.analysts]),
        "anlys_time": _texts([analysis.day.isoformat()] * count),
        "data_src": _texts([f"{image.platform} {image.instrument}".strip()] * count),
        "proc_desc": _texts([analysis.process] * count),
        "model_ver": _texts([version] * count),
        "software": _texts([analysis.software] * count),
    }
    place = shapely.point_on_surface(image.footprint)
    return Layer("Point", np.array([place] * count, dtype=object), fields)


def _rgi_fields(
    outlines: GlacierOutlines,
    centres: Mapping[str, NDArray[np.float64]],
    identifiers: Sequence[str],
    common: Mapping[str, NDArray[Any]],
    image: Image,
    terrain: Mapping[str, NDArray[np.float64]] | None,
) -> dict[str, NDArray[Any]]:
    """Return the attributes of RGI 7.0 that can be known here; RGI and GLIMS give their identifiers and regions."""
    count = len(identifiers)
    zone = np.floor((centres["cenlon"] + 180) / 6).astype(np.int32) % 60 + 1
    heights = {name: (terrain or {}).get(name, np.full(count, np.nan)) for name in _RGI_TERRAIN}
    return {
        **({RGI_ID: common[RGI_ID]} if RGI_ID in common else {}),
        "glims_id": _texts(identifiers),
        "local_id": common["local_id"],
        "src_date": _texts([f"{image.acquired.isoformat()}T00:00:00"] * count),
        **centres,
        "utm_zone": zone,
        "area_km2": outlines.area_km2,
        "surge_type": np.full(count, _NOT_ASSIGNED, dtype=np.int32),
        "term_type": np.full(count, _NOT_ASSIGNED, dtype=np.int32),
        "is_rgi6": np.zeros(count, dtype=np.int32),
        **heights,
    }


_RGI_TERRAIN: Final = ("zmin_m", "zmax_m", "zmed_m", "zmean_m", "slope_deg")


def _elevations(terrain: Mapping[str, NDArray[np.float64]] | None, count: int) -> dict[str, NDArray[np.float64]]:
    names = {"min_elev": "zmin_m", "mean_elev": "zmean_m", "max_elev": "zmax_m"}
    return {ours: (terrain or {}).get(theirs, np.full(count, np.nan)) for ours, theirs in names.items()}


def _line_types(kinds: Sequence[LineType]) -> dict[str, NDArray[Any]]:
    """Return the line type under its present name and under that of the transfer specification."""
    return {"line_type": _texts(kinds), "category": _texts(kinds)}


def _texts(values: Sequence[str]) -> NDArray[np.object_]:
    return np.array([shorten(str(value)) for value in values], dtype=object)


def shorten(text: str) -> str:
    """Return a text that fits in a shapefile's table, cut at the end of a character with "..." if it does not."""
    data = text.encode()
    if len(data) <= _LONGEST_TEXT:
        return text
    return data[: _LONGEST_TEXT - 3].decode(errors="ignore") + "..."


def _one(geometry: Any) -> NDArray[np.object_]:
    array: NDArray[np.object_] = np.empty(1, dtype=object)
    array[0] = geometry
    return array
