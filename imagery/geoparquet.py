"""Reading GeoParquet files, for which the GDAL of pyogrio's wheels has no driver.

Format: https://geoparquet.org/releases/v1.1.0/ (the metadata key "geo", CRS as PROJJSON, geometries as WKB).
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray
from pyarrow import parquet

from imagery.errors import OutlineError
from imagery.vector_files import Bounds, Features, LayerHeader

_LARGEST_BYTES: Final = 1 << 30  # uncompressed; the file is read in batches of rows, and only what is near is kept
_ROWS_PER_BATCH: Final = 4096
_WGS84: Final = "OGC:CRS84"  # what the format means if the CRS is not named


class GeoParquetFile:
    """An open GeoParquet file; it has one layer, "geometry" or as its primary column is called."""

    def __init__(self, path: str) -> None:
        """Read the metadata.

        Raises:
            OutlineError: It is no GeoParquet file, is larger than 1 GiB, its geometries are not stored as WKB, or two
                columns have the same name.
        """
        self._path = path
        try:
            self._file = parquet.ParquetFile(path)
            metadata, schema = self._file.metadata, self._file.schema_arrow
            geo = json.loads((metadata.metadata or {}).get(b"geo", b"{}"))
            size = sum(metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups))
            self._column = str(geo.get("primary_column", ""))
            self._geo: dict[str, Any] = dict(geo.get("columns", {}).get(self._column, {}))
            json.dumps(geo, ensure_ascii=False).encode()  # JSON may name halves of characters, which no text holds
        except (pa.ArrowException, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise OutlineError(f"{path}: found a damaged Parquet file; expected GeoParquet ({error})") from error
        if not self._geo or self._column not in schema.names:
            raise OutlineError(f"{path}: found a Parquet file without the metadata of a geometry; expected GeoParquet")
        if repeated := [name for name, count in Counter(schema.names).items() if count > 1]:
            raise OutlineError(
                f"{path}: found several columns named {', '.join(repeated)}; expected one of each name: rename them"
            )
        if not _holds_bytes(kind := schema.field(self._column).type):
            raise OutlineError(f"{path}: found geometries of the type {kind}; expected bytes (WKB)")
        if self._geo.get("encoding") != "WKB" or self._geo.get("edges", "planar") != "planar":
            raise OutlineError(
                f"{path}: found geometries with encoding {self._geo.get('encoding')!r} and "
                f"{self._geo.get('edges', 'planar')} edges; expected WKB and planar edges: save it as a GeoPackage"
            )
        if size > _LARGEST_BYTES:
            raise OutlineError(
                f"{path}: found {size >> 20} MB; expected at most {_LARGEST_BYTES >> 20} MB: save the part around the "
                "scene as a GeoPackage"
            )

    def layers(self) -> list[str]:
        """Return the name of the geometry column."""
        return [self._column]

    def polygon_layers(self) -> list[str]:
        """Return the same: what a file holds is known only once it is read."""
        return self.layers()

    def header(self, layer: str) -> LayerHeader:
        """Return what the layer says about itself; its extent is measured."""
        bounds = np.concatenate([shapely.bounds(_shapes(wkb)) for _, wkb, _ in self._batches([])] or [np.empty((0, 4))])
        bounds = bounds[np.isfinite(bounds).all(axis=1)]
        low, high = (bounds[:, :2].min(axis=0), bounds[:, 2:].max(axis=0)) if len(bounds) else (np.full(2, np.nan),) * 2
        declared = self._geo.get("crs", _WGS84)
        crs = declared if isinstance(declared, str) else json.dumps(declared) if declared else ""
        fields = tuple(name for name in self._file.schema_arrow.names if name != self._column)
        extent = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
        return LayerHeader(layer, crs, fields, self._file.metadata.num_rows, extent)

    def read(self, header: LayerHeader, boxes: Sequence[Bounds], columns: Sequence[str]) -> Features:
        """Return the features whose bounds touch a box."""
        ids, shapes, values = [], [], []
        for rows, wkb, table in self._batches(columns):
            left, bottom, right, top = shapely.bounds(_shapes(wkb)).T
            unreadable = np.isnan(left) & (wkb != None)  # noqa: E711  (elementwise): kept, to be counted
            near = unreadable.copy()
            for x0, y0, x1, y1 in boxes:
                near |= (left <= x1) & (right >= x0) & (bottom <= y1) & (top >= y0)
            ids.append(rows[near])
            shapes.append(wkb[near])
            values.append([table[name][near] for name in columns])
        return Features(
            np.concatenate(ids),
            np.concatenate(shapes),
            {name: np.concatenate([part[place] for part in values]) for place, name in enumerate(columns)},
        )

    def attributes(self, header: LayerHeader, columns: Sequence[str]) -> Mapping[str, NDArray[Any]]:
        """Return attribute values of all features, in the order of the file.

        Raises:
            OutlineError: A value cannot be read.
        """
        with self._faults():
            table = self._file.read(columns=list(columns))
            return {name: _values(table[name]) for name in columns}

    def without_place(self, header: LayerHeader) -> NDArray[np.int64]:
        """Return the numbers of the rows without a geometry."""
        return np.concatenate(
            [rows[np.array([item is None for item in wkb], dtype=np.bool_)] for rows, wkb, _ in self._batches([])]
        )

    def _batches(self, columns: Sequence[str]) -> Any:
        """Yield (rows, WKB, column -> values) of each batch."""
        first = 0
        with self._faults():
            for batch in self._file.iter_batches(_ROWS_PER_BATCH, columns=[self._column, *columns]):
                table = {name: _values(batch[name]) for name in columns}
                yield np.arange(first, first + len(batch), dtype=np.int64), _values(batch[self._column]), table
                first += len(batch)

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Refuse rows that Arrow cannot read, and values that Python cannot hold.

        Raises:
            OutlineError: There is one.
            UnicodeDecodeError: A text is not UTF-8.
        """
        try:
            yield
        except UnicodeDecodeError:
            raise
        except (pa.ArrowException, OverflowError, ValueError) as error:  # OverflowError: a date after the year 9999
            raise OutlineError(
                f"{self._path}: found rows that cannot be read; expected GeoParquet ({error})"
            ) from error


def _holds_bytes(kind: pa.DataType) -> bool:
    kinds = pa.types
    if kinds.is_dictionary(kind):
        kind = kind.value_type
    return any(
        holds(kind)
        for holds in (kinds.is_binary, kinds.is_large_binary, kinds.is_fixed_size_binary, kinds.is_binary_view)
    )


def _shapes(wkb: NDArray[np.object_]) -> NDArray[np.object_]:
    with np.errstate(invalid="ignore"):  # coordinates that are not numbers
        shapes: NDArray[np.object_] = shapely.from_wkb(wkb, on_invalid="ignore")
    return shapes


def _values(column: Any) -> NDArray[np.object_]:
    values = np.empty(len(column), dtype=object)
    values[:] = column.to_pylist()
    return values
