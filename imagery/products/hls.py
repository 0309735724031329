"""Harmonized Landsat and Sentinel-2 (HLS 2.0): granules of NASA, in files of one band or in one file."""

import re
from collections.abc import Iterable
from datetime import date
from typing import Final

from imagery.errors import SceneError
from imagery.products.bundle import Located, notes_on_names
from imagery.products.headers import (
    check_tags,
    choose_scaling,
    choose_thermal,
    date_in_name,
    notes_on_landsat_of_hls,
)
from imagery.products.metadata import number
from imagery.products.product import Product, level_of_bands, unique
from imagery.radiometry import HLS_REFLECTANCE, HLS_TEMPERATURE
from imagery.raster_file import open_raster
from imagery.scene_source import BandSource, QualityBand
from imagery.sensors import FLAG_TABLE_OF, names_of, sensor_bands
from imagery.units import Level

# "HLS Product User Guide" 2.0: B05 is near infrared in L30, and red edge in S30.
_ID: Final = re.compile(r"HLS\.(?P<kind>L30|S30)\.T\w{5}\.(?P<day>\d{7}T\d{6})\.v(?P<version>\d+\.\d+)", re.IGNORECASE)
_SENSORS: Final = {"L30": "landsat-8-oli", "S30": "sentinel-2-msi"}
_LANDSAT: Final = {"8": "landsat-8-oli", "9": "landsat-9-oli-2"}
_REASONS: Final = dict.fromkeys(("SZA", "SAA", "VZA", "VAA"), "angles of sun and view, which are not used")


def hls_id(text: str) -> str | None:
    """Return the granule's name in a text, or None."""
    match = _ID.search(text)
    return match.group(0) if match else None


def hls_sensor(product_id: str) -> str:
    """Return the sensor of a granule: its bands are numbered as on Landsat 8 (L30) or on Sentinel-2 (S30)."""
    return _SENSORS["L30" if ".L30." in product_id.upper() else "S30"]


def recognise_hls(
    product_id: str, located: list[Located], others: list[tuple[str, str]], sensor: str | None = None
) -> Product:
    """Return the HLS granule that these bands make up.

    Tags of the files state scale and offset; where they do not, reflectance is stored x 1e-4. They also name the scenes
    of Landsat that an L30 granule was made of.

    Args:
        product_id: The granule's name, from which the kind and time follow.
        located: Its bands, by HLS's designations.
        others: Files that are no bands, each with the reason.
        sensor: As the user states it, or None; it decides between Landsat 8 and 9 where the tags do not.

    Raises:
        SceneError: A band is unknown, or there is none.
    """
    match = _ID.search(product_id)
    if match is None:
        raise SceneError(
            f"found {product_id!r}; expected the name of an HLS granule (HLS.L30.T45RVL.2018299T044110.v2.0)"
        )
    kind = match["kind"].upper()
    acquired = date_in_name(match["day"])
    named = names_of(_SENSORS[kind])
    stacked = {band.name for band in sensor_bands(_SENSORS[kind]) if band.stacked}
    notes: list[str] = []
    bands: list[BandSource] = []
    extras: list[BandSource] = []
    quality: list[QualityBand] = []
    left_out = list(others)
    texts: list[str] = []
    cloud = zenith = None
    for item in located:
        name = named.get(item.designation.lower())
        if item.designation.lower() == "fmask":
            quality.append(QualityBand("fmask", item.path, item.index, FLAG_TABLE_OF["fmask"]))
        elif name is None:
            left_out.append((item.label, _REASONS.get(item.designation.upper(), f"not a band of HLS {kind}")))
        else:
            with open_raster(item.path) as dataset:
                if name.startswith("thermal"):
                    scaling, found = choose_thermal(dataset, item.index, HLS_TEMPERATURE, constant=True)
                else:
                    scaling, found = choose_scaling(dataset, item.index, HLS_REFLECTANCE, constant=True)
                tags = dataset.tags()
            notes += found
            texts += tags.values()
            cloud = number(tags.get("cloud_coverage")) if cloud is None else cloud
            zenith = number(tags.get("MEAN_SUN_ZENITH_ANGLE")) if zenith is None else zenith
            (bands if name in stacked else extras).append(scaling.band(name, item.path, item.index))
    if not bands:
        raise SceneError(f"{product_id}: found no reflective band; expected files such as {product_id}.B04.tif")
    check_tags(bands)
    known, more = _landsat(texts, acquired, sensor) if kind == "L30" else (_SENSORS[kind], [])
    notes += more
    notes += notes_on_names(
        [(item, name) for item in located if (name := named.get(item.designation.lower())) is not None], known
    )
    if not quality:
        notes.append(f"{product_id}: found no Fmask file, so clouds and shadows are not masked")
    order = [band.name for band in sensor_bands(known)]
    return Product(
        kind=f"HLS {kind} {match['version']}",
        sensor=known,
        level=level_of_bands(Level.SURFACE, bands),
        acquired=acquired,
        bands=tuple(sorted(bands, key=lambda band: order.index(band.name))),
        quality=tuple(quality),
        extras=tuple(extras),
        product_id=match.group(0),
        sun_elevation_deg=None if zenith is None else 90 - zenith,
        cloud_percent=cloud,
        notes=unique(notes),
        left_out=tuple(left_out),
    )


def _landsat(texts: Iterable[str], acquired: date | None, stated: str | None) -> tuple[str, list[str]]:
    """Return the sensor of an L30 granule, and notes: that of the Landsat scenes which tags name, else as stated."""
    found = {digit for text in texts for digit in re.findall(r"L[CO]0([89])_", text)}
    if len(found) == 1:
        return _LANDSAT[found.pop()], []
    notes = notes_on_landsat_of_hls(acquired)
    sensor = stated if stated in _LANDSAT.values() and (found or notes) else None
    sensor = sensor or _LANDSAT["8"]
    if found:
        return sensor, [f"the granule is made of scenes of Landsat 8 and of Landsat 9; taken as {sensor}"]
    return sensor, notes if stated is None else []
