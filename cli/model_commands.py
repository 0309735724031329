"""``glacier-al models``: list versions, promote one, roll back, tell who decided what and where one comes from."""

import getpass
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import click

from catalog.decision_records import Promotion
from catalog.paging import Cut
from catalog.records import SceneRole
from catalog.registry import registry_of
from cli.event_commands import Moment
from cli.installation import installed_catalog, running_catalog
from cli.output import Columns, Record, as_json, json_option, moment, print_json, print_records, print_table, tell
from cli.running import running_settings
from services import canary, promotion
from services.gate_figures import GateFigures
from services.lineage import LearntLabel, Training, read_lineage
from services.places import bundle_cache
from services.version_figures import figures_of

_from_version = click.option(
    "--from-version", type=click.IntRange(1), help="the version that you saw served; refused if it is another by now"
)


@click.group(invoke_without_command=True)
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="versions to list, newest first")
@json_option
@click.pass_context
def models(context: click.Context, limit: int) -> None:
    """List the newest model versions; with a subcommand, promote one, roll back, or tell its lineage."""
    if context.invoked_subcommand is not None:
        return
    registry = registry_of(running_settings())
    aliases = registry.aliases()
    records = []
    for version in registry.versions(limit):
        figures = figures_of(version)
        validation = figures.regions.get(SceneRole.VALIDATION.value)
        records.append(
            {
                "version": version.version,
                "aliases": sorted(alias for alias, number in aliases.items() if number == version.version),
                "created_at": version.created_at,
                "labels": figures.labels,
                "mean_iou": validation.mean_iou if validation else None,
                "gain_mean_iou": validation.gain_mean_iou if validation else None,
                "gate": figures.gate,
                "verdict": figures.verdict,
                "verdict_reason": figures.verdict_reason,
                "withdrawals": list(figures.withdrawals),
            }
        )
    print_records(records, _VERSION_COLUMNS)


@models.command()
@click.argument("version", type=int)
@click.option("--reason", required=True, help="why; stored with the decision")
@_from_version
@json_option
def promote(version: int, reason: str, from_version: int | None) -> None:
    """Serve VERSION: make it the champion, and the learner, from which training goes on."""
    with running_catalog() as catalog:
        registry, actor = registry_of(catalog.settings), getpass.getuser()
        promotion.promote(catalog, registry, version, reason, actor, from_version=from_version)
        tell(f"Version {version} is served.", version=version)


@models.command()
@click.option("--reason", required=True, help="why; stored with the decision")
@_from_version
@json_option
def rollback(reason: str, from_version: int | None) -> None:
    """Serve the version again that was the champion before the present one; training goes on from it."""
    with running_catalog() as catalog:
        registry, actor = registry_of(catalog.settings), getpass.getuser()
        moved = promotion.roll_back(catalog, registry, reason, actor, from_version=from_version)
        tell(f"Version {moved.model_version} is served again.", version=moved.model_version)


@models.command()
@click.option("--at", type=Moment(), help="a time such as 2026-11-26T12:00:00Z; default: now")
@json_option
def champion(at: datetime | None) -> None:
    """Tell which version was served at a time, and who decided that, when and why."""
    with installed_catalog() as catalog, catalog.read() as session:
        decision = promotion.champion_at(session, at)
    if as_json():
        print_json({"version": decision and decision.model_version, "decision": decision and _decision(decision)})
        return
    if decision is None or decision.model_version is None:
        click.echo("No version was served.")
    if decision is not None:
        _print_decisions([decision])


@models.command()
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="decisions, newest first")
@json_option
def decisions(limit: int) -> None:
    """List who decided what about versions, when and why, moves made in MLflow's page included."""
    with installed_catalog() as catalog, catalog.read() as session:
        found = promotion.decisions(session, Cut(limit))
    _print_decisions(found)


@models.command("canary")
@click.option("--standing", is_flag=True, help="only alerts that nobody has acknowledged")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="comparisons, newest first")
@json_option
def list_comparisons(standing: bool, limit: int) -> None:
    """List how far each change of the served version changed the maps of the pool, with the alerts it raised."""
    records = []
    with installed_catalog() as catalog, catalog.read() as session:
        for item in canary.comparisons(session, Cut(limit), standing=standing):
            change = canary.change_of(item.counts, item.classes)
            records.append(
                {
                    "id": item.id,
                    "compared_at": item.compared_at,
                    "verdict": item.decision.verdict,
                    "previous_version": item.decision.previous_version,
                    "version": item.decision.model_version,
                    "changed_share": change.changed_share,
                    "areas": {area.name: area.share for area in change.areas},
                    "alerts": list(item.alerts),
                    "acknowledged_by": item.acknowledged_by,
                }
            )
    columns: Columns = {
        "id": "id",
        "when (UTC)": moment("compared_at"),
        "decision": "verdict",
        "from": "previous_version",
        "to": "version",
        "changed": lambda record: f"{record['changed_share']:.1%}",
        "areas": lambda record: ", ".join(f"{name} {share:+.0%}" for name, share in record["areas"].items()),
        "alerts": lambda record: "; ".join(record["alerts"]),
        "acknowledged by": "acknowledged_by",
    }
    print_records(records, columns)


@models.command()
@click.argument("number", type=int)
@click.option("--note", required=True, help="what you found; stored with the alert")
@json_option
def acknowledge(number: int, note: str) -> None:
    """Note that you have looked at the canary alert NUMBER, which then no longer stands."""
    with installed_catalog() as catalog, catalog.write() as session:
        canary.acknowledge(session, number, getpass.getuser(), note)
    tell(f"Alert {number} is acknowledged.", id=number, note=note)


def _print_decisions(found: Sequence[Promotion]) -> None:
    columns: Columns = {
        "when (UTC)": moment("completed_at"),
        "decision": "verdict",
        "from": lambda record: _or_none(record["previous_version"]),
        "to": lambda record: _or_none(record["version"]),
        "by": "actor",
        "why": "reason",
    }
    print_records([_decision(item) for item in found], columns)


def _decision(item: Promotion) -> Record:
    return {
        "id": item.id,
        "version": item.model_version,
        "previous_version": item.previous_version,
        "verdict": item.verdict,
        "reason": item.reason,
        "actor": item.actor,
        "completed_at": item.completed_at,
    }


def _or_none(version: int | None) -> str:
    return "none" if version is None else str(version)


@models.command()
@click.argument("version", type=int)
@json_option
def lineage(version: int) -> None:
    """Tell what VERSION and those before it were trained on, and why each of their labels exists."""
    with running_catalog() as catalog:
        bundles = bundle_cache(catalog.settings, registry_of(catalog.settings))
        found = read_lineage(catalog, bundles, version, lambda label: label.annotator)
    if as_json():  # with every label and all settings
        print_json(found)
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


def _figure(value: float | None, sign: str = "") -> str:
    return "–" if value is None else f"{value:{sign}.3f}"


def _interval(gate: GateFigures | None) -> str:
    """Return the interval of the gain in mean IoU, e.g. "+0.004 to +0.038"."""
    if gate is None or gate.mean_iou.low is None or gate.mean_iou.high is None:
        return "–"
    return f"{gate.mean_iou.low:+.3f} to {gate.mean_iou.high:+.3f}"


_VERSION_COLUMNS: Final[Columns] = {
    "version": "version",
    "aliases": lambda record: ", ".join(record["aliases"]),
    "labels": "labels",
    "mean IoU": lambda record: _figure(record["mean_iou"]),
    "gain": lambda record: _figure(record["gain_mean_iou"], "+"),
    "interval": lambda record: _interval(record["gate"]),
    "gate": lambda record: f"{record['verdict']}: {record['verdict_reason']}{_withdrawn(record['withdrawals'])}",
}
