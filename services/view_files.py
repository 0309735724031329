"""The files of a predicted scene cut to a view: what somebody who looks at a part of a scene takes away."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from pydantic import BaseModel

from catalog.errors import InvalidInputError
from imagery.area_interval import NOTHING, AreaInterval, add_alike
from imagery.classes import ClassScheme
from imagery.grid import Grid, Window
from imagery.outline_cut import CutOutlines, cut_outlines
from imagery.outlines import write_outlines_geojson, write_outlines_gpkg, write_outlines_shapefile
from imagery.vectors import CLASS_FIELD
from services.area_report import AreaReport, AreaTotal

MOST_PIXELS: Final = 1 << 24
"""Of a map that is cut while somebody waits: 4096 x 4096, which takes about a second."""

MOST_OUTLINES: Final = 20_000
"""In a view that is cut while somebody waits."""

VECTOR_SUFFIXES: Final = ("geojson", "gpkg", "shp.zip")
RASTER_SUFFIXES: Final = ("tif", "confidence.tif")

_MEANING: Final = (
    "Sums of the outlines in the view, and of the parts of those that its edge cuts. The errors of outlines are taken "
    "to go together, and those of a part to be independent of the rest. Ice that was missed far from all outlines is "
    "in the totals of the whole scene only. "
)


class Box(BaseModel):
    """A view: degrees on WGS 84. West is larger than east across the antimeridian."""

    west: float
    south: float
    east: float
    north: float

    def __str__(self) -> str:
        """Name the view in the names of files."""
        return f"{self.west:.4f}_{self.south:.4f}_{self.east:.4f}_{self.north:.4f}"


def window_of_view(grid: Grid, box: Box) -> Window:
    """Return the smallest window of pixels that holds what a view shows of a scene.

    Raises:
        InvalidInputError: The view shows nothing of the scene, or is no box.
        SceneError: The scene's CRS has no transformation from WGS 84.
    """
    longitudes = -180 <= box.west <= 180 and -180 <= box.east <= 180 and box.west != box.east
    if not (longitudes and -90 <= box.south < box.north <= 90):
        raise InvalidInputError(
            f"found the box {box}; expected west, south, east and north in degrees, south of north, with an extent"
        )
    window = grid.window_in_box(box.west, box.south, box.east, box.north)
    if window is None:
        raise InvalidInputError(f"found the box {box}, which shows nothing of the scene; expected one that does")
    return window


def check_pixels(window: Window) -> None:
    """Refuse a window that is too large to be cut while somebody waits.

    Raises:
        InvalidInputError: It is.
    """
    if window.height * window.width > MOST_PIXELS:
        raise InvalidInputError(
            f"found {window}; expected at most {MOST_PIXELS} pixels: take a smaller view, or the whole scene (no bbox)"
        )


def outlines_in_view(geopackage: bytes, grid: Grid, window: Window) -> CutOutlines:
    """Return the outlines of a predicted scene in a window, cut at its edges.

    Raises:
        OutlineError: There are more than `MOST_OUTLINES`.
    """
    return cut_outlines(geopackage, grid, window, MOST_OUTLINES)


def vector_file(outlines: CutOutlines, suffix: str, scheme: ClassScheme) -> bytes:
    """Return a file of outlines; ``suffix`` is one of `VECTOR_SUFFIXES`."""
    table = outlines.table()
    if suffix == "geojson":
        return write_outlines_geojson(table)
    colours = _colours(table.fields[CLASS_FIELD].tolist(), scheme)
    write = write_outlines_gpkg if suffix == "gpkg" else write_outlines_shapefile
    return write(table, scheme.outline_layer, colours)


def areas_in_view(whole: AreaReport, outlines: CutOutlines) -> AreaReport:
    """Return the areas of the classes in a view, by its outlines, with their 95 % intervals.

    The glaciers are left out: their areas are those of whole glaciers.

    Args:
        whole: The report of the whole scene.
        outlines: The outlines in the view.
    """
    totals = [
        _total(total, outlines, together=place > 0 and place == len(whole.totals) - 1)
        for place, total in enumerate(whole.totals)
    ]
    return whole.model_copy(update={"totals": totals, "glaciers": [], "meaning": _MEANING + whole.meaning})


def _total(of_scene: AreaTotal, outlines: CutOutlines, *, together: bool) -> AreaTotal:
    fields = outlines.fields
    chosen = np.full(len(outlines.polygons), fill_value=True) if together else fields[CLASS_FIELD] == of_scene.name
    ends = np.stack([fields[name][chosen] for name in ("area_best", "area_low", "area_high")], axis=1)
    interval, why = None, of_scene.undefined_because
    if not chosen.any():
        interval, why = NOTHING, None
    elif np.isfinite(ends).all():
        interval, why = add_alike([AreaInterval(*row) for row in ends.tolist()]), None
    elif why is None:
        why = "an outline in the view has no interval"
    return of_scene.model_copy(
        update={
            "mapped_km2": float(fields["area_km2"][chosen].sum()),
            "area_km2": interval.best if interval else None,
            "low_km2": interval.low if interval else None,
            "high_km2": interval.high if interval else None,
            "error": interval.relative_error if interval else None,
            "outlines": None if together else int(chosen.sum()),
            "undefined_because": why,
        }
    )


def _colours(names: Sequence[str], scheme: ClassScheme) -> dict[str, str]:
    """Return the colours of the classes, those of a binary model if its class is among the names."""
    known = scheme.names if set(names) <= set(scheme.names) else (scheme.background.name, scheme.foreground)
    return scheme.colours_of(known)
