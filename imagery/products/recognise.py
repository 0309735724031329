"""Recognise what a user brings: a product's folder, archive or file, a STAC item, or any raster."""

import re
from collections.abc import Collection
from datetime import date
from pathlib import Path

from imagery.channels import ELEVATION
from imagery.errors import SceneError
from imagery.paths import is_address
from imagery.products.baraka import recognise_baraka
from imagery.products.bundle import bands_in_file, bands_in_folder, one_band_of, without_common_ending
from imagery.products.headers import date_in_name, is_raster, sensor_in_name
from imagery.products.hls import hls_id, hls_sensor, recognise_hls
from imagery.products.landsat import recognise_landsat
from imagery.products.listing import Listing, is_archive, list_files
from imagery.products.plain import Stated, recognise_plain
from imagery.products.planetscope import recognise_file as recognise_planet_file
from imagery.products.planetscope import recognise_planetscope
from imagery.products.product import Product
from imagery.products.sentinel2 import recognise_sentinel_2
from imagery.products.stac import recognise_item
from imagery.products.stac_item import Permit, is_http, local_files_only
from imagery.raster_file import open_raster
from imagery.sensors import sensor_bands
from imagery.units import Level


def recognise(
    path: str,
    *,
    sensor: str | None = None,
    level: Level | None = None,
    acquired: date | None = None,
    nodata: float | None = None,
    extra: Collection[str] = (),
    permit: Permit = local_files_only,
) -> Product:
    """Return what a folder, archive or file is, with each band's place, scale and unit. Headers and metadata are read.

    Recognised are, in this order: folders, .zip and .tar of Landsat (before the collections, Collections 1 and 2), of
    Sentinel-2 (SAFE), of PlanetScope and of HLS; a STAC item; a tile of Baraka et al.; an export of Earth Engine; any
    raster or folder whose bands have known names.

    Args:
        path: A local path, or an http address of a STAC item.
        sensor: A key of `imagery.sensors.SENSORS`, where the product does not tell it.
        level: What reflectances refer to, where the product does not tell it.
        acquired: When the image was taken, where the product does not tell it: the day may decide about its scaling.
        nodata: A stored number that means no data in files of no known product, in addition to what they declare.
            Pixels are judged without it; the bands do not state it (see `imagery.describe_scene.describe`).
        extra: Names of bands that are no bands of a sensor and become further channels.
        permit: Decides which files and addresses a STAC item may lead to.

    Raises:
        SceneError: The path is not there or is not recognised, is ambiguous, or contradicts `sensor` or `level`.
    """
    if sensor is not None:
        sensor_bands(sensor)  # refuses an unknown one
    stated = Stated(sensor, level, extra, acquired, nodata)
    if is_http(path) or (path.lower().endswith((".json", ".geojson")) and not path.lower().endswith("_mtl.json")):
        product = recognise_item(path, sensor=sensor, level=level, acquired=acquired, extra=extra, permit=permit)
    elif not is_address(path) and not Path(path).exists():
        raise SceneError(f"{path}: found no such file or folder; expected a product's folder, archive or file")
    elif not is_address(path) and (Path(path).is_dir() or is_archive(path)):
        product = _folder(list_files(path), stated)
    elif Path(path).name.lower().endswith(("_mtl.txt", "_mtl.json", "_mtl.xml", "mtd_msil1c.xml", "mtd_msil2a.xml")):
        product = _folder(list_files(str(Path(path).absolute().parent)), stated)
    else:
        product = _file(path, stated)
    if sensor is not None and product.sensor != sensor:
        raise SceneError(
            f"{path}: found a product of {product.sensor}; expected {sensor}, as stated: leave --sensor out"
        )
    if level is not None and product.level not in {level, None}:
        raise SceneError(f"{path}: found reflectance {product.level}; expected {level}, as stated: leave --level out")
    return product


def _folder(listing: Listing, stated: Stated) -> Product:
    listing = without_common_ending(listing)
    product = recognise_landsat(listing) or recognise_sentinel_2(listing) or recognise_planetscope(listing)
    if product:
        return product
    found, others = bands_in_folder(listing)
    granules = {text for text in (hls_id(member) for member in (listing.name, *listing.members)) if text}
    if len(granules) > 1:
        raise SceneError(f"{listing.root}: found the granules {', '.join(sorted(granules))}; expected one in a folder")
    if granules and found:
        return recognise_hls(granules.pop(), found, others, stated.sensor)
    rasters = [member for member in listing.members if is_raster(member)]
    if not found and len(rasters) == 1:
        return _file(listing.path(rasters[0]), stated)
    if not found:
        raise SceneError(_unrecognised(listing, rasters))
    # The folder's name, or else those of its files, tell sensor and date; elevation is of another day.
    tells = sensor_in_name(listing.name) and date_in_name(listing.name)
    first = next((item for item in found if item.designation.lower() != ELEVATION), found[0])
    name = listing.name if tells else f"{listing.name}/{first.label.rpartition('/')[2]}"
    return recognise_plain(name, found, stated, others=others)


def _unrecognised(listing: Listing, rasters: list[str]) -> str:
    archives = [member for member in listing.members if is_archive(member)]
    names = ", ".join((rasters or list(listing.members))[:5])
    if archives and not rasters:
        return f"{listing.root}: found the archives {', '.join(archives[:5])}; expected one product: give one archive"
    if rasters and all(re.search(r"-\d{10}-\d{10}\.\w+$", member) for member in rasters):
        return (
            f"{listing.root}: found an export of Earth Engine in several parts ({names}); expected one file: join them "
            "with gdalbuildvrt scene.vrt *.tif, and give scene.vrt"
        )
    more = ", ..." if len(rasters or listing.members) > 5 else ""
    return (
        f"{listing.root}: found {names}{more}; expected a product of Landsat, Sentinel-2, HLS or PlanetScope, or one "
        "file for each band whose name ends with the band's (..._B4.tif, ..._red.tif): give the file to use, or each "
        "band with --band NAME=FILE"
    )


def _file(path: str, stated: Stated) -> Product:
    granule = hls_id(path.rpartition("/")[2])
    _check_whole(path, certain=granule is not None)
    if granule:
        return recognise_hls(granule, bands_in_file(path, stated.sensor or hls_sensor(granule)), [], stated.sensor)
    product = recognise_baraka(path) or (None if is_address(path) else recognise_planet_file(path))
    if product:
        return product
    located = bands_in_file(path, stated.sensor or sensor_in_name(path.rpartition("/")[2]), stated.extra)
    return recognise_plain(path.rpartition("/")[2], located, stated)


def _check_whole(path: str, *, certain: bool) -> None:
    """Refuse a file that is one band of a product: by its name alone if that is a provider's, for certain."""
    designation = one_band_of(path.rpartition("/")[2])
    with open_raster(path) as dataset:
        alone = dataset.count == 1 and (certain or not dataset.descriptions[0])
    if alone and designation:
        raise SceneError(
            f"{path}: found one band ({designation}) of a product in several files; expected the whole product: give "
            f"its folder, {str(Path(path).parent)!r}"
        )
