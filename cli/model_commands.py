"""``glacier-al models``: list versions, promote one, roll back, tell who decided what and where one comes from."""

import getpass
from collections.abc import Sequence
from datetime import datetime

import click

from catalog.decision_records import Promotion
from catalog.records import SceneRole, now
from catalog.registry import registry_of
from cli.event_commands import Moment
from cli.installation import installed_catalog, running_catalog
from cli.output import print_table
from cli.running import running_settings
from services import canary, promotion
from services.gate_figures import GateFigures
from services.lineage import LearntLabel, Training, read_lineage
from services.places import bundle_cache
from services.version_figures import figures_of


@click.group(invoke_without_command=True)
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="versions to list, newest first")
@click.pass_context
def models(context: click.Context, limit: int) -> None:
    """List the newest model versions; with a subcommand, promote one, roll back, or tell its lineage."""
    if context.invoked_subcommand is not None:
        return
    registry = registry_of(running_settings())
    aliases = registry.aliases()
    rows = []
    for version in registry.versions(limit):
        figures = figures_of(version)
        validation = figures.regions.get(SceneRole.VALIDATION.value)
        mean, gain = (validation.mean_iou, validation.gain_mean_iou) if validation else (None, None)
        rows.append(
            (
                str(version.version),
                ", ".join(sorted(alias for alias, number in aliases.items() if number == version.version)),
                str(figures.labels),
                "–" if mean is None else f"{mean:.3f}",
                "–" if gain is None else f"{gain:+.3f}",
                _interval(figures.gate),
                f"{figures.verdict}: {figures.verdict_reason}{_withdrawn(figures.withdrawals)}",
            )
        )
    print_table(("version", "aliases", "labels", "mean IoU", "gain", "interval", "gate"), rows)


@models.command()
@click.argument("version", type=int)
@click.option("--reason", required=True, help="why; stored with the decision")
def promote(version: int, reason: str) -> None:
    """Serve VERSION: make it the champion, and the learner, from which training goes on."""
    with running_catalog() as catalog:
        promotion.promote(catalog, registry_of(catalog.settings), version, reason, getpass.getuser())
        click.echo(f"Version {version} is served.")


@models.command()
@click.option("--reason", required=True, help="why; stored with the decision")
def rollback(reason: str) -> None:
    """Serve the version again that was the champion before the present one; training goes on from it."""
    with running_catalog() as catalog:
        moved = promotion.roll_back(catalog, registry_of(catalog.settings), reason, getpass.getuser())
        click.echo(f"Version {moved.model_version} is served again.")


@models.command()
@click.option("--at", type=Moment(), help="a time such as 2026-11-26T12:00:00Z; default: now")
def champion(at: datetime | None) -> None:
    """Tell which version was served at a time, and who decided that, when and why."""
    with installed_catalog() as catalog, catalog.read() as session:
        decision = promotion.champion_at(session, at or now())
    if decision is None or decision.model_version is None:
        click.echo("No version was served.")
    if decision is not None:
        _print_decisions([decision])


@models.command()
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="decisions, newest first")
def decisions(limit: int) -> None:
    """List who decided what about versions, when and why, moves made in MLflow's page included."""
    with installed_catalog() as catalog, catalog.read() as session:
        found = promotion.decisions(session, limit)
    _print_decisions(found)


@models.command("canary")
@click.option("--standing", is_flag=True, help="only alerts that nobody has acknowledged")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="comparisons, newest first")
def list_comparisons(standing: bool, limit: int) -> None:
    """List how far each change of the served version changed the maps of the pool, with the alerts it raised."""
    rows = []
    with installed_catalog() as catalog, catalog.read() as session:
        for item in canary.comparisons(session, limit, standing=standing):
            change = canary.change_of(item.counts, item.classes)
            rows.append(
                (
                    str(item.id),
                    f"{item.compared_at:%Y-%m-%d %H:%M:%S}",
                    item.decision.verdict,
                    str(item.decision.previous_version),
                    str(item.decision.model_version),
                    f"{change.changed_share:.1%}",
                    ", ".join(f"{area.name} {area.share:+.0%}" for area in change.areas),
                    "; ".join(item.alerts),
                    item.acknowledged_by or "",
                )
            )
    headings = ("id", "when (UTC)", "decision", "from", "to", "changed", "areas", "alerts", "acknowledged by")
    print_table(headings, rows)


@models.command()
@click.argument("number", type=int)
@click.option("--note", required=True, help="what you found; stored with the alert")
def acknowledge(number: int, note: str) -> None:
    """Note that you have looked at the canary alert NUMBER, which then no longer stands."""
    with installed_catalog() as catalog, catalog.write() as session:
        canary.acknowledge(session, number, getpass.getuser(), note)
    click.echo(f"Alert {number} is acknowledged.")


def _print_decisions(found: Sequence[Promotion]) -> None:
    rows = [
        (
            f"{item.completed_at:%Y-%m-%d %H:%M:%S}",
            item.verdict,
            "none" if item.previous_version is None else str(item.previous_version),
            "none" if item.model_version is None else str(item.model_version),
            item.actor,
            item.reason,
        )
        for item in found
    ]
    print_table(("when (UTC)", "decision", "from", "to", "by", "why"), rows)


@models.command()
@click.argument("version", type=int)
@click.option("--json", "as_json", is_flag=True, help="print JSON, with every label and all settings")
def lineage(version: int, as_json: bool) -> None:
    """Tell what VERSION and those before it were trained on, and why each of their labels exists."""
    with running_catalog() as catalog:
        bundles = bundle_cache(catalog.settings, registry_of(catalog.settings))
        found = read_lineage(catalog, bundles, version, lambda label: label.annotator)
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    print_table(
        ("version", "from", "trigger", "labels", "prior outlines", "seed", "code", "withdrawals", "fault"),
        [_training_row(item) for item in found.trainings],
        title=f"Version {version}, its parent, and so on",
    )
    print_table(
        ("label", "patch", "annotator", "saved", "mask", "now", "doubt", "round", "why", "score", "scored by"),
        [_label_row(item) for item in found.labels],
        title="What they learnt from",
    )


def _training_row(training: Training) -> tuple[str, ...]:
    return (
        str(training.version),
        "fresh network" if training.parent_version is None else str(training.parent_version),
        training.trigger or "",
        str(len(training.label_ids)),
        "" if training.priors is None else f"{training.priors['patches']} patches",
        "" if training.seed is None else str(training.seed),
        training.code_version or "",
        ", ".join(str(item.withdrawal) for item in training.affected_by),
        training.fault or "",
    )


def _label_row(label: LearntLabel) -> tuple[str, ...]:
    state = "stands" if label.superseded_at is None else f"superseded {label.superseded_at:%Y-%m-%d %H:%M}"
    if label.withdrawal is not None:
        state = f"withdrawn ({label.withdrawal})"
    cause = label.cause
    return (
        str(label.id),
        f"{label.scene} row {label.row_off} column {label.col_off}",
        label.annotator,
        f"{label.annotated_at:%Y-%m-%d %H:%M}",
        label.mask_sha256[:12],
        state,
        "" if label.doubt is None else f"{label.doubt:.2f}",
        "map" if cause.round is None else f"{cause.round} ({cause.strategy})",
        cause.reason,
        "" if cause.score is None else f"{cause.score:.4g}",
        "" if cause.scored_by is None else f"version {cause.scored_by}, seed {cause.scoring_seed}",
    )


def _withdrawn(withdrawals: Sequence[int]) -> str:
    """Return the remark about a version that learnt from withdrawn labels."""
    numbers = ", ".join(map(str, withdrawals))
    return f"; learnt from withdrawn labels (withdrawal {numbers})" if withdrawals else ""


def _interval(gate: GateFigures | None) -> str:
    """Return the interval of the gain in mean IoU, e.g. "+0.004 to +0.038"."""
    if gate is None or gate.mean_iou.low is None or gate.mean_iou.high is None:
        return "–"
    return f"{gate.mean_iou.low:+.3f} to {gate.mean_iou.high:+.3f}"
