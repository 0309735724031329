"""What the demonstration prints: a line after each version, and a table at the end."""

from collections.abc import Sequence

from rich.table import Table

from cli.levers import Lever
from cli.output import console
from cli.round_record import RoundRecord, predicted_classes


def line(record: RoundRecord) -> str:
    """Say what a version brought, in a line."""
    begun = f"Round {record.round} ({record.strategy})" if record.round else "Old outlines, before any label"
    mean, took = figure(record.iou["test"]["mean"]), sum(record.seconds.values())
    fate = "promoted" if record.promoted else "kept as challenger"
    return f"{begun}: {record.labels} labels, version {record.version}, {fate}, test mean IoU {mean} ({took:.0f} s)"


def print_rounds(records: Sequence[RoundRecord], seconds: float) -> None:
    """Print what each round brought: IoU on the test region, gain on the validation region, seconds by stage."""
    table = Table(
        title="IoU on the held-out test region; gain on the validation region", caption=f"{seconds:.0f} s in all"
    )
    judged = ("mean", *(item.name for item in predicted_classes(records)))
    stages = list(dict.fromkeys(stage for record in records for stage in record.seconds))
    for name in ("round", "version", "labels", *judged, "gain", "gate"):
        table.add_column(name, justify="right")
    for stage in stages:
        table.add_column(f"{stage}, s", justify="right")
    for record in records:
        gain = record.gain.get("validation", {}).get("mean")
        table.add_row(
            f"{record.round} {record.strategy}",
            str(record.version),
            str(record.labels),
            *(figure(record.iou["test"][name]) for name in judged),
            "–" if gain is None else f"{gain:+.3f}",
            "promoted" if record.promoted else "kept",
            *(f"{record.seconds[stage]:.1f}" if stage in record.seconds else "–" for stage in stages),
        )
    console().print(table)


def print_levers(levers: Sequence[Lever]) -> None:
    """Print what each part of the loop gave, with its interval."""
    table = Table(title="What each part gave", caption="brackets: 95 % intervals")
    for name in ("part", "difference", "95 % interval", "unit", "outcome", "compared"):
        table.add_column(name, justify="right" if name == "difference" else "left")
    for lever in levers:
        form = "{:+.3f}" if lever.unit == "mean IoU" else "{:+.0f}"
        ends = (lever.low, lever.high)
        interval = "–" if None in ends else f"[{form.format(lever.low)}, {form.format(lever.high)}]"
        value = "–" if lever.value is None else form.format(lever.value)
        table.add_row(lever.name, value, interval, lever.unit, lever.outcome, lever.compared)
    console().print(table)


def figure(value: float | None) -> str:
    """Write an IoU, or a dash where it is undefined."""
    return "–" if value is None else f"{value:.3f}"
