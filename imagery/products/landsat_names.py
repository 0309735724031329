"""Names of Landsat's products and files, which tell sensor, level, day and generation: a collection, or before them.

The generations differ in what their numbers mean: in the bits of the quality band, and in the scale of surface
reflectance.
"""

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from imagery.sensors import FLAG_TABLE_OF

PRE_COLLECTION: Final = "00"
"""`LandsatName.collection` of scenes delivered before the collections (until 2016), as LC81400412018299LGN00."""

# USGS, "Landsat Collection 2 naming convention": sensor and satellite, level, path and row, dates of acquisition and
# processing, collection, tier. USGS, "Landsat Collection 1 U.S. Analysis Ready Data": the region and a tile instead.
# Before the collections: sensor, satellite, path and row, year and day of the year, station, version.
_FORMS: Final = (
    r"(?P<craft>L[COTEM]0\d)_(?P<level>L1TP|L1GT|L1GS|L2SP|L2SR)_\d{6}_(?P<day>\d{8})_\d{8}_(?P<collection>0[12])"
    r"_(?:T1|T2|RT|A1|A2)",
    r"(?P<craft>L[COTEM]0\d)_(?P<level>[A-Z]{2})_\d{6}_(?P<day>\d{8})_\d{8}_C(?P<collection>01)_V\d\d",
    r"(?P<craft>L[COTEM]\d)\d{6}(?P<day>(?:19|20)\d{5})[A-Z]{3}\d\d",
)
_NAMES: Final = tuple(re.compile(rf"(?<![A-Za-z0-9]){form}(?![A-Za-z0-9])", re.IGNORECASE) for form in _FORMS)
# Earth Engine's catalog: sensor and satellite, path and row, date ("LC08_140041_20181026").
_OF_EARTH_ENGINE: Final = re.compile(r"(?<![A-Za-z0-9])L[COTEM]0\d_\d{6}_\d{8}(?![A-Za-z0-9])(?!_\d{8})", re.IGNORECASE)
_REST: Final = re.compile(r"_(?P<field>.+)\.(?P<ending>\w+)$")


@dataclass(frozen=True)
class LandsatName:
    """What a product's name tells.

    Attributes:
        text: The name, in upper case.
        craft: Sensor and satellite, as "LC08".
        level: "L1TP", "L2SP" and so on; "ARD" of analysis ready data; "L1" of scenes before the collections.
        day: Of acquisition; None if it is no day.
        collection: "01", "02" or `PRE_COLLECTION`.
    """

    text: str
    craft: str
    level: str
    day: date | None
    collection: str


def landsat_name(text: str) -> LandsatName | None:
    """Return a product's name in a text, or None."""
    match = next(filter(None, (pattern.search(text) for pattern in _NAMES)), None)
    return _name(match) if match else None


def notes_on_ground_control(level: str | None, product_id: str) -> list[str]:
    """Return a note if a Landsat scene was placed without ground control points, as a level such as "L1GT" tells."""
    if level is None or level.upper() not in {"L1GT", "L1GS"}:
        return []
    return [
        f"{product_id} is {level.upper()}, placed without ground control points: it may lie some hundred metres from "
        "its place; compare it with outlines before it is used"
    ]


def is_of_earth_engine(text: str) -> bool:
    """Return whether a text holds a Landsat scene's name as Earth Engine gives it, without a level."""
    return _OF_EARTH_ENGINE.search(text) is not None


def landsat_file(base: str) -> tuple[LandsatName, str, str] | None:
    """Return product, designation in upper case ("SR_B4") and ending of a file's name; None if it is not Landsat's."""
    for pattern in _NAMES:
        match = pattern.match(base)
        rest = _REST.match(base, match.end()) if match else None
        if match and rest:
            return _name(match), rest["field"].upper(), rest["ending"]
    return None


def _name(match: re.Match[str]) -> LandsatName:
    parts = match.groupdict()
    craft, collection = parts["craft"].upper(), parts.get("collection") or PRE_COLLECTION
    day = None
    with suppress(ValueError):
        day = datetime.strptime(parts["day"], "%Y%m%d" if len(parts["day"]) == 8 else "%Y%j").date()
    level = (parts.get("level") or "L1").upper()
    return LandsatName(
        text=match.group(0).upper(),
        craft=craft if len(craft) == 4 else f"{craft[:2]}0{craft[2]}",
        level="ARD" if level.isalpha() else level,
        day=day,
        collection=collection,
    )


# By designation and collection. Those of other products are decoded whatever the name says.
_FLAGS: Final = {
    ("qa_pixel", "02"): FLAG_TABLE_OF["qa_pixel"],
    ("bqa", "01"): FLAG_TABLE_OF["bqa"],
    ("bqa", PRE_COLLECTION): FLAG_TABLE_OF["bqa_pre_collection"],
    ("pixel_qa", "01"): FLAG_TABLE_OF["pixel_qa"],
}


_GENERATION: Final = {"qa_pixel": "Collection 2", "bqa": "Collection 1", "pixel_qa": "Collection 1"}


def flags_of_another(designation: str) -> str:
    """Return why a quality band is left out for which `flag_table` has no table, with the generation it is usual in."""
    return f"flags of {_GENERATION[designation.lower()]}, which this product is not of"


def flag_table(designation: str, name: LandsatName | None) -> str | None:
    """Return how to decode a quality band: by its designation, and of Landsat by its generation, too.

    Args:
        designation: Of the band, in any case.
        name: The Landsat product that the band belongs to; None if unknown.

    Returns:
        A key of `imagery.quality.FLAG_TABLES`; None if the band is of another generation than the product.
    """
    lower = designation.lower()
    if name is None or lower not in {field for field, _ in _FLAGS}:
        return FLAG_TABLE_OF.get(lower)
    return _FLAGS.get((lower, name.collection))
