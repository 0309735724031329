"""The tables of ``benchmarks.training_levers``: means over cells, with intervals of a hierarchical bootstrap."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from scipy.stats import ttest_1samp

from benchmarks.label_figures import Paired, holm, over_places
from benchmarks.regions import SPECS
from benchmarks.report import markdown

Cell = Mapping[str, Any]
Cells = Sequence[Cell]

_CONDITIONS: Final = re.compile(r", \d+ \w+$")  # of a lever that has a base of its own, such as ", 48 labels"

FORMS: Final = ("base", "temperature", "vector scaling")


def values_of(cells: Cells, value: Callable[[Cell], float | None]) -> Paired:
    """Return a value of each cell by region and seed; undefined ones are left out."""
    found = {(cell["region"], cell["seed"]): value(cell) for cell in cells}
    return {key: figure for key, figure in found.items() if figure is not None}


def lever_rows(cells: Cells) -> list[dict[str, object]]:
    """Return a row for each lever: what it adds to the mean IoU of its base, and to the IoU of ice and debris.

    The p-values are of Student's t test over the means of places, corrected for the number of levers (Holm 1979).
    """
    rows: dict[str, dict[str, object]] = {}
    p_values = {}
    for lever in dict.fromkeys(lever for cell in cells for lever in cell["iou"]):
        base = "base" + "".join(_CONDITIONS.findall(lever))
        chosen = [cell for cell in cells if lever in cell["iou"]]
        gains = values_of(chosen, _gain(lever, base, 0))
        found = over_places(gains)
        if lever == base or found is None:
            continue
        p_values[lever] = _p_value(gains)
        rows[lever] = {
            "lever": lever,
            "base": _mean(values_of(chosen, _iou(base, 0))),
            "difference": found.mean,
            "low": found.low,
            "high": found.high,
            "clean": _mean(values_of(chosen, _gain(lever, base, 2))),
            "debris": _mean(values_of(chosen, _gain(lever, base, 3))),
            "better": sum(gain > 0 for gain in gains.values()),
            "cells": found.pairs,
            "places": found.places,
        }
    return [{**rows[lever], "p": p_value} for lever, p_value in holm(p_values).items()]


def calibration_rows(cells: Cells) -> list[dict[str, object]]:
    """Return a row for each calibration: errors by class on test ground, and where it was fitted."""
    rows: list[dict[str, object]] = []
    for form in FORMS:

        def mean(value: Callable[[Cell], float], form: str = form) -> float | None:
            return _mean(values_of(cells, lambda cell: value(cell["calibration"][form])))

        change = over_places(values_of(cells, _error_change(form)))
        rows.append(
            {
                "calibration": form,
                "background": mean(lambda found: found["errors"][0]),
                "clean": mean(lambda found: found["errors"][1]),
                "debris": mean(lambda found: found["errors"][2]),
                "mean": mean(lambda found: float(np.mean(found["errors"]))),
                "change, low": change.low if change else None,
                "change, high": change.high if change else None,
                "where it was fitted": mean(lambda found: float(np.mean(found["validation errors"]))),
                "log loss": mean(lambda found: found["log loss"]),
                "cells": len(cells),
            }
        )
    return rows


def border_rows(cells: Cells) -> list[dict[str, object]]:
    """Return a row for each way to score: what the outer pixels hold, and how the ranking agrees with the plain one."""
    rows: list[dict[str, object]] = []
    for name in [name for name in cells[0]["border"] if name != "pixels"]:

        def mean(*path: str, name: str = name) -> float | None:
            return _mean(values_of(cells, lambda cell: _dig(cell["border"][name], path)))

        rows.append(
            {
                "scored": name,
                "top entropies in the outer pixels": mean("share of top entropies"),
                "error there": mean("error at the border"),
                "error inside": mean("error inside"),
                "rank correlation": mean("ranking", "spearman"),
                "top fifth shared": mean("ranking", "top fifth"),
                "rank correlation with context": mean("ranking with context", "spearman"),
                "cells": len(cells),
            }
        )
    return rows


def print_tables(cells: Cells) -> list[dict[str, object]]:
    """Print the tables; return the rows of all."""
    tables = [lever_rows(cells)]
    if calibrated := [cell for cell in cells if "calibration" in cell]:
        tables.append(calibration_rows(calibrated))
    if scored := [cell for cell in cells if "border" in cell]:
        tables.append(border_rows(scored))
    for rows in tables:
        if rows:
            print(f"\n{markdown(rows)}")
    return [row for rows in tables for row in rows]


def _iou(lever: str, place: int) -> Callable[[Cell], float | None]:
    def iou(cell: Cell) -> float | None:
        return None if cell["iou"][lever][place] is None else float(cell["iou"][lever][place])

    return iou


def _gain(lever: str, base: str, place: int) -> Callable[[Cell], float | None]:
    def gain(cell: Cell) -> float | None:
        pair = cell["iou"][lever][place], cell["iou"][base][place]
        return None if None in pair else float(pair[0] - pair[1])

    return gain


def _error_change(form: str) -> Callable[[Cell], float]:
    return lambda cell: _mean_error(cell, form) - _mean_error(cell)


def _mean_error(cell: Cell, form: str = "base") -> float:
    return float(np.mean(cell["calibration"][form]["errors"]))


def _mean(values: Paired) -> float | None:
    """Return the mean over places of the means over their regions, of the means over seeds; None without values."""
    found = over_places(values)
    return None if found is None else found.mean


def _p_value(gains: Paired) -> float:
    """Return the two-sided p-value of Student's t test over the means of places; 1 for fewer than two places."""
    places = sorted({SPECS[region].place for region, _ in gains})
    of_places = [{key: gain for key, gain in gains.items() if SPECS[key[0]].place == place} for place in places]
    means = [mean for of_place in of_places if (mean := _mean(of_place)) is not None]
    return float(ttest_1samp(means, 0.0).pvalue) if len(means) > 1 else 1.0


def _dig(value: Any, path: Sequence[str]) -> Any:
    for name in path:
        value = value.get(name) if value is not None else None
    return value
