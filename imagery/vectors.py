"""Reading the polygons of a vector layer near a scene."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from imagery.errors import OutlineError
from imagery.grid import Grid
from imagery.outline_period import DATE_FIELDS, OtherDates, Period, of_period, other_dates
from imagery.vector_files import Bounds, Features, LayerHeader, VectorFile, choose_layer, open_vector
from imagery.vector_geometry import LeftOut, Repair, decode, describe_left_out
from imagery.vector_placing import Placement

CLASS_FIELD: Final = "class"
"""The attribute field that holds the class name in the files of `imagery.outlines`."""


@dataclass(frozen=True)
class ClassFilter:
    """Which features of a layer belong to a class: those whose attribute has one of some values.

    Attributes:
        field: Name of the attribute field, in any case.
        values: The values, as `value_text` writes them.
    """

    field: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class FeatureFilter:
    """Which features of a layer count: those of some attribute values or a class, drawn from images of some dates.

    Attributes:
        class_filter: Which values; None: any.
        period: Which dates, by the first field of `DATE_FIELDS`; None: any, also none.
        class_name: Without a filter, of which class, if the layer has a field that tells (see `read_layer`); None: any.
        class_names: With `class_name`, the names of all classes.
    """

    class_filter: ClassFilter | None = None
    period: Period | None = None
    class_name: str | None = None
    class_names: tuple[str, ...] = ()

    def columns(self, path: str, header: LayerHeader) -> tuple[str | None, str | None]:
        """Return the fields that tell values and dates, as the layer spells them; None for what does not matter.

        Raises:
            OutlineError: The layer lacks one.
        """
        column = _class_column(path, header, self.class_name, self.class_filter)
        return column, _date_column(path, header) if self.period else None

    def counts(self, path: str, header: LayerHeader, features: Features) -> NDArray[np.bool_]:
        """Return which features count, (n,).

        Args:
            path: The file.
            header: The layer's header.
            features: With the columns of `columns`.

        Raises:
            OutlineError: The layer lacks a field, or the field of classes names others, too.
        """
        column, dated_by = self.columns(path, header)
        found: NDArray[np.bool_] = np.ones(len(features.ids), np.bool_)
        if column is not None:
            texts = np.array([value_text(value) for value in features.columns[column]], dtype=object)
            found = _is_of_class(path, features, texts, self.class_name, self.class_names, self.class_filter)
        if dated_by is not None and self.period is not None:
            found &= of_period([value_text(value) for value in features.columns[dated_by]], self.period)
        return found


@dataclass(frozen=True)
class VectorLayer:
    """The polygons of a layer near a scene.

    Attributes:
        crs: The layer's own CRS.
        extent: Bounds of the whole layer in its own CRS.
        scene_extent: Bounds of the scene in the layer's CRS.
        misses_scene: Whether the two do not overlap.
        polygons: (n,) shapely polygons and multipolygons that may touch the scene, in the scene's CRS, valid, holes
            kept.
        repairs: The geometries near the scene that were invalid in the file.
        left_out: What is no polygon: near the scene, or without a place.
        values: With a class filter, how many features near the scene have each value of its field.
        other_dates: With a period, the features near the scene, of the class, that are not of it; else None.
        sha256: Checksum of the name of the layer's CRS and of the geometries near the scene as the file stores them,
            in any order. It does not change if the file is moved or changed far from the scene, or if the libraries
            that repair and reproject change.
    """

    crs: str
    extent: Bounds
    scene_extent: Bounds
    misses_scene: bool
    polygons: NDArray[np.object_]
    sha256: str
    repairs: tuple[Repair, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    values: Mapping[str, int] = field(default_factory=dict)
    other_dates: OtherDates | None = None


def read_layer(
    path: str,
    layer: str | None,
    grid: Grid,
    *,
    class_name: str | None = None,
    class_names: Collection[str] = (),
    class_filter: ClassFilter | None = None,
    period: Period | None = None,
) -> VectorLayer:
    """Read the polygons of a layer whose bounding boxes overlap a scene.

    Invalid geometries are repaired (see `imagery.vector_geometry.decode`); what is no polygon is left out. Both are
    listed. One that cannot be repaired without losing most of it is refused. Edges are straight in the layer's CRS,
    also where they are long.

    Args:
        path: A local file with one of `imagery.vector_files.ENDINGS`, in any CRS; the name is taken literally.
        layer: The layer to read; None only if the file has exactly one with features.
        grid: The scene's grid.
        class_name: If given without a filter, only the polygons of this class are read from a layer that holds several
            classes as those of `imagery.outlines` do: a layer with a field `class` that holds only names of classes.
            From any other layer everything is read.
        class_names: With `class_name`, the names of all classes.
        class_filter: If given, only features with these attribute values are read.
        period: If given, only features whose dates lie in it are read, by the first field of `DATE_FIELDS`.

    Raises:
        OutlineError: The file cannot be read, has no CRS, no features, several layers of which none was chosen, no
            field of the filter or none of dates, only other things than polygons near the scene, a polygon whose holes
            leave little of it because its rings cross and wind the wrong way, or polygons that cannot be transformed to
            the scene's CRS.
    """
    with open_vector(path) as file:
        header = choose_layer(path, file, layer)
        placement = Placement(grid, header.crs, header.extent)
        column = _class_column(path, header, class_name, class_filter)
        dated_by = _date_column(path, header) if period else None
        near = file.read(header, placement.boxes, list(dict.fromkeys(filter(None, (column, dated_by)))))
        texts = {name: [value_text(value) for value in found] for name, found in near.columns.items()}
        values = dict(Counter(texts[column])) if column and class_filter else {}
        wanted: NDArray[np.bool_] = np.ones(len(near.ids), np.bool_)
        if column is not None:
            told = np.array(texts[column], dtype=object)
            wanted = _is_of_class(path, near, told, class_name, class_names, class_filter)
        not_used = None
        if period and dated_by:
            dated = of_period(texts[dated_by], period)
            not_used = other_dates([texts[dated_by][place] for place in np.flatnonzero(wanted & ~dated)])
            wanted &= dated
        near = Features(near.ids[wanted], near.wkb[wanted])
        shapes = decode(near.ids, near.wkb, placement.turn)
        check_kept(path, shapes.repairs)
        left_out = (*shapes.left_out, *without_place(file, header, shapes.left_out))
        if len(near.ids) and not len(shapes.polygons) and not shapes.repairs:
            lines = any("Line" in item.reason for item in shapes.left_out)
            raise OutlineError(
                f"{path}: found no polygon near the scene; {describe_left_out(left_out)}; expected polygons"
                + (' (QGIS makes them from lines: "Lines to polygons")' if lines else "")
            )
        polygons = placement.place(shapes.polygons)
    return VectorLayer(
        header.crs,
        header.extent,
        placement.scene_extent,
        placement.misses,
        polygons,
        _digest(header.crs, near.wkb),
        shapes.repairs,
        left_out,
        values,
        not_used,
    )


def value_text(value: Any) -> str:
    """Write an attribute value as a filter names it: text without surrounding spaces, 1.0 as "1", nothing as ""."""
    if value is None:
        return ""
    if isinstance(value, (float, np.floating)):
        if np.isnan(value):  # stands for null in columns of numbers
            return ""
        if float(value).is_integer():
            return str(int(value))
    return str(value).strip()


def find_field(fields: Collection[str], name: str) -> str | None:
    """Return the field with a name, in this case or else in any, since other software changes it; None without one."""
    return next((item for item in fields if item == name), None) or next(
        (item for item in fields if item.casefold() == name.casefold()), None
    )


def first_field(fields: Collection[str], names: Sequence[str]) -> str | None:
    """Return the first field with one of some names, in any case; None without one."""
    return next((found for name in names if (found := find_field(fields, name))), None)


def no_field(path: str, header: LayerHeader, name: str) -> OutlineError:
    """Return the error about a field that a layer does not have."""
    return OutlineError(
        f"{path}: found no field {name!r} in layer {header.name!r}; expected one of "
        f"{', '.join(header.fields) or '(it has none)'}"
    )


def _class_column(
    path: str, header: LayerHeader, class_name: str | None, class_filter: ClassFilter | None
) -> str | None:
    """Return the field that tells classes apart, as the layer spells it; None if there is none to look at."""
    if class_filter is None:
        return find_field(header.fields, CLASS_FIELD) if class_name is not None else None
    column = find_field(header.fields, class_filter.field)
    if column is None:
        raise no_field(path, header, class_filter.field)
    return column


def _date_column(path: str, header: LayerHeader) -> str:
    column = first_field(header.fields, DATE_FIELDS)
    if column is None:
        raise OutlineError(
            f"{path}: found no field of dates in layer {header.name!r}, by which outlines of a period are chosen; "
            f"expected one of {', '.join(DATE_FIELDS)}: rename the field, or leave the period out"
        )
    return column


def _is_of_class(
    path: str,
    near: Features,
    texts: NDArray[np.object_],
    class_name: str | None,
    class_names: Collection[str],
    class_filter: ClassFilter | None,
) -> NDArray[np.bool_]:
    """Return which features are of the class that is asked for; all if the field does not hold classes."""
    if class_filter is not None:
        return np.isin(texts, list(class_filter.values))
    is_class = np.isin(texts, list(class_names))
    if not is_class.any():
        return ~is_class
    if not is_class.all():
        first = int(np.flatnonzero(~is_class)[0])
        raise OutlineError(
            f"{path}: found {texts[first] or None!r} as the {CLASS_FIELD} of feature {near.ids[first]}, beside names "
            f"of classes; expected one of {', '.join(class_names)} for every feature"
        )
    wanted: NDArray[np.bool_] = texts == class_name
    return wanted


def without_place(file: VectorFile, header: LayerHeader, found: Collection[LeftOut]) -> list[LeftOut]:
    """List the features that no search by place can find, apart from those found already."""
    known = {item.feature for item in found}
    missing = (int(number) for number in file.without_place(header))
    return [LeftOut(number, "no geometry") for number in missing if number not in known]


def check_kept(path: str, repairs: Sequence[Repair]) -> None:
    """Refuse polygons of which a repair loses most: what is lost would be background.

    Raises:
        OutlineError: There is one.
    """
    lost = [repair for repair in repairs if repair.lost]
    if lost:
        raise OutlineError(
            f"{path}: found {len(lost)} polygons with a hole as large as the shell around which it lies, and rings "
            f"that cross; the first is feature {lost[0].feature}: {lost[0].reason}; expected holes inside of their "
            'shells: repair them in QGIS ("Fix geometries") and look at the result'
        )


def _digest(crs: str, stored: NDArray[np.object_]) -> str:
    digest = sha256(CRS.from_user_input(crs).name.encode())
    for wkb in sorted(item for item in stored if item is not None):
        digest.update(wkb)
    return digest.hexdigest()
