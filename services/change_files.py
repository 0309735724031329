"""The files of a change: table (CSV), polygons (GeoPackage), summary (JSON) and picture (PNG)."""

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely

from imagery.area_interval import AreaInterval
from imagery.change import AreaChange, ErrorMethod
from imagery.gdal_limits import limited_pyogrio
from services.area_report import EXPERTS, EXPERTS_SOURCE
from services.change import ALL_GLACIERS, KINDS, Change, DatedMap
from services.change_picture import draw_change

FILES: Final = ("change.csv", "change.gpkg", "change.json", "change.png")

COLUMNS: Final = (
    "glacier",
    "class",
    "area_before_km2",
    "area_before_best_km2",
    "area_before_low_km2",
    "area_before_high_km2",
    "area_after_km2",
    "area_after_best_km2",
    "area_after_low_km2",
    "area_after_high_km2",
    "change_km2",
    "change_best_km2",
    "change_low_km2",
    "change_high_km2",
    "change_percent",
    "change_km2_per_year",
    "error_method",
    "significant",
    "gained_km2",
    "lost_km2",
)
"""Columns of the table. Low to high is the 95 % interval; `error_method` is one of `imagery.change.ErrorMethod`."""

ERROR_METHODS: Final[Mapping[ErrorMethod, str]] = {
    ErrorMethod.TOTAL: "calibrated interval of the total that was delivered with the prediction",
    ErrorMethod.OUTLINES: "calibrated intervals of the outlines delivered with the prediction, added up",
    ErrorMethod.BUFFER: "standard error: length of the outline within the glacier, times half a pixel",
}


def write_files(folder: Path, change: Change) -> list[str]:
    """Write the files of a change into a folder that exists, and return their names.

    There are no polygons if nothing changed.
    """
    write_table(folder / "change.csv", change)
    write_polygons(folder / "change.gpkg", change)
    draw_change(folder / "change.png", change)
    write_summary(folder / "change.json", change)
    return [name for name in FILES if (folder / name).exists()]


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
    pyogrio = limited_pyogrio()

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
        "error_methods": {str(method): meaning for method, meaning in ERROR_METHODS.items()},
        "totals": [line for line in table(change) if line["glacier"] == ALL_GLACIERS],
        "relative_errors": [
            {
                "class": row.class_name,
                "ours_before": _rounded(row.areas.before_interval.relative_error),
                "ours_after": _rounded(row.areas.after_interval.relative_error),
                "experts_differ": EXPERTS.get(row.class_name),
            }
            for row in change.rows
            if row.glacier == ALL_GLACIERS
        ],
        "experts_source": EXPERTS_SOURCE,
        "glaciers": len({row.glacier for row in change.rows} - {ALL_GLACIERS}),
        "glacier_notes": list(change.notes),
    }


def _describe(item: DatedMap) -> dict[str, Any]:
    return {
        "scene": item.scene,
        "acquired": item.acquired.isoformat() if item.acquired else None,
        "mapped_by": item.origin,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 6)


def _figures(areas: AreaChange, years: float | None) -> dict[str, Any]:
    before, after, change = areas.before_interval, areas.after_interval, areas.change_interval
    values: dict[str, float | None] = {
        "area_before_km2": areas.before,
        **_ends("area_before", before),
        "area_after_km2": areas.after,
        **_ends("area_after", after),
        "change_km2": areas.change,
        **_ends("change", change),
        "change_percent": 100 * areas.change / areas.before if areas.before else None,
        "change_km2_per_year": areas.change / years if years else None,
        "gained_km2": areas.gained,
        "lost_km2": areas.lost,
    }
    figures = {name: _rounded(value) for name, value in values.items()}
    return {**figures, "error_method": str(areas.method), "significant": areas.is_significant}


def _ends(name: str, interval: AreaInterval) -> dict[str, float]:
    return {f"{name}_{end}_km2": getattr(interval, end) for end in ("best", "low", "high")}
