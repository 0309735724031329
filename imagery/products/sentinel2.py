"""Sentinel-2 products as ESA delivers them (SAFE), Level-1C and Level-2A, and loose files with their names."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final
from xml.etree.ElementTree import Element  # types and errors only  # nosec B405

import numpy as np
from numpy.typing import NDArray

from imagery.errors import SceneError
from imagery.products.headers import choose_scaling, date_in_name, finest_first
from imagery.products.listing import Listing
from imagery.products.metadata import elements, moment, number, parse_xml, text_of
from imagery.products.product import Product, left_files, level_of_bands, unique
from imagery.radiometry import SENTINEL_2_FIRST_OFFSET_BASELINE, SENTINEL_2_OFFSET, sample, sentinel_2
from imagery.raster_file import open_raster
from imagery.scene_source import BandSource, QualityBand
from imagery.sensors import FLAG_TABLE_OF, names_of, sensor_bands
from imagery.units import Level

SENSOR: Final = "sentinel-2-msi"

# ESA, "Sentinel-2 Products Specification Document" 14.9, and its naming until 2016 ("S2A_OPER_MSI_L1C_TL_...").
_SAFE: Final = re.compile(
    r"S2[A-D]_MSIL(?P<level>1C|2A)_(?P<day>\d{8}T\d{6})_N(?P<baseline>\d{4})_R\d{3}_(?P<tile>T\w{5})_\d{8}T\d{6}"
)
_OLD_SAFE: Final = re.compile(r"S2[A-D]_(?:OPER|USER)_PRD_MSIL(?P<level>1C|2A)_\w+")
_RASTER: Final = re.compile(
    r"^(?:L2A_)?(?:(?P<tile>T\d{2}[A-Z]{3})_(?P<sensed>\d{8}T\d{6})"
    r"|S2[A-D]_(?:OPER|USER)_\w+?_(?P<made>\d{8}T\d{6})_\w*?(?P<old>T\d{2}[A-Z]{3}))"
    r"_(?P<field>B\d{2}|B8A|SCL|AOT|WVP|TCI|PVI|VIS|CLD|SNW)(?:_(?P<size>10|20|60)m)?\.(?:jp2|tiff?)$",
    re.IGNORECASE,
)
_MASK: Final = re.compile(r"(?P<field>MSK_CLDPRB|MSK_CLASSI|MSK_SNWPRB)_(?:(?P<size>10|20|60)m|B00)\.(?:jp2|tiff?)$")
_REASONS: Final = {
    "AOT": "aerosol, which is not used",
    "WVP": "water vapour, which is not used",
    "TCI": "a picture for viewing",
    "PVI": "a picture for viewing",
    "MSK_SNWPRB": "probability of snow, which never masks ice",
}
_EXPECTED: Final = ("blue", "green", "red", "nir", "swir1", "swir2")
_HARMONISED_SINCE: Final = date(2022, 1, 25)
# Below the offset lie reflectances below 0, which only noise in deep shade produces: at most a few pixels in a hundred.
_SHARE_WITHOUT_OFFSET: Final = 0.05
_SHARE_WITH_OFFSET: Final = 0.0005


@dataclass(frozen=True)
class _Image:
    """What the names of a raster tell.

    Attributes:
        folder: The product's folder relative to the listing; "" if the files lie loose, or the listing is the product.
        tile: "T45RVL".
        moment: When it was sensed ("20181026T044110"), or made in names until 2016; the same for all files of a tile.
        field: The designation in upper case.
        size: Of a pixel in metres; 0 if the name does not tell, as in Level-1C.
        member: The file.
    """

    folder: str
    tile: str
    moment: str
    field: str
    size: int
    member: str


@dataclass
class _Found:
    """The files of one product.

    Attributes:
        rasters: By designation and pixel size in metres (0 if the name does not tell).
        folder: As in `_Image`.
        tile: As there.
        day: Of sensing ("20181026"), or "" if the names do not tell.
        others: What is no raster of the product.
    """

    rasters: dict[str, dict[int, str]] = field(default_factory=dict)
    folder: str = ""
    tile: str = ""
    day: str = ""
    others: list[str] = field(default_factory=list)


def recognise_sentinel_2(listing: Listing) -> Product | None:
    """Return the Sentinel-2 product in a folder or archive, or None if there is none.

    Reflectance is (stored + offset) / quantification as the product's metadata state both. Without metadata the offset
    follows from the processing baseline in the product's name: -1000 from 04.00 on.

    Raises:
        SceneError: There are several tiles or products, a band is there twice, or metadata cannot be read.
    """
    found = _find(listing)
    reflective = set(found.rasters) & {
        band.aliases[0].upper() if band.aliases else band.field_name for band in sensor_bands(SENSOR)
    }
    reflective |= set(found.rasters) & {"B10", "B11", "B12", "B8A"}
    if not reflective:
        return None
    notes: list[str] = []
    metadata = _metadata(listing, found, notes)
    tile = _read_xml(listing, found, r"(?:^|/)(?:MTD_TL|S2[A-D]_(?:OPER|USER)_MTD_L(?:1C|2A)_TL_\w+)\.xml$")
    product_id, level = _identity(listing, metadata, found)
    acquired, acquired_by = _acquired(listing, metadata, tile, product_id, reflective, found)
    quantification, offsets = _radiometry(listing, metadata, product_id, acquired, found, reflective, notes)
    bands, extras, left_out = _bands(listing, found, quantification, offsets, notes)
    zenith = (
        next((text_of(mean, "ZENITH_ANGLE") for mean in elements(tile, "Mean_Sun_Angle")), None)
        if tile is not None
        else None
    )
    sun = number(zenith)
    quality = _quality(listing, found, level, notes)
    missing = [name for name in _EXPECTED if name not in {band.name for band in bands}]
    if missing:
        notes.append(f"{listing.name}: found no file of {', '.join(missing)}; the product has them")
    cloud = (
        number(text_of(metadata, "Cloud_Coverage_Assessment", "CLOUDY_PIXEL_PERCENTAGE"))
        if metadata is not None
        else None
    )
    return Product(
        kind=f"Sentinel-2 Level-{'2A' if level is Level.SURFACE else '1C'}",
        sensor=SENSOR,
        level=level_of_bands(level, bands),
        acquired=acquired,
        acquired_by=acquired_by,
        bands=bands,
        quality=quality,
        extras=extras,
        product_id=product_id,
        sun_elevation_deg=None if sun is None else 90 - sun,
        cloud_percent=cloud,
        notes=unique(notes),
        left_out=(*left_out, *left_files(found.others)),
    )


def offset_by_pixels(values: NDArray[np.float64], *, infrared: bool = True) -> int | None:
    """Return whether stored numbers include Sentinel-2's offset, judged by themselves: 0, -1000, or None if unclear.

    Where it is included, only reflectances below 0 are stored as 1 to 999. Scenes without the offset have such numbers
    in shade, water, and in ice at short-wave infrared. Bright snow has none in the other bands, so that without
    short-wave infrared their absence tells nothing.

    Args:
        values: Valid stored numbers of several bands.
        infrared: Whether short-wave infrared is among them.
    """
    if values.size < 1000:
        return None
    share = float(np.mean(values < -SENTINEL_2_OFFSET))
    if share > _SHARE_WITHOUT_OFFSET:
        return 0
    return SENTINEL_2_OFFSET if infrared and share < _SHARE_WITH_OFFSET else None


def guess_offset(
    values: NDArray[np.float64], acquired: date | datetime | None, *, infrared: bool = True
) -> tuple[int, str]:
    """Return Sentinel-2's offset where nothing states it, by the pixels or else by the day, and a note on the guess.

    Args:
        values: As in `offset_by_pixels`.
        acquired: When the scene was taken; None if unknown, where the pixels count in any case.
        infrared: As in `offset_by_pixels`.
    """
    by_pixels = offset_by_pixels(values, infrared=infrared or acquired is None)
    if by_pixels is not None:
        how = "numbers below 1000 are common" if by_pixels == 0 else "no number lies below 1000"
        return by_pixels, f"nothing states the offset of Sentinel-2's numbers; {by_pixels} is used, as {how}"
    day = acquired.date() if isinstance(acquired, datetime) else acquired
    by_day = SENTINEL_2_OFFSET if day and day >= _HARMONISED_SINCE else 0
    return by_day, (
        f"nothing states the offset of Sentinel-2's numbers; {by_day} is used, the one of new products on the day of "
        f"acquisition ({day or 'unknown'}): check it, products processed again differ"
    )


def _find(listing: Listing) -> _Found:
    """Sort the files of a product.

    Raises:
        SceneError: There are several tiles or products, or two files of one band.
    """
    images: list[_Image] = []
    masks: list[tuple[str, int, str]] = []
    found = _Found()
    inside = any("IMG_DATA/" in member for member in listing.members)
    for base, member in listing.base_names():
        match, mask = _RASTER.match(base), _MASK.search(base)
        if match and (not inside or "IMG_DATA/" in member):
            tile, moment = (match["tile"] or match["old"]).upper(), (match["sensed"] or match["made"]).upper()
            size = int(match["size"] or 0)
            images.append(_Image(_product_folder(member), tile, moment, match["field"].upper(), size, member))
        elif mask:
            masks.append((mask["field"].upper(), int(mask["size"] or 0), member))
        else:
            found.others.append(member)
    if images:
        _check_one_product(listing, images)
        found.folder, found.tile = images[0].folder, images[0].tile
        named = _RASTER.match(images[0].member.rpartition("/")[2])
        found.day = images[0].moment[:8] if named and named["sensed"] else ""
    for designation, size, member in [(image.field, image.size, image.member) for image in images] + masks:
        if _product_folder(member) != found.folder:
            found.others.append(member)
            continue
        sizes = found.rasters.setdefault(designation, {})
        if size in sizes:
            raise SceneError(
                f"{listing.root}: found {sizes[size]} and {member}, which are the same band; expected each once: move "
                "one out of the folder"
            )
        sizes[size] = member
    return found


def _product_folder(member: str) -> str:
    """Return the folder of the product that a file belongs to, by GRANULE or the product's name; "" without either."""
    folders = member.split("/")[:-1]
    if "GRANULE" in folders:
        return "/".join(folders[: folders.index("GRANULE")])
    last = max((i for i, part in enumerate(folders) if _SAFE.search(part) or _OLD_SAFE.search(part)), default=-1)
    return "/".join(folders[: last + 1])


def _check_one_product(listing: Listing, images: Sequence[_Image]) -> None:
    """Refuse images of several tiles, products or levels."""
    tiles = sorted({image.tile for image in images})
    if len(tiles) > 1:
        raise SceneError(
            f"{listing.root}: found the tiles {', '.join(tiles)}; expected one: give the folder of one "
            "(GRANULE/... in a product of several)"
        )
    folders = sorted({image.folder for image in images})
    if len(folders) > 1:
        listed = ", ".join(repr(listing.path(name) if name else listing.root) for name in folders)
        loose = ", after moving the loose files out of it" if "" in folders else ""
        raise SceneError(
            f"{listing.root}: found {len(folders)} products of {tiles[0]}; expected one: give one of the folders "
            f"{listed}{loose}"
        )
    moments = sorted({image.moment for image in images})
    if len(moments) > 1:
        names = [f"{tiles[0]}_{moment}" for moment in moments]
        commands = " && ".join(f"mkdir {name} && mv {name}_* {name}/" for name in names)
        raise SceneError(
            f"{listing.root}: found the products {', '.join(names)}; expected one: put each into its own folder, for "
            f"example {commands}"
        )
    bands = [image for image in images if image.field.startswith("B")]
    sized, plain = ([image for image in bands if bool(image.size) is told] for told in (True, False))
    if sized and plain:
        raise SceneError(
            f"{listing.root}: found {sized[0].member}, named as in Level-2A, and {plain[0].member}, as in Level-1C; "
            "expected one product: put each into its own folder"
        )


def _metadata(listing: Listing, found: _Found, notes: list[str]) -> Element | None:
    """Read the product's metadata, unless they are of another product."""
    metadata = _read_xml(
        listing, found, r"(?:^|/)(?:MTD_MSIL(?:1C|2A)|S2[A-D]_(?:OPER|USER)_MTD_SAFL(?:1C|2A)_\w+)\.xml$"
    )
    if metadata is None:
        return None
    stated = _stated_name(metadata)
    match = _SAFE.search(stated or "")
    if match and not _is_of(found, match):
        notes.append(
            f"{listing.name}: found the metadata of {match[0]}, not of {found.tile} of {found.day}, which the files "
            "are: not used"
        )
        return None
    return metadata


def _stated_name(metadata: Element) -> str | None:
    return text_of(metadata, "PRODUCT_URI", "PRODUCT_URI_2A", "PRODUCT_URI_1C")


def _is_of(found: _Found, name: re.Match[str]) -> bool:
    """Return whether a product's name agrees with the names of the files: in tile and day, where both tell them."""
    parts = name.groupdict()
    tile, day = parts.get("tile"), (parts.get("day") or "")[:8]
    return (not tile or tile.upper() == found.tile) and (not day or not found.day or day == found.day)


def _read_xml(listing: Listing, found: _Found, pattern: str) -> Element | None:
    """Read the first member of the product whose name matches; it is no longer among the others.

    Raises:
        SceneError: Beside loose files lie several of them, or it cannot be read.
    """
    inside = f"{found.folder}/" if found.folder else ""
    members = [
        member
        for member in found.others
        if member.startswith(inside) and re.search(pattern, member) and "/DATASTRIP/" not in f"/{member}"
    ]
    if not members:
        return None
    if len(members) > 1 and not any("GRANULE/" in member for member in listing.members):
        raise SceneError(
            f"{listing.root}: found the metadata {', '.join(members)}; expected those of one product: move the others "
            "out of the folder"
        )
    found.others.remove(members[0])
    return parse_xml(listing.read(members[0]), members[0])


def _identity(listing: Listing, metadata: Element | None, found: _Found) -> tuple[str | None, Level]:
    """The product's name and level: by its metadata, its folder's name, or the names of its files."""
    stated = _stated_name(metadata) if metadata is not None else None
    folders = [part for member in listing.members for part in member.split("/")[:-1]]
    for text in (stated, *listing.root.split("/")[::-1], listing.name, *dict.fromkeys(folders)):
        match = (_SAFE.search(text) or _OLD_SAFE.search(text)) if text else None
        if match and _is_of(found, match):
            return match.group(0).removesuffix("_SAFE"), Level.SURFACE if match[
                "level"
            ] == "2A" else Level.TOP_OF_ATMOSPHERE
    sizes = {size for sizes in found.rasters.values() for size in sizes if size}
    surface = bool(sizes) or "SCL" in found.rasters
    return None, Level.SURFACE if surface else Level.TOP_OF_ATMOSPHERE


def _acquired(
    listing: Listing,
    metadata: Element | None,
    tile: Element | None,
    product_id: str | None,
    reflective: set[str],
    found: _Found,
) -> tuple[date | datetime | None, str | None]:
    """Return when the scene was sensed, and what that was guessed from; None if the product states it.

    Names of files until 2016 hold the moment of processing only: there the granule's metadata count, or else the first
    moment of sensing in the product's name ("..._V20150804T103006_20150804T103006").
    """
    stated = moment(text_of(metadata, "PRODUCT_START_TIME")) if metadata is not None else None
    safe = _SAFE.search(product_id or "")
    if stated or safe:
        return stated or date_in_name(safe["day"] if safe else "") or date_in_name(listing.name), None
    first = min(next(iter(found.rasters[name].values())) for name in reflective)
    by_names = date_in_name(first.rpartition("/")[2]) or date_in_name(listing.name)
    if found.day:
        return by_names, "the names of its files" if metadata is None and product_id is None else None
    sensed = moment(text_of(tile, "SENSING_TIME")) if tile is not None else None
    period = re.search(r"_V(\d{8}T\d{6})", product_id or "")
    told = sensed or (date_in_name(period[1]) if period else None)
    return (told, None) if told else (by_names, "the names of its files, which tell when they were processed")


def _radiometry(
    listing: Listing,
    metadata: Element | None,
    product_id: str | None,
    acquired: date | datetime | None,
    found: _Found,
    reflective: set[str],
    notes: list[str],
) -> tuple[float, dict[str, float]]:
    """Quantification value, and offset by our band name: from metadata, the baseline, or the pixels."""
    order = [band.name for band in sensor_bands(SENSOR)]
    named = _SAFE.search(product_id or "")
    in_name = int(named["baseline"]) / 100 if named else None
    if metadata is not None:
        quantification = number(
            text_of(metadata, "BOA_QUANTIFICATION_VALUE", "L2A_BOA_QUANTIFICATION_VALUE", "QUANTIFICATION_VALUE")
        )
        stated = _stated_offsets(metadata, "BOA_ADD_OFFSET") or _stated_offsets(metadata, "RADIO_ADD_OFFSET")
        baseline = number(text_of(metadata, "PROCESSING_BASELINE"))
        if stated:
            return quantification or 10_000.0, {name: stated.get(name, next(iter(stated.values()))) for name in order}
        if baseline is not None and baseline < SENTINEL_2_FIRST_OFFSET_BASELINE:
            return quantification or 10_000.0, dict.fromkeys(order, 0.0)
        in_name = baseline if baseline is not None else in_name
        if in_name is not None:
            notes.append(f"{listing.name}: the metadata state no offsets (BOA_ADD_OFFSET, RADIO_ADD_OFFSET)")
        else:
            return quantification or 10_000.0, dict.fromkeys(order, 0.0)  # products of 2015, before baselines
    # 99.99 is the baseline of products made by the user's own processor: it tells nothing.
    if in_name is not None and in_name < 99:
        offset = SENTINEL_2_OFFSET if in_name >= SENTINEL_2_FIRST_OFFSET_BASELINE else 0
        if metadata is None:
            notes.append(
                f"{listing.name}: found no metadata file (MTD_MSIL1C.xml, MTD_MSIL2A.xml); the offset {offset} follows "
                f"from the processing baseline {in_name:05.2f} in the product's name"
            )
        return 10_000.0, dict.fromkeys(order, float(offset))
    offset, note = guess_offset(
        _values(listing, found, reflective), acquired, infrared=bool(reflective & {"B11", "B12"})
    )
    notes.append(f"{listing.name}: {note}")
    return 10_000.0, dict.fromkeys(order, float(offset))


def _stated_offsets(metadata: Element, name: str) -> dict[str, float]:
    """Offsets by our band names; `band_id` 0 is B1, 8 is B8A, 12 is B12, as in the sensor's table."""
    names = {str(place): band.name for place, band in enumerate(sensor_bands(SENSOR))}
    offsets: dict[str, float] = {}
    for element in elements(metadata, name):
        band, value = element.get("band_id"), number(element.text)
        if band in names and value is not None:
            offsets[names[band]] = value
    return offsets


def _values(listing: Listing, found: _Found, reflective: set[str]) -> NDArray[np.float64]:
    """Some stored numbers of all reflective bands."""
    parts = []
    for name in sorted(reflective - {"B10"}):  # cirrus is near 0 everywhere
        with open_raster(listing.path(found.rasters[name][min(found.rasters[name])])) as dataset:
            parts.append(sample(dataset, 1, 0))
    return np.concatenate(parts)


def _bands(
    listing: Listing, found: _Found, quantification: float, offsets: dict[str, float], notes: list[str]
) -> tuple[tuple[BandSource, ...], tuple[BandSource, ...], list[tuple[str, str]]]:
    """The bands, 10 m first, each at its finest resolution; those of the atmosphere as extras; what is left out."""
    named = names_of(SENSOR)
    bands: list[BandSource] = []
    extras: list[BandSource] = []
    left_out: list[tuple[str, str]] = []
    table = {band.name: band for band in sensor_bands(SENSOR)}
    for designation, sizes in found.rasters.items():
        finest = min(sizes)
        copies = [
            (sizes[size], f"a coarser copy of {designation} at {finest} m") for size in sorted(sizes) if size != finest
        ]
        left_out += copies
        name = named.get(designation.lower())
        if name is None:
            if designation not in {"SCL", "MSK_CLDPRB", "MSK_CLASSI"}:
                left_out.append((sizes[finest], _REASONS.get(designation, "not a band")))
            continue
        path = listing.path(sizes[finest])
        with open_raster(path) as dataset:
            scaling, found_notes = choose_scaling(
                dataset, 1, sentinel_2(offsets[name], quantification), check=name in {"red", "nir_narrow"}
            )
        notes += found_notes
        source = scaling.band(name, path)
        if table[name].stacked:
            bands.append(source)
        else:
            extras.append(source)
    order = list(table)
    bands.sort(key=lambda band: order.index(band.name))
    return tuple(finest_first(bands)), tuple(extras), left_out


def _quality(listing: Listing, found: _Found, level: Level, notes: list[str]) -> tuple[QualityBand, ...]:
    """Scene classification and cloud probability of Level-2A; the cloud classes of Level-1C from baseline 04.00."""

    def path(name: str) -> str:
        return listing.path(found.rasters[name][min(found.rasters[name])])

    quality = [
        QualityBand(name.lower(), path(name), 1, FLAG_TABLE_OF[name.lower()])
        for name in ("SCL", "MSK_CLDPRB")
        if name in found.rasters
    ]
    if "MSK_CLASSI" in found.rasters and level is Level.TOP_OF_ATMOSPHERE:
        # Its bands are masks of opaque cloud, of cirrus, and of snow, which never masks ice.
        quality += [
            QualityBand(name, path("MSK_CLASSI"), index, FLAG_TABLE_OF[name])
            for index, name in ((1, "msk_classi_opaque"), (2, "msk_classi_cirrus"))
        ]
    if not quality:
        vector = any("MSK_CLOUDS" in member for member in found.others)
        why = " (those of this product are outlines, which are not read)" if vector else ""
        notes.append(f"{listing.name}: found no raster of clouds{why}, so clouds and shadows are not masked")
    return tuple(quality)
