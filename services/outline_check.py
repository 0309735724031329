"""Open the outlines of a scene before it is registered, and say what they hold.

The files are read as `workers.tile_scene` reads them later: only the polygons near the scene, burnt once to its grid.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from imagery.class_fields import ClassField, check_values, describe_fields, propose
from imagery.classes import BACKGROUND, ClassScheme
from imagery.errors import OutlineError
from imagery.grid import Grid, Window
from imagery.ground_metric import GroundMetric
from imagery.masks import OutlineLayer, burn_outlines, read_outlines
from imagery.vector_files import filled_layers
from imagery.vector_geometry import describe_left_out, describe_repairs
from imagery.vectors import VectorLayer

# The middle row's pixel areas stand for a strip. In degrees, at 60 north, they change by 0.01 % over 16 rows of 30 m.
_ROWS_PER_STRIP = 16


@dataclass(frozen=True)
class LayerSummary:
    """What a layer of outlines holds near a scene.

    Attributes:
        outline: the layer, with the class and the filter it is used with.
        polygons: number of polygons near the scene, equal ones counted once.
        notes: repairs, what is left out, values that are mapped to no class; for people.
        sha256: checksum of the geometries near the scene (`imagery.vectors.VectorLayer.sha256`).
    """

    outline: OutlineLayer
    polygons: int
    notes: tuple[str, ...]
    sha256: str


@dataclass(frozen=True)
class ClassArea:
    """How much of a scene its outlines give to a class.

    Attributes:
        class_name: the class.
        polygons: number of polygons near the scene, equal ones of all layers counted once.
        pixels: pixels of the class where outlines do not overlap, or where it wins.
        area_km2: their area on the WGS 84 ellipsoid.
    """

    class_name: str
    polygons: int
    pixels: int
    area_km2: float


@dataclass(frozen=True)
class OutlineSummary:
    """What the outlines of a scene hold.

    Attributes:
        layers: each layer, in the order given.
        classes: each class that is outlined, in the order of the scheme.
    """

    layers: tuple[LayerSummary, ...]
    classes: tuple[ClassArea, ...]


def check_outlines(outlines: Sequence[OutlineLayer], grid: Grid, scheme: ClassScheme) -> OutlineSummary:
    """Read and burn all outlines of a scene.

    Takes one byte a pixel of memory, and a few seconds for a Landsat scene with 6,000 outlines.

    Args:
        outlines: the layers; none gives an empty summary.
        grid: the scene's grid.
        scheme: the classes.

    Raises:
        OutlineError: a file cannot be used, no layer overlaps the scene, or a layer holds several classes and no
            filter tells them apart (the message proposes one).
        ValueError: a class name is unknown.
    """
    layers = read_outlines(outlines, grid, scheme)
    by_class: dict[str, list[NDArray[np.object_]]] = {}
    summaries = []
    for outline, (_, layer) in zip(outlines, layers, strict=True):
        before = by_class.setdefault(outline.class_name, [])
        notes = (*_notes_on_repeated(outline, layer.polygons, before), *_notes(outline, layer, outlines))
        distinct = int((~_repeats(layer.polygons)).sum())
        summaries.append(LayerSummary(outline, distinct, notes, layer.sha256))
        before.append(layer.polygons)
    names = {item.value: item.name for item in scheme.legend if item.name in {entry.class_name for entry in outlines}}
    pixels, area_km2 = _measure(burn_outlines(layers, grid), grid, names)
    classes = tuple(
        ClassArea(
            name,
            int((~_repeats(np.concatenate(by_class[name]))).sum()),
            pixels[value],
            round(area_km2[value], 6),
        )
        for value, name in names.items()
        if value != BACKGROUND
    )
    return OutlineSummary(tuple(summaries), classes)


def outline_layers(
    path: str,
    layer: str | None,
    scheme: ClassScheme,
    class_name: str | None = None,
    class_field: str | None = None,
    classes: Mapping[str, str] | None = None,
) -> tuple[OutlineLayer, ...]:
    """Return the outlines of a file, by the class or the field that was named for it, else as proposed.

    Args:
        path: the file.
        layer: the layer.
        scheme: the classes.
        class_name: the class of all features.
        class_field: the attribute field that tells classes.
        classes: value of that field -> name of the class; values that are not listed are left out.

    Raises:
        OutlineError: the class and the field are both named, a class is unknown, no feature has the values that are
            mapped, or as `propose_outlines`.
    """
    if class_name is not None and (class_field is not None or classes):
        raise OutlineError(
            f"{path}: found the class {class_name!r} and a field of classes or mapped values; expected one of both: "
            "all features are of one class, or a field tells it"
        )
    if classes and class_field is None:
        raise OutlineError(
            f"{path}: found classes of values without the field that holds them; expected it: --class-field, "
            "'class_field'"
        )
    if class_field is not None and not classes:
        raise OutlineError(
            f"{path}: found the field {class_field!r} without a class for each of its values; expected --map "
            f"VALUE=CLASS, 'classes'; {describe_fields(path, layer)}"
        )
    if class_field is not None and classes:
        by_class: dict[str, list[str]] = {}
        for value, name in classes.items():
            by_class.setdefault(_known(name, scheme), []).append(value)
        check_values(path, layer, class_field, list(classes))
        return tuple(OutlineLayer(path, layer, name, class_field, tuple(values)) for name, values in by_class.items())
    if class_name is not None:
        return (OutlineLayer(path, layer, _known(class_name, scheme)),)
    return propose_outlines(path, layer, scheme)[1]


def layers_to_propose(path: str) -> list[str | None]:
    """Return the layers of a file of which only the name was given: all that have features; None for the only one.

    Raises:
        OutlineError: the file cannot be used.
    """
    names = filled_layers(path)
    return [*names] if len(names) > 1 else [None]


def propose_outlines(path: str, layer: str | None, scheme: ClassScheme) -> tuple[ClassField, tuple[OutlineLayer, ...]]:
    """Propose the outlines of a file of which only the name was given.

    Returns:
        How the layer tells classes, for showing it, and the outlines of each class.

    Raises:
        OutlineError: the file cannot be used, or its classes are not recognised or only in part: a person maps them.
    """
    proposal = propose(path, layer, scheme)
    names = ", ".join(scheme.labels)
    if proposal is None:
        raise OutlineError(
            f"{path}: found neither a field nor a name that tells the class of its polygons"
            f"{f' in layer {layer!r}' if layer else ''}; expected the class by name ({names}), as in "
            f"'{scheme.labels[0]}={path}', or a field with --class-field and --map; {describe_fields(path, layer)}"
        )
    if proposal.unmapped:
        raise OutlineError(
            f"{path}: found values that are not recognised: {', '.join(map(repr, proposal.unmapped))}; expected each "
            f"to be one of {names} or {scheme.background.name}; {proposal.describe()}. Give all: {proposal.options()}"
        )
    outlines = tuple(
        OutlineLayer(path, layer, name)
        if chosen is None
        else OutlineLayer(path, layer, name, chosen.field, chosen.values)
        for name, chosen in proposal.filters.items()
    )
    return proposal, outlines


def _known(class_name: str, scheme: ClassScheme) -> str:
    try:
        return scheme.by_name(class_name).name
    except ValueError as error:
        raise OutlineError(str(error)) from error


def _notes(outline: OutlineLayer, layer: VectorLayer, outlines: Sequence[OutlineLayer]) -> tuple[str, ...]:
    notes = []
    if layer.misses_scene:
        notes.append("misses the scene")
    elif not len(layer.polygons):
        notes.append("has no polygon of this class near the scene")
    if inside := _inside_of_others(layer.polygons):
        notes.append(
            f"{inside} of its polygons lie inside of another of {outline.class_name} and count as that: if they are "
            "rock islands, cut them out as holes (QGIS: Difference), or map them to the background by a field"
        )
    if layer.repairs:
        notes.append(describe_repairs(layer.repairs))
    if outline.period and layer.other_dates:
        notes.append(f"only those {layer.other_dates.describe(outline.period)}")
    if layer.left_out:
        notes.append(describe_left_out(layer.left_out))
    mapped = {
        value
        for other in outlines
        if (other.path, other.layer, other.class_field) == (outline.path, outline.layer, outline.class_field)
        for value in other.class_values
    }
    absent = [repr(value) for value in outline.class_values if value not in layer.values]
    if absent and len(layer.polygons):
        notes.append(f"no feature near the scene has the {outline.class_field!r} {' or '.join(absent)}")
    unmapped = {value: count for value, count in layer.values.items() if value not in mapped}
    if unmapped:
        listed = ", ".join(f"{value or 'no value'!r} ({count})" for value, count in unmapped.items())
        notes.append(f"features whose {outline.class_field!r} is mapped to no class are left out: {listed}")
    return tuple(notes)


def _notes_on_repeated(
    outline: OutlineLayer, polygons: NDArray[np.object_], before: Sequence[NDArray[np.object_]]
) -> list[str]:
    """Return a note on polygons that are equal to others of their layer, or of layers of their class before it."""
    repeated = _repeats(np.concatenate([*before, polygons]))[sum(map(len, before)) :]
    count = int(repeated.sum())
    if not count:
        return []
    verb = "is" if count == 1 else "are"
    return [
        f"{count} of its polygons {verb} equal to another of {outline.class_name}, and counted once with it: if a file "
        "holds features twice, delete the copies (QGIS: Delete duplicate geometries)"
    ]


def _repeats(polygons: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Return which polygons cover the same ground as one before them, (n,), wherever their rings begin."""
    repeated: NDArray[np.bool_] = np.zeros(len(polygons), dtype=np.bool_)
    inner, outer, equal = _within(polygons)
    repeated[inner[equal & (outer < inner)]] = True
    return repeated


def _inside_of_others(polygons: NDArray[np.object_]) -> int:
    """Return how many polygons lie wholly inside of another, as rock islands in files without holes do."""
    inner, _, equal = _within(polygons[~_repeats(polygons)])
    return len(np.unique(inner[~equal]))


def _within(polygons: NDArray[np.object_]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
    """Return the indices of polygons that lie inside of others, those of the others, and whether both are equal."""
    inner, outer = shapely.STRtree(polygons).query(polygons, predicate="within")
    inner, outer = inner[inner != outer], outer[inner != outer]
    return inner, outer, shapely.equals(polygons[inner], polygons[outer])


def _measure(mask: NDArray[np.uint8], grid: Grid, values: Collection[int]) -> tuple[dict[int, int], dict[int, float]]:
    """Return pixels and square kilometres of some class values in a mask."""
    metric = GroundMetric(grid)
    pixels, area_m2 = dict.fromkeys(values, 0), dict.fromkeys(values, 0.0)
    for row in range(0, grid.height, _ROWS_PER_STRIP):
        strip = mask[row : row + _ROWS_PER_STRIP]
        e, f, g = metric.at(Window(row + len(strip) // 2, 0, 1, grid.width))[:, 0]
        pixel_m2 = np.sqrt(e * g - f * f)
        for value in values:
            count = np.count_nonzero(strip == value, axis=0)
            pixels[value] += int(count.sum())
            area_m2[value] += float(count @ pixel_m2)
    return pixels, {value: area / 1e6 for value, area in area_m2.items()}
