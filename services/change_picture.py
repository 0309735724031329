"""The picture of a change: a map of what was gained and lost, beside the areas."""

from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from imagery.change import CONVERTED, GAINED, LOST
from imagery.classes import BACKGROUND, UNKNOWN
from imagery.grid import Window
from imagery.ground_metric import GroundMetric
from services.change import ALL_GLACIERS, KINDS, Change

# Blue and orange are told apart by people with any kind of colour vision (Okabe & Ito 2008).
_COLOURS: Final = {GAINED: "#0072b2", LOST: "#d55e00", CONVERTED: "#cc79a7"}
_UNCHANGED: Final = ("#eef2f6", "#bcd3e6")  # ground, and what was mapped at both dates
_UNKNOWN: Final = "#cbd5e1"
_LONGEST_SIDE_PX: Final = 1600
_STYLE: Final[dict[Any, Any]] = {"font.size": 10, "text.color": "#334155", "axes.titlesize": 12}
_NICE_KM: Final = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)


def draw_change(path: Path, change: Change) -> None:
    """Draw a change as PNG."""
    height, width = change.codes.shape
    step = max(1, -(-max(height, width) // _LONGEST_SIDE_PX))
    codes = change.codes[::step, ::step]
    mapped = change.before[::step, ::step] != BACKGROUND
    shown = np.where(codes == UNKNOWN, 5, np.where(codes == 0, mapped, codes + 1))
    colours = ListedColormap([*_UNCHANGED, *_COLOURS.values(), _UNKNOWN])
    with rc_context(_STYLE):
        figure = Figure(figsize=(10, 10 * height / width * 0.78 + 0.9), dpi=150, layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(7, 2.6))
        left.imshow(shown, cmap=colours, vmin=-0.5, vmax=5.5, interpolation="nearest")
        left.set(xticks=[], yticks=[], anchor="NW")
        left.spines[:].set_color(_UNKNOWN)
        left.set_title(_title(change), loc="left")
        _scale_bar(left, change, step, shown.shape)
        _legend(right, change, unknown=bool((codes == UNKNOWN).any()))
        figure.savefig(path, format="png", metadata={"Software": None})


def _title(change: Change) -> str:
    dates = [str(item.acquired or "date unknown") for item in (change.first, change.second)]
    return f"{change.first.scene}, {dates[0]}  →  {change.second.scene}, {dates[1]}"


def _legend(axes: Axes, change: Change, *, unknown: bool) -> None:
    axes.axis("off")
    found = {piece.kind for piece in change.ground}
    patches = [Patch(color=_COLOURS[code], label=kind) for code, kind in KINDS.items() if kind in found]
    patches += [Patch(color=_UNCHANGED[1], label="mapped at both dates")]
    patches += [Patch(color=_UNKNOWN, label="unknown at a date")] if unknown else []
    axes.legend(handles=patches, loc="upper left", frameon=False, borderaxespad=0)
    lines = []
    for row in change.rows:
        if row.glacier == ALL_GLACIERS:
            before, after = row.areas.before_interval, row.areas.after_interval
            difference = row.areas.change_interval
            verdict = "" if row.areas.is_significant else "\n(within the error)"
            lines.append(
                f"{row.class_name}\n{before.best:.2f} → {after.best:.2f} km²\n"
                f"{difference.best:+.2f} km² ({difference.low:+.2f} to {difference.high:+.2f}){verdict}"
            )
    shift = change.shift
    lines.append("shift of the images\n" + (f"{shift.length_m:.0f} m" if shift else "could not be estimated"))
    axes.text(0, 0.78, "\n\n".join(lines), transform=axes.transAxes, va="top")


def _scale_bar(axes: Axes, change: Change, step: int, shape: tuple[int, ...]) -> None:
    """Draw a bar of a round length, at most a third of the map wide."""
    across, _, _ = GroundMetric(change.grid).at(Window(0, 0, 1, 1))[:, 0, 0]
    px_per_km = 1000 / float(np.sqrt(across)) / step
    fitting = [km for km in _NICE_KM if km * px_per_km <= shape[1] / 3]
    if not fitting:
        return
    length, row = fitting[-1] * px_per_km, shape[0] * 0.96
    axes.plot([shape[1] * 0.03, shape[1] * 0.03 + length], [row, row], color="#334155", linewidth=3)
    axes.text(shape[1] * 0.03, row - shape[0] * 0.015, f"{fitting[-1]:g} km", va="bottom")
