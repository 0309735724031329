"""Label masks: uint8 arrays (H, W) with the values of a class scheme, 255 where the class is unknown."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize, sieve
from shapely.geometry.base import BaseGeometry

from imagery.class_fields import check_told_apart
from imagery.classes import BACKGROUND, UNKNOWN, ClassScheme, LabelClass
from imagery.coordinates import format_bounds
from imagery.errors import OutlineError, SceneError
from imagery.geotiff import encode, open_bytes
from imagery.grid import Grid, Window
from imagery.outline_period import Period
from imagery.raster_file import read_window
from imagery.vectors import ClassFilter, VectorLayer, read_layer

# Far larger than any patch (maps of scenes have the size of their grid). A forged header that declares more is refused
# before memory is allocated.
_LARGEST_MASK_PX: Final = 1 << 28


@dataclass(frozen=True)
class OutlineLayer:
    """Polygons of one class.

    Attributes:
        path: A vector file (see `imagery.vector_files.ENDINGS`).
        layer: The layer in it; None where there is only one.
        class_name: The name of a class of the scheme. The background's name only with a class field: such polygons,
            rock inside of a glacier for instance, are holes in the others.
        class_field: The attribute field that tells which features are of this class; None: all are.
        class_values: Values of this field, as `imagery.vectors.value_text` writes them; at least one with a field.
        drawn_from: If given, only features count that were drawn from images of this day, month or year, or later.
        drawn_to: Likewise, or earlier.
    """

    path: str
    layer: str | None
    class_name: str
    class_field: str | None = None
    class_values: tuple[str, ...] = ()
    drawn_from: str | None = None
    drawn_to: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_values", tuple(self.class_values))  # a list, where it comes from JSON
        if (self.class_field is None) != (not self.class_values):
            raise OutlineError(
                f"{self.path}: found the class field {self.class_field!r} with the values {self.class_values}; "
                "expected both a field and at least one value of it, or neither"
            )

    @property
    def period(self) -> Period | None:
        """Of which dates features are used; None: of all, also without a date."""
        return Period(self.drawn_from, self.drawn_to) if self.drawn_from or self.drawn_to else None

    @property
    def class_filter(self) -> ClassFilter | None:
        """Which features of the layer are of this class; None: all."""
        return None if self.class_field is None else ClassFilter(self.class_field, self.class_values)


def compose(
    layers: Iterable[tuple[int, BaseGeometry | NDArray[np.bool_]]], height: int, width: int
) -> NDArray[np.uint8]:
    """Draw layers onto background in the given order; later layers overwrite earlier ones.

    Args:
        layers: (class value, shape), in drawing order. A shape is a boolean array (height, width) or a polygon in pixel
            coordinates (x right, y down, (0, 0) the outer corner of the first pixel), which covers the pixels whose
            centres it contains; pixels in its holes do not change.
        height: Rows.
        width: Columns.

    Returns:
        (height, width) label mask.

    Raises:
        OutlineError: A value is not 0 to 255, an array has another shape or dtype, or a geometry is not a polygon.
    """
    mask: NDArray[np.uint8] = np.full((height, width), BACKGROUND, dtype=np.uint8)
    # Consecutive polygons are burnt in one call, since every call visits the whole mask.
    for is_array, run in groupby(layers, key=lambda layer: isinstance(layer[1], np.ndarray)):
        if is_array:
            for value, covered in run:
                _check_covered(value, covered, (height, width))
                mask[covered] = value
        else:
            _burn(mask, list(run))
    return mask


def read_outlines(
    outlines: Sequence[OutlineLayer], grid: Grid, scheme: ClassScheme
) -> list[tuple[LabelClass, VectorLayer]]:
    """Read outlines in any CRS, for `burn_outlines`.

    Args:
        outlines: The layers.
        grid: The scene's grid.
        scheme: The classes that the layers name.

    Returns:
        (class, layer) in the order given; `VectorLayer.repairs` lists the geometries that were invalid.

    Raises:
        OutlineError: A file cannot be used (see `imagery.vectors.read_layer`), or no layer overlaps the scene.
        ValueError: A class name is unknown.
    """
    classes = [scheme.by_name(item.class_name) for item in outlines]
    if any(item.class_name == scheme.background.name and item.class_field is None for item in outlines):
        raise OutlineError(
            f"found outlines of {scheme.background.name}; expected only what is not: draw islands of it as holes"
        )
    whole: dict[tuple[str, str | None], list[str]] = {}
    for item in outlines:
        if item.class_field is None:
            whole.setdefault((item.path, item.layer), []).append(item.class_name)
    for (path, name), named_for in whole.items():
        check_told_apart(path, name, named_for, scheme)
    legend = [item.name for item in scheme.legend]
    layers = [
        read_layer(
            item.path,
            item.layer,
            grid,
            class_name=item.class_name,
            class_names=legend,
            class_filter=item.class_filter,
            period=item.period,
        )
        for item in outlines
    ]
    _check_period(outlines, layers)
    _check_overlap([item.path for item in outlines], layers)
    return list(zip(classes, layers, strict=True))


def burn_outlines(
    layers: Sequence[tuple[LabelClass, VectorLayer]], grid: Grid, window: Window | None = None
) -> NDArray[np.uint8]:
    """Burn the layers of `read_outlines` into a label mask on the scene's grid.

    A polygon covers the pixels whose centres it contains. Holes stay holes (published code burns exteriors only, and
    rock islands become ice). Where layers overlap, the class of the higher precedence wins, in any order of the layers:
    in the glacier scheme debris-covered ice wins over clean ice, and unknown over both. Polygons of the background,
    which are holes, win over every class but unknown.

    Args:
        layers: (class, layer); pixels that none covers are background.
        grid: The scene's grid.
        window: Part of the scene; by default all of it.

    Returns:
        (h, w) label mask of the window.
    """
    part = grid if window is None else grid.subgrid(window)
    mask: NDArray[np.uint8] = np.full((part.height, part.width), BACKGROUND, dtype=np.uint8)
    rising = sorted(layers, key=_drawing_order)
    _burn(mask, [(entry.value, polygon) for entry, layer in rising for polygon in layer.polygons], part)
    return mask


def rasterize_outlines(
    outlines: Sequence[OutlineLayer], grid: Grid, scheme: ClassScheme, window: Window | None = None
) -> NDArray[np.uint8]:
    """Rasterize outlines in any CRS to a (h, w) label mask of the window: `read_outlines`, then `burn_outlines`.

    Raises:
        OutlineError: As `read_outlines`.
        ValueError: As `read_outlines`.
    """
    return burn_outlines(read_outlines(outlines, grid, scheme), grid, window)


def despeckle(mask: NDArray[np.uint8], min_pixels: int) -> NDArray[np.uint8]:
    """Give every 4-connected patch of fewer than `min_pixels` pixels the class of its largest neighbour.

    Masked/unknown pixels do not change, and never count as neighbours.

    Args:
        mask: (H, W) label mask.
        min_pixels: Minimum size of a patch that is kept.
    """
    if min_pixels <= 1:
        return mask.copy()
    cleaned: NDArray[np.uint8] = sieve(mask, size=min_pixels, mask=mask != UNKNOWN, connectivity=4)
    return cleaned


def mask_to_geotiff(mask: NDArray[np.uint8], grid: Grid, scheme: ClassScheme, window: Window | None = None) -> bytes:
    """Encode a label mask as a georeferenced GeoTIFF with the classes' colours and nodata 255.

    Args:
        mask: (h, w) label mask of the window.
        grid: The scene's grid.
        scheme: The classes.
        window: Window of the mask in the scene; by default the whole scene.

    Raises:
        OutlineError: A value is not in the scheme.
        SceneError: The mask's size is not the window's.
    """
    check_values(mask, scheme)
    part = grid if window is None else grid.subgrid(window)
    return encode(mask, part, nodata=UNKNOWN, colours={entry.value: entry.rgb for entry in scheme.legend})


def mask_from_geotiff(data: bytes, scheme: ClassScheme, grid: Grid | None = None) -> NDArray[np.uint8]:
    """Decode a label mask (h, w) from the result of `mask_to_geotiff`.

    Args:
        data: The content of the file.
        scheme: The classes.
        grid: The scene's grid, for a map of the whole scene; None for the mask of a patch.

    Raises:
        SceneError: The bytes are not a GeoTIFF with one band of uint8, or the mask has not the grid's size or, without
            a grid, is too large.
        OutlineError: A value is not in the scheme.
    """
    with open_bytes(data) as dataset:
        if grid is None:
            size, fits = f"at most {_LARGEST_MASK_PX} px", dataset.width * dataset.height <= _LARGEST_MASK_PX
        else:
            size, fits = f"{grid.width} x {grid.height} px", dataset.shape == (grid.height, grid.width)
        if dataset.dtypes != ("uint8",) or not fits:
            found = f"{dataset.count} bands of {dataset.dtypes[0]}, {dataset.width} x {dataset.height} px"
            raise SceneError(f"found {found}; expected a label mask: 1 band of uint8, {size}")
        mask: NDArray[np.uint8] = read_window(dataset, [1], Window(0, 0, dataset.height, dataset.width))[0]
    check_values(mask, scheme)
    return mask


def check_values(mask: NDArray[np.uint8], scheme: ClassScheme) -> None:
    """Raise OutlineError unless an array is a label mask of the scheme.

    Raises:
        OutlineError: The array is not uint8, or holds values that are not in the scheme.
    """
    expected = [entry.value for entry in scheme.legend]
    if mask.dtype != np.uint8:
        raise OutlineError(f"found a mask of {mask.dtype}; expected uint8")
    found = np.flatnonzero(np.bincount(mask.ravel(), minlength=256))  # np.unique sorts, which takes ten times as long
    if unknown := sorted(set(found.tolist()) - set(expected)):
        raise OutlineError(f"found the values {unknown} in a label mask; expected only {expected}")


def _check_value(value: int) -> None:
    if not 0 <= value <= UNKNOWN:
        raise OutlineError(f"found the class value {value}; expected 0 to {UNKNOWN}")


def _check_covered(value: int, covered: Any, shape: tuple[int, int]) -> None:
    _check_value(value)
    if covered.shape != shape or covered.dtype != np.bool_:
        raise OutlineError(f"found {covered.dtype} of shape {covered.shape}; expected bool of shape {shape}")


def _burn(mask: NDArray[np.uint8], polygons: Sequence[tuple[int, Any]], grid: Grid | None = None) -> None:
    """Draw (value, polygon) in the given order, in pixel coordinates or, with a grid, in its map coordinates."""
    for value, polygon in polygons:
        _check_value(value)
        if polygon.geom_type not in {"Polygon", "MultiPolygon"} or polygon.is_empty:
            raise OutlineError(f"found {polygon.wkt[:60]!r}; expected a polygon")
    if polygons:
        where = {} if grid is None else {"transform": grid.affine}
        rasterize([(polygon, value) for value, polygon in polygons], out=mask, **where)


def _drawing_order(layer: tuple[LabelClass, VectorLayer]) -> float:
    """Return the precedence of a layer's class; that of holes is just below unknown's, the highest."""
    return UNKNOWN - 0.5 if layer[0].value == BACKGROUND else layer[0].precedence


def _check_period(outlines: Sequence[OutlineLayer], layers: Sequence[VectorLayer]) -> None:
    """Refuse a period that leaves nothing of the outlines: all of the scene would be background."""
    told = [
        f"{item.path} {layer.other_dates.describe(item.period)}"
        for item, layer in zip(outlines, layers, strict=True)
        if item.period and layer.other_dates and (layer.other_dates.dates or layer.other_dates.undated)
    ]
    if told and not any(len(layer.polygons) for layer in layers):
        raise OutlineError(
            f"found no outlines near the scene {'; '.join(dict.fromkeys(told))}; expected some: choose another period"
        )


def _check_overlap(paths: Sequence[str], layers: Sequence[VectorLayer]) -> None:
    if layers and all(layer.misses_scene for layer in layers):
        found = "; ".join(
            f"{path} covers {format_bounds(layer.extent)} and the scene {format_bounds(layer.scene_extent)} in "
            f"{layer.crs}{_swapped(layer)}"
            for path, layer in zip(paths, layers, strict=True)
        )
        raise OutlineError(f"found outlines that miss the scene: {found}; expected outlines of the scene's own ground")


def _swapped(layer: VectorLayer) -> str:
    """Return a hint if the layer would overlap the scene with x and y exchanged."""
    left, bottom, right, top = layer.extent
    swapped = shapely.box(bottom, left, top, right)
    return " (latitude comes first in the file?)" if swapped.intersects(shapely.box(*layer.scene_extent)) else ""
