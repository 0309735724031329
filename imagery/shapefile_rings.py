"""Rings of a shapefile's polygons as the file stores them.

GDAL closes, turns and nests rings as it reads, so that it cannot tell whether a file keeps the rules. Format: ESRI
1998, "Shapefile Technical Description".
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from imagery.errors import ExportError

_HEADER_BYTES: Final = 100
_FILE_CODE: Final = 9994
_POLYGONS: Final = frozenset({5, 15, 25})  # plain, with Z, with M
_NULL: Final = 0


def read_rings(path: Path) -> Iterator[list[NDArray[np.float64]]]:
    """Yield the rings of each record of a shapefile of polygons; none for a record without geometry.

    Args:
        path: The .shp file.

    Yields:
        Arrays (n, 2) of x and y, as stored.

    Raises:
        ExportError: The file is no shapefile of polygons, or is damaged.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ExportError(f"{path}: found no readable file ({error.strerror}); expected a shapefile") from error
    if len(data) < _HEADER_BYTES or struct.unpack(">i", data[:4])[0] != _FILE_CODE:
        raise ExportError(f"{path}: found another kind of file; expected a shapefile")
    place = _HEADER_BYTES
    while place < len(data):
        try:
            _, words = struct.unpack_from(">2i", data, place)
            record = data[place + 8 : place + 8 + 2 * words]
            if words < 2 or len(record) < 2 * words:
                raise ExportError(f"{path}: found a record of {words} words at byte {place}; expected a whole file")
            yield _rings(path, record)
        except (struct.error, ValueError) as error:
            raise ExportError(f"{path}: found a damaged record at byte {place} ({error}); expected polygons") from error
        place += 8 + 2 * words


def _rings(path: Path, record: bytes) -> list[NDArray[np.float64]]:
    (kind,) = struct.unpack_from("<i", record)
    if kind == _NULL:
        return []
    if kind not in _POLYGONS:
        raise ExportError(f"{path}: found geometries of the type {kind}; expected polygons (5)")
    parts, points = struct.unpack_from("<2i", record, 36)
    starts = np.frombuffer(record, dtype="<i4", count=parts, offset=44)
    coordinates = np.frombuffer(record, dtype="<f8", count=2 * points, offset=44 + 4 * parts).reshape(-1, 2)
    return np.split(coordinates.astype(np.float64), starts[1:])
