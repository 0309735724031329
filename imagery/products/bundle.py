"""Bands by their designations, wherever they lie: in one file of many bands, or in many files of one band."""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Final

from rasterio.io import DatasetReader

from imagery.band_descriptions import band_wavelength, contradicts, read_description, usual_wavelengths
from imagery.band_names import data_indexes, designations, is_described
from imagery.channels import ELEVATION
from imagery.errors import SceneError
from imagery.products.headers import date_in_name, is_raster
from imagery.products.listing import Listing
from imagery.raster_file import open_raster
from imagery.vrt import band_sources

# What providers append to the name of a file of one band: "..._SR_B4.TIF", "...v2.0.B04.tif", "image.B4.tif".
_FIELD: Final = re.compile(
    r"(?:^|[._\- ])(?P<field>SR_B\d{1,2}|ST_B\d{1,2}|sr_band\d|B6_VCID_[12]|B8A|B\d{1,2}|QA_PIXEL|QA_RADSAT"
    r"|SR_QA_AEROSOL|SR_CLOUD_QA|BQA|QA60|SCL|AOT|WVP|TCI|MSK_CLDPRB|MSK_SNWPRB|MSK_CLASSI_OPAQUE|MSK_CLASSI_CIRRUS"
    r"|Fmask|SZA|SAA|VZA|VAA"
    r"|cloud_?mask|coastal|blue|green|red|rededge[1-3]|nir|nir08|nir09|nir_narrow|swir1|swir2|swir16|swir22|pan|elevation"
    r"|thermal1?|thermal2|thermal_low|thermal_high|water_vapour|cirrus)(?:_(?:10|20|30|60)m)?$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Located:
    """One band of a product.

    Attributes:
        designation: As the provider calls it ("SR_B4").
        path: Its file.
        index: Its number in the file, from 1.
        label: What to call it in messages.
        described: The description that the designation was taken from, if it says it in other or several words; else
            None.
        by_place: Whether only the band's place in the file tells the designation.
        by_file: The name of the file that tells the designation of a virtual raster's band; else None.
        wavelength_um: Its wavelength in micrometres, by metadata or description; None if unknown.
    """

    designation: str
    path: str
    index: int
    label: str
    described: str | None = None
    by_place: bool = False
    by_file: str | None = None
    wavelength_um: float | None = None


def bands_in_file(path: str, sensor: str | None, extra: Collection[str] = ()) -> list[Located]:
    """Return the bands of a file by their descriptions, or else by the sensor's table.

    Bands of a virtual raster without descriptions are named by the files that they are made of.

    Args:
        path: The raster file.
        sensor: A key of `imagery.sensors.SENSORS`; None if unknown.
        extra: Names of further channels: descriptions that are not read as anything else.

    Raises:
        SceneError: The file cannot be read, or its bands cannot be told apart.
    """
    with open_raster(path) as dataset:
        indexes = data_indexes(dataset, sensor)
        sources = _sources_that_name_bands(path, dataset)
        fields = {index: field for index, (field, _) in sources.items()}
        given, by_place = designations(dataset, indexes, sensor, fields)
        declared = frozenset(name.strip().lower() for name in extra)
        short = [_without_export_marks(text) for text in _without_common_beginning(given)]
        texts = _if_distinct(_but_for(declared, given, short), given)
        plain = _if_distinct(_but_for(declared, texts, [_in_one_word(text) for text in texts]), texts)
        wavelengths = [band_wavelength(dataset, index) for index in indexes]
    return [
        Located(
            designation,
            path,
            index,
            f"band {index} ({text})",
            text if text.lower() not in declared and (designation != text or _has_several_words(text)) else None,
            by_place,
            None if by_place or index not in sources else sources[index][1],
            wavelength,
        )
        for index, text, designation, wavelength in zip(indexes, texts, plain, wavelengths, strict=True)
    ]


def _sources_that_name_bands(path: str, dataset: DatasetReader) -> dict[int, tuple[str, str]]:
    """Return designation and file name of the bands of a virtual raster, by index, that have no description.

    `gdalbuildvrt -separate`, which QGIS calls, makes a band of each file and keeps its name alone. A file that gives
    several bands names none, and neither do files that tell different bands.
    """
    if dataset.driver != "VRT":
        return {}
    files = band_sources(path)
    counts = Counter(file for band in files for file in band)
    single = {
        index: band
        for index, band in enumerate(files, start=1)
        if all(counts[file] == 1 for file in band) and not is_described(dataset.descriptions[index - 1])
    }
    listing = without_common_ending(Listing(path, "", tuple(file for band in single.values() for file in band), ""))
    fields = {file: one_band_of(base) for base, file in listing.base_names()}
    told = {index: {fields[file] for file in band} for index, band in single.items()}
    return {
        index: (field, min(single[index]).rpartition("/")[2])
        for index, names in told.items()
        if len(names) == 1 and (field := min(names, key=str)) is not None
    }


def notes_on_names(named: Sequence[tuple[Located, str]], sensor: str | None) -> list[str]:
    """Return notes on names that were not taken literally, and doubts about those that wavelengths contradict.

    Args:
        named: The bands with our names.
        sensor: A key of `imagery.sensors.SENSORS`; None if unknown.
    """
    notes = []
    by_place = [f"band {item.index} is {name}" for item, name in named if item.by_place]
    by_file = [f"band {item.index} is {name} ({item.by_file})" for item, name in named if item.by_file is not None]
    others = [f"{item.described!r} is {name}" for item, name in named if item.described is not None]
    if by_place:
        notes.append(
            f"no descriptions tell the bands apart; by their places, as {sensor} is usually stacked, "
            f"{', '.join(by_place)}: check the order"
        )
    if by_file:
        notes.append(
            "no descriptions tell the bands apart; by the files that the virtual raster is made of, "
            f"{', '.join(by_file)}"
        )
    if others:
        notes.append(f"the descriptions of the bands were understood so: {', '.join(others)}")
    for item, name in named:
        usual = usual_wavelengths(name, sensor)
        if usual and contradicts(name, sensor, item.wavelength_um):
            notes.append(
                f"{item.path}, band {item.index}: the wavelength {item.wavelength_um:.4g} um is not that of {name}, as "
                f"which it is taken ({usual[0]:.3g} to {usual[1]:.3g} um): check which band it is"
            )
    return notes


def _in_one_word(text: str) -> str:
    """Return a description's only word, "swir1" of "SWIR 1 (1.6um)"; the text itself if it has several or another."""
    words = read_description(text).words
    return words[0] if len(words) == 1 and words[0] != text.lower() else text


def _has_several_words(text: str) -> bool:
    return len(read_description(text).words) > 1


def _but_for(declared: Collection[str], texts: Sequence[str], rewritten: Sequence[str]) -> list[str]:
    """Return the rewritten texts, but those as they are that the user declared, in lower case."""
    return [text if text.lower() in declared else other for text, other in zip(texts, rewritten, strict=True)]


def _if_distinct(texts: list[str], otherwise: list[str]) -> list[str]:
    return texts if len({text.lower() for text in texts}) == len(texts) else otherwise


# Earth Engine puts the number of the image in front of the bands of a collection turned into one image ("0_B4"), and
# appends what a composite was made by ("B4_median").
_EXPORTED: Final = re.compile(
    r"^(?:\d+_)?(?P<field>.+?)(?:_(?:median|mean|min|max|first|mosaic|p\d{1,2}))?$", re.IGNORECASE
)


def _without_export_marks(text: str) -> str:
    match = _EXPORTED.match(text)
    return match["field"] if match else text


def _without_common_beginning(texts: list[str]) -> list[str]:
    """Return designations without the name of the image that stands before all of them ("LC08_140041_20181026_B4")."""
    matches = [_FIELD.search(text) for text in texts]
    before = {text[: match.start("field")] for text, match in zip(texts, matches, strict=True) if match}
    if len(texts) < 2 or len(before) != 1 or None in matches:
        return texts
    return [match["field"] for match in matches if match]


def one_band_of(name: str) -> str | None:
    """Return the designation with which the name of a file of one band ends, or None."""
    match = _FIELD.search(name.rpartition(".")[0])
    return match["field"] if match else None


def without_common_ending(listing: Listing) -> Listing:
    """Return the listing with the ending that was put behind the bands' designations, if no name ends with a band.

    Whoever clips or projects the files of a product renames all of them alike ("..._B4_clip.tif", "... (1).tif"); some
    services write the date last ("..._B04_doy2018299_aid0001.tif").
    """
    stems = [base.rpartition(".")[0] for base, _ in listing.base_names() if is_raster(base)]
    if len(stems) < 2 or any(_FIELD.search(stem) for stem in stems):
        return listing
    columns = zip(*(stem[::-1] for stem in stems), strict=False)
    common = "".join(column[0] for column in takewhile(lambda column: len(set(column)) == 1, columns))[::-1]
    place = re.search(r"[._\- (]", common)
    if place is None:
        return listing
    ending = common[place.start() :]
    fields = [match for stem in stems if (match := _FIELD.search(stem.removesuffix(ending)))]
    return replace(listing, ending=ending) if len(fields) > 1 else listing


def bands_in_folder(listing: Listing) -> tuple[list[Located], list[tuple[str, str]]]:
    """Return the bands of a folder's files by the ends of their names, and the files that are no bands.

    Raises:
        SceneError: Two files are the same band, or their names tell several days, so the folder holds several scenes;
            or a band's file has several bands.
    """
    found: list[Located] = []
    others: list[tuple[str, str]] = []
    for base, member in listing.base_names():
        field = one_band_of(base)
        if not is_raster(base):
            others.append((member, _why_no_raster(listing, member)))
        elif field is None:
            others.append((member, "its name ends with no band's designation"))
        else:
            wavelength = _wavelength_alone(listing.path(member))
            found.append(Located(field, listing.path(member), 1, member, wavelength_um=wavelength))
    counts = Counter(item.designation.lower() for item in found)
    if counts and max(counts.values()) > 1:
        twice = next(name for name, count in counts.items() if count > 1)
        files = ", ".join(item.label for item in found if item.designation.lower() == twice)
        raise SceneError(
            f"{listing.root}: found {files}, which are the same band; expected the files of one scene: put each scene "
            "into its own folder"
        )
    _check_one_day(listing, found)
    return found, others


def _check_one_day(listing: Listing, located: Sequence[Located]) -> None:
    """Refuse bands whose names, or else the names of their folders, tell several days; elevation may be of any."""
    files: dict[str, str] = {}
    for item in located:
        folder, _, base = item.label.rpartition("/")
        moment = date_in_name(base) or date_in_name(folder)
        if moment is not None and item.designation.lower() != ELEVATION:
            files.setdefault(f"{moment:%Y-%m-%d}", item.label)
    if len(files) > 1:
        listed = ", ".join(f"{label} ({day})" for day, label in sorted(files.items()))
        raise SceneError(
            f"{listing.root}: found bands of {len(files)} days by their names, as {listed}; expected the files of one "
            "scene: put each scene into its own folder, or correct the names"
        )


def _why_no_raster(listing: Listing, member: str) -> str:
    if member.lower().endswith((".json", ".geojson")) and b'"stac_version"' in listing.read(member):
        return "a STAC item or catalog: give the item instead of the folder, as it may state date, scale and level"
    return "not a raster that is read"


def _wavelength_alone(path: str) -> float | None:
    """Return the wavelength of a file's only band, if it is told.

    Raises:
        SceneError: It has several bands.
    """
    with open_raster(path) as dataset:
        count = len(data_indexes(dataset, None))
        wavelength = band_wavelength(dataset, 1)
    if count != 1:
        raise SceneError(f"{path}: found {count} bands; expected one, since its name is that of a band: give this file")
    return wavelength
