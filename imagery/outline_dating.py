"""When outlines were drawn from images, and by which inventory, as the attributes of the file say it."""

import re
from dataclasses import dataclass
from typing import Final

from imagery.glacier_vocabulary import recognise_inventory
from imagery.grid import Grid
from imagery.vector_files import choose_layer, open_vector
from imagery.vector_placing import Placement
from imagery.vectors import find_field, value_text

# RGI 7, GLIMS and ICIMOD; RGI 6; GLIMS in its older downloads.
_DATE_FIELDS: Final = ("src_date", "bgndate", "acq_date", "img_date", "date")
# RGI 6 writes an unknown month or day as 99.
_DATE: Final = re.compile(r"((?:19|20)\d\d)(?:-?(?:(0[1-9]|1[0-2])|99)(?:-?(?:(0[1-9]|[12]\d|3[01])|99))?)?(?!\d)")


@dataclass(frozen=True)
class Dating:
    """What the attributes of outlines near a scene say.

    Attributes:
        first: The earliest date, "2000-10-30", "2000-10" or "2000"; None if none is told.
        middle: The median date; None if none is told.
        last: The latest date; None if none is told.
        field: The field that tells the dates; None if none does.
        dated: Number of features near the scene with a date.
        features: Number of features near the scene.
        source: The inventory, by its fields; None if it is not recognised.
    """

    first: str | None
    middle: str | None
    last: str | None
    field: str | None
    dated: int
    features: int
    source: str | None


def date_outlines(path: str, layer: str | None, grid: Grid) -> Dating:
    """Read the dates of the features near a scene, and recognise the inventory.

    Args:
        path: A vector file.
        layer: The layer; None only if the file has exactly one with features.
        grid: The scene's grid.

    Raises:
        OutlineError: As `imagery.vectors.read_layer`.
    """
    with open_vector(path) as file:
        header = choose_layer(path, file, layer)
        field = next((found for name in _DATE_FIELDS if (found := find_field(header.fields, name))), None)
        near = file.read(header, Placement(grid, header.crs, header.extent).boxes, [field] if field else [])
    values = near.columns[field] if field else ()
    dates = sorted(date for value in values if (date := read_date(value_text(value))))
    inventory = recognise_inventory(frozenset(name.casefold() for name in header.fields))
    first, middle, last = (dates[0], dates[len(dates) // 2], dates[-1]) if dates else (None, None, None)
    source = inventory.name if inventory else None
    return Dating(first, middle, last, field if dates else None, len(dates), len(near.ids), source)


def read_date(text: str) -> str | None:
    """Return a date as ISO 8601, as exact as it is: of "20001030", "2000-10-30T00:00:00", "20000999" and "2000".

    None if the text does not begin with a date from 1900 to 2099.
    """
    match = _DATE.match(text)
    if match is None:
        return None
    year, month, day = match.groups()
    return year if month is None else "-".join(part for part in (year, month, day) if part)
