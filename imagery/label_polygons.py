"""Polygons that a person drew in a GIS, as a label mask of the part of a scene that they judge."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray

from imagery.classes import UNKNOWN, ClassScheme, LabelClass
from imagery.errors import OutlineError
from imagery.grid import Grid, Window
from imagery.masks import burn_outlines
from imagery.vector_files import LayerHeader, VectorFile, open_vector
from imagery.vector_geometry import describe_left_out, describe_repairs
from imagery.vectors import CLASS_FIELD, ClassFilter, VectorLayer, find_field, no_field, read_layer, value_text

JUDGED: Final = "judged"
"""Name of the layer whose polygons were judged whole: what lies in no polygon of a class is background there."""
LARGEST_PX: Final = 1 << 24
"""Most pixels of the window around all polygons, 4096 x 4096."""
_MOST_SHOWN: Final = 5


@dataclass(frozen=True)
class DrawnLayer:
    """A layer of a file.

    Attributes:
        name: Its name.
        crs: Its CRS: an authority code or WKT.
        features: Number of features by class; of the layer `JUDGED` by its name.
        notes: What was repaired or left out.
    """

    name: str
    crs: str
    features: dict[str, int]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class DrawnLabels:
    """What was recognised in a file.

    Attributes:
        window: The part of the scene that holds all polygons.
        classes: (h, w) class values of the window; `UNKNOWN` where nothing is judged.
        layers: The layers.
    """

    window: Window
    classes: NDArray[np.uint8]
    layers: tuple[DrawnLayer, ...]


def read_label_polygons(path: str, grid: Grid, scheme: ClassScheme) -> DrawnLabels:
    """Read the polygons of a file, each of a class that its field `class` names.

    What lies in a polygon is of its class; where polygons overlap, precedence decides as for all outlines
    (`imagery.masks.burn_outlines`). What lies in none is not judged, but in the polygons of a layer named `JUDGED` it
    is background. Pixels of the unknown class are not judged either.

    Args:
        path: A vector file in any CRS (`imagery.vector_files.ENDINGS`).
        grid: The scene's grid.
        scheme: The classes.

    Raises:
        OutlineError: The file cannot be read, a layer has no field `class`, a value of it names no class, nothing lies
            in the scene, or the polygons are too far apart.
    """
    drawn: list[tuple[LabelClass, VectorLayer]] = []
    judged: list[VectorLayer] = []
    described = []
    with open_vector(path) as file:
        headers = [file.header(name) for name in file.layers()]
        counted = {header.name: _count_classes(path, file, header, scheme) for header in headers}
    for header in headers:
        if header.name.casefold() == JUDGED:
            found = [read_layer(path, header.name, grid)]
            judged += found
        else:
            pairs = [(scheme.by_name(name), _read_class(path, header, grid, name)) for name in counted[header.name]]
            drawn += pairs
            found = [layer for _, layer in pairs]
        described.append(DrawnLayer(header.name, header.crs, counted[header.name], _notes(found)))
    every = [layer for _, layer in drawn] + judged
    window = _window_of(path, every, grid)
    known = scheme.classes[1]
    covered = burn_outlines([(known, layer) for layer in every], grid, window) == known.value
    classes = np.where(covered, burn_outlines(drawn, grid, window), np.uint8(UNKNOWN))
    return DrawnLabels(window, classes, tuple(described))


def _count_classes(path: str, file: VectorFile, header: LayerHeader, scheme: ClassScheme) -> dict[str, int]:
    """Return the number of features of each class in a layer."""
    if header.name.casefold() == JUDGED:
        return {JUDGED: header.feature_count}
    column = find_field(header.fields, CLASS_FIELD)
    if column is None:
        raise no_field(path, header, CLASS_FIELD)
    counts = Counter(value_text(value) for value in file.attributes(header, [column])[column])
    names = [item.name for item in scheme.legend]
    if strange := [value for value in counts if value not in names]:
        told = ", ".join(f"{value or '(nothing)'} ({counts[value]} features)" for value in strange[:_MOST_SHOWN])
        raise OutlineError(
            f"{path}: found in the field {column!r} of layer {header.name!r}: {told}; expected one of "
            f"{', '.join(names)}"
        )
    return dict(counts)


def _read_class(path: str, header: LayerHeader, grid: Grid, name: str) -> VectorLayer:
    return read_layer(path, header.name, grid, class_filter=ClassFilter(CLASS_FIELD, (name,)))


def _notes(layers: Sequence[VectorLayer]) -> tuple[str, ...]:
    repaired = [describe_repairs(layer.repairs) for layer in layers if layer.repairs]
    # Features without a place belong to no class, and so are found with each.
    left_out = dict.fromkeys(item for layer in layers for item in layer.left_out)
    return (*repaired, *([describe_left_out(tuple(left_out))] if left_out else []))


def _window_of(path: str, layers: Sequence[VectorLayer], grid: Grid) -> Window:
    polygons = [polygon for layer in layers for polygon in layer.polygons]
    window = None
    if polygons:
        left, bottom, right, top = shapely.total_bounds(polygons)
        window = grid.window_around(np.array([(left, bottom), (right, top), (left, top), (right, bottom)]))
    if window is None:
        raise OutlineError(f"{path}: found no polygon in the scene; expected some: is it the right scene, and CRS?")
    if window.height * window.width > LARGEST_PX:
        raise OutlineError(
            f"{path}: found polygons in a window of {window.height} x {window.width} px; expected at most {LARGEST_PX} "
            "px in all: give those of one part of the scene at a time"
        )
    return window
