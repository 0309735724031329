"""Notes on the dates of outlines, to be shown before a scene is registered."""

from collections.abc import Sequence
from datetime import date

from imagery.grid import Grid
from imagery.masks import OutlineLayer
from imagery.outline_dating import Doubled, date_outlines, find_doubled

_MOST_NAMED = 5  # glaciers and dates listed in a note


def notes_on_truth(layers: Sequence[OutlineLayer], grid: Grid, acquired: date | None) -> list[str]:
    """Return notes on outlines that are taken as true of a scene although they may be of another time.

    Args:
        layers: The outlines of each class.
        grid: The scene's grid.
        acquired: When the image was taken; None if unknown.

    Raises:
        OutlineError: A file cannot be read.
    """
    notes = []
    for path, layer, period in dict.fromkeys((item.path, item.layer, item.period) for item in layers):
        found = date_outlines(path, layer, grid, period)
        far = [day for day in found.dates if acquired and abs(int(day[:4]) - acquired.year) > 1]
        if far:
            spread = far[0] if far[0] == far[-1] else f"{far[0]} to {far[-1]}"
            notes.append(
                f"{path}: {len(far)} of {found.features} features are more than a year from the scene by their "
                f"{found.field!r} ({spread}), and taken as true of it: if the ice has changed, give them as prior "
                "outlines, or use those of a period only (--outlines-from, --outlines-to)"
            )
    return [*notes, *notes_on_doubled(layers, grid)]


def notes_on_doubled(layers: Sequence[OutlineLayer], grid: Grid) -> list[str]:
    """Return notes on glaciers that a layer holds several times: burnt together, they are the ice of all dates.

    Args:
        layers: The outlines of each class.
        grid: The scene's grid.

    Raises:
        OutlineError: A file cannot be read.
    """
    found = [(item, find_doubled(item.path, item.layer, grid, item.class_filter, item.period)) for item in layers]
    return [f"{item.path}: {_describe(doubled, item.class_name)}" for item, doubled in found if doubled]


def _describe(found: Doubled, class_name: str) -> str:
    names = _listed(found.names) if found.names else f"the first is feature {found.features[0]}"
    dates = f", of {_listed(found.dates)}" if found.dates else ""
    return (
        f"{len(found.features)} features of {class_name} lie on each other ({names}{dates}), on {found.area_km2:.3g} "
        f"km2: {class_name} of every date counts. Keep one date of each glacier: in QGIS, with --outlines-from and "
        "--outlines-to, or with --class-field and --map of the field that tells them apart"
    )


def _listed(values: Sequence[str]) -> str:
    shown = ", ".join(values[:_MOST_NAMED])
    return f"{shown} and {len(values) - _MOST_NAMED} more" if len(values) > _MOST_NAMED else shown
