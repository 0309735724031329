"""The files of a change: table (CSV), polygons (GeoPackage) and summary (JSON)."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely

from imagery.change import AreaChange
from services.change import ALL_GLACIERS, KINDS, Change, DatedMap

COLUMNS: Final = (
    "glacier",
    "class",
    "area_before_km2",
    "area_before_error_km2",
    "area_after_km2",
    "area_after_error_km2",
    "change_km2",
    "change_error_km2",
    "change_percent",
    "change_km2_per_year",
    "significant",
    "gained_km2",
    "lost_km2",
)
"""Columns of the table. Errors are standard errors; `significant` is at the 95 % level."""


def write_table(path: Path, change: Change) -> None:
    """Write the table of changes as CSV (UTF-8), one line a glacier and class."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(table(change))


def table(change: Change) -> Iterator[dict[str, Any]]:
    """Yield the lines of the table, by `COLUMNS`; None where a figure is undefined."""
    for row in change.rows:
        yield {"glacier": row.glacier, "class": row.class_name, **_figures(row.areas, change.years)}


def write_polygons(path: Path, change: Change) -> None:
    """Write the pieces of changed ground as a GeoPackage in the common grid's CRS: layers gained, lost, converted.

    A layer exists only if something changed in this way.
    """
    import pyogrio  # see imagery.vectors

    path.unlink(missing_ok=True)
    for kind in KINDS.values():
        pieces = [piece for piece in change.ground if piece.kind == kind]
        if not pieces:
            continue
        fields = {
            "before": np.array([piece.before for piece in pieces], dtype=object),
            "after": np.array([piece.after for piece in pieces], dtype=object),
            "area_km2": np.array([piece.area_km2 for piece in pieces]),
            "width_m": np.array([piece.width_m for piece in pieces]),
            "wider_than_error": np.array([piece.wider_than_error for piece in pieces]),
        }
        pyogrio.raw.write(
            path,
            shapely.to_wkb(np.array([piece.polygon for piece in pieces], dtype=object)),
            field_data=list(fields.values()),
            fields=list(fields),
            driver="GPKG",
            layer=kind,
            geometry_type="Polygon",
            crs=change.grid.crs,
            append=path.exists(),
        )


def write_summary(path: Path, change: Change) -> None:
    """Write what was compared, how, and the totals, as JSON."""
    path.write_text(json.dumps(summary(change), indent=2, allow_nan=False) + "\n", encoding="utf-8")


def summary(change: Change) -> dict[str, Any]:
    """Return what was compared, how, and the totals."""
    shift = change.shift
    return {
        "first": _describe(change.first),
        "second": _describe(change.second),
        "years": None if change.years is None else round(change.years, 2),
        "common_ground": {
            "crs": change.grid.crs,
            "pixel": [abs(change.grid.transform[0]), abs(change.grid.transform[4])],
            "known_at_both_dates_km2": round(change.known_km2, 4),
        },
        "shift": None
        if shift is None
        else {
            "east_m": round(shift.east_m, 2),
            "north_m": round(shift.north_m, 2),
            "standard_error_m": round(shift.error_m, 2),
            "blocks": shift.blocks,
            "channel": shift.channel,
        },
        "error_of_an_area": "standard error: length of the outline within the glacier, times half a pixel",
        "totals": [line for line in table(change) if line["glacier"] == ALL_GLACIERS],
        "glaciers": len({row.glacier for row in change.rows} - {ALL_GLACIERS}),
    }


def _describe(item: DatedMap) -> dict[str, Any]:
    return {
        "scene": item.scene,
        "acquired": item.acquired.isoformat() if item.acquired else None,
        "mapped_by": item.origin,
    }


def _figures(areas: AreaChange, years: float | None) -> dict[str, Any]:
    values: dict[str, Any] = {
        "area_before_km2": areas.before,
        "area_before_error_km2": areas.before_error,
        "area_after_km2": areas.after,
        "area_after_error_km2": areas.after_error,
        "change_km2": areas.change,
        "change_error_km2": areas.change_error,
        "change_percent": 100 * areas.change / areas.before if areas.before else None,
        "change_km2_per_year": areas.change / years if years else None,
        "gained_km2": areas.gained,
        "lost_km2": areas.lost,
    }
    rounded = {name: None if value is None else round(float(value), 6) for name, value in values.items()}
    return {**rounded, "significant": areas.is_significant}
