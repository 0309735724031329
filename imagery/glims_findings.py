"""Findings of the check of a GLIMS submission, and the table of a layer as it is checked."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from imagery.errors import ExportError
from imagery.gdal_limits import limited_pyogrio
from imagery.paths import name_for_pyogrio

ERROR: Final = "error"
WARNING: Final = "warning"


@dataclass(frozen=True)
class Finding:
    """A requirement that a submission does not fulfil.

    Attributes:
        severity: `ERROR` where a published requirement is not met, `WARNING` where something is missing that GLIMS
            wishes, or that only the analyst can judge.
        layer: Name of the layer.
        feature: Index of the first feature that it concerns, from 0; None if it concerns the whole layer.
        message: What was found and what was expected.
    """

    severity: str
    layer: str
    feature: int | None
    message: str

    def __str__(self) -> str:
        """Return the finding as one line."""
        where = self.layer if self.feature is None else f"{self.layer}, feature {self.feature}"
        return f"{self.severity}: {where}: {self.message}"


@dataclass(frozen=True)
class Table:
    """A layer that was read.

    Attributes:
        name: Name of the layer.
        path: Its .shp file.
        crs: Its CRS as WKT or authority code; None without a .prj file.
        geometries: (n,) as GDAL reads them; None for a record without geometry.
        fields: Columns (n,) by name in lower case.
    """

    name: str
    path: Path
    crs: str | None
    geometries: NDArray[np.object_]
    fields: dict[str, NDArray[Any]]

    def texts(self, name: str) -> list[str]:
        """Return a column as texts without surrounding spaces; empty where there is no value or no such column."""
        column = self.fields.get(name)
        if column is None:
            return [""] * len(self.geometries)
        return ["" if value is None or _is_nan(value) else str(value).strip() for value in column.tolist()]

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Return a column as numbers; NaN where there is no number or no such column."""
        column = self.fields.get(name)
        if column is None or column.dtype.kind not in "fiu":
            return np.full(len(self.geometries), np.nan)
        return column.astype(np.float64)

    def rows(self, wrong: NDArray[np.bool_], severity: str, message: str) -> Iterator[Finding]:
        """Yield one finding if any row is wrong: how many there are, and the first."""
        if wrong.any():
            count = int(wrong.sum())
            more = f" ({count} of {len(wrong)} features)" if count > 1 else ""
            yield Finding(severity, self.name, int(np.flatnonzero(wrong)[0]), message + more)


def has_errors(findings: Sequence[Finding]) -> bool:
    """Return whether a submission misses a requirement, and not only a wish."""
    return any(finding.severity == ERROR for finding in findings)


def read_table(folder: Path, name: str) -> Table | None:
    """Read the shapefile of a layer; None if there is none.

    Raises:
        ExportError: It cannot be read.
    """
    path = folder / f"{name}.shp"
    if not path.is_file():
        return None
    pyogrio = limited_pyogrio()

    with path.open("rb") as file:
        if file.read(4) != b"\x00\x00\x27\x0a":  # the code of the format: GDAL must not try its other drivers
            raise ExportError(f"{path}: found another kind of file; expected a shapefile")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of rings, which are checked as the file stores them
            meta, _, wkb, columns = pyogrio.raw.read(name_for_pyogrio(str(path)))
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, OSError, ValueError) as error:
        # ValueError: of text in another encoding, and of dates that no calendar has.
        raise ExportError(f"{path}: found no readable shapefile ({error}); expected .shp, .shx and .dbf") from error
    except UnboundLocalError as error:  # pyogrio's, where GDAL cannot write the CRS as text
        raise ExportError(
            f"{path}: found a coordinate reference system that cannot be read; expected WGS 84, longitude and latitude"
        ) from error
    with np.errstate(invalid="ignore"):  # of coordinates that are no numbers, which are findings
        geometries = shapely.from_wkb(wkb, on_invalid="ignore")
    fields = {str(field).lower(): column for field, column in zip(meta["fields"], columns, strict=True)}
    return Table(name, path, meta["crs"], np.atleast_1d(geometries), fields)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and value != value  # noqa: PLR0124 - NaN alone differs from itself
