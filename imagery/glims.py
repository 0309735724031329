"""Names and numbers of the GLIMS Glacier Database: line types, glacier identifiers, layers and their fields.

Sources, as far as they are published:

- NSIDC, "Information for GLIMS data providers" (https://nsidc.org/glims/information-glims-data-providers): closed
  polygons in longitude and latitude (WGS 84), rock outcrops as holes, local and global uncertainty, line types of
  further features, images with their identifier, date, instrument and platform, analysts and methods.
- Raup and Khalsa 2008, "A Method for Transferring GLIMS Analysis Products from Regional Centers to NSIDC", version 1.2:
  the layers session, glaciers and images. Its fourth layer, segments, is older than the polygons that NSIDC asks for
  now.
- GLIMS, "Downloaded Data: Description of fields" and "GLIMS Database Data Dictionary": the names of the fields and the
  form of a glacier identifier.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from imagery.errors import ExportError


class LineType(StrEnum):
    """What an outline surrounds."""

    GLACIER = "glac_bound"
    ROCK = "intrnl_rock"
    DEBRIS = "debris_cov"
    SUPRAGLACIAL_LAKE = "supra_lake"
    PROGLACIAL_LAKE = "pro_lake"


ON_GLACIERS: Final = (LineType.DEBRIS, LineType.SUPRAGLACIAL_LAKE)
"""Parts of a glacier's surface: their outlines lie inside a glacier's and belong to its area."""

CODES: Final = {LineType.GLACIER: 1, LineType.DEBRIS: 2, LineType.SUPRAGLACIAL_LAKE: 3, LineType.PROGLACIAL_LAKE: 4}
"""Pixel value of each line type in the masks of `imagery.glims_outlines`; 0 is other ground, 255 unknown."""

GLACIERS: Final = "glaciers"
DEBRIS: Final = "debris"
LAKES: Final = "lakes"
IMAGES: Final = "images"
SESSION: Final = "session"
RGI: Final = "rgi"
"""Names of the layers. `rgi` holds the glaciers with the attributes of RGI 7.0."""

OUTLINE_LAYERS: Final = {
    GLACIERS: (LineType.GLACIER, LineType.ROCK),
    DEBRIS: (LineType.DEBRIS,),
    LAKES: (LineType.SUPRAGLACIAL_LAKE, LineType.PROGLACIAL_LAKE),
}
"""Layers of outlines, with the line types that each may hold."""

_ID: Final = re.compile(r"G(\d{6})E(\d{5})([NS])")
# Words by which a class is recognised, in this order.
_WORDS: Final = (
    (re.compile(r"\bsupra-?glacial (lake|pond)|\bmelt pond", re.IGNORECASE), LineType.SUPRAGLACIAL_LAKE),
    (re.compile(r"\bpro-?glacial lake", re.IGNORECASE), LineType.PROGLACIAL_LAKE),
    (re.compile(r"\bdebris\b", re.IGNORECASE), LineType.DEBRIS),
    (re.compile(r"\b(ice|glaciers?|firn)\b", re.IGNORECASE), LineType.GLACIER),
)


@dataclass(frozen=True)
class ClassMapping:
    """The line type of each class, None for classes that are none of a glacier's.

    Attributes:
        line_types: By name of the class; background is left out.
    """

    line_types: dict[str, LineType | None]

    def codes(self, class_names: Sequence[str]) -> list[int]:
        """Return the code (see `CODES`) of each class, background first; 0 for classes that are none of a glacier's."""
        kinds = (self.line_types.get(name) for name in class_names[1:])
        return [0, *(CODES[kind] if kind is not None else 0 for kind in kinds)]


def map_classes(class_names: Sequence[str], stated: dict[str, str]) -> ClassMapping:
    """Return the line types of classes: as stated, else by their names.

    Args:
        class_names: Names of the classes except background.
        stated: Line type, or "none", by name of the class.

    Raises:
        ExportError: A class or line type is unknown, or the name of a class says nothing about glaciers.
    """
    usable = [*CODES, "none"]
    for name, given in stated.items():
        if name not in class_names:
            raise ExportError(f"found a line type for the class {name!r}; expected one of {', '.join(class_names)}")
        if given not in usable:
            raise ExportError(f"found the line type {given!r} for {name!r}; expected one of {', '.join(usable)}")
    line_types: dict[str, LineType | None] = {}
    for name in class_names:
        guessed: str | None = next((kind for word, kind in _WORDS if word.search(name)), None)
        kind = stated.get(name, guessed)
        if kind is None:
            raise ExportError(
                f"found the class {name!r}, whose name does not say what it is on a glacier; expected its line "
                f"type to be stated: none leaves it out, the others are {', '.join(CODES)}"
            )
        line_types[name] = None if kind == "none" else LineType(kind)
    if LineType.GLACIER not in line_types.values() and LineType.DEBRIS not in line_types.values():
        raise ExportError(f"found no class of glacier ice among {', '.join(class_names)}; expected at least one")
    return ClassMapping(line_types)


def glacier_id(longitude: float, latitude: float) -> str:
    """Return the GLIMS identifier of a place: thousandths of a degree, eastward from 0 to 360 ("G086929E27975N").

    Args:
        longitude: Degrees, -180 to 360.
        latitude: Degrees, -90 to 90.
    """
    east, north = round(longitude % 360.0 * 1000) % 360_000, round(latitude * 1000)
    return f"G{east:06d}E{abs(north):05d}{'N' if north >= 0 else 'S'}"


def place_of(identifier: str) -> tuple[float, float] | None:
    """Return longitude (-180 to 180) and latitude, in degrees, of an identifier; None if it has another form."""
    found = _ID.fullmatch(identifier)
    if found is None or int(found[1]) >= 360_000 or int(found[2]) > 90_000:
        return None
    longitude, latitude = int(found[1]) / 1000, int(found[2]) / 1000
    return (longitude - 360 if longitude > 180 else longitude), (latitude if found[3] == "N" else -latitude)


def distinct_ids(places: Sequence[tuple[float, float]], known: Sequence[str | None]) -> list[str]:
    """Return an identifier for each place (longitude, latitude).

    It is the known one where it has the published form and no earlier place has it, else that of the place, else the
    next free one nearby.
    """
    usable = [identifier for identifier in known if identifier is not None and place_of(identifier) is not None]
    kept = dict.fromkeys(usable)
    given: dict[str, None] = {}
    for place, identifier in zip(places, known, strict=True):
        if identifier is not None and identifier in kept and identifier not in given:
            given[identifier] = None
        else:
            given[next(free for free in _around(*place) if free not in kept and free not in given)] = None
    return list(given)


def _around(longitude: float, latitude: float) -> Iterator[str]:
    """Yield the identifiers of a place and of its surroundings, ring by ring of a thousandth of a degree."""
    ring = 0
    while True:
        for east in range(-ring, ring + 1):
            for north in range(-ring, ring + 1):
                if max(abs(east), abs(north)) == ring:
                    yield glacier_id(longitude + east / 1000, min(90.0, max(-90.0, latitude + north / 1000)))
        ring += 1
