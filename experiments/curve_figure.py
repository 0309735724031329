"""The figure of strategies: mean IoU over labels and over what annotators do."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from experiments.cells import Cells
from experiments.effort_curves import Effort, mean_curve


def curves(cells: Cells, names: Sequence[str], ceiling: str, effort: Effort) -> Figure:
    """Draw means over the cells, of the learner and (dotted) of what is served.

    Args:
        cells: The same regions and seeds of every strategy.
        names: The strategies.
        ceiling: Name of the run that learns all labels; drawn as a line if there are such cells.
        effort: What is spent, beside labels.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    spent: tuple[Effort, ...] = ("labels", effort)
    for axis, of_x in zip(axes, spent, strict=True):
        for name in names:
            x = mean_curve(cells, name, of_x)
            (line,) = axis.plot(x, mean_curve(cells, name, "learner_mean_iou"), marker="o", label=name)
            axis.plot(x, mean_curve(cells, name, "served_mean_iou"), linestyle="dotted", color=line.get_color())
        if best := mean_curve(cells, ceiling, "learner_mean_iou"):
            axis.axhline(best[0], color="#94a3b8", linestyle="dashed", label="every patch")
        axis.set_xlabel(of_x.replace("_", " "))
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("mean IoU on test; dotted: served")
    axes[0].legend(frameon=False)
    return figure
