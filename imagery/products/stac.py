"""Products described by a STAC item."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Final

import numpy as np
import pystac
from numpy.typing import NDArray

from imagery.errors import SceneError
from imagery.products.headers import choose_scaling, choose_thermal, notes_on_landsat_of_hls, sensor_in_name
from imagery.products.landsat_names import flag_table, flags_of_another, landsat_name, notes_on_ground_control
from imagery.products.metadata import moment, number
from imagery.products.product import Product, unique
from imagery.products.sentinel2 import guess_offset, offset_by_pixels
from imagery.products.stac_item import Permit, asset_path, bands_of_asset, read_item
from imagery.radiometry import (
    HLS_REFLECTANCE,
    HLS_TEMPERATURE,
    LANDSAT_FILL,
    LANDSAT_SURFACE,
    LANDSAT_SURFACE_TEMPERATURE,
    OLI_TOP_OF_ATMOSPHERE,
    SENTINEL_2_FIRST_OFFSET_BASELINE,
    SENTINEL_2_OFFSET,
    Scaling,
    level_of,
    sample,
    sentinel_2,
    top_of_atmosphere,
)
from imagery.raster_file import open_raster
from imagery.scene_source import BandSource, QualityBand
from imagery.sensors import (
    FLAG_TABLE_OF,
    SENSORS,
    SURFACE_TEMPERATURE,
    SURFACE_TEMPERATURE_FIELDS,
    names_of,
    sensor_bands,
)
from imagery.units import DIGITAL_NUMBER, REFLECTANCE, Level

_NOT_DATA: Final = frozenset({"thumbnail", "overview", "visual", "metadata", "browse"})
_OLI: Final = ("landsat-8-oli", "landsat-9-oli-2")


def recognise_item(
    href: str,
    *,
    sensor: str | None,
    level: Level | None,
    acquired: date | None,
    extra: Collection[str],
    permit: Permit,
) -> Product:
    """Return the product that a STAC item describes.

    Bands are known by their name, the asset's key or the common name (`eo:bands`, or `bands` of STAC 1.1); scale,
    offset and nodata by `raster:bands`, else by the constants of the product.

    Args:
        href: A local path or an http address.
        sensor: A key of `imagery.sensors.SENSORS`, if the item's platform does not tell it.
        level: What reflectances refer to, if the item does not tell it.
        acquired: When the image was taken, if the item does not tell it.
        extra: Keys of assets that are further channels.
        permit: Decides which files and addresses may be read.

    Raises:
        SceneError: The item or an asset cannot be read or may not be, or the sensor is unknown.
    """
    item = read_item(href, permit)
    properties = item.properties
    known = sensor or _sensor(item)
    if known is None:
        raise SceneError(
            f"{href}: found the platform {properties.get('platform')!r}; expected Landsat 4 to 9 or Sentinel-2, or to "
            "be told the sensor (--sensor)"
        )
    notes: list[str] = []
    if sensor is None and known == "landsat-8-oli" and _is_hls(item) and not properties.get("platform"):
        notes += notes_on_landsat_of_hls(item.datetime)
    reader = _Reader(item, known, permit, {key.lower() for key in extra})
    found, left_out = reader.assets()
    told = _level(item) or level
    stated = {name: _stated(href, name, asset.stated) for name, asset in found.items()}
    defaults = _defaults(item, known, told, notes)
    if known == "sentinel-2-msi" and not _is_hls(item):
        offset = _sentinel_offset(item, acquired, found, stated, notes)
        stated = {
            name: Scaling(value.scale, offset * value.scale, value.nodata) if value else None
            for name, value in stated.items()
        }
        defaults = sentinel_2(offset)
    bands: list[BandSource] = []
    extras: list[BandSource] = []
    quality: list[QualityBand] = []
    stacked = {band.name for band in sensor_bands(known) if band.stacked}
    for name, asset in found.items():
        path, index = asset.path, asset.index
        if asset.holds_flags:
            quality.append(QualityBand(name, path, index, asset.table))
            continue
        scaling, constant = _scaling_of(name, stated[name], defaults, reader, item)
        if (nodata := number(_text(asset.stated.get("nodata")))) is not None:
            scaling = replace(scaling, nodata=nodata)
        is_thermal = name == SURFACE_TEMPERATURE or name.startswith("thermal")
        with open_raster(path) as dataset:
            if is_thermal:
                scaling, more = choose_thermal(dataset, index, scaling, constant=constant)
            else:
                scaling, more = choose_scaling(dataset, index, scaling, constant=constant, check=name == "red")
        notes += more
        further = name not in stacked or is_thermal
        (extras if further else bands).append(scaling.band(name, path, index))
    if not bands:
        raise SceneError(f"{href}: found the assets {', '.join(item.assets)}; expected at least one reflective band")
    final = _final_level(told, bands, stated, notes)
    sizes = _finest_first(bands, known)
    named = landsat_name(item.id)
    correction = _text(properties.get("landsat:correction")) or (named.level if named else None)
    notes += notes_on_ground_control(correction, item.id)
    taken = item.datetime or item.common_metadata.start_datetime
    if not quality:
        notes.append(f"{href}: found no asset of clouds, so clouds and shadows are not masked")
    return Product(
        kind=f"STAC item{f' of {item.collection_id}' if item.collection_id else ''}",
        sensor=known,
        level=final,
        acquired=moment(taken.isoformat()) if taken else None,
        acquired_by=None if item.datetime else "the item's start_datetime",
        bands=sizes,
        quality=tuple(quality),
        extras=tuple(extras),
        product_id=item.id,
        sun_elevation_deg=number(_text(properties.get("view:sun_elevation"))),
        cloud_percent=number(_text(properties.get("eo:cloud_cover"))),
        notes=unique(notes),
        left_out=tuple(left_out),
    )


@dataclass(frozen=True)
class _Found:
    """A band among an item's assets.

    Attributes:
        path: What opens its file.
        index: Its number in the file, from 1.
        stated: What the item states of it.
        holds_flags: Whether it is a band of flags.
        table: How to decode its flags; None if it has none.
    """

    path: str
    index: int
    stated: Mapping[str, Any]
    holds_flags: bool
    table: str | None


class _Reader:
    """Finds the bands among an item's assets."""

    def __init__(self, item: pystac.Item, sensor: str, permit: Permit, extra: set[str]) -> None:
        self._item, self._sensor, self._permit = item, sensor, permit
        self.extra = extra

    def assets(self) -> tuple[dict[str, _Found], list[tuple[str, str]]]:
        """Return the bands by our names, and the assets that are left out with the reason.

        Only the addresses of assets that are used have to be readable: the others may lie on S3, or not be downloaded.

        Raises:
            SceneError: A band that is used cannot be read or may not be.
        """
        found: dict[str, _Found] = {}
        left_out: list[tuple[str, str]] = []
        # A GeoTIFF before a copy in JPEG 2000.
        for key, asset in sorted(self._item.assets.items(), key=lambda pair: "jp2" in (pair[1].media_type or pair[0])):
            roles = {role.lower() for role in asset.roles or ()}
            if roles & _NOT_DATA or not _readable(asset):
                left_out.append((key, "a picture, metadata or a format that is not read"))
                continue
            bands = bands_of_asset(asset) or [{}]
            if len(bands) > 1 and key.lower() in {"visual", "tci", "true-color", "preview"}:
                left_out.append((key, "a picture for viewing"))
                continue
            for index, band in enumerate(bands, start=1):
                name, designation = self._name(key if len(bands) == 1 else "", asset, band)
                label = key if len(bands) == 1 else f"{key}, band {index}"
                is_flags = designation.lower() in FLAG_TABLE_OF
                table = self._table(designation, asset) if is_flags else None
                if name is None:
                    left_out.append((label, "not a band of the sensor"))
                elif is_flags and table is None:
                    left_out.append((label, flags_of_another(designation)))
                elif name in found:
                    left_out.append((label, f"{name} once more"))
                else:
                    path = asset_path(self._item, asset, self._permit)
                    if index > 1:
                        _check_band_count(path, key, index, len(bands))
                    found[name] = _Found(path, index, band, is_flags, table)
        return found, left_out

    def _table(self, designation: str, asset: pystac.Asset) -> str | None:
        """Return how to decode a band of flags; None if it is of another generation than its file or the item."""
        return flag_table(designation, landsat_name(_base_name(asset)) or landsat_name(self._item.id))

    def _name(self, key: str, asset: pystac.Asset, band: Mapping[str, Any]) -> tuple[str | None, str]:
        table = names_of(self._sensor)
        stem = _base_name(asset).rpartition(".")[0]
        tail = stem.replace(".", "_").split("_")
        texts = [str(band.get("name") or ""), key, str(band.get("common_name") or ""), tail[-1], "_".join(tail[-2:])]
        for text in texts:
            lower = text.lower()
            if lower in self.extra:
                return lower, lower
            if lower in FLAG_TABLE_OF:
                return ("quality" if lower in {"qa_pixel", "bqa"} else lower), lower
            if lower in SURFACE_TEMPERATURE_FIELDS:
                return SURFACE_TEMPERATURE, lower
            if lower in table:
                # "lwir11" is the thermal band in Level-1, and surface temperature in Level-2.
                surface = table[lower].startswith("thermal") and any(
                    f in stem.lower() for f in SURFACE_TEMPERATURE_FIELDS
                )
                return (SURFACE_TEMPERATURE if surface else table[lower]), lower
        return None, ""


def _check_band_count(path: str, key: str, index: int, stated: int) -> None:
    """Check that a file has a band.

    Args:
        path: The file.
        key: Of its asset.
        index: The band's number, from 1.
        stated: How many bands the item states of the asset.

    Raises:
        SceneError: It does not, or cannot be opened.
    """
    with open_raster(path) as dataset:
        if dataset.count < index:
            raise SceneError(
                f"{path}: found {dataset.count} of the {stated} bands that the item states of the asset {key!r}; "
                "expected all: download the file again, or correct the item"
            )


def _base_name(asset: pystac.Asset) -> str:
    return asset.href.partition("?")[0].rpartition("/")[2]


def _readable(asset: pystac.Asset) -> bool:
    kind = (asset.media_type or "").lower()
    path = asset.href.partition("?")[0].lower()
    return "tiff" in kind or "jp2" in kind or path.endswith((".tif", ".tiff", ".jp2"))


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _is_hls(item: pystac.Item) -> bool:
    return "hls" in f"{item.collection_id or ''} {item.id}".lower()


def _sensor(item: pystac.Item) -> str | None:
    """The sensor by platform and constellation, the collection, or the item's name."""
    platform = f"{item.properties.get('platform', '')} {item.properties.get('constellation', '')}".lower()
    text = platform.replace("_", "-").replace(" ", "-")
    if _is_hls(item) and "s30" in f"{item.collection_id} {item.id}".lower():
        return "sentinel-2-msi"
    for sensor in SENSORS:
        craft = "-".join(sensor.split("-")[:2])  # "landsat-8"
        if craft.startswith("landsat") and (craft in text or craft.replace("-", "") in text):
            return sensor
    if "sentinel-2" in text:
        return "sentinel-2-msi"
    return None if text.strip("-") else sensor_in_name(item.id)


def _level(item: pystac.Item) -> Level | None:
    keys = ("processing:level", "landsat:correction", "s2:product_type", "landsat:processing_level")
    stated = " ".join(str(item.properties.get(key, "")) for key in keys)
    text = f"{stated} {item.collection_id or ''} {item.id}".upper().replace("_", "-")
    if _is_hls(item) or any(
        mark in text for mark in ("L2A", "L2SP", "L2SR", "MSI2A", "C2-L2", "C2L2", "LEVEL-2", " L2")
    ):
        return Level.SURFACE
    if any(mark in text for mark in ("L1C", "L1TP", "L1GT", "L1GS", "MSI1C", "C2-L1", "C2L1")):
        return Level.TOP_OF_ATMOSPHERE
    return None


def _stated(href: str, name: str, band: Mapping[str, Any]) -> Scaling | None:
    """Return the scaling that the item states of a band, or None if it states neither scale nor offset.

    Raises:
        SceneError: The scale is 0, or too small to divide the offset by it.
    """
    scale, offset = number(_text(band.get("scale"))), number(_text(band.get("offset")))
    if scale is None and offset is None:
        return None
    scale, offset = 1.0 if scale is None else scale, offset or 0.0
    if scale == 0.0 or not math.isfinite(offset / scale):
        raise SceneError(
            f"{href}: found the scale {scale} and the offset {offset} of {name}; expected a scale other than 0: "
            "correct the item"
        )
    return Scaling(scale, offset, number(_text(band.get("nodata"))))


def _defaults(item: pystac.Item, sensor: str, level: Level | None, notes: list[str]) -> Scaling | None:
    """The scaling of reflective bands by the product's constants; None if there are none."""
    if _is_hls(item):
        return HLS_REFLECTANCE
    if not sensor.startswith("landsat") or level is None:
        return None
    if level is Level.SURFACE:
        return LANDSAT_SURFACE
    sun = number(_text(item.properties.get("view:sun_elevation")))
    if sensor in _OLI and sun and sun > 0:
        constant = OLI_TOP_OF_ATMOSPHERE
        return top_of_atmosphere(constant.scale, constant.offset, sun, constant.stored_as)
    if sensor in _OLI:
        notes.append("the item states no sun elevation (view:sun_elevation), so reflectances are too low by its sine")
        return OLI_TOP_OF_ATMOSPHERE
    return None


def _scaling_of(
    name: str, stated: Scaling | None, defaults: Scaling | None, reader: _Reader, item: pystac.Item
) -> tuple[Scaling, bool]:
    """The scaling of a band, and whether it is a constant, which tags of the file overrule."""
    if name in reader.extra:
        return stated or Scaling(), stated is None
    if name == SURFACE_TEMPERATURE:
        usual = LANDSAT_SURFACE_TEMPERATURE
    elif name.startswith("thermal"):
        usual = HLS_TEMPERATURE if _is_hls(item) else LANDSAT_FILL
    else:
        usual = defaults or Scaling(unit=REFLECTANCE if stated else DIGITAL_NUMBER)
    if stated is None:
        return usual, True
    nodata = usual.nodata if stated.nodata is None else stated.nodata
    if name.startswith("thermal"):
        return (usual, True) if _is_hls(item) else (Scaling(nodata=nodata), False)
    return Scaling(stated.scale, stated.offset, nodata, usual.unit), False


def _sentinel_offset(
    item: pystac.Item,
    acquired: date | None,
    found: Mapping[str, _Found],
    stated: Mapping[str, Scaling | None],
    notes: list[str],
) -> float:
    """Sentinel-2's offset in stored numbers: as the item states it, unless the pixels contradict it.

    The items of earth-search state offsets that their files do not have (Element84/earth-search, issues 66 and 71).
    """
    values = _values(found)
    infrared = not {"swir1", "swir2"}.isdisjoint(found)
    by_pixels = offset_by_pixels(values, infrared=infrared)
    scaling = next((value for value in stated.values() if value and value.scale != 1.0), None)
    applied = item.properties.get("earthsearch:boa_offset_applied", item.properties.get("sentinel:boa_offset_applied"))
    baseline = number(_text(item.properties.get("s2:processing_baseline", item.properties.get("processing:version"))))
    said: float | None = None
    if applied is True:
        said = 0.0
    elif scaling is not None:
        said = round(scaling.offset / scaling.scale)
    elif baseline is not None:
        said = float(SENTINEL_2_OFFSET if baseline >= SENTINEL_2_FIRST_OFFSET_BASELINE else 0)
    if said is None:
        offset, note = guess_offset(values, item.datetime or acquired, infrared=infrared)
        notes.append(note)
        return float(offset)
    if by_pixels is not None and by_pixels != said:
        notes.append(
            f"{item.id}: the item states the offset {said:g}, but its pixels show {by_pixels}, which is used: check a "
            "dark place"
        )
        return float(by_pixels)
    return said


def _values(found: Mapping[str, _Found]) -> NDArray[np.float64]:
    parts: list[NDArray[np.float64]] = [np.zeros(0)]
    for name in ("blue", "red", "nir", "swir1", "swir2"):
        if (asset := found.get(name)) is not None:
            with open_raster(asset.path) as dataset:
                if not str(dataset.dtypes[asset.index - 1]).startswith("float"):
                    parts.append(sample(dataset, asset.index, 0))
    return np.concatenate(parts)


def _final_level(
    told: Level | None, bands: list[BandSource], stated: Mapping[str, Scaling | None], notes: list[str]
) -> Level | None:
    units = {band.unit for band in bands}
    if REFLECTANCE not in units:
        notes.append("nothing states a scale that holds for the item's bands; they are read as digital numbers")
        return None
    if len(units) > 1:
        raise SceneError("found a scale for some bands of the item only; expected one for every band, or for none")
    characteristic = {level_of(value) for value in stated.values() if value} - {None}
    if told is None and len(characteristic) != 1:
        notes.append("nothing states what the reflectances refer to; taken as of the surface: say --level if another")
    if characteristic == {Level.TOP_OF_ATMOSPHERE_SUN_UNCORRECTED}:
        return Level.TOP_OF_ATMOSPHERE_SUN_UNCORRECTED
    return told or (characteristic.pop() if len(characteristic) == 1 else Level.SURFACE)


def _finest_first(bands: list[BandSource], sensor: str) -> tuple[BandSource, ...]:
    """Sort the bands by pixel size as acquired, then in the order of the sensor's table."""
    table = [band.name for band in sensor_bands(sensor)]
    size = {band.name: band.resolution_m for band in sensor_bands(sensor)}
    return tuple(sorted(bands, key=lambda band: (size[band.name], table.index(band.name))))
