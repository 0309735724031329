"""The charts of the demonstration's report, as SVG images embedded in the page."""

import base64
import io
from collections.abc import Sequence
from typing import Any, Final

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from catalog.records import SceneRole
from cli.report_content import Content
from cli.round_record import predicted_classes

_INK: Final = "#334155"
_REGIONS: Final = {SceneRole.TEST: "#0f4c75", SceneRole.VALIDATION: "#7f9bb8"}
_STAGES: Final = ("#0f4c75", "#3f88b5", "#8fbcd6", "#d3e3ee")
_COMPARED: Final = (("#0f4c75", "-"), ("#b45309", "--"), ("#64748b", ":"))
_FONT: Final = "DejaVu Sans"  # used to measure text; comes with matplotlib
_READERS_FONTS: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",  # text stays text, in the reader's own font
    "svg.hashsalt": "report",  # the same figures give the same file
    "font.family": [_FONT],
    "font.size": 10.5,
    "text.color": _INK,
    "axes.edgecolor": "#cbd5e1",
    "axes.labelcolor": _INK,
    "axes.titlesize": 11.5,
    "axes.titlelocation": "left",
    "axes.titlepad": 12,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.axisbelow": True,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "grid.color": "#e8edf2",
    "lines.linewidth": 2,
    "lines.markersize": 5,
}
_NAME_HEIGHT: Final = 0.055  # of one line of text, as a share of the vertical axis


def learning_curve(content: Content) -> str:
    """Draw both tracks against the number of labels: means on the left, classes on the right.

    Returns:
        A data URI. Solid curves are IoU of the version that was served after each round, dashed ones of the version
        that was trained in it, the learner; a version that the gate kept back is a hollow circle.
    """
    means = [(role.value, colour, role, "mean") for role, colour in _REGIONS.items()]
    classes = [(item.name, item.colour, SceneRole.TEST, item.name) for item in predicted_classes(content.records)]
    with rc_context(_STYLE):
        figure = Figure(figsize=(10.4, 3.8), layout="constrained")
        left, right = figure.subplots(1, 2, sharex=True, sharey=True)
        left.set(title="Mean over the classes, by region", ylabel="IoU (solid: served, dashed: learner)")
        right.set(title="Each class, on the test region")
        for axes, curves in ((left, means), (right, classes)):
            _curves(axes, content, curves)
        _kept_back(left, content)
        return _data_uri(figure)


def comparison_curve(content: Content) -> str:
    """Draw mean IoU of the learner on the test region over labels, and of the same trainings with one thing changed.

    Returns:
        A data URI.
    """
    labels = [record.labels for record in content.records]
    learner = [record.iou[SceneRole.TEST]["mean"] for record in content.records]
    with rc_context(_STYLE):
        figure = Figure(figsize=(10.4, 3.4), layout="constrained")
        axes = figure.subplots()
        ends = []
        curves = [("this run", learner), *((item.name, item.mean_iou) for item in content.comparisons)]
        for (name, values), (colour, line) in zip(curves, _COMPARED, strict=False):
            shown = [(x, y) for x, y in zip(labels, values, strict=True) if y is not None]
            axes.plot(*zip(*shown, strict=True), line, color=colour, marker="o", clip_on=False)
            ends.append((shown[-1][1], f"{shown[-1][1]:.2f}  {name}", colour))
        _name_ends(axes, labels[-1], ends)
        axes.set(xlabel="labelled patches", ylabel="mean IoU, test region", xticks=labels, xlim=(0, labels[-1] * 1.02))
        axes.grid(axis="y")
        return _data_uri(figure)


def stage_times(content: Content) -> str:
    """Draw the seconds of each stage, one bar per round; return a data URI."""
    stages = list(dict.fromkeys(stage for record in content.records for stage in record.seconds))
    names = [f"round {record.round}" for record in content.records]
    ends = [0.0] * len(names)
    with rc_context(_STYLE):
        figure = Figure(figsize=(10.4, 1.0 + 0.36 * len(names)), layout="constrained")
        axes = figure.subplots()
        for i, stage in enumerate(stages):
            took = [record.seconds.get(stage, 0.0) for record in content.records]
            axes.barh(names, took, left=ends, height=0.62, color=_STAGES[i % len(_STAGES)], label=stage)
            ends = [end + seconds for end, seconds in zip(ends, took, strict=True)]
        for name, end in zip(names, ends, strict=True):
            axes.annotate(f"{end:.0f} s", (end, name), (6, 0), textcoords="offset points", va="center")
        axes.invert_yaxis()
        axes.set(xlabel="seconds", xlim=(0.0, max(ends) * 1.08 or 1.0))
        axes.spines["bottom"].set_visible(False)
        axes.grid(axis="x")
        figure.legend(loc="outside upper left", ncols=len(stages), frameon=False)
        return _data_uri(figure)


def _curves(axes: Axes, content: Content, curves: Sequence[tuple[str, str, SceneRole, str]]) -> None:
    """Draw curves (name, colour, region, class or "mean"), each named at its end; an undefined IoU leaves a gap."""
    labels = [record.labels for record in content.records]
    ends = []
    for _, colour, role, of_class in curves:
        trained = [record.iou[role][of_class] for record in content.records]
        axes.plot(labels, [float("nan") if value is None else value for value in trained], "--", color=colour, lw=1.2)
    for name, colour, role, of_class in curves:
        values = [record.iou[role][of_class] for record in content.served]
        axes.plot(
            labels,
            [float("nan") if value is None else value for value in values],
            color=colour,
            marker="o",
            clip_on=False,
        )
        if values[-1] is not None:
            ends.append((values[-1], f"{values[-1]:.2f}  {name}", colour))
    axes.set(xlabel="labelled patches", xticks=labels, xlim=(0, labels[-1] * 1.03), ylim=(0, 1))
    axes.grid(axis="y")
    _name_ends(axes, labels[-1], ends)


def _name_ends(axes: Axes, at: float, ends: Sequence[tuple[float, str, str]]) -> None:
    """Write the names of curves (height, text, colour) at their ends, moved up as far as needed not to overlap."""
    low, high = axes.get_ylim()
    last = -float("inf")
    for height, text, colour in sorted(ends):
        last = max(height, last + _NAME_HEIGHT * (high - low))
        axes.annotate(text, (at, last), (10, 0), textcoords="offset points", va="center", color=colour)


def _kept_back(axes: Axes, content: Content) -> None:
    kept = [record for record in content.records if not record.promoted]
    for i, (role, colour) in enumerate(_REGIONS.items()):
        points = [(record.labels, value) for record in kept if (value := record.iou[role]["mean"]) is not None]
        if points:
            name = "_" if i else "kept back by the gate"  # one entry of the legend stands for both colours
            axes.plot(*zip(*points, strict=True), "o", color=colour, markerfacecolor="white", label=name)
    if kept:
        axes.legend(loc="lower right", frameon=False)


def _data_uri(figure: Figure) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    drawing = file.getvalue().replace(f"'{_FONT}'", _READERS_FONTS)
    return f"data:image/svg+xml;base64,{base64.b64encode(drawing.encode()).decode('ascii')}"
