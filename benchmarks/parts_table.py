"""The tables of `benchmarks.parts`: parts against whole patches, and expected edits against true ones."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from scipy.stats import spearmanr, t

from benchmarks.report import Result, markdown, publish

BASELINE: Final = "whole patches"
_POINTS: Final = 50  # at which the curves of two ways of asking are compared

Cell = Mapping[str, Any]
"""The result of one ground and seed, see `benchmarks.parts.Cell.run`."""


def print_tables(cells: Sequence[Cell], conditions: Mapping[str, object]) -> None:
    """Print both tables, and write the report."""
    asked = compare_arms(cells)
    edits = judge_expectations(cells)
    print(markdown(asked), markdown(judge_starts(cells)), markdown(edits), sep="\n\n")
    seconds = sum(cell["seconds"] for cell in cells)
    seeds = sorted({cell["seed"] for cell in cells})
    publish(Result("parts", [*asked, *edits], seeds=seeds, conditions={**conditions, "seconds": seconds}))


def compare_arms(cells: Sequence[Cell]) -> list[dict[str, object]]:
    """Return, by way of asking, what it gained over whole patches at equal edited and at equal asked pixels."""
    rows = []
    for name in cells[0]["curves"]:
        ends = [cell["curves"][name][-1] for cell in cells]
        row: dict[str, object] = {
            "asked for": name,
            "mean IoU at the end": f"{statistics.mean(end['iou'] for end in ends):.3f}",
            "pixels asked": f"{statistics.mean(end['asked'] for end in ends):,.0f}",
            "pixels edited": f"{statistics.mean(end['edited'] for end in ends):,.0f}",
            "tasks": f"{statistics.mean(end['tasks'] for end in ends):.0f}",
        }
        for axis in ("edited", "asked"):
            gains = [gain_at_equal(cell["curves"][name], cell["curves"][BASELINE], axis) for cell in cells]
            row[f"gain at equal {axis} pixels"] = "" if name == BASELINE else with_interval(gains)
        rows.append(row)
    return rows


def gain_at_equal(curve: Sequence[Mapping[str, float]], baseline: Sequence[Mapping[str, float]], axis: str) -> float:
    """Return the mean difference in IoU of two curves over the pixels that both have in common.

    Args:
        curve: Points with the IoU, by rising pixels.
        baseline: Points of the other curve, from the same start.
        axis: The pixels: "edited" or "asked".
    """
    end = min(curve[-1][axis], baseline[-1][axis])
    places = np.linspace(curve[0][axis], end, _POINTS)
    found, reference = (
        np.interp(places, [point[axis] for point in points], [point["iou"] for point in points])
        for points in (curve, baseline)
    )
    return float((found - reference).mean())


def with_interval(values: Sequence[float]) -> str:
    """Return a mean with its 95 % interval by Student's t; the mean alone of fewer than two values."""
    mean = statistics.mean(values)
    if len(values) < 2:
        return f"{mean:+.3f}"
    half = float(t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    return f"{mean:+.3f} [{mean - half:+.3f}, {mean + half:+.3f}]"


def judge_expectations(cells: Sequence[Cell]) -> list[dict[str, object]]:
    """Return how the expected edits compare with the true ones, from a proposal and from an empty mask."""
    proposals = _proposals(cells)
    rows: list[dict[str, object]] = []
    for kind in ("raw", "calibrated"):
        for start, name in enumerate(("proposal", "empty mask")):
            expected = np.array([proposal[kind][start] for proposal in proposals])
            true = np.array([proposal["true"][start] for proposal in proposals], dtype=np.float64)
            rows.append(
                {
                    "probabilities": kind,
                    "from": name,
                    "proposals": len(proposals),
                    "expected / true": f"{expected.sum() / true.sum():.2f}",
                    "rank correlation": f"{float(spearmanr(expected, true).statistic):.2f}",
                }
            )
    return rows


def judge_starts(cells: Sequence[Cell]) -> list[dict[str, object]]:
    """Return how many pixels annotators change under each rule for what they start from, and how often it is right."""
    proposals = _proposals(cells)
    best = sum(min(proposal["true"]) for proposal in proposals)
    rules = {
        "always empty": [False for _ in proposals],
        "always the proposal": [True for _ in proposals],
        "mean IoU above an empty mask's": [bool(proposal["useful"]) for proposal in proposals],
        "expected edits, raw": [proposal["raw"][0] < proposal["raw"][1] for proposal in proposals],
        "expected edits, calibrated": [proposal["calibrated"][0] < proposal["calibrated"][1] for proposal in proposals],
    }
    rows: list[dict[str, object]] = []
    for name, from_proposal in rules.items():
        spent = [at["true"][0 if drawn else 1] for at, drawn in zip(proposals, from_proposal, strict=True)]
        right = [cost == min(at["true"]) for at, cost in zip(proposals, spent, strict=True)]
        rows.append(
            {
                "annotators start from the proposal": name,
                "right": f"{statistics.mean(right):.0%}",
                "pixels changed": f"{sum(spent):,}",
                "more than with hindsight": f"{sum(spent) / best - 1:+.0%}",
            }
        )
    return rows


def _proposals(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    return [proposal for cell in cells for proposal in cell["proposals"]]
