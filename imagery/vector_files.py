"""Opening vector files: the formats that are read, and what their headers say.

By default GDAL looks at the content of a file alone, and some of its formats (OGR VRT, WFS, GDALG) can be made to read
any file or address. Therefore the first bytes of a file must fit its ending, only the drivers of the formats below are
left in GDAL (`imagery.gdal_limits`), and the driver that then opened the file is checked.
"""

import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import ProjError

from imagery.crs_grids import grid_paths
from imagery.errors import OutlineError, SceneError, UnreadableOutlinesError
from imagery.gdal_limits import limited_pyogrio
from imagery.geojson_crs import check_geojson_crs
from imagery.geopackage import check_geopackage
from imagery.paths import name_for_pyogrio
from imagery.projection import impossible_place
from imagery.side_files import SideFiles

Bounds = tuple[float, float, float, float]
"""Smallest x, smallest y, largest x, largest y."""

_SHAPEFILE, _GEOJSON, _KML = "ESRI Shapefile", "GeoJSON", "KML"

# By file name ending: the first bytes of such a file, and the GDAL driver that reads it.
_OGR_FORMATS: Final = {
    ".gpkg": (b"SQLite format 3\0", "GPKG"),
    ".geojson": (b"{", _GEOJSON),
    ".json": (b"{", _GEOJSON),
    ".shp": (b"\x00\x00\x27\x0a", _SHAPEFILE),
    ".fgb": (b"fgb\x03fgb", "FlatGeobuf"),
    ".kml": (b"<", _KML),
}
_PARQUET: Final = (".parquet", ".geoparquet")
_ARCHIVES: Final = (".zip", ".kmz")
ENDINGS: Final = (*_OGR_FORMATS, *_PARQUET, *_ARCHIVES)
"""Endings of the files that are read."""
SHAPEFILE_PARTS: Final = (".shp", ".shx", ".dbf", ".prj", ".cpg")
"""Endings of the files of a shapefile that are used."""
_SPATIAL_INDEXES: Final = (".qix", ".sbn")  # of a shapefile

# Of a .dbf file: none, and "ANSI", the code page of whatever Windows wrote it (https://www.clicketyclick.dk/databases/
# xbase/format/dbf.html). GDAL reads both as ISO 8859-1.
_LANGUAGE_BYTE: Final = 29
_NO_LANGUAGES: Final = (b"\0", b"\x57")

_KML_ROOT: Final = re.compile(rb"<(?:\w+:)?kml[\s>]")
_HEAD: Final = 4096
# Of a binary format only what is near the scene is read. Text is parsed from its start each time, some 50 MB a second.
_LARGEST_BYTES: Final = 4 << 30
_LARGEST_TEXT: Final = 1 << 28
# Features without a place are found by reading all bounds, about 0.3 s for this many.
_MOST_COUNTED: Final = 200_000


@dataclass(frozen=True)
class LayerHeader:
    """What is known about a layer before its features are read.

    Attributes:
        name: Name of the layer.
        crs: Its CRS: an authority code or WKT.
        fields: Names of its attribute fields.
        feature_count: Number of its features.
        extent: Bounds of all features, in its CRS.
        encoding_unknown: Whether nothing tells the encoding of its texts: a shapefile without a .cpg file, read as
            ISO 8859-1.
    """

    name: str
    crs: str
    fields: tuple[str, ...]
    feature_count: int
    extent: Bounds
    encoding_unknown: bool = False


@dataclass(frozen=True)
class Features:
    """Features of a layer.

    Attributes:
        ids: (n,) the features' numbers in the file: OGR's FID, as GIS programs show it, or the row in a Parquet file.
        wkb: (n,) geometries as the file stores them, curves as lines; None without a geometry.
        columns: Attribute field -> (n,) values.
    """

    ids: NDArray[np.int64]
    wkb: NDArray[np.object_]
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)


class VectorFile(Protocol):
    """An open vector file."""

    def layers(self) -> list[str]:
        """Return the names of the layers that may hold polygons, or of all if none may."""

    def polygon_layers(self) -> list[str]:
        """Return the names of the layers that may hold polygons."""

    def header(self, layer: str) -> LayerHeader:
        """Return what a layer says about itself."""

    def read(self, header: LayerHeader, boxes: Sequence[Bounds], columns: Sequence[str]) -> Features:
        """Return the features whose bounds touch a box."""

    def attributes(self, header: LayerHeader, columns: Sequence[str]) -> Mapping[str, NDArray[Any]]:
        """Return attribute values of all features, in the order of the file."""

    def without_place(self, header: LayerHeader) -> NDArray[np.int64]:
        """Return the numbers of the features without a geometry or with coordinates that are not numbers."""


@contextmanager
def open_vector(path: str) -> Iterator[VectorFile]:
    """Open a local vector file, whose name is taken literally, and close it afterwards.

    Zipped files are extracted to a temporary folder meanwhile (see `imagery.vector_archives`).

    Raises:
        OutlineError: The file is not one of `ENDINGS`, cannot be read, or a library fails on it inside the block.
    """
    suffix = Path(path).suffix.lower()
    with _library_errors(path):
        if suffix in _ARCHIVES:
            from imagery.vector_archives import open_archive  # which opens the files in it by this module

            with open_archive(path) as file:
                yield file
        else:
            yield open_plain(path)


def open_plain(path: str) -> VectorFile:
    """Open a file that is no archive.

    Raises:
        OutlineError: As `open_vector`.
    """
    suffix = Path(path).suffix.lower()
    _check_format(path, suffix)
    if suffix in _PARQUET:
        from imagery.geoparquet import GeoParquetFile  # brings pyarrow along, 60 MB

        return GeoParquetFile(path)
    return OgrFile(path, _OGR_FORMATS[suffix][1])


def filled_layers(path: str) -> list[str]:
    """Return the names of the layers of a file that have features.

    Raises:
        OutlineError: As `open_vector`.
    """
    with open_vector(path) as file:
        names = file.layers()
        return names if len(names) == 1 else [name for name in names if file.header(name).feature_count]


def choose_layer(path: str, file: VectorFile, layer: str | None) -> LayerHeader:
    """Return the header of a layer; without a name, of the only one that has features.

    Raises:
        OutlineError: There is no such layer, or several; or the layer has no features, no place or no usable CRS.
    """
    names = file.layers()
    if layer is None and len(names) > 1:  # KML files often hold empty folders
        filled = [name for name in names if file.header(name).feature_count]
        layer = filled[0] if len(filled) == 1 else None
    elif layer is None and names:
        layer = names[0]
    if layer not in names:
        listed = ", ".join(names)
        if not names:
            fault = "found no layer of polygons; expected one"
        elif layer is None:
            fault = f"found the layers {listed}; expected one of them to be named ({path}:{names[0]}, or 'layer')"
        else:
            fault = f"found no layer {layer!r}; expected one of {listed}"
        raise OutlineError(f"{path}: {fault}")
    header = file.header(layer)
    _check_header(path, header)
    return header


class OgrFile:
    """A file that GDAL reads."""

    def __init__(self, path: str, driver: str) -> None:
        """Open a file whose content has been checked, with one driver."""
        self._path, self._driver = path, driver
        name = name_for_pyogrio(path)
        # With this prefix GDAL tries no other driver on it, and pyogrio takes the rest literally.
        self._name = f"GeoJSON:{name.removeprefix('/vsisubfile/0,')}" if driver == _GEOJSON else name

    def layers(self) -> list[str]:
        """Return the names of the layers, without tables that have no geometry, points and lines.

        Points and lines are left out only beside others: in a file of nothing else they are what is wrong with it.
        """
        return self.polygon_layers() or [name for name, _ in self._listed()]

    def polygon_layers(self) -> list[str]:
        """Return the names of the layers, without points and lines."""
        return [name for name, kind in self._listed() if not re.search(r"Point|LineString|Curve$", kind)]

    def _listed(self) -> list[tuple[str, str]]:
        """Return the names of the layers that have a geometry, with its type as GDAL names it."""
        pyogrio = limited_pyogrio()
        try:
            return [(str(name), str(kind)) for name, kind in pyogrio.list_layers(self._name) if kind is not None]
        except pyogrio.errors.DataSourceError as error:
            if self._driver != _GEOJSON:
                raise
            raise OutlineError(
                f"{self._path}: found JSON that is no GeoJSON ({error}); expected one FeatureCollection; TopoJSON, "
                "ESRI JSON and one feature a line are other formats: convert it with ogr2ogr"
            ) from error

    def header(self, layer: str) -> LayerHeader:
        """Return what a layer says about itself."""
        pyogrio = limited_pyogrio()
        info = pyogrio.read_info(self._name, layer=layer, force_feature_count=True, force_total_bounds=True)
        # Builds of GDAL with the library libkml read KML by a driver of that name.
        if info["driver"].removeprefix("LIB") != self._driver:
            raise OutlineError(f"{self._path}: found a {info['driver']} file; expected a {self._driver} file")
        bounds = info["total_bounds"]
        left, bottom, right, top = (float(value) for value in ((np.nan,) * 4 if bounds is None else bounds))
        fields = tuple(str(name) for name in info["fields"])
        return LayerHeader(
            layer,
            info["crs"] or "",
            fields,
            int(info["features"]),
            (left, bottom, right, top),
            self._driver == _SHAPEFILE and _lacks_encoding(Path(self._path)),
        )

    def read(self, header: LayerHeader, boxes: Sequence[Bounds], columns: Sequence[str]) -> Features:
        """Return the features whose bounds touch a box."""
        with self._without_index() as (name, layer):
            parts = [
                self._read(name, layer=layer or header.name, columns=list(columns), bbox=box, return_fids=True)
                for box in boxes
            ]
        order = [str(name) for name in parts[0][0]["fields"]]
        ids, first = np.unique(np.concatenate([part[1] for part in parts]), return_index=True)
        wkb = np.concatenate([part[2] for part in parts])[first]
        values = {name: np.concatenate([part[3][place] for part in parts])[first] for place, name in enumerate(order)}
        return Features(ids.astype(np.int64), wkb, values)

    @contextmanager
    def _without_index(self) -> Iterator[tuple[str, str | None]]:
        """Yield a name of the file, and that of its layer if it differs, under which GDAL finds no spatial index.

        GDAL trusts an index beside a shapefile, also one that other software left from an older version of the file:
        outlines that were moved or added since would not be found.
        """
        path = Path(self._path)
        is_shapefile = self._driver == _SHAPEFILE
        beside = [part for part in path.parent.iterdir() if part.stem == path.stem] if is_shapefile else []
        if not any(part.suffix.lower() in _SPATIAL_INDEXES for part in beside):
            yield self._name, None
            return
        with tempfile.TemporaryDirectory(prefix="outlines-") as folder:
            for part in beside:
                if part.suffix.lower() in SHAPEFILE_PARTS:
                    Path(folder, f"layer{part.suffix}").symlink_to(part.absolute())
            yield str(Path(folder, f"layer{path.suffix}")), "layer"

    def attributes(self, header: LayerHeader, columns: Sequence[str]) -> Mapping[str, NDArray[Any]]:
        """Return attribute values of all features, in the order of the file."""
        meta, _, _, values = self._read(self._name, layer=header.name, columns=list(columns), read_geometry=False)
        return dict(zip((str(name) for name in meta["fields"]), values, strict=True))

    def _read(self, name: str, **wanted: Any) -> Any:
        """Read features as pyogrio does.

        Raises:
            OutlineError: A value cannot be read: a date that no calendar has.
        """
        try:
            return limited_pyogrio().raw.read(name, **wanted)
        except UnicodeDecodeError:
            raise
        except ValueError as error:
            raise OutlineError(
                f"{self._path}: found a value that cannot be read ({error}); expected dates that exist"
            ) from error

    def without_place(self, header: LayerHeader) -> NDArray[np.int64]:
        """Return the numbers of the features without a geometry or with coordinates that are not numbers."""
        pyogrio = limited_pyogrio()
        if header.feature_count > _MOST_COUNTED:
            return np.empty(0, dtype=np.int64)
        ids, bounds = pyogrio.read_bounds(self._name, layer=header.name)
        nowhere = ~np.isfinite(bounds).all(axis=0) | (bounds == 0).all(
            axis=0
        )  # zeros are GDAL's bounds of POLYGON EMPTY
        return np.asarray(ids[nowhere], dtype=np.int64)


def _lacks_encoding(path: Path) -> bool:
    """Return whether neither a .cpg file nor the language of a shapefile's table tells how its texts are encoded."""
    table = next((part for ending in (".dbf", ".DBF") if (part := path.with_suffix(ending)).is_file()), None)
    if table is None or any(path.with_suffix(ending).is_file() for ending in (".cpg", ".CPG")):
        return False
    with table.open("rb") as file:
        head = file.read(_LANGUAGE_BYTE + 1)
    return head[_LANGUAGE_BYTE:] in _NO_LANGUAGES


def _check_format(path: str, suffix: str) -> None:
    if suffix not in (*ENDINGS, ".gdb") and Path(path).is_dir():
        inside = sorted(file.name for file in Path(path).iterdir() if file.suffix.lower() in ENDINGS)
        listed = ", ".join([*inside[:5], *(["..."] if len(inside) > 5 else [])])
        raise OutlineError(
            f"{path}: found a folder; expected one file"
            + (f": give the one that holds the polygons ({listed})" if inside else f" ({', '.join(ENDINGS)})")
        )
    if suffix not in ENDINGS:
        raise OutlineError(
            f"{path}: found the ending {suffix!r}; expected one of {', '.join(ENDINGS)}: convert it with ogr2ogr, or "
            "save it as a GeoPackage in QGIS"
        )
    magic, driver = (b"PAR1", "GeoParquet") if suffix in _PARQUET else _OGR_FORMATS[suffix]
    is_text = magic in {b"{", b"<"}
    _check_file(path, _LARGEST_TEXT if is_text else _LARGEST_BYTES)
    try:
        with Path(path).open("rb") as file:
            head = file.read(_HEAD)
            start = head.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n" if is_text else b"")
            if not start.startswith(magic) or (driver == _KML and not _is_kml(start)):
                name = driver.removeprefix("LIB")
                found = f"that begins with {start[:16]!r}" if start else "that is empty" if not head else "of spaces"
                raise OutlineError(f"{path}: found a file {found}; expected a file in the format {name}")
            if driver == "FlatGeobuf" and (grids := grid_paths(head.decode("latin-1"))):
                raise _grid_refused(path, grids[0])
            if driver == _GEOJSON:
                check_geojson_crs(path, file.fileno())
    except (OSError, ValueError) as error:  # ValueError: the name holds a null byte
        if isinstance(error, OutlineError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise UnreadableOutlinesError(f"{path}: found no readable file; expected one ({reason})") from error
    if suffix == ".shp" and not any(Path(path).with_suffix(ending).exists() for ending in (".shx", ".SHX")):
        raise OutlineError(f"{path}: found no .shx file beside it; expected .shp, .shx, .dbf and .prj together")
    if driver == "GPKG":
        check_geopackage(path)


def _check_file(path: str, largest: int) -> None:
    """Check that this is a file, that it is not too large, and what lies beside it."""
    try:
        size = os.path.getsize(path)  # noqa: PTH202 - a path may be of any length here
        is_file = os.path.isfile(path)  # noqa: PTH113 - reading a pipe would wait for ever
    except (OSError, ValueError) as error:  # ValueError: the name holds a null byte
        reason = getattr(error, "strerror", None) or error
        raise UnreadableOutlinesError(f"{path}: found no readable file; expected one ({reason})") from error
    if not is_file:
        raise OutlineError(f"{path}: found no file, but a pipe, device or folder; expected a file")
    if size > largest:
        raise OutlineError(
            f"{path}: found {size >> 20} MiB; expected at most {largest >> 20} MiB: save the part around the "
            "scene as a GeoPackage"
        )
    try:
        SideFiles().check(path)
    except SceneError as error:
        raise OutlineError(str(error)) from error


def _is_kml(start: bytes) -> bool:
    return _KML_ROOT.search(start) is not None and b"<OGRVRT" not in start


def _grid_refused(path: str, grid: str) -> OutlineError:
    return OutlineError(
        f"{path}: found a coordinate reference system that names the file {grid!r}; expected one without files: "
        "convert the layer to a system with a number, as ogr2ogr -t_srs EPSG:4326 does"
    )


def _check_header(path: str, header: LayerHeader) -> None:
    if not header.feature_count:
        raise OutlineError(f"{path}: found no features in layer {header.name!r}; expected polygons")
    if not np.isfinite(header.extent).all():
        raise OutlineError(f"{path}: found no geometry in layer {header.name!r}; expected polygons")
    if not header.crs:
        raise OutlineError(
            f"{path}: found no coordinate reference system; expected one: assign it with ogr2ogr -a_srs "
            "(a shapefile needs its .prj file beside it)"
        )
    grids = grid_paths(header.crs)  # before PROJ sees it, which opens a file for "+init=" at once
    system = CRS.from_user_input("EPSG:4326" if grids else header.crs)
    if grids := [*grids, *grid_paths(system.to_wkt())]:
        raise _grid_refused(path, grids[0])
    if fault := impossible_place(header.crs, header.extent):
        raise OutlineError(
            f"{path}: {fault}. The file declares a wrong coordinate reference system (GeoJSON without one is in "
            "degrees), or latitude comes first: export it again, or correct it with ogr2ogr -a_srs"
        )


@contextmanager
def _library_errors(path: str) -> Iterator[None]:
    """Turn what the libraries raise on a file that they cannot read into an OutlineError that names the file."""
    from pyogrio import errors

    try:
        yield
    except OutlineError:
        raise
    except errors.DataSourceError as error:
        raise UnreadableOutlinesError(f"{path}: {error}") from error
    except (errors.DataLayerError, SceneError, ProjError, shapely.GEOSException) as error:
        raise OutlineError(f"{path}: {error}") from error
    except OSError as error:
        reason = error.strerror or error
        raise UnreadableOutlinesError(f"{path}: found no readable file; expected one ({reason})") from error
    except UnboundLocalError as error:  # pyogrio's, where GDAL cannot write the CRS as text
        raise OutlineError(
            f"{path}: found a coordinate reference system that cannot be read; expected one with a number: assign it "
            "with ogr2ogr -a_srs"
        ) from error
    except UnicodeDecodeError as error:
        raise OutlineError(
            f"{path}: found attributes that are not valid {error.encoding}; expected text in the encoding that the "
            "file declares (a shapefile in its .cpg file)"
        ) from error
