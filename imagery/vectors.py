"""Reading polygons from vector files."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from imagery.errors import OutlineError, SceneError
from imagery.grid import Grid
from imagery.paths import name_for_pyogrio

Bounds = tuple[float, float, float, float]
"""Smallest x, smallest y, largest x, largest y."""

# By file name ending: the first bytes of such a file and the GDAL driver that reads it. By default GDAL looks at the
# content alone, and some of its formats (OGR VRT, for example) can be made to read any file or address.
_FORMATS: Final = {
    ".gpkg": (b"SQLite format 3\0", "GPKG"),
    ".geojson": (b"{", "GeoJSON"),
    ".json": (b"{", "GeoJSON"),
    ".shp": (b"\x00\x00\x27\x0a", "ESRI Shapefile"),
}


CLASS_FIELD: Final = "class"
"""The attribute field that holds the class name in the files of `imagery.outlines`."""


@dataclass(frozen=True)
class Repair:
    """The repair of one invalid geometry.

    Attributes:
        feature: The feature's number in the file (OGR's FID, as GIS programs show it).
        reason: Why it was invalid, in GEOS's words, with the place in the scene's CRS: "Self-intersection[x y]".
        dropped: Whether it was dropped because nothing with an area was left.
    """

    feature: int
    reason: str
    dropped: bool


@dataclass(frozen=True)
class VectorLayer:
    """The polygons of a layer near a scene.

    Attributes:
        crs: The layer's own CRS.
        extent: Bounds of the whole layer in its own CRS.
        scene_extent: Bounds of the scene in the layer's CRS.
        polygons: (n,) shapely polygons and multipolygons that may touch the scene, in the scene's CRS, valid, holes
            kept.
        repairs: The geometries among them that were invalid in the file.
        sha256: Checksum of the name of the layer's CRS and of the geometries near the scene as the file stores them,
            in any order. It does not change if the file is moved or changed far from the scene, or if the libraries
            that repair and reproject change.
    """

    crs: str
    extent: Bounds
    scene_extent: Bounds
    polygons: NDArray[np.object_]
    sha256: str
    repairs: tuple[Repair, ...] = ()

    @property
    def misses_scene(self) -> bool:
        """Whether the layer's extent and the scene's do not overlap."""
        return not shapely.box(*self.extent).intersects(shapely.box(*self.scene_extent))


def read_layer(
    path: str,
    layer: str | None,
    grid: Grid,
    *,
    class_name: str | None = None,
    class_names: Collection[str] = (),
) -> VectorLayer:
    """Read the polygons of a layer whose bounding boxes overlap a scene; rows without a geometry are ignored.

    Invalid geometries are repaired and listed in `VectorLayer.repairs`. Each ring is repaired by itself and holes are
    then subtracted from their shell, so that a hole that crosses the shell never becomes ice and overlapping parts
    never become a hole.

    Args:
        path: A local GeoPackage, GeoJSON or shapefile, in any CRS; the name is taken literally.
        layer: The layer to read; None only if the file has exactly one.
        grid: The scene's grid.
        class_name: If given, only the polygons of this class are read from a layer that holds several classes, as
            those of `imagery.outlines` do: a layer with a field `class` that holds only names of classes. From any
            other layer everything is read.
        class_names: With `class_name`, the names of all classes.

    Raises:
        OutlineError: The file cannot be read, has no CRS, no features, several layers of which none was chosen, or
            geometries that are not polygons or cannot be transformed to the scene's CRS.
    """
    _check_format(path)
    with _library_errors(path):
        info = _layer_info(path, layer)
        crs = str(info["crs"])
        scene_extent = grid.footprint_in(crs).bounds
        features, stored = _read_features(path, info, scene_extent, class_name, class_names)
        transformed = grid.from_crs(shapely.force_2d(_decoded(path, features, stored)), crs)
        _check_polygons(path, transformed)
        polygons, repairs = _repair(features, transformed)
    left, bottom, right, top = (float(value) for value in info["total_bounds"])
    return VectorLayer(crs, (left, bottom, right, top), scene_extent, polygons, _digest(crs, stored), repairs)


def describe_repairs(repairs: Sequence[Repair]) -> str:
    """Summarise repairs in one line: how many outlines were repaired or dropped, why, and where the first one is.

    Raises:
        ValueError: There are no repairs to describe.
    """
    if not repairs:
        raise ValueError("found no repairs; expected at least one to describe")
    kinds = Counter(repair.reason.partition("[")[0] for repair in repairs)
    why = ", ".join(f"{kind} ({count})" for kind, count in kinds.most_common())
    dropped = sum(repair.dropped for repair in repairs)
    first = repairs[0]
    return (
        f"invalid outlines: {len(repairs) - dropped} repaired, {dropped} dropped for having no area; "
        f"{why}; the first is feature {first.feature}: {first.reason}"
    )


def polygonal(geometry: Any) -> list[Any]:
    """Return the polygons of non-zero area in any shapely geometry, also those inside collections."""
    parts = shapely.get_parts(shapely.get_parts(geometry))  # twice: a collection may hold multipolygons
    return [part for part in parts if part.geom_type == "Polygon" and part.area > 0]


def _check_format(path: str) -> None:
    suffix = Path(path).suffix.lower()
    if suffix not in _FORMATS:
        raise OutlineError(f"{path}: found the ending {suffix!r}; expected one of {', '.join(_FORMATS)}")
    try:
        with Path(path).open("rb") as file:
            start = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n" if suffix.endswith("json") else b"")
    except (OSError, ValueError) as error:  # ValueError: the name holds a null byte
        reason = getattr(error, "strerror", None) or error
        raise OutlineError(f"{path}: found no readable file; expected one ({reason})") from error
    magic, driver = _FORMATS[suffix]
    if not start.startswith(magic):
        raise OutlineError(f"{path}: found a file that begins with {start[:16]!r}; expected a {driver} file")


@contextmanager
def _library_errors(path: str) -> Iterator[None]:
    """Turn what the libraries raise on a file that they cannot read into an OutlineError that names the file."""
    from pyogrio import errors

    try:
        yield
    except OutlineError:
        raise
    except (errors.DataSourceError, errors.DataLayerError, SceneError) as error:
        raise OutlineError(f"{path}: {error}") from error
    except OSError as error:
        raise OutlineError(f"{path}: found no readable file; expected one ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise OutlineError(
            f"{path}: found attributes that are not valid {error.encoding}; expected text in the encoding that the "
            "file declares (a shapefile in its .cpg file)"
        ) from error


def _layer_info(path: str, layer: str | None) -> dict[str, Any]:
    """Choose the layer, and check what its header says."""
    import pyogrio  # brings pandas along, 90 MB: only a process that reads outlines pays for it

    name = name_for_pyogrio(path)
    layers = [str(item) for item in pyogrio.list_layers(name)[:, 0]]
    if layer is None and len(layers) == 1:
        layer = layers[0]
    if layer not in layers:
        found = "no layer name" if layer is None else f"the layer name {layer!r}"
        raise OutlineError(f"{path}: found {found}; expected one of {', '.join(layers)}")
    info: dict[str, Any] = pyogrio.read_info(name, layer=layer, force_feature_count=True, force_total_bounds=True)
    driver = _FORMATS[Path(path).suffix.lower()][1]
    if info["driver"] != driver:
        raise OutlineError(f"{path}: found a {info['driver']} file; expected a {driver} file")
    if not info["crs"]:
        raise OutlineError(
            f"{path}: found no coordinate reference system; expected one: assign it with ogr2ogr -a_srs "
            "(a shapefile needs its .prj file beside it)"
        )
    if not info["features"]:
        raise OutlineError(f"{path}: found no features in layer {info['layer_name']!r}; expected polygons")
    if info["total_bounds"] is None or not np.isfinite(info["total_bounds"]).all():
        raise OutlineError(f"{path}: found no geometry in layer {info['layer_name']!r}; expected polygons")
    return info


def _read_features(
    path: str, info: dict[str, Any], extent: Bounds, class_name: str | None, class_names: Collection[str]
) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
    """Read the FIDs and geometries (WKB) of the features near the scene, (n,) each."""
    import pyogrio

    columns = [CLASS_FIELD] if class_name is not None and CLASS_FIELD in info["fields"] else []
    _, fids, wkb, fields = pyogrio.raw.read(
        name_for_pyogrio(path), layer=info["layer_name"], columns=columns, bbox=extent, return_fids=True
    )
    wanted = np.array([item is not None for item in wkb], dtype=np.bool_)
    if columns:
        is_class = np.isin(fields[0].astype(str), list(class_names))
        if is_class.any() and not is_class.all():
            first = int(np.flatnonzero(~is_class)[0])
            raise OutlineError(
                f"{path}: found {fields[0][first]!r} as the {CLASS_FIELD} of feature {fids[first]}, beside names of "
                f"classes; expected one of {', '.join(class_names)} for every feature"
            )
        if is_class.any():
            wanted &= fields[0] == class_name
    return fids[wanted], wkb[wanted]


def _decoded(path: str, features: NDArray[np.int64], stored: NDArray[np.object_]) -> NDArray[np.object_]:
    """Decode WKB geometries; GEOS refuses rings that are not closed and surfaces other than polygons."""
    geometries: NDArray[np.object_] = shapely.from_wkb(stored, on_invalid="ignore")
    refused = features[shapely.is_missing(geometries)]
    if len(refused):
        raise OutlineError(
            f"{path}: found {len(refused)} features that are no polygons or have rings that are not closed, the first "
            f"is feature {refused[0]}; expected only polygons"
        )
    return geometries


def _digest(crs: str, stored: NDArray[np.object_]) -> str:
    digest = sha256(CRS.from_user_input(crs).name.encode())
    for wkb in sorted(stored):
        digest.update(wkb)
    return digest.hexdigest()


def _check_polygons(path: str, geometries: NDArray[np.object_]) -> None:
    for geometry in geometries:
        if geometry.geom_type not in {"Polygon", "MultiPolygon"}:
            raise OutlineError(f"{path}: found a {geometry.geom_type}; expected only polygons")


def _repair(
    features: NDArray[np.int64], geometries: NDArray[np.object_]
) -> tuple[NDArray[np.object_], tuple[Repair, ...]]:
    """Make geometries valid. What has no area afterwards, like a line drawn there and back, is dropped."""
    invalid = np.flatnonzero(~shapely.is_valid(geometries))
    repaired = geometries.copy()
    repaired[invalid] = shapely.make_valid(geometries[invalid], method="structure", keep_collapsed=False)
    empty = shapely.is_empty(repaired)
    reasons = shapely.is_valid_reason(geometries[invalid])
    repairs = tuple(
        Repair(int(features[index]), str(reason), bool(empty[index]))
        for index, reason in zip(invalid, reasons, strict=True)
    )
    return repaired[~empty], repairs
