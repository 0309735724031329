"""The plot of the results of the benchmarks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any, Final

from matplotlib.figure import Figure

TICKS: Final = (0.5, 1, 2, 3, 5, 10, 20, 50)


def draw(results: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Draw the ratio of each benchmark to its baseline as a bar, with the range over its rounds.

    Args:
        results: As `benchmarks.report.publish` writes them.
        folder: Gets ``ratios.png``; nothing if no result has a ratio.
    """
    compared = [result for result in results if result["ratio"] is not None]
    if not compared:
        return
    figure = Figure(figsize=(9, 1 + 0.75 * len(compared)), layout="constrained")
    axes = figure.subplots()
    for place, result in enumerate(reversed(compared)):
        ratio = result["ratio"]
        low, high = result["spread"] or (ratio, ratio)
        axes.barh(place, ratio, color="#0f4c75", height=0.55)
        axes.errorbar(ratio, place, xerr=[[ratio - low], [high - ratio]], color="#334155", capsize=3)
        axes.annotate(f"{ratio:.2f}", (high, place), xytext=(6, 0), textcoords="offset points", va="center")
    labels = [f"{result['name']}\n" + fill(f"over {result['baseline']}", 44) for result in reversed(compared)]
    axes.set_yticks(range(len(compared)), labels)
    axes.set_xscale("log")  # 2 is as far from 1 as 0.5
    axes.set_xticks(TICKS, [str(tick) for tick in TICKS])
    axes.minorticks_off()
    axes.axvline(1.0, color="#94a3b8", linestyle="dashed")
    axes.set_xlabel("times as good as the baseline; lines: lowest and highest")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlim(right=1.5 * max(max(result["spread"] or (0, result["ratio"])) for result in compared))
    figure.savefig(folder / "ratios.png", dpi=150)
