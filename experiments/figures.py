"""The plots of experiments: bars with intervals and published values, and curves."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.estimates import CLEAN_IOU, DEBRIS_IOU, GLACIER_IOU, Estimate
from experiments.findings import PUBLISHED, Table, Value
from imagery.classes import CLEAN_ICE, DEBRIS_COVERED_ICE

INK: Final = "#334155"
GLACIER_COLOUR: Final = "#0f4c75"
COLOURS: Final[Mapping[str, str]] = {
    GLACIER_IOU: GLACIER_COLOUR,
    CLEAN_IOU: CLEAN_ICE.colour,
    DEBRIS_IOU: DEBRIS_COVERED_ICE.colour,
}
_STYLE: Final[dict[Any, Any]] = {
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#cbd5e1",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": "#e8edf2",
}


Curves = Mapping[str, tuple[str, Sequence[float], Sequence[float]]]
"""Colour, x and y of each curve by name."""


@dataclass(frozen=True)
class CurvePanel:
    """A panel with curves.

    Attributes:
        title: Title of the panel.
        of_x: Label of the x axis.
        curves: The curves.
    """

    title: str
    of_x: str
    curves: Curves


def bars(table: Table, columns: Sequence[str], below: CurvePanel | None = None) -> Figure:
    """Draw a panel for each column: a bar for each row, with its interval or its spread, and the published value.

    Args:
        table: The table whose rows become bars.
        columns: The columns that become panels.
        below: Curves to show below the bars.
    """
    with rc_context(_STYLE):
        heights = [1.1 + 0.3 * len(table.rows), 3.0][: 1 if below is None else 2]
        figure = Figure(figsize=(3.2 + 2.6 * len(columns), sum(heights)), layout="constrained")
        parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
        panels = parts[0].subplots(1, len(columns), sharey=True, squeeze=False)[0]
        for axes, column in zip(panels, columns, strict=True):
            _bars(axes, table, column)
        panels[0].invert_yaxis()
        if any(f"{PUBLISHED}{column}" in table.columns for column in columns):
            parts[0].supxlabel("bars: here, with 95 % intervals   ◇: published, other data", size=8.5)
        if below is not None:
            _curves(parts[1].subplots(), below)
        return figure


def lines(
    title: str, of_x: str, x: Sequence[float], curves: Mapping[str, tuple[str, Sequence[Value]]], of_y: str
) -> Figure:
    """Draw curves with their 95 % intervals.

    Args:
        title: Title of the plot.
        of_x: Label of the x axis.
        x: Positions of the values.
        curves: Colour and values of each curve by name.
        of_y: Label of the y axis.
    """
    with rc_context(_STYLE):
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        axes = figure.subplots()
        ends = {name: np.array([_ends(value) for value in values]).T for name, (_, values) in curves.items()}
        _curves(axes, CurvePanel(title, of_x, {name: (curves[name][0], x, ends[name][0]) for name in curves}), "o")
        for name, (_, low, high) in ends.items():
            axes.fill_between(x, low, high, color=curves[name][0], alpha=0.15, linewidth=0)
        axes.set(ylabel=of_y)
        return figure


def _curves(axes: Axes, panel: CurvePanel, marker: str = "") -> None:
    for name, (colour, x, y) in panel.curves.items():
        axes.plot(x, y, color=colour, label=name, linewidth=1.3, marker=marker, markersize=4)
    axes.set(title=panel.title, xlabel=panel.of_x)
    axes.grid()
    axes.legend(frameon=False)


def _bars(axes: Axes, table: Table, column: str) -> None:
    for index, row in enumerate(table.rows):
        if not isinstance(row.values.get(column), Estimate | float):
            continue
        middle, low, high = _ends(row.values[column])
        axes.barh(index, middle, color=COLOURS.get(column, GLACIER_COLOUR), height=0.62)
        if not math.isnan(low):
            axes.plot((low, high), (index, index), color="white", linewidth=3.0)  # an edge for dark bars
            axes.plot((low, high), (index, index), color=INK, linewidth=1.2)
        published = row.values.get(f"{PUBLISHED}{column}")
        if isinstance(published, float):
            axes.plot(published, index, marker="D", markersize=5, markerfacecolor="white", markeredgecolor=INK)
    axes.set(title=column, yticks=range(len(table.rows)), yticklabels=[row.name for row in table.rows])
    axes.grid(axis="x")
    axes.tick_params(length=0)


def _ends(value: Value) -> tuple[float, float, float]:
    """Return value, low and high: the interval, or else one spread to each side; NaN if unknown."""
    if isinstance(value, Estimate):
        if math.isnan(value.low):
            return value.value, value.value - value.spread, value.value + value.spread
        return value.value, value.low, value.high
    return (float(value) if isinstance(value, float | int) else math.nan), math.nan, math.nan
