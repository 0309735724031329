"""The pictures of a run of the benchmarks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure


def draw(results: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Draw how many times as good as its baseline each benchmark found us, with the spread over its rounds.

    Args:
        results: As `benchmarks.report.publish` writes them.
        folder: Gets ``ratios.png``; nothing, if no benchmark compared us with anything.
    """
    compared = [result for result in results if result["ratio"] is not None]
    if not compared:
        return
    figure = Figure(figsize=(8, 1 + 0.55 * len(compared)), layout="constrained")
    axes = figure.subplots()
    for place, result in enumerate(reversed(compared)):
        ratio = result["ratio"]
        low, high = result["spread"] or (ratio, ratio)
        axes.barh(place, ratio, color="#0f4c75", height=0.55)
        axes.errorbar(ratio, place, xerr=[[ratio - low], [high - ratio]], color="#334155", capsize=3)
        axes.annotate(f"{ratio:.2f}", (high, place), xytext=(6, 0), textcoords="offset points", va="center")
    axes.set_yticks(
        range(len(compared)), [f"{result['name']}\nover {result['baseline']}" for result in reversed(compared)]
    )
    axes.axvline(1.0, color="#94a3b8", linestyle="dashed")
    axes.set_xlabel("times as good as the baseline; whiskers: lowest and highest round")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.12)
    figure.savefig(folder / "ratios.png", dpi=150)
