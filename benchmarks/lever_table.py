"""The tables of ``benchmarks.training_levers``: means over cells, with intervals by a hierarchical bootstrap."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import ttest_1samp

from benchmarks.report import markdown

Cells = Sequence[Mapping[str, Any]]


def hierarchical_interval(
    by_region: Mapping[str, Sequence[float]], resamples: int = 10_000, seed: int = 0
) -> tuple[float, float, float]:
    """Return the mean over regions of the mean over seeds, and its 95 % interval.

    Regions are drawn with replacement, then the seeds of each drawn region (Davison & Hinkley 1997, Bootstrap methods
    and their application, section 3.8): the interval is for another region, not only for other seeds.
    """
    generator = np.random.default_rng(seed)
    values = [np.array(of_region) for of_region in by_region.values()]
    drawn = np.empty((resamples, len(values)))
    for place in range(len(values)):
        regions = generator.integers(len(values), size=resamples)
        for number, of_region in enumerate(values):
            chosen = regions == number
            picks = generator.integers(len(of_region), size=(int(chosen.sum()), len(of_region)))
            drawn[chosen, place] = of_region[picks].mean(axis=1)
    low, high = np.quantile(drawn.mean(axis=1), [0.025, 0.975])
    return float(np.mean([of_region.mean() for of_region in values])), float(low), float(high)


def by_region(cells: Cells, value: Callable[[Mapping[str, Any]], float | None]) -> dict[str, list[float]]:
    """Return the values of the cells by region; undefined ones are left out."""
    found: dict[str, list[float]] = defaultdict(list)
    for cell in cells:
        if (figure := value(cell)) is not None:
            found[cell["region"]].append(figure)
    return dict(found)


def lever_rows(cells: Cells) -> list[dict[str, object]]:
    """Return a row for each lever: the mean IoU gained over its base, and the IoU of the foreground classes gained."""
    rows = []
    for lever in dict.fromkeys(lever for cell in cells for lever in cell["iou"]):
        base = "base" + lever[lever.index(",") :] if lever.endswith(" labels") else "base"
        if lever == base:
            continue
        chosen = [cell for cell in cells if lever in cell["iou"]]
        gains = [by_region(chosen, _gain(lever, base, place)) for place in (0, 2, 3)]
        mean, low, high = hierarchical_interval(gains[0])
        rows.append(
            {
                "lever": lever,
                "base": _mean(by_region(chosen, _score(base))),
                "difference": mean,
                "low": low,
                "high": high,
                "p": _p_value(gains[0]),
                "clean": _mean(gains[1]),
                "debris": _mean(gains[2]),
                "regions": len(gains[0]),
                "cells": sum(map(len, gains[0].values())),
            }
        )
    return _with_holm(rows)


def calibration_rows(cells: Cells) -> list[dict[str, object]]:
    """Return a row for each calibration: errors by class on test ground, log loss, and the change of the IoU."""
    rows: list[dict[str, object]] = []
    for form in ("none", "temperature", "vector"):

        def of(cell: Mapping[str, Any], form: str = form) -> Any:
            return cell["calibration"][form]

        errors = [by_region(cells, lambda cell, value=value: of(cell)["errors"][value]) for value in range(3)]
        own = by_region(cells, lambda cell: float(np.mean(of(cell)["validation errors"])))
        gain = hierarchical_interval(
            by_region(cells, lambda cell: of(cell)["iou"][0] - cell["calibration"]["none"]["iou"][0])
        )
        rows.append(
            {
                "calibration": form,
                **dict(zip(("background", "clean", "debris"), map(_mean, errors), strict=True)),
                "on validation": _mean(own),
                "log loss": _mean(by_region(cells, lambda cell: of(cell)["log loss"])),
                "mean IoU": gain[0],
                "low": gain[1],
                "high": gain[2],
            }
        )
    return rows


def border_rows(cells: Cells) -> list[dict[str, object]]:
    """Return a row for each way to score: what the outer pixels hold, and how the ranking agrees with the plain one."""
    rows: list[dict[str, object]] = []
    for name in [name for name in cells[0]["border"] if name != "pixels"]:

        def mean(*path: str, name: str = name) -> float | None:
            values = by_region(cells, lambda cell: _dig(cell["border"][name], path))
            return _mean(values) if values else None

        rows.append(
            {
                "scored": name,
                "top entropies in the outer pixels": mean("share of top entropies"),
                "error there": mean("error at the border"),
                "error inside": mean("error inside"),
                "rank correlation": mean("ranking", "spearman"),
                "top fifth shared": mean("ranking", "top fifth"),
                "rank correlation with context": mean("ranking with context", "spearman"),
            }
        )
    return rows


def print_tables(cells: Cells) -> list[dict[str, object]]:
    """Print the tables; return the rows of all."""
    cheap = [cell for cell in cells if "calibration" in cell]
    tables = [lever_rows(cells), calibration_rows(cheap), border_rows(cheap)]
    for rows in tables:
        print(f"\n{markdown(rows)}")
    return [row for rows in tables for row in rows]


def _gain(lever: str, base: str, place: int) -> Callable[[Mapping[str, Any]], float | None]:
    def gain(cell: Mapping[str, Any]) -> float | None:
        pair = cell["iou"][lever][place], cell["iou"][base][place]
        return None if None in pair else float(pair[0] - pair[1])

    return gain


def _score(lever: str) -> Callable[[Mapping[str, Any]], float | None]:
    def score(cell: Mapping[str, Any]) -> float | None:
        mean_iou: float | None = cell["iou"][lever][0]
        return mean_iou

    return score


def _mean(values: Mapping[str, Sequence[float]]) -> float:
    return float(np.mean([np.mean(of_region) for of_region in values.values()]))


def _p_value(values: Mapping[str, Sequence[float]]) -> float | None:
    """Return the two-sided p-value of Student's t test over the means of the regions; None for fewer than two."""
    means = [float(np.mean(of_region)) for of_region in values.values()]
    return float(ttest_1samp(means, 0.0).pvalue) if len(means) > 1 else None


def _with_holm(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """Correct the p-values for the number of levers (Holm 1979)."""
    order = sorted(range(len(rows)), key=lambda number: _number(rows[number]["p"]))
    highest = 0.0
    for rank, number in enumerate(order):
        highest = max(highest, min(1.0, _number(rows[number]["p"]) * (len(rows) - rank)))
        rows[number]["p"] = highest
    return rows


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 1.0


def _dig(value: Any, path: Sequence[str]) -> Any:
    for name in path:
        value = value.get(name) if value is not None else None
    return value
