"""``glacier-al quality``: how good labels are, by annotator, and which labels are references."""

from collections.abc import Iterator, Sequence

import click

from catalog import references
from cli.installation import installed_catalog
from cli.output import as_json, json_option, print_json, print_table, tell
from services.compared_labels import compare_labels
from services.estimates import Estimate
from services.label_agreement import AutomationBias, Comparison
from services.label_quality import Quality, assess


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def quality(context: click.Context) -> None:
    """Show how far each annotator agrees with known truth and with others, and what pre-annotations do.

    With a subcommand, accept a label as reference, or release it. These figures are for operators, not for annotators.
    """
    if context.invoked_subcommand is not None:
        return
    with installed_catalog() as catalog:
        compare_labels(catalog)
        found = assess(catalog)
    if as_json():
        print_json(found)
        return
    _print_annotators(found)
    if found.bias is not None:
        _print_bias(found.bias, found.classes)
    if found.same_person:
        click.echo(f"{found.same_person} second labels do not count: the same person drew the first.")
    if found.pending:
        click.echo(f"{found.pending} comparisons are left out: a mask is missing or damaged; see `glacier-al doctor`.")
    if found.references:
        rows = [
            (str(item.label_id), str(item.patch_id), item.annotator, str(item.answers) if item.stands else "superseded")
            for item in found.references
        ]
        print_table(("label", "patch", "drawn by", "answers"), rows, "Reference patches")


@quality.command()
@click.argument("label", type=int)
@json_option
def accept(label: int) -> None:
    """Accept the label LABEL as the truth of its patch.

    The patch becomes a honeypot for other annotators, and none of its labels is learnt from any more.
    """
    with installed_catalog() as catalog:
        with catalog.write() as session:
            patch_id = references.accept(session, label).patch_id
        text = f"Label {label} is the reference of patch {patch_id}; nothing drawn there is learnt from."
        tell(text, label_id=label, patch_id=patch_id)


@quality.command()
@click.argument("label", type=int)
@json_option
def release(label: int) -> None:
    """End the use of the label LABEL as reference; it is learnt from again."""
    with installed_catalog() as catalog:
        with catalog.write() as session:
            references.release(session, label)
        tell(f"Label {label} is no reference any more.", label_id=label)


def _print_annotators(found: Quality) -> None:
    rows = [
        (item.annotator + (" (simulated)" if item.simulated else ""), kind, *_cells(comparison))
        for item in found.annotators
        for kind, comparison in (("known truth", item.truth), ("others", item.others))
        if comparison is not None
    ]
    if not rows:
        click.echo("No label has anything to be compared with yet: see double_label_share and honeypot_share.")
        return
    columns = ("annotator", "compared with", "patches", "agreement", "left out", *_ious(found.classes))
    print_table(columns, rows, "Quality of labels", "95 % intervals over patches")


def _print_bias(bias: AutomationBias, classes: Sequence[str]) -> None:
    compared = (
        ("the two labels with each other", bias.labels),
        ("label from the pre-annotation with it", bias.preannotated),
        ("blind label with the pre-annotation", bias.blind),
    )
    rows = [(name, str(item.patches), _text(item.agreement), *map(_text, item.iou)) for name, item in compared]
    rows.append(
        ("pull: second line minus third", str(bias.labels.patches), _text(bias.pull), *map(_text, bias.pull_iou))
    )
    columns = ("of the same patches", "patches", "agreement", *_ious(classes))
    print_table(columns, rows, "What pre-annotations do", "95 % intervals over patches")


def _cells(item: Comparison) -> Iterator[str]:
    yield str(item.patches)
    yield from map(_text, (item.agreement, item.left_out, *item.iou))


def _ious(classes: Sequence[str]) -> list[str]:
    return [f"IoU {name}" for name in classes]


def _text(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"
