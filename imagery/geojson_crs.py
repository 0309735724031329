"""Refusing GeoJSON files whose coordinate reference system is a link, before GDAL sees them.

GeoJSON of 2008 allows a CRS to be a link, which GDAL fetches. Its library is kept from that (`imagery.gdal_limits`),
but would then take the coordinates for degrees.
"""

import json
import mmap
import re
from typing import Final

from imagery.crs_grids import grid_paths
from imagery.errors import OutlineError

# Escaped letters could hide the key; no program writes them. GDAL's parser also reads single quotes.
_ESCAPED_LETTER: Final = re.compile(rb"\\u00(?:4[1-9a-f]|5[0-9a]|6[1-9a-f]|7[0-9a])", re.IGNORECASE)
_CRS_OBJECT: Final = re.compile(rb"""["']crs["']\s*:\s*(?=[^\s"'\d\-tfn\[])""", re.IGNORECASE)
_LONGEST: Final = 1 << 14  # bytes of an object with a name or WKT
_MOST_OBJECTS: Final = 1000  # attributes may be named "crs" as well, but hold text


def check_geojson_crs(path: str, descriptor: int) -> None:
    """Search a file for members "crs" that are more than a name.

    Args:
        path: For messages.
        descriptor: The open file; not empty.

    Raises:
        OutlineError: One is a link, cannot be read, or may be hidden by escaped letters.
    """
    with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as content:
        escaped = _ESCAPED_LETTER.search(content)
        if escaped is not None:
            raise _refused(path, escaped.group(), escaped.start())
        for count, found in enumerate(_CRS_OBJECT.finditer(content)):
            value = content[found.end() : found.end() + _LONGEST]
            if count >= _MOST_OBJECTS or not _is_name(value):
                raise _refused(path, found.group() + value[:40], found.start())


def _is_name(text: bytes) -> bool:
    """Return whether JSON begins with a CRS given by its name or by its EPSG code, which names no file."""
    try:
        crs, _ = json.JSONDecoder().raw_decode(text.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return False
    is_name = isinstance(crs, dict) and str(crs.get("type")).lower() in {"name", "epsg"}
    return is_name and not grid_paths(json.dumps(crs).replace('\\"', '"'))


def _refused(path: str, found: bytes, place: int) -> OutlineError:
    return OutlineError(
        f"{path}: found {found.decode(errors='replace')!r} at byte {place}, where a coordinate reference system may be "
        "a link or be hidden by escaped letters; expected its name, for instance EPSG:32645"
    )
