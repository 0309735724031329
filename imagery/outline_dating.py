"""When outlines were drawn from images, and by which inventory, as the attributes of the file say it.

Also where a layer holds a glacier several times, as GLIMS does: burnt together, they are the ice of all dates.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray

from imagery.glacier_vocabulary import recognise_inventory
from imagery.glaciers import ID_FIELDS
from imagery.grid import Grid
from imagery.ground_metric import pixel_size_m
from imagery.outline_period import DATE_FIELDS, Period, of_period, read_date
from imagery.vector_files import choose_layer, open_vector
from imagery.vector_geometry import decode, polygonal
from imagery.vector_placing import Placement
from imagery.vectors import ClassFilter, find_field, first_field, value_text

_ID_FIELDS: Final = (*ID_FIELDS, "glims_id")
# Neighbours that share an edge may overlap a little; a glacier of another date is mostly the same ground.
_LEAST_OVERLAP: Final = 0.1  # share of the smaller one


@dataclass(frozen=True)
class Dating:
    """What the attributes of outlines near a scene say.

    Attributes:
        field: The field that tells the dates; None if none does.
        dates: The dates of all features near the scene that have one, "2000-10-30", "2000-10" or "2000", the earliest
            first.
        features: Number of features near the scene.
        source: The inventory, by its fields; None if it is not recognised.
    """

    field: str | None
    dates: tuple[str, ...]
    features: int
    source: str | None

    @property
    def dated(self) -> int:
        """Number of features near the scene with a date."""
        return len(self.dates)

    @property
    def first(self) -> str | None:
        """The earliest date; None if none is told."""
        return self.dates[0] if self.dates else None

    @property
    def middle(self) -> str | None:
        """The median date; None if none is told."""
        return self.dates[len(self.dates) // 2] if self.dates else None

    @property
    def last(self) -> str | None:
        """The latest date; None if none is told."""
        return self.dates[-1] if self.dates else None


@dataclass(frozen=True)
class Doubled:
    """Features of one class that lie on each other: a glacier several times, or of several years.

    Attributes:
        features: Their numbers in the file.
        names: The ids of their glaciers, if the layer has any.
        dates: Their dates, the earliest first, if the layer has any.
        area_km2: The area inside of the scene that more than one of them covers.
    """

    features: tuple[int, ...]
    names: tuple[str, ...]
    dates: tuple[str, ...]
    area_km2: float


def date_outlines(path: str, layer: str | None, grid: Grid, period: Period | None = None) -> Dating:
    """Read the dates of the features near a scene, and recognise the inventory.

    Args:
        path: A vector file.
        layer: The layer; None only if the file has exactly one with features.
        grid: The scene's grid.
        period: If given, only features of these dates count.

    Raises:
        OutlineError: As `imagery.vectors.read_layer`.
    """
    with open_vector(path) as file:
        header = choose_layer(path, file, layer)
        field = first_field(header.fields, DATE_FIELDS)
        near = file.read(header, Placement(grid, header.crs, header.extent).boxes, [field] if field else [])
    texts = [value_text(value) for value in near.columns[field]] if field else []
    if period is not None:
        texts = [text for text, kept in zip(texts, of_period(texts, period), strict=True) if kept]
    dates = sorted(date for text in texts if (date := read_date(text)))
    inventory = recognise_inventory(frozenset(name.casefold() for name in header.fields))
    source = inventory.name if inventory else None
    return Dating(field if dates else None, tuple(dates), len(near.ids) if period is None else len(texts), source)


def find_doubled(
    path: str, layer: str | None, grid: Grid, class_filter: ClassFilter | None = None, period: Period | None = None
) -> Doubled | None:
    """Find features that lie on each other although they are of one glacier, by its id, or of different years.

    Args:
        path: A vector file.
        layer: The layer; None only if the file has exactly one with features.
        grid: The scene's grid.
        class_filter: Which features are burnt together; None: all.
        period: If given, only features of these dates are.

    Returns:
        What was found; None if nothing inside of the scene.

    Raises:
        OutlineError: As `imagery.vectors.read_layer`.
    """
    with open_vector(path) as file:
        header = choose_layer(path, file, layer)
        placement = Placement(grid, header.crs, header.extent)
        id_field, date_field = first_field(header.fields, _ID_FIELDS), first_field(header.fields, DATE_FIELDS)
        if id_field is None and date_field is None:
            return None
        told_by = find_field(header.fields, class_filter.field) if class_filter else None
        near = file.read(header, placement.boxes, list(dict.fromkeys(filter(None, (id_field, date_field, told_by)))))
    texts = {name: np.array([value_text(value) for value in column]) for name, column in near.columns.items()}
    burnt = np.isin(texts[told_by], class_filter.values) if class_filter and told_by else np.ones(len(near.ids), bool)
    if period is not None and date_field is not None:
        burnt &= of_period(texts[date_field].tolist(), period)
    shapes = decode(near.ids[burnt], near.wkb[burnt], placement.turn)
    place = {int(feature): index for index, feature in enumerate(near.ids)}
    chosen = np.array([place[int(feature)] for feature in shapes.features], dtype=np.intp)
    nothing = np.full(len(near.ids), "")
    names = texts.get(id_field or "", nothing)[chosen]
    dates = np.array([read_date(text) or "" for text in texts.get(date_field or "", nothing)], dtype="U10")[chosen]
    first, second, overlaps = _overlaps(shapes.polygons, names, dates.astype("U4"))
    if not len(overlaps):
        return None
    doubled = placement.place(np.array([shapely.union_all([part for item in overlaps for part in polygonal(item)])]))
    across_m, down_m = pixel_size_m(grid)
    inside = float(shapely.area(shapely.intersection(doubled, grid.footprint())).sum())
    if not inside:
        return None
    found = np.unique([first, second])
    return Doubled(
        tuple(shapes.features[found].tolist()),
        _told(names[found]),
        _told(dates[found]),
        inside / grid.pixel_area() * across_m * down_m / 1e6,
    )


def _told(texts: NDArray[np.str_]) -> tuple[str, ...]:
    return tuple(sorted({*texts.tolist()} - {""}))


def _overlaps(
    polygons: NDArray[np.object_], names: NDArray[np.str_], years: NDArray[np.str_]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.object_]]:
    """Return pairs of polygons of one name, or of different years, that overlap, and where they do."""
    first, second = shapely.STRtree(polygons).query(polygons, predicate="intersects")
    named = (names[first] == names[second]) & (names[first] != "")
    aged = (years[first] != years[second]) & (years[first] != "") & (years[second] != "")
    wanted = (first < second) & (named | aged)
    first, second = first[wanted], second[wanted]
    overlaps = shapely.intersection(polygons[first], polygons[second])
    areas = shapely.area(polygons)
    doubled = shapely.area(overlaps) > _LEAST_OVERLAP * np.minimum(areas[first], areas[second])
    return first[doubled], second[doubled], overlaps[doubled]
